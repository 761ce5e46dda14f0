//! `jobraft token list`: which tokens there are.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_protocol::{ClientRole, Consistency, LogTime, Namespace, QueuePattern, TokenView};
use serde::Serialize;

/// One that ends sooner than this stands out.
const ENDS_SOON_MS: u64 = 14 * 24 * 60 * 60 * 1_000;

/// List the tokens: what they permit, when they end, when they were last used
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft token list
  jobraft token list --json | jq -r '.[] | select(.state == \"expired\") | .name'")]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct TokenJson<'a> {
    name: &'a str,
    state: &'static str,
    roles: Vec<ClientRole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a Namespace>,
    queues: &'a [QueuePattern],
    payloads: bool,
    created_at: String,
    created_by: &'a str,
    rotated_at: Option<String>,
    expires_at: Option<String>,
    former_until: Option<String>,
    last_used: Option<String>,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let read = client.tokens(Consistency::Linearizable).await;
        let tokens = read.map_err(|error| failed("list tokens", &error))?;
        let (output, now) = (Output::new(), client.log_time());
        if self.json {
            return output.json(&tokens.iter().map(|token| json(token, now)).collect::<Vec<_>>());
        }
        output.table(table(&tokens, now), "no tokens: make one with `jobraft token create NAME --role ROLE`")
    }
}

/// `good`, `rotating` while two secrets of it count, or `expired`.
fn state(token: &TokenView, now: LogTime) -> &'static str {
    if token.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else if token.former_until.is_some_and(|end| end > now) {
        "rotating"
    } else {
        "good"
    }
}

fn json(token: &TokenView, now: LogTime) -> TokenJson<'_> {
    let time = |at: Option<LogTime>| at.map(human::timestamp);
    TokenJson {
        name: token.name.as_str(),
        state: state(token, now),
        roles: token.grant.roles().collect(),
        namespace: token.grant.namespace(),
        queues: token.grant.queues(),
        payloads: token.grant.sees_payloads(),
        created_at: human::timestamp(token.created_at),
        created_by: &token.created_by,
        rotated_at: time(token.rotated_at),
        expires_at: time(token.expires_at),
        former_until: time(token.former_until),
        last_used: time(token.last_used),
    }
}

fn table(tokens: &[TokenView], now: LogTime) -> Table {
    let mut table = Table::new(&["NAME", "PERMITS", "BY", "ENDS", "USED", "STATE"]);
    for token in tokens {
        let ends_soon = token.expires_at.is_some_and(|end| end.ms_since(now) < ENDS_SOON_MS);
        let state = state(token, now);
        table.row([
            (token.name.to_string(), Mood::Plain),
            (token.grant.to_string(), Mood::Plain),
            (token.created_by.clone(), Mood::Plain),
            match token.expires_at {
                Some(end) => (human::relative(end, now), if ends_soon { Mood::Busy } else { Mood::Plain }),
                None => ("never".to_owned(), Mood::Plain),
            },
            (token.last_used.map_or_else(|| "-".to_owned(), |at| human::relative(at.min(now), now)), Mood::Plain),
            (state.to_owned(), if state == "expired" { Mood::Bad } else { Mood::Plain }),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::Grant;

    #[test]
    fn a_token_is_good_rotating_or_expired() {
        let now = LogTime::from_ms(1_000_000);
        let token = TokenView {
            name: "ci".parse().unwrap(),
            grant: Grant::new([ClientRole::Producer]),
            created_at: LogTime::ZERO,
            created_by: "alice".to_owned(),
            rotated_at: None,
            expires_at: Some(now.plus_ms(1)),
            former_until: None,
            last_used: None,
        };
        assert_eq!(state(&token, now), "good");
        assert_eq!(state(&TokenView { former_until: Some(now.plus_ms(1)), ..token.clone() }, now), "rotating");
        assert_eq!(state(&TokenView { former_until: Some(now), ..token.clone() }, now), "good");
        let expired = TokenView { expires_at: Some(now), former_until: Some(now.plus_ms(1)), ..token.clone() };
        assert_eq!(json(&expired, now).state, "expired");
        let text = table(&[TokenView { expires_at: None, ..token }], now).render(Paint::never()).unwrap();
        assert!(text.contains("producer") && text.contains("never") && text.contains("alice"), "{text}");
    }
}
