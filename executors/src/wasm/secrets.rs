//! A job's secrets: asked for before its guest begins, and its whole environment.

use super::watch::Watch;
use jobraft_protocol::limits::{JOB_SECRETS_BYTES_MAX, JOB_SECRETS_MAX};
use jobraft_protocol::{ErrorCode, Failure, FailureKind, SecretName, SecretValue};
use jobraft_sdk::{JobContext, SdkError};

/// By name; for most jobs none.
pub(super) type Secrets = Vec<(SecretName, SecretValue)>;

/// Those of the job, unless `watch` stops the attempt first.
///
/// # Errors
/// That may all be tried again: whoever grants secrets, or runs the cluster, can mend it.
pub(super) async fn of(context: &JobContext, watch: &Watch) -> Result<Secrets, Failure> {
    within(context.secrets(), watch).await
}

async fn within(asked: impl Future<Output = Result<Secrets, SdkError>>, watch: &Watch) -> Result<Secrets, Failure> {
    let secrets = tokio::select! {
        biased;
        // First: a job that has none has its answer at once, and no timer is set for it.
        secrets = asked => secrets.map_err(|error| failed(&error))?,
        stop = watch.stopped() => return Err(stop.into()),
    };
    check(&secrets)?;
    Ok(secrets)
}

/// What is said of one who did not get them: no error holds a value.
fn failed(error: &SdkError) -> Failure {
    let kind = if error.code() == Some(ErrorCode::LeaseLost) { FailureKind::LeaseExpired } else { FailureKind::Error };
    Failure::of_kind(kind, true, format!("could not get the job's secrets: {error}"))
}

/// The cluster keeps to these limits; what exceeds them would not fit in a frame to the process that runs guests.
fn check(secrets: &Secrets) -> Result<(), Failure> {
    let bytes: usize = secrets.iter().map(|(name, value)| name.as_str().len() + value.reveal().len()).sum();
    if secrets.len() <= JOB_SECRETS_MAX && bytes <= JOB_SECRETS_BYTES_MAX {
        return Ok(());
    }
    Err(Failure::retryable(format!(
        "could not get the job's secrets: {} with {bytes} bytes came, at most {JOB_SECRETS_MAX} with \
         {JOB_SECRETS_BYTES_MAX} may",
        secrets.len()
    )))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::{Error, JobId, LogTime};
    use std::time::{Duration, Instant};
    use tokio_util::sync::CancellationToken;

    fn watch(cancelled: CancellationToken, lease: Duration) -> Watch {
        let deadline = Instant::now() + lease;
        Watch::new(JobContext::new(JobId::new(LogTime::ZERO, [0; 10]), cancelled, move || deadline))
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_holds_up_neither_cancellation_nor_the_end_of_the_lease() {
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let failure = within(std::future::pending(), &watch(cancelled, Duration::from_secs(600))).await.unwrap_err();
        assert!(failure.message.starts_with("stopped: "), "{}", failure.message);
        let lease = watch(CancellationToken::new(), Duration::from_millis(20));
        let failure = within(std::future::pending(), &lease).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::LeaseExpired, "{}", failure.message);
    }

    #[tokio::test]
    async fn refusal_is_named_and_may_be_tried_again() {
        let watch = watch(CancellationToken::new(), Duration::from_secs(600));
        for (code, kind) in
            [(ErrorCode::WrongState, FailureKind::Error), (ErrorCode::LeaseLost, FailureKind::LeaseExpired)]
        {
            let refused = SdkError::Refused(Error::new(code, "the leader has no key for secrets"));
            let failure = within(std::future::ready(Err(refused)), &watch).await.unwrap_err();
            assert_eq!((failure.kind, failure.retryable), (kind, true));
            assert!(failure.message.starts_with("could not get the job's secrets: "), "{}", failure.message);
            assert!(failure.message.contains("no key for secrets"), "{}", failure.message);
        }
    }
}
