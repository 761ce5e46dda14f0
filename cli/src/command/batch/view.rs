//! A batch as people and scripts see it.

use crate::output::{Mood, human};
use jobraft_protocol::{BatchState, BatchView};
use serde::Serialize;

/// A batch, for `--json`.
#[derive(Debug, Serialize)]
pub(super) struct BatchJson {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    state: &'static str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// How many jobs it has or had.
    jobs: u64,
    live: u64,
    completed: u64,
    dead: u64,
    cancelled: u64,
    expired: u64,
    /// The job that is enqueued once all have completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_complete: Option<String>,
    /// The job that is enqueued at the first that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<String>,
    /// Whether that has happened.
    failure_called: bool,
}

impl From<&BatchView> for BatchJson {
    fn from(batch: &BatchView) -> Self {
        Self {
            id: batch.id.to_string(),
            label: batch.label.as_ref().map(ToString::to_string),
            state: batch.state.as_str(),
            created_at: human::timestamp(batch.created_at),
            ended_at: batch.ended_at.map(human::timestamp),
            jobs: batch.jobs(),
            live: batch.live,
            completed: batch.completed,
            dead: batch.dead,
            cancelled: batch.cancelled,
            expired: batch.expired,
            on_complete: batch.on_complete.map(|job| job.to_string()),
            on_failure: batch.on_failure.map(|job| job.to_string()),
            failure_called: batch.failure_called,
        }
    }
}

/// How a state looks.
pub(super) fn mood(state: BatchState) -> Mood {
    match state {
        BatchState::Completed => Mood::Good,
        BatchState::Failed => Mood::Bad,
        BatchState::Open | BatchState::Running | BatchState::Cancelled => Mood::Busy,
    }
}

/// How many of its jobs are where: `950 completed, 2 dead, 10 live`.
pub(super) fn counts(batch: &BatchView) -> String {
    let all = [
        (batch.completed, "completed"),
        (batch.dead, "dead"),
        (batch.cancelled, "cancelled"),
        (batch.expired, "expired"),
        (batch.live, "live"),
    ];
    let there: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::{BatchId, JobId, LogTime};

    /// A batch that was just created.
    pub(in crate::command::batch) fn batch(state: BatchState) -> BatchView {
        BatchView {
            id: BatchId(JobId::new(LogTime::from_ms(1_769_860_800_250), [7; 10])),
            label: Some("corpus".parse().unwrap()),
            state,
            created_at: LogTime::from_ms(1_769_860_800_250),
            ended_at: None,
            live: 0,
            completed: 0,
            dead: 0,
            cancelled: 0,
            expired: 0,
            on_complete: None,
            on_failure: None,
            failure_called: false,
        }
    }

    #[test]
    fn only_counts_that_are_there_are_told() {
        assert_eq!(counts(&batch(BatchState::Open)), "none");
        let some = BatchView { completed: 3, dead: 1, live: 8, ..batch(BatchState::Running) };
        assert_eq!(counts(&some), "3 completed, 1 dead, 8 live");
        let json = serde_json::to_value(BatchJson::from(&some)).unwrap();
        assert_eq!((&json["jobs"], &json["state"], &json["label"]), (&12.into(), &"running".into(), &"corpus".into()));
    }
}
