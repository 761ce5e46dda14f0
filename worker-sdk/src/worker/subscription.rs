//! The worker's subscription at the leader: made anew wherever the leader goes, with as many credits as there are
//! free slots.

use super::Shared;
use crate::client::{backoff, unexpected};
use crate::error::SdkError;
use crate::session::Session;
use jobraft_protocol::{ErrorCode, LeaderHint, Request, Response, WorkerId};
use std::sync::Arc;
use std::time::Duration;

/// How long the leader may take to stop pushing.
const UNSUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps a subscription until the worker drains; no job is admitted afterwards.
///
/// # Errors
/// If the cluster refuses it for good.
pub(super) async fn subscribed(shared: &Shared) -> Result<(), SdkError> {
    let outcome = tokio::select! {
        outcome = subscribe_for_ever(shared) => outcome,
        () = shared.drain.cancelled() => Ok(()),
    };
    // From here on what arrives is given back.
    shared.table.close();
    // Without a session there is no subscription either, and the grace does not wait for a search.
    if let Ok(Some(session)) = shared.client.router().current()
        && outcome.is_ok()
    {
        unsubscribe(shared, &session, shared.worker()).await;
    }
    outcome
}

async fn unsubscribe(shared: &Shared, session: &Session, worker: WorkerId) {
    let request = Request::Unsubscribe { worker };
    if let Err(error) = shared.client.call_on(session, request, UNSUBSCRIBE_TIMEOUT).await {
        tracing::debug!(%error, "not unsubscribed");
    }
}

async fn subscribe_for_ever(shared: &Shared) -> Result<(), SdkError> {
    let mut pauses = backoff();
    loop {
        let failure = match shared.client.router().session().await {
            Ok(session) => match subscribe(shared, &session).await {
                Ok(()) => {
                    pauses = backoff();
                    serve(shared, &session).await
                }
                Err(SdkError::Refused(error)) if error.code == ErrorCode::NotFound => {
                    // The cluster has forgotten this incarnation. Leases do not depend on it.
                    let forgotten = shared.worker();
                    shared.register().await?;
                    unsubscribe(shared, &session, forgotten).await;
                    SdkError::Refused(error)
                }
                Err(error) => {
                    learn(shared, &session, &error);
                    error
                }
            },
            Err(error) => error,
        };
        if !failure.retryable() && failure.code() != Some(ErrorCode::NotFound) {
            return Err(failure);
        }
        tracing::debug!(%failure, "no subscription; trying again");
        tokio::time::sleep(pauses.next().unwrap_or(UNSUBSCRIBE_TIMEOUT)).await;
    }
}

async fn subscribe(shared: &Shared, session: &Arc<Session>) -> Result<(), SdkError> {
    shared.forget_ended();
    let request = Request::Subscribe {
        worker: shared.worker(),
        queues: shared.info.queues.clone(),
        weights: shared.weights.clone(),
        lease_ms: crate::requests::millis(shared.lease),
        credits: shared.table.credits_anew(),
    };
    done(shared, session, request).await?;
    tracing::info!(worker = %shared.worker(), node = %session.hello.node, "subscribed");
    Ok(())
}

/// Gives the leader the credits that it is owed, until the subscription ends; tells why.
async fn serve(shared: &Shared, session: &Arc<Session>) -> SdkError {
    let ended = |reason: &str| SdkError::OutcomeUnknown { request: "subscription", reason: reason.to_owned() };
    loop {
        tokio::select! {
            () = session.closed() => return ended("the connection was lost"),
            hint = shared.ended() => {
                leave(shared, session, hint.as_ref());
                return ended("the node leads no longer");
            }
            () = shared.forgotten.notified() => return ended("the cluster has forgotten this worker"),
            credits = shared.table.credits_owed() => {
                let request = Request::AddCredits { worker: shared.worker(), credits };
                if let Err(error) = done(shared, session, request).await {
                    learn(shared, session, &error);
                    return error;
                }
            }
        }
    }
}

async fn done(shared: &Shared, session: &Arc<Session>, request: Request) -> Result<(), SdkError> {
    let timeout = shared.client.config().request_timeout;
    match shared.client.call_on(session, request, timeout).await? {
        Response::Done => Ok(()),
        other => Err(unexpected("Done", &other)),
    }
}

fn learn(shared: &Shared, session: &Arc<Session>, error: &SdkError) {
    match error {
        SdkError::Refused(error) => {
            shared.client.router().refused(session, error);
        }
        // A session that does not answer is of no use to anybody.
        SdkError::Timeout { .. } => session.close(),
        _ => {}
    }
}

fn leave(shared: &Shared, session: &Arc<Session>, hint: Option<&LeaderHint>) {
    shared.client.router().moved(session, hint, hint.is_none());
}
