//! One attempt: run the job, stop it when it must stop, report what became of it.
//!
//! The job's own code runs on the program's runtime; this supervision runs on the client's thread, so that a handler
//! that blocks cannot delay the end of its own lease. The slot stays taken until the code has really ended.

use super::Shared;
use super::handler::{Outcome, bounded};
use super::table::{Slot, Stop, Tenure};
use crate::client::{Trail, unexpected};
use crate::clock::after;
use crate::context::{Held, JobContext};
use crate::error::SdkError;
use crate::requests::{full_pause, millis};
use jobraft_protocol::{Error, ErrorCode, Failure, FailureKind, LeaseRef, LeasedJob, Request, Response};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// How long code that was stopped may take to end before its job is reported or given back.
const STOP_WAIT: Duration = Duration::from_secs(1);
/// How long a report may be put off by what a job said of its progress.
const PROGRESS_WAIT: Duration = Duration::from_secs(1);
/// The least time given to one sending of a report.
const REPORT_TRY_MIN: Duration = Duration::from_millis(50);
/// How long a completion waits for room for what it enqueues before its attempt fails.
const FULL_PATIENCE: Duration = Duration::from_secs(30);

enum End {
    Finished(Result<Outcome, JoinError>),
    TimedOut,
    Stopped(Stop),
}

/// Runs `job` in `slot`, from its arrival to the answer to its report.
pub(super) async fn attempt(shared: Arc<Shared>, job: Arc<LeasedJob>, slot: Slot) {
    let (lease, limit) = (job.lease(), Duration::from_millis(job.run_timeout_ms));
    let tenure = &slot.tenure;
    if tenure.deadline() <= Instant::now() {
        // It was long under way, or this process stood still.
        tracing::info!(job = %lease.job, "the lease was over when the job came; not begun");
        shared.counts.lost.fetch_add(1, Relaxed);
        return;
    }
    let held = Held { client: shared.client.clone(), lease, progress: Arc::clone(&shared.progress) };
    let known = Arc::clone(tenure);
    let context = JobContext::of(&job, tenure.signal.clone(), held, move || known.deadline());
    // However this ends, the job's code learns of it.
    let cancel = tenure.signal.token().clone().drop_guard();
    // All that is the program's own runs there, the choice of an executor too: it may panic or block.
    let tasks = Arc::clone(&shared.tasks);
    let running = async move { tasks.start(job, context).await };
    let mut code = AbortOnDropHandle::new(shared.runtime.spawn(running));
    let end = tokio::select! {
        outcome = &mut code => End::Finished(outcome),
        why = tenure.over(after(limit)) => why.map_or(End::TimedOut, End::Stopped),
    };
    drop(cancel);
    let ended = matches!(end, End::Finished(_));
    if !ended {
        code.abort();
        let _ = tokio::time::timeout(STOP_WAIT, &mut code).await;
    }
    let unsent = shared.progress.take(&lease);
    match settle_how(end, limit) {
        Ok(outcome) => {
            // How far it came is of interest if it did not come to its end.
            if let (Some(progress), false) = (unsent, matches!(outcome, Outcome::Completed(_))) {
                let told = async { shared.client.tell_progress(&[(lease, progress)]).await };
                let _ = Box::pin(tokio::time::timeout(PROGRESS_WAIT, told)).await;
            }
            report(&shared, lease, bounded(outcome), tenure).await;
        }
        Err(Stop::Lost) => {
            tracing::info!(job = %lease.job, "lease lost, job stopped");
            shared.counts.lost.fetch_add(1, Relaxed);
        }
        Err(Stop::Drain) => Box::pin(give_back(&shared, lease)).await,
    }
    slot.settle();
    if !ended && !code.is_finished() {
        tracing::warn!(job = %lease.job, "the handler does not yield; its slot stays taken until it does");
        let _ = code.await;
    }
}

/// Releases a job unfinished.
pub(super) async fn give_back(shared: &Shared, lease: LeaseRef) {
    match shared.client.release(lease).await {
        Ok(()) => {
            shared.counts.released.fetch_add(1, Relaxed);
        }
        Err(error) => tracing::info!(job = %lease.job, %error, "job not released; its lease will end"),
    }
}

fn settle_how(end: End, limit: Duration) -> Result<Outcome, Stop> {
    match end {
        End::Finished(Ok(outcome)) => Ok(outcome),
        End::Finished(Err(error)) => match error.try_into_panic() {
            Ok(panic) => Ok(Outcome::Failed(Failure::of_kind(FailureKind::Panic, true, panic_text(&*panic)))),
            // The program's runtime goes away under the worker.
            Err(_) => Err(Stop::Drain),
        },
        End::TimedOut => {
            let text = format!("it ran longer than the {limit:?} it may");
            Ok(Outcome::Failed(Failure::of_kind(FailureKind::Timeout, true, text)))
        }
        End::Stopped(why) => Err(why),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("no text"))
}

/// Reports until it is answered or the lease is over. Heartbeats go on meanwhile, so that an election does not cost
/// the work done.
async fn report(shared: &Shared, lease: LeaseRef, mut outcome: Outcome, tenure: &Tenure) {
    let (mut trail, ended) = (Trail::default(), Instant::now());
    loop {
        let left = tenure.deadline().saturating_duration_since(Instant::now());
        if left.is_zero() {
            tracing::warn!(job = %lease.job, "the lease ended before the job could be reported");
            shared.counts.lost.fetch_add(1, Relaxed);
            return;
        }
        let timeout = left.min(shared.client.config().request_timeout).max(REPORT_TRY_MIN);
        let client = &shared.client;
        let reported = match &outcome {
            Outcome::Completed(completion) => client.complete_within(lease, completion.clone(), timeout).await,
            Outcome::Failed(failure) => {
                let request = Request::Fail { lease, failure: failure.clone() };
                taken(Box::pin(client.call(request, timeout, &mut trail)).await)
            }
            Outcome::Snoozed(delay) => {
                let request = Request::Release { lease, delay_ms: millis(*delay) };
                taken(Box::pin(client.call(request, timeout, &mut trail)).await)
            }
        };
        match reported {
            Ok(()) => return shared.counts.add(lease.job, &outcome, ended),
            Err(error) if error.retryable() => {
                trail.maybe_done |= error.outcome_unknown();
                tracing::debug!(job = %lease.job, %error, "report not answered");
            }
            // A release is not remembered: the attempt whose answer was lost has done it.
            Err(SdkError::Refused(Error { code: ErrorCode::LeaseLost, .. }))
                if trail.maybe_done && matches!(outcome, Outcome::Snoozed(_)) =>
            {
                return shared.counts.add(lease.job, &outcome, ended);
            }
            Err(SdkError::Refused(error)) => match error.code {
                ErrorCode::LeaseLost | ErrorCode::Cancelled | ErrorCode::NotFound | ErrorCode::WrongState => {
                    tracing::info!(job = %lease.job, %error, "report refused");
                    shared.counts.lost.fetch_add(1, Relaxed);
                    return;
                }
                // There is no room for what it enqueues, yet. Not for ever: it may be this worker that has to make some.
                // If it is refused otherwise, that fails the attempt, rather than let it expire.
                _ if matches!(outcome, Outcome::Completed(_)) => {
                    match full_pause(&error, (Instant::now() + left).min(ended + FULL_PATIENCE)) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => outcome = refused(FailureKind::Error, true, &error),
                    }
                }
                _ => return unreportable(shared, lease, &error.to_string()),
            },
            // Each part is within its limit, and all together are too much: every attempt's would be.
            Err(error @ SdkError::TooLarge(_)) if matches!(outcome, Outcome::Completed(_)) => {
                outcome = refused(FailureKind::OutputLimit, false, &error);
            }
            Err(error) => return unreportable(shared, lease, &error.to_string()),
        }
    }
}

/// Whether a failure or a release was taken.
fn taken(answer: Result<Response, SdkError>) -> Result<(), SdkError> {
    match answer? {
        Response::Done | Response::Failed { .. } => Ok(()),
        other => Err(unexpected("Done", &other)),
    }
}

/// The attempt whose completion nobody takes has failed.
fn refused(kind: FailureKind, retryable: bool, why: &dyn fmt::Display) -> Outcome {
    bounded(Outcome::Failed(Failure::of_kind(kind, retryable, format!("the completion was refused: {why}"))))
}

fn unreportable(shared: &Shared, lease: LeaseRef, why: &str) {
    tracing::error!(job = %lease.job, why, "the job cannot be reported; its lease will end");
    shared.counts.lost.fetch_add(1, Relaxed);
}
