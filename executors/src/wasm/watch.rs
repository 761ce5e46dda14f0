//! When an attempt has to stop, whatever the guest wants.

use jobraft_protocol::{Failure, FailureKind};
use jobraft_sdk::JobContext;
use std::time::{Duration, Instant};

/// Why an attempt has to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The job was cancelled, for this reason. A module cannot be asked, so it is stopped without waiting for its grace.
    Cancelled(String),
    /// The job's lease is lost, or the worker's grace is over.
    Ended,
    /// The lease has to be taken for lost.
    LeaseOver,
    /// It ran for longer than it may: this many milliseconds.
    TimeUp(u64),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled(reason) if reason.is_empty() => Self::retryable("cancelled"),
            Stop::Cancelled(reason) => Self::retryable(format!("cancelled: {reason}")),
            Stop::Ended => Self::retryable("stopped: the worker lost the job or is going away"),
            Stop::LeaseOver => {
                Self::of_kind(FailureKind::LeaseExpired, true, "stopped before its lease could run out elsewhere")
            }
            Stop::TimeUp(ms) => Self::of_kind(
                FailureKind::Timeout,
                true,
                // The worker watches too, and whichever comes first says the same.
                format!("it ran longer than the {:?} it may", Duration::from_millis(ms)),
            ),
        }
    }
}

/// Watches over one attempt.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    context: JobContext,
    run: Option<(Instant, u64)>,
}

impl Watch {
    /// Watches the lease and cancellation. Time does not count yet: what happens before the guest runs (fetching,
    /// compiling, waiting for a slot) is not its fault.
    pub(super) fn new(context: JobContext) -> Self {
        Self { context, run: None }
    }

    /// From now on the guest runs, for at most `run_timeout_ms`.
    pub(super) fn start(mut self, run_timeout_ms: u64) -> Self {
        // A timeout that the clock cannot express is none: the lease still ends the attempt.
        self.run = Instant::now().checked_add(Duration::from_millis(run_timeout_ms)).map(|end| (end, run_timeout_ms));
        self
    }

    /// Whether the attempt has to stop now.
    pub(super) fn stop(&self) -> Option<Stop> {
        let now = Instant::now();
        if self.context.cancelled().is_cancelled() {
            return Some(self.context.cancel_reason().map_or(Stop::Ended, |why| Stop::Cancelled(why.to_owned())));
        }
        if now >= self.context.deadline() {
            return Some(Stop::LeaseOver);
        }
        match self.run {
            Some((end, ms)) if now >= end => Some(Stop::TimeUp(ms)),
            _ => None,
        }
    }

    /// Waits until the attempt has to stop.
    pub(super) async fn stopped(&self) -> Stop {
        loop {
            if let Some(stop) = self.stop() {
                return stop;
            }
            // The deadline moves on as the lease is extended, so look again once it is reached.
            let deadline = self.context.deadline();
            let next = self.run.map_or(deadline, |(end, _)| end.min(deadline));
            tokio::select! {
                () = self.context.cancelled().cancelled() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// What `work` yields, unless the attempt has to stop first.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            stop = self.stopped() => Err(stop),
            value = work => Ok(value),
        }
    }
}
