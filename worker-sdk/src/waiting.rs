//! Waiting for the end of something: asked again and again, each time with as long a wait as one request may have.

use crate::client::{Client, Trail};
use crate::clock::after;
use crate::error::SdkError;
use crate::requests::{answered, millis};
use jobraft_protocol::{BatchId, BatchView, Consistency, JobId, JobView, Request, Response};
use std::fmt;
use std::time::{Duration, Instant};

/// How often what is watched is read, in milliseconds.
pub(crate) const WATCH_STEP_MS: u64 = 1_000;

/// What can be waited for.
pub(crate) trait Awaited: Sized {
    type Id: Copy;

    /// What a wait for it is called in errors.
    const WAIT: &'static str;

    fn request(id: Self::Id, wait_ms: u64) -> Request;

    fn read(answer: Response) -> Result<Self, SdkError>;

    fn has_ended(&self) -> bool;

    /// A sentence on where it stands.
    fn standing(&self) -> String;
}

impl Awaited for JobView {
    type Id = JobId;
    const WAIT: &'static str = "wait job";

    fn request(job: JobId, wait_ms: u64) -> Request {
        Request::GetJob { job, consistency: Consistency::Linearizable, wait_ms }
    }

    fn read(answer: Response) -> Result<Self, SdkError> {
        Ok(*answered!(answer, Job(view))?)
    }

    fn has_ended(&self) -> bool {
        self.state.is_terminal()
    }

    fn standing(&self) -> String {
        standing("job", self.state)
    }
}

impl Awaited for BatchView {
    type Id = BatchId;
    const WAIT: &'static str = "wait batch";

    fn request(batch: BatchId, wait_ms: u64) -> Request {
        Request::GetBatch { batch, consistency: Consistency::Linearizable, wait_ms }
    }

    fn read(answer: Response) -> Result<Self, SdkError> {
        Ok(*answered!(answer, Batch(view))?)
    }

    fn has_ended(&self) -> bool {
        self.state.has_ended()
    }

    fn standing(&self) -> String {
        format!("{}, {} of its {} jobs live", standing("batch", self.state), self.live, self.jobs())
    }
}

fn standing(what: &str, state: impl fmt::Display) -> String {
    format!("the {what} is {state}")
}

impl Client {
    /// Waits until it has ended, for at most `timeout`; calls `watch` with it as it stands every `step_ms` meanwhile.
    pub(crate) async fn wait_in_steps<V: Awaited>(
        &self,
        id: V::Id,
        timeout: Duration,
        step_ms: u64,
        mut watch: impl FnMut(&V),
    ) -> Result<V, SdkError> {
        let deadline = after(timeout);
        loop {
            let wait_ms = millis(deadline.saturating_duration_since(Instant::now())).min(step_ms);
            let patience = self.config().request_timeout.saturating_add(Duration::from_millis(wait_ms));
            let answer = self.call(V::request(id, wait_ms), patience, &mut Trail::default()).await?;
            let view = V::read(answer)?;
            if view.has_ended() {
                return Ok(view);
            }
            watch(&view);
            if Instant::now() >= deadline {
                return Err(SdkError::Timeout {
                    request: V::WAIT,
                    after: timeout,
                    outcome_unknown: false,
                    last: Some(view.standing()),
                });
            }
        }
    }
}
