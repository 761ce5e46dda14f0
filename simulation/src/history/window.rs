//! Between which log times each operation happened.
//!
//! Some answers tell the log time of their entry: when a lease began, when a job was enqueued or ended. Log time never goes
//! back, so what was answered before another operation was asked came no later, and what was asked after it was answered
//! came no earlier. That bounds every operation, on whatever job, and with it whether a lease can have run out by then.

use super::operation::{Call, Operation, Outcome};
use super::record::History;
use super::verdict::Violation;
use jobraft_protocol::{JobId, JobState, LogTime, limits};
use std::collections::HashMap;

/// When an operation happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// No earlier than this, in log time.
    pub(super) from: u64,
    /// No later than this.
    pub(super) until: u64,
    /// Whether a lease that nobody hears of may have been given before.
    pub(super) unseen: bool,
}

/// What answers told of a job's times.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    enqueued: Option<LogTime>,
    completed: Option<LogTime>,
    creations: usize,
    completions: usize,
    run_timeout_ms: Option<u64>,
}

/// The windows of all operations, in their order.
///
/// # Errors
/// A violation if log time went back.
pub(super) fn windows(history: &History) -> Result<Vec<Window>, Violation> {
    let operations = &history.operations;
    let times = times(operations);
    let stamps: Vec<Option<u64>> = operations.iter().map(|operation| stamp(operation, &times)).collect();
    let mut windows: Vec<Window> = operations
        .iter()
        .map(|operation| {
            let unseen = history.unseen_leases_since;
            let unseen = unseen.is_some_and(|since| operation.returned.is_none_or(|returned| since < returned));
            Window { from: 0, until: u64::MAX, unseen }
        })
        .collect();
    // The latest stamp of all that was answered before each was asked.
    let mut by_answer: Vec<(u64, u64, usize)> =
        (0..operations.len()).filter_map(|place| Some((operations[place].returned?, stamps[place]?, place))).collect();
    by_answer.sort_unstable();
    let mut by_asking: Vec<usize> = (0..operations.len()).collect();
    by_asking.sort_unstable_by_key(|&place| operations[place].called);
    let (mut answered, mut latest) = (by_answer.iter().peekable(), (0, 0));
    for place in by_asking {
        while let Some(&&(returned, stamp, other)) = answered.peek()
            && returned < operations[place].called
        {
            latest = latest.max((stamp, other));
            answered.next();
        }
        windows[place].from = latest.0;
        if let Some(stamp) = stamps[place]
            && stamp < latest.0
        {
            let operations = vec![operations[latest.1].clone(), operations[place].clone()];
            let what = format!("log time went back: from {} to {stamp}, though the one was over before", latest.0);
            return Err(Violation::of(what, operations));
        }
    }
    // The earliest stamp of all that was asked after each was answered.
    let mut asked: Vec<(u64, u64)> =
        (0..operations.len()).filter_map(|place| Some((operations[place].called, stamps[place]?))).collect();
    asked.sort_unstable();
    let mut earliest = vec![u64::MAX; asked.len() + 1];
    for place in (0..asked.len()).rev() {
        earliest[place] = earliest[place + 1].min(asked[place].1);
    }
    for (place, operation) in operations.iter().enumerate() {
        let Some(returned) = operation.returned else { continue };
        windows[place].until = earliest[asked.partition_point(|(called, _)| *called < returned)];
        if let Some(stamp) = stamps[place] {
            windows[place].from = stamp;
            windows[place].until = stamp;
        }
    }
    Ok(windows)
}

fn times(operations: &[Operation]) -> HashMap<JobId, Times> {
    let mut times: HashMap<JobId, Times> = HashMap::new();
    for operation in operations {
        let times = times.entry(operation.job).or_default();
        match (&operation.call, &operation.outcome) {
            (Call::Enqueue(new), outcome) => {
                times.run_timeout_ms = Some(new.run_timeout_ms.unwrap_or(limits::RUN_TIMEOUT_MS_DEFAULT));
                times.creations += usize::from(matches!(outcome, None | Some(Outcome::Created)));
            }
            (Call::Complete { .. }, None | Some(Outcome::Done)) => times.completions += 1,
            (Call::Lease { .. }, Some(Outcome::Leased { enqueued_at, .. })) => times.enqueued = Some(*enqueued_at),
            (Call::Get, Some(Outcome::View(seen))) => {
                times.enqueued = Some(seen.enqueued_at);
                if seen.state == JobState::Completed {
                    times.completed = seen.finished_at;
                }
            }
            _ => {}
        }
    }
    times
}

/// The log time of the entry that did it, if an answer tells.
fn stamp(operation: &Operation, times: &HashMap<JobId, Times>) -> Option<u64> {
    let times = times.get(&operation.job)?;
    match (&operation.call, operation.outcome.as_ref()?) {
        (Call::Lease { lease_ms, .. }, Outcome::Leased { expires_at, .. }) => granted(*lease_ms, *expires_at, times),
        (Call::Enqueue(_), Outcome::Created) if times.creations == 1 => times.enqueued.map(LogTime::as_ms),
        (Call::Complete { .. }, Outcome::Done) if times.completions == 1 => times.completed.map(LogTime::as_ms),
        _ => None,
    }
}

/// When a lease began, unless its job's run time-out may have cut it.
fn granted(lease_ms: u64, expires_at: LogTime, times: &Times) -> Option<u64> {
    let lease_ms = lease_ms.max(limits::LEASE_MS_MIN);
    let longest = times.run_timeout_ms.unwrap_or(0).saturating_add(limits::RUN_GRACE_MS);
    (lease_ms <= longest).then(|| expires_at.as_ms().saturating_sub(lease_ms))
}
