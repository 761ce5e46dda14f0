//! A job as JSON: what scripts parse. Bytes that are text are given as text, others in hexadecimal under another key.

use super::human;
use jobraft_protocol::hex::Hex;
use jobraft_protocol::{
    AttemptError, Backoff, CancelNotice, EndReason, JobState, JobSummary, JobTemplate, JobView, LeaseView, Predecessor,
    Progress, ScheduleTick, Unique, Withheld,
};
use serde::Serialize;

/// A job, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct JobJson {
    id: String,
    queue: String,
    task: String,
    state: &'static str,
    priority: u8,
    attempt: u32,
    max_attempts: u32,
    run_timeout_ms: u64,
    enqueued_at: String,
    run_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<CancelJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    max_crashes: u32,
    crashed_at: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<Unique>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    checkpoint_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_callback: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<PredecessorJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failure: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<TickJson>,
    errors: Vec<ErrorJson>,
    #[serde(flatten)]
    payload: PayloadJson,
    #[serde(flatten)]
    result: ResultJson,
    log: String,
    /// What was left out because the asker does not get to see it.
    #[serde(skip_serializing_if = "Withheld::is_nothing")]
    withheld: Withheld,
}

/// A job of a list, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryJson {
    id: String,
    queue: String,
    task: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    priority: u8,
    attempt: u32,
    max_attempts: u32,
    enqueued_at: String,
    run_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_callback: bool,
    /// The first of the jobs that it comes after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
    /// How many these are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_count: Option<u32>,
}

/// A value that may be text or not, for `--json`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum BytesJson {
    /// Text, as it is.
    Text {
        /// The text.
        value: String,
    },
    /// Other bytes.
    Hex {
        /// In hexadecimal.
        value_hex: String,
    },
}

/// A job without what belongs to one time, for `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct TemplateJson {
    queue: String,
    task: String,
    #[serde(flatten)]
    payload: PayloadJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_crashes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<Unique>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

/// A job that another one waits for, for `--json`.
#[derive(Debug, Serialize)]
struct PredecessorJson {
    job: String,
    /// How it ended; absent: not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct TickJson {
    schedule: String,
    tick: String,
}

#[derive(Debug, Serialize)]
struct CancelJson {
    reason: String,
    hard_at: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum PayloadJson {
    Text { payload: String },
    Hex { payload_hex: String },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResultJson {
    None {},
    Text { result: String },
    Hex { result_hex: String },
}

#[derive(Debug, Serialize)]
struct LeaseJson {
    worker: String,
    token: u64,
    expires_at: String,
}

#[derive(Debug, Serialize)]
struct ErrorJson {
    attempt: u32,
    at: String,
    kind: &'static str,
    message: String,
}

impl From<&JobView> for JobJson {
    fn from(job: &JobView) -> Self {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let result = match text(&job.result) {
            _ if job.state != JobState::Completed || job.withheld == Withheld::All => ResultJson::None {},
            Some(result) => ResultJson::Text { result },
            None => ResultJson::Hex { result_hex: Hex(&job.result).to_string() },
        };
        Self {
            id: job.id.to_string(),
            queue: job.queue.to_string(),
            task: job.task.to_string(),
            state: job.state.as_str(),
            priority: job.priority,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            run_timeout_ms: job.run_timeout_ms,
            enqueued_at: human::timestamp(job.enqueued_at),
            run_at: human::timestamp(job.run_at),
            finished_at: job.finished_at.map(human::timestamp),
            lease: job.lease.as_ref().map(LeaseJson::from),
            cancel_reason: job.cancel_reason.clone(),
            cancelled_by: job.cancelled_by.clone(),
            cancel: job.cancel.as_ref().map(CancelJson::from),
            end_reason: job.end_reason.map(EndReason::as_str),
            ttl_ends_at: job.ttl_ends_at.map(human::timestamp),
            start_by: job.start_by.map(human::timestamp),
            backoff: job.backoff.clone(),
            max_crashes: job.max_crashes,
            crashed_at: job.crashed_at.iter().copied().map(human::timestamp).collect(),
            unique: job.unique.clone(),
            progress: job.progress.clone(),
            checkpoint_bytes: job.checkpoint_bytes,
            group: job.group.as_ref().map(ToString::to_string),
            label: job.label.as_ref().map(ToString::to_string),
            batch: job.batch.map(|batch| batch.to_string()),
            is_callback: job.is_callback,
            after: job.after.iter().map(PredecessorJson::from).collect(),
            on_failure: (!job.after.is_empty()).then(|| job.on_failure.as_str()),
            tick: job.tick.as_ref().map(TickJson::from),
            errors: job.errors.iter().map(ErrorJson::from).collect(),
            payload: PayloadJson::from(&job.payload[..]),
            result,
            log: String::from_utf8_lossy(&job.log).into_owned(),
            withheld: job.withheld,
        }
    }
}

impl From<&JobSummary> for SummaryJson {
    fn from(job: &JobSummary) -> Self {
        Self {
            id: job.id.to_string(),
            queue: job.queue.to_string(),
            task: job.task.to_string(),
            state: job.state.as_str(),
            end_reason: job.end_reason.map(EndReason::as_str),
            priority: job.priority,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            enqueued_at: human::timestamp(job.enqueued_at),
            run_at: human::timestamp(job.run_at),
            finished_at: job.finished_at.map(human::timestamp),
            worker: job.worker.map(|worker| worker.to_string()),
            key: job.key.as_ref().map(ToString::to_string),
            progress: job.progress.clone(),
            error: job.error.clone(),
            group: job.group.as_ref().map(ToString::to_string),
            label: job.label.as_ref().map(ToString::to_string),
            batch: job.batch.map(|batch| batch.to_string()),
            is_callback: job.is_callback,
            after: job.after.iter().map(ToString::to_string).collect(),
            after_count: (job.after_count > 0).then_some(job.after_count),
        }
    }
}

impl From<&JobTemplate> for TemplateJson {
    fn from(job: &JobTemplate) -> Self {
        Self {
            queue: job.queue.to_string(),
            task: job.task.to_string(),
            payload: PayloadJson::from(&job.payload[..]),
            priority: job.priority,
            max_attempts: job.max_attempts,
            run_timeout_ms: job.run_timeout_ms,
            ttl_ms: job.ttl_ms,
            start_deadline_ms: job.start_deadline_ms,
            backoff: job.backoff.clone(),
            max_crashes: job.max_crashes,
            unique: job.unique.clone(),
            group: job.group.as_ref().map(ToString::to_string),
            label: job.label.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&Predecessor> for PredecessorJson {
    fn from(predecessor: &Predecessor) -> Self {
        Self { job: predecessor.job.to_string(), ended: predecessor.ended.map(JobState::as_str) }
    }
}

impl From<&ScheduleTick> for TickJson {
    fn from(tick: &ScheduleTick) -> Self {
        Self { schedule: tick.schedule.to_string(), tick: human::timestamp(tick.tick) }
    }
}

impl From<&[u8]> for PayloadJson {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text { payload: text.to_owned() },
            Err(_) => Self::Hex { payload_hex: Hex(bytes).to_string() },
        }
    }
}

impl From<&[u8]> for BytesJson {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text { value: text.to_owned() },
            Err(_) => Self::Hex { value_hex: Hex(bytes).to_string() },
        }
    }
}

impl From<&CancelNotice> for CancelJson {
    fn from(notice: &CancelNotice) -> Self {
        Self { reason: notice.reason.clone(), hard_at: human::timestamp(notice.hard_at) }
    }
}

impl From<&LeaseView> for LeaseJson {
    fn from(lease: &LeaseView) -> Self {
        Self { worker: lease.worker.to_string(), token: lease.token.0, expires_at: human::timestamp(lease.expires_at) }
    }
}

impl From<&AttemptError> for ErrorJson {
    fn from(error: &AttemptError) -> Self {
        Self {
            attempt: error.attempt,
            at: human::timestamp(error.at),
            kind: error.kind.as_str(),
            message: error.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::human::tests::sample_job;
    use jobraft_protocol::LogTime;

    #[test]
    fn text_is_text_and_other_bytes_are_hexadecimal() {
        let mut job = sample_job();
        job.state = JobState::Completed;
        job.payload = "héllo".into();
        job.result = vec![0xff, 0x00].into();
        let json = serde_json::to_value(JobJson::from(&job)).unwrap();
        assert_eq!(json["payload"], "héllo");
        assert_eq!(json["result_hex"], "ff00");
        assert_eq!(json["state"], "completed");
        assert!(json.get("result").is_none());
    }

    #[test]
    fn unfinished_job_has_no_result() {
        let json = serde_json::to_value(JobJson::from(&sample_job())).unwrap();
        assert_eq!(json["state"], "ready");
        assert!(json.get("result").is_none() && json.get("finished_at").is_none());
    }

    #[test]
    fn what_a_job_has_to_do_with_others_is_told() {
        let mut job = sample_job();
        let json = serde_json::to_value(JobJson::from(&job)).unwrap();
        for key in ["group", "label", "batch", "is_callback", "after", "on_failure", "tick"] {
            assert!(json.get(key).is_none(), "{key}");
        }
        job.after =
            vec![Predecessor { job: job.id, ended: Some(JobState::Dead) }, Predecessor { job: job.id, ended: None }];
        job.group = Some("tenant 1".parse().unwrap());
        job.tick = Some(ScheduleTick { schedule: "nightly".parse().unwrap(), tick: LogTime::from_ms(60_000) });
        let json = serde_json::to_value(JobJson::from(&job)).unwrap();
        assert_eq!((&json["after"][0]["ended"], &json["on_failure"]), (&"dead".into(), &"wait".into()));
        assert!(json["after"][1].get("ended").is_none());
        assert_eq!((&json["group"], &json["tick"]["tick"]), (&"tenant 1".into(), &"1970-01-01T00:01:00.000Z".into()));
    }
}
