//! `jobraft secret list`: which secrets there are, never what they are.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_protocol::{Consistency, LogTime, QueuePattern, SecretView};
use serde::Serialize;

/// List the secrets: to whose jobs they are given, and who changed them when. Their values are not to be had
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft secret list
  jobraft secret list --json | jq -r '.[] | select(.modules == []) | .name'")]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct SecretJson<'a> {
    name: &'a str,
    modules: Vec<String>,
    queues: Vec<&'a str>,
    version: u64,
    created_at: String,
    changed_at: String,
    changed_by: &'a str,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let read = client.secrets(Consistency::Linearizable).await;
        let secrets = read.map_err(|error| failed("list secrets", &error))?;
        let output = Output::new();
        if self.json {
            return output.json(&secrets.iter().map(json).collect::<Vec<_>>());
        }
        output.table(
            table(&secrets, client.log_time()),
            "no secrets: make one with `jobraft secret put NAME --module MODULE`",
        )
    }
}

fn json(secret: &SecretView) -> SecretJson<'_> {
    SecretJson {
        name: secret.name.as_str(),
        modules: secret.grant.modules.iter().map(ToString::to_string).collect(),
        queues: secret.grant.queues.iter().map(QueuePattern::as_str).collect(),
        version: secret.version,
        created_at: human::timestamp(secret.created_at),
        changed_at: human::timestamp(secret.changed_at),
        changed_by: &secret.changed_by,
    }
}

fn table(secrets: &[SecretView], now: LogTime) -> Table {
    let mut table = Table::new(&["NAME", "GIVEN TO", ">VERSION", "CHANGED", "BY"]);
    for secret in secrets {
        table.row([
            (secret.name.to_string(), Mood::Plain),
            (secret.grant.to_string(), if secret.grant.modules.is_empty() { Mood::Bad } else { Mood::Plain }),
            (secret.version.to_string(), Mood::Plain),
            (human::relative(secret.changed_at.min(now), now), Mood::Plain),
            (secret.changed_by.clone(), Mood::Plain),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::SecretGrant;

    #[test]
    fn a_secret_is_listed_with_those_that_are_given_it() {
        let secret = SecretView {
            name: "STRIPE_KEY".parse().unwrap(),
            grant: SecretGrant::to(vec!["billing".parse().unwrap(), "refunds".parse().unwrap()]),
            version: 2,
            created_at: LogTime::ZERO,
            changed_at: LogTime::ZERO,
            changed_by: "alice".to_owned(),
        };
        let nobodys = SecretView { grant: SecretGrant::default(), ..secret.clone() };
        let text = table(&[secret, nobodys], LogTime::from_ms(60_000)).render(Paint::never()).unwrap();
        assert!(text.contains("billing, refunds") && text.contains("nothing") && text.contains("alice"), "{text}");
    }
}
