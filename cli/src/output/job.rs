//! A job as JSON: what scripts parse. Bytes that are text are given as text, others in hexadecimal under another key.

use super::human;
use jobraft_protocol::{
    AttemptError, Backoff, CancelNotice, EndReason, JobSummary, JobView, LeaseView, Progress, Unique,
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
    errors: Vec<ErrorJson>,
    #[serde(flatten)]
    payload: PayloadJson,
    #[serde(flatten)]
    result: ResultJson,
    log: String,
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
        let payload = match text(&job.payload) {
            Some(payload) => PayloadJson::Text { payload },
            None => PayloadJson::Hex { payload_hex: hex(&job.payload) },
        };
        let result = match text(&job.result) {
            _ if job.state != jobraft_protocol::JobState::Completed => ResultJson::None {},
            Some(result) => ResultJson::Text { result },
            None => ResultJson::Hex { result_hex: hex(&job.result) },
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
            errors: job.errors.iter().map(ErrorJson::from).collect(),
            payload,
            result,
            log: String::from_utf8_lossy(&job.log).into_owned(),
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
        }
    }
}

impl From<&[u8]> for BytesJson {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text { value: text.to_owned() },
            Err(_) => Self::Hex { value_hex: hex(bytes) },
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::human::tests::sample_job;
    use jobraft_protocol::JobState;

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
}
