//! Enqueue.

use super::request::{Answer, mismatch};
use super::{Api, bounds, known};
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{NewJob, Response};

/// Puts jobs into their queues, each on its own or all of them.
pub(super) async fn enqueue(api: &Api, jobs: Vec<NewJob>, all_or_none: bool) -> Answer {
    if jobs.is_empty() {
        return Err(bounds::invalid("no job is given: give one at least"));
    }
    bounds::new_jobs(&jobs)?;
    let known = known::known(&api.consensus, &jobs).await?;
    enqueued(api, Command::Enqueue { jobs, all_or_none, known }).await
}

/// Proposes what is answered by what became of jobs.
pub(super) async fn enqueued(api: &Api, command: Command) -> Answer {
    match api.consensus.propose(command).await? {
        Outcome::Enqueued(outcomes) => Ok(Response::Enqueued(outcomes)),
        other => Err(mismatch("enqueue", &other)),
    }
}
