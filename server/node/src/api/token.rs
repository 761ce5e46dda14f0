//! Tokens: which there are, whose a shown one is, and for how long a connection may go on that showed one.

use super::client::Client;
use super::request::Answer;
use super::room::{PAGE_BYTES_MAX, Room, page, token_bytes};
use super::{Api, report};
use crate::auth;
use crate::tls::{Identity, certificate};
use crate::transport::{TokenDirectory, Whose};
use jobraft_core::TokenStanding;
use jobraft_core::command::Command;
use jobraft_protocol::{
    Consistency, Digest, Error, ErrorCode, Grant, LogTime, Response, TokenChange, TokenName, limits,
};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// The most that a token takes in a list, about.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How often a connection's token is looked at although nothing is heard of it: a snapshot says nothing of what it changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Makes, rotates or revokes a token on behalf of `identity`, who gives nobody what is not theirs.
pub(super) async fn change(api: &Api, identity: &Identity, mut change: TokenChange) -> Answer {
    if let TokenChange::Create(token) = &mut change {
        let namespace = identity.namespace();
        if token.grant.namespace().is_some_and(|other| *other != namespace) {
            let message = format!("a token is of the namespace in which it is made, which is {namespace}");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        // Only who has the whole cluster gives it away, and only from where nothing else would be meant.
        if !(namespace.is_default() && auth::is_of_cluster(identity)) {
            token.grant = token.grant.clone().in_namespace(namespace);
        }
    }
    let may_do_all = auth::is_of_cluster(identity) && auth::sees_payloads(identity);
    let former = match &change {
        TokenChange::Rotate { name, .. } | TokenChange::Revoke { name } if !may_do_all => {
            api.fresh(Consistency::Linearizable).await?;
            api.consensus.read(|core| core.token_grant(name).cloned())
        }
        _ => None,
    };
    if former.is_none() && !may_do_all && !matches!(change, TokenChange::Create(_)) {
        // Not to be found out by the log: there it might be one that was made meanwhile, and not theirs.
        return Err(Error::new(ErrorCode::NotFound, format!("there is no token {}", change.name())));
    }
    // Tokens of the whole cluster lie in the default namespace, and are not that one's.
    if former.as_ref().is_some_and(Grant::is_of_cluster) && !auth::is_of_cluster(identity) {
        let message = format!("{identity} may not touch token {}: it is of the whole cluster", change.name());
        return Err(Error::new(ErrorCode::Forbidden, message));
    }
    if !auth::sees_payloads(identity) {
        let sees = match &change {
            TokenChange::Create(token) => token.grant.sees_payloads(),
            TokenChange::Rotate { .. } => former.as_ref().is_some_and(Grant::sees_payloads),
            TokenChange::Revoke { .. } => false,
        };
        if sees {
            let message =
                format!("{identity} sees no payloads, and token {} would: give it --payloads no", change.name());
            return Err(Error::new(ErrorCode::Forbidden, message));
        }
    }
    report::done(api, Command::ChangeToken { change, by: identity.owner() }).await
}

/// Lists tokens, a page of them.
pub(super) async fn list(
    api: &Api,
    identity: &Identity,
    after: Option<TokenName>,
    limit: u32,
    consistency: Consistency,
    room: &mut Room,
) -> Answer {
    let limit = limit.clamp(1, limits::TOKEN_LIST_MAX) as usize;
    api.fresh(consistency).await?;
    room.reserve(PAGE_BYTES_MAX + TOKEN_BYTES_MAX).await;
    let tokens = api.consensus.read(|core| {
        let those = core.tokens(after.as_ref()).filter(|token| identity.is_there(token.name.as_str()));
        page(those.take(limit).cloned(), token_bytes, PAGE_BYTES_MAX)
    });
    Ok(Response::Tokens(tokens))
}

impl TokenDirectory for Api {
    fn known(&self, hash: Digest) -> Result<Identity, Error> {
        let at = self.consensus.log_time();
        self.consensus.read(|core| match core.token(&hash, at) {
            TokenStanding::Good { name, grant, .. } => Ok(Identity::token(name, grant.clone())),
            bad => Err(refusal(bad)),
        })
    }

    fn ask(&self, hash: Digest) -> Whose<'_> {
        Box::pin(async move {
            // What was made or rotated elsewhere may not have come here yet.
            if let Err(error) = self.consensus.barrier().await {
                let message = format!("this node cannot say whose the token is: {}", error.message);
                return Err(Error::new(ErrorCode::Unavailable, message));
            }
            self.known(hash)
        })
    }
}

fn leads(api: &Api) -> bool {
    api.consensus.leadership().borrow().is_leader
}

/// Refuses a client whose token does not count any more; notes that it was used.
pub(super) fn check(api: &Api, client: &Client) -> Result<(), Error> {
    let Some(hash) = &client.token else { return Ok(()) };
    let at = api.consensus.log_time();
    let is_due = api.consensus.read(|core| match core.token(hash, at) {
        TokenStanding::Good { name, grant, last_used, .. } if client.identity.is_token(name, grant) => {
            let since = last_used.map_or(u64::MAX, |used| core.now().ms_since(used));
            Ok((since >= limits::TOKEN_USED_STEP_MS).then(|| name.clone()))
        }
        bad => Err(refusal(bad)),
    })?;
    if let Some(name) = is_due {
        note_use(api, name);
    }
    Ok(())
}

/// Has the log note that a token is used, if this node leads. Whether it does is nobody's business but the list's.
fn note_use(api: &Api, name: TokenName) {
    if leads(api)
        && let Ok(place) = Arc::clone(&api.noting_use).try_acquire_owned()
    {
        let consensus = api.consensus.clone();
        tokio::spawn(async move {
            if let Err(error) = consensus.propose(Command::TokensUsed { tokens: vec![name] }).await {
                tracing::debug!(%error, "the use of a token was not noted");
            }
            drop(place);
        });
    }
}

/// Waits until the client's token does not count any more, and says why.
pub(super) async fn ended(api: &Api, client: &Client) -> Error {
    let Some(hash) = client.token else { return std::future::pending().await };
    let mut changes = api.tokens_changed.clone();
    loop {
        changes.mark_unchanged();
        let at = api.consensus.log_time();
        let left = api.consensus.read(|core| match core.token(&hash, at) {
            TokenStanding::Good { name, grant, until, .. } if client.identity.is_token(name, grant) => {
                let left = until.map(|until| Duration::from_millis(until.ms_since(at.max(core.now()))));
                Ok(left.map_or(LOOK_INTERVAL, |left| left.min(LOOK_INTERVAL)))
            }
            bad => Err(refusal(bad)),
        });
        match left {
            Err(error) => return error,
            Ok(left) => {
                let _ = tokio::time::timeout(left, changes.changed()).await;
            }
        }
    }
}

/// The refusal of a token that does not count.
fn refusal(standing: TokenStanding<'_>) -> Error {
    let message = match standing {
        TokenStanding::Ended { name, since, is_former: false } => {
            format!("token {name} expired at {}: have it rotated with jobraft token rotate {name}", told(since))
        }
        TokenStanding::Ended { name, since, is_former: true } => {
            format!("token {name} was rotated, and this secret of it counted until {}: use the new one", told(since))
        }
        TokenStanding::Good { .. } | TokenStanding::Unknown => {
            "the token is not one of this cluster, or was revoked, or rotated long ago".to_owned()
        }
    };
    Error::new(ErrorCode::Unauthenticated, message)
}

fn told(time: LogTime) -> String {
    let at = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(time.as_ms());
    certificate::text(at)
}
