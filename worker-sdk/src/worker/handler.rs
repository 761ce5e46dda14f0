//! Native handlers: async functions over typed payloads, made alike for the worker to call.

use crate::context::JobContext;
use crate::executor::Executor;
use bytes::Bytes;
use jobraft_protocol::limits::{DELAY_MS_MAX, FAILURE_MESSAGE_BYTES_MAX, LOG_TAIL_BYTES_MAX, RESULT_BYTES_MAX};
use jobraft_protocol::{Completion, Failure, FailureKind, LeasedJob, Task, TaskName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Why a handler did not finish its job, and whether trying again may help.
///
/// Any [`std::error::Error`] becomes a retryable one through `?`. It is no such error itself, for that reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError(Unfinished);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Unfinished {
    Failed { message: String, retryable: bool },
    Snoozed(Duration),
}

impl JobError {
    /// A failure that the next attempt may not have.
    #[must_use]
    pub fn retryable(message: impl Into<String>) -> Self {
        Self(Unfinished::Failed { message: message.into(), retryable: true })
    }

    /// A failure that every attempt would have: the job is dead at once.
    #[must_use]
    pub fn fatal(message: impl Into<String>) -> Self {
        Self(Unfinished::Failed { message: message.into(), retryable: false })
    }

    /// No failure: the job is to run again after `delay` and not sooner, at most a year. The attempt does not count, and
    /// what was checkpointed is kept.
    #[must_use]
    pub fn snooze(delay: Duration) -> Self {
        Self(Unfinished::Snoozed(delay.min(Duration::from_millis(DELAY_MS_MAX))))
    }
}

impl<E: StdError> From<E> for JobError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::retryable(message)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Completed(Completion),
    Failed(Failure),
    /// To run again after this.
    Snoozed(Duration),
}

impl From<Result<Completion, Failure>> for Outcome {
    fn from(result: Result<Completion, Failure>) -> Self {
        match result {
            Ok(completion) => Self::Completed(completion),
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl From<JobError> for Outcome {
    fn from(error: JobError) -> Self {
        match error.0 {
            Unfinished::Failed { message, retryable } => {
                Self::Failed(Failure::of_kind(FailureKind::Error, retryable, message))
            }
            Unfinished::Snoozed(delay) => Self::Snoozed(delay),
        }
    }
}

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Handler = Arc<dyn Fn(JobContext, Bytes) -> Running + Send + Sync>;

/// What a worker can run.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    handlers: BTreeMap<TaskName, Handler>,
    executors: Vec<Arc<dyn Executor>>,
}

impl Tasks {
    pub(super) fn add_handler<F, Fut, T, R>(&mut self, name: TaskName, handler: F)
    where
        F: Fn(JobContext, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, JobError>> + Send + 'static,
        T: DeserializeOwned,
        R: Serialize,
    {
        let handler = move |context: JobContext, payload: Bytes| -> Running {
            // No payload is the payload `()`.
            let text = if payload.is_empty() { b"null" } else { &payload[..] };
            let payload = match serde_json::from_slice(text) {
                Ok(payload) => payload,
                Err(error) => {
                    let text = format!("the payload is not what the handler takes: {error}");
                    return Box::pin(std::future::ready(Outcome::Failed(Failure::final_error(text))));
                }
            };
            let running = handler(context.clone(), payload);
            Box::pin(async move {
                match running.await {
                    Ok(result) => match serde_json::to_vec(&result) {
                        Ok(result) => Outcome::Completed(context.completion(result)),
                        Err(error) => {
                            let text = format!("the result cannot be written as JSON: {error}");
                            Outcome::Failed(Failure::final_error(text))
                        }
                    },
                    Err(error) => error.into(),
                }
            })
        };
        self.handlers.insert(name, Arc::new(handler));
    }

    pub(super) fn add_executor(&mut self, executor: Arc<dyn Executor>) {
        self.executors.push(executor);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.handlers.is_empty() && self.executors.is_empty()
    }

    /// One attempt: by the handler of that name, else by the first executor that accepts the task. Calls the program's
    /// code, which may panic or block.
    pub(super) fn start(&self, job: Arc<LeasedJob>, context: JobContext) -> Running {
        if let Task::Handler(name) = &job.task
            && let Some(handler) = self.handlers.get(name)
        {
            return handler(context, job.payload.clone());
        }
        match self.executors.iter().find(|executor| executor.accepts(&job.task)) {
            Some(executor) => {
                let executor = Arc::clone(executor);
                Box::pin(async move { executor.run(&job, context).await.into() })
            }
            None => {
                let text = format!("this worker has neither a handler nor an executor for {}", job.task);
                let failure = Failure::of_kind(FailureKind::UnknownTask, true, text);
                Box::pin(std::future::ready(Outcome::Failed(failure)))
            }
        }
    }
}

/// An outcome within the limits of a report: logs and messages are cut, a result that is too large is a failure.
pub(super) fn bounded(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Completed(completion) if completion.result.len() > RESULT_BYTES_MAX => {
            let bytes = completion.result.len();
            let text = format!("the result has {bytes} bytes, more than the {RESULT_BYTES_MAX} that are kept");
            let log = tail(completion.log);
            Outcome::Failed(Failure { log, ..Failure::of_kind(FailureKind::OutputLimit, false, text) })
        }
        Outcome::Completed(mut completion) => {
            completion.log = tail(completion.log);
            Outcome::Completed(completion)
        }
        Outcome::Failed(mut failure) => {
            failure.message.truncate(failure.message.floor_char_boundary(FAILURE_MESSAGE_BYTES_MAX));
            failure.log = tail(failure.log);
            Outcome::Failed(failure)
        }
        Outcome::Snoozed(delay) => Outcome::Snoozed(delay),
    }
}

fn tail(log: Bytes) -> Bytes {
    log.slice(log.len().saturating_sub(LOG_TAIL_BYTES_MAX)..)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_result_beyond_the_limit_is_a_final_failure() {
        let result = Bytes::from(vec![0; RESULT_BYTES_MAX + 1]);
        let outcome = bounded(Outcome::Completed(Completion { result, ..Completion::default() }));
        let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
        assert_eq!((failure.kind, failure.retryable), (FailureKind::OutputLimit, false));
    }

    #[test]
    fn messages_are_cut_between_characters_and_logs_keep_their_end() {
        let mut failure = Failure::retryable("é".repeat(FAILURE_MESSAGE_BYTES_MAX));
        failure.log = Bytes::from([vec![b'a'; LOG_TAIL_BYTES_MAX], b"end".to_vec()].concat());
        let outcome = bounded(Outcome::Failed(failure));
        let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.message.len(), FAILURE_MESSAGE_BYTES_MAX);
        assert_eq!(failure.log.len(), LOG_TAIL_BYTES_MAX);
        assert!(failure.log.ends_with(b"end"));
    }

    #[test]
    fn an_error_tells_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("no mail sent")]
        struct Outer(#[source] std::num::ParseIntError);
        let error = JobError::from(Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!(error, JobError::retryable("no mail sent: invalid digit found in string"));
    }
}
