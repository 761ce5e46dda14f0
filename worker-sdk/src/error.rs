//! What a caller of the SDK can get instead of an answer, and whether asking again makes sense.

use crate::tls::TlsError;
use jobraft_protocol::{Digest, Error, ErrorCode, JobId, JobState, KeyError, Label, NameError, NodeAddress, Retry};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SdkError {
    /// No endpoint was given.
    #[error("no endpoint is configured; give at least one host:port of a node")]
    NoEndpoint,
    /// The certificates or the key of this client are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No node could be reached.
    #[error("no node can be reached; tried {}", Tried(.0))]
    Unreachable(Vec<FailedAttempt>),
    /// This client's token does not count, and there is none to try instead: it was just read, or is no file.
    #[error("this client's token is refused: {0}")]
    Unauthenticated(Error),
    /// A node refused the request, and would again.
    #[error(transparent)]
    Refused(#[from] Error),
    /// There was no answer within the time allowed, in spite of retries.
    #[error("{request} was not answered within {after:?}{}{}", unknown_text(*.outcome_unknown), last_text(.last))]
    Timeout {
        /// What was asked.
        request: &'static str,
        /// For how long.
        after: Duration,
        /// Whether it may have been done all the same.
        outcome_unknown: bool,
        /// What the last attempt said.
        last: Option<String>,
    },
    /// The connection was lost before the answer came, and sending the request again could do it twice.
    #[error("{request} may or may not have been done: {reason}; look before you ask again")]
    OutcomeUnknown {
        /// What was asked.
        request: &'static str,
        /// Why there is no answer.
        reason: String,
    },
    /// The node answered with something that does not fit the request.
    #[error("the node broke the protocol: {0}; are client and cluster of compatible versions?")]
    Protocol(String),
    /// The request does not fit in a frame or exceeds another limit of the protocol; nothing was sent.
    #[error("the request is too large: {0}")]
    TooLarge(String),
    /// A setting outside its domain; the text names it.
    #[error("{0}")]
    Invalid(String),
    /// A text that is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text that is not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A payload that cannot be written, or a result that cannot be read, as JSON of the given type.
    #[error("the {what} is not the expected JSON: {source}")]
    Json {
        /// `payload` or `result`.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The awaited job ended otherwise than well.
    #[error("job {} ended {state}{}", job_text(job, label), last_text(.message))]
    JobEnded {
        /// The job.
        job: JobId,
        /// What it is called within its workflow.
        label: Option<Label>,
        /// `dead`, `cancelled` or `expired`.
        state: JobState,
        /// Its last error, or why it was cancelled.
        message: Option<String>,
    },
    /// The job whose result was asked for has none yet.
    #[error("job {} is {state} and has no result yet; wait for its end", job_text(job, label))]
    JobLives {
        /// The job.
        job: JobId,
        /// What it is called within its workflow.
        label: Option<Label>,
        /// Where it stands.
        state: JobState,
    },
    /// The job completed, and this client does not get to see what came of it.
    #[error(
        "the result of job {} is not for this client: issue it a certificate with --payloads yes",
        job_text(job, label)
    )]
    Withheld {
        /// The job.
        job: JobId,
        /// What it is called within its workflow.
        label: Option<Label>,
    },
    /// A module's bytes are not what its digest says.
    #[error("the bytes received have the digest {actual}, not {expected}; nothing was kept, download it again")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A local file could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// This machine refuses a thread, a socket or a signal handler.
    #[error("this machine refuses {what}: {source}")]
    Machine {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// [`Client::close`](crate::Client::close) was called.
    #[error("this client is closed; connect a new one")]
    Closed,
}

impl SdkError {
    /// The code with which a node refused the request, or this client's token, if one did.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) | Self::Unauthenticated(error) => Some(error.code),
            _ => None,
        }
    }

    /// Whether the same call, made again later, may succeed without anything being changed. Where
    /// [`outcome_unknown`](Self::outcome_unknown) holds too, the first call may have taken effect.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Refused(error) => error.code.retry() != Retry::Never,
            Self::Unreachable(tried) => tried.iter().any(|attempt| attempt.failure.is_transient()),
            Self::Timeout { .. }
            | Self::OutcomeUnknown { .. }
            | Self::DigestMismatch { .. }
            | Self::JobLives { .. } => true,
            _ => false,
        }
    }

    /// Whether the request may have been carried out although there is no answer.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Timeout { outcome_unknown, .. } => *outcome_unknown,
            Self::OutcomeUnknown { .. } => true,
            Self::Refused(error) => error.code.retry() == Retry::IfIdempotent,
            _ => false,
        }
    }
}

fn unknown_text(unknown: bool) -> &'static str {
    if unknown { "; it may or may not have been done" } else { "" }
}

fn job_text(job: &JobId, label: &Option<Label>) -> String {
    label.as_ref().map_or_else(|| job.to_string(), |label| format!("{label} ({job})"))
}

fn last_text(last: &Option<String>) -> String {
    last.as_ref().map_or_else(String::new, |text| format!(": {text}"))
}

/// One endpoint, and why it did not serve.
#[derive(Debug)]
pub struct FailedAttempt {
    /// Where.
    pub address: NodeAddress,
    /// Why not.
    pub failure: ConnectFailure,
}

impl FailedAttempt {
    /// What the node said, if it knows that this client's token does not count. Those that do not say so know less.
    pub(crate) fn unauthenticated(&self) -> Option<&Error> {
        match &self.failure {
            ConnectFailure::Refused(error) if error.code == ErrorCode::Unauthenticated => Some(error),
            _ => None,
        }
    }

    /// What the node said, if no other node would say anything else: such as that this client may not enter its namespace.
    pub(crate) fn refused_for_good(&self) -> Option<&Error> {
        match &self.failure {
            ConnectFailure::Refused(error) if error.code.retry() == Retry::Never => Some(error),
            _ => None,
        }
    }
}

struct Tried<'a>(&'a [FailedAttempt]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", attempt.address, attempt.failure)?;
        }
        Ok(())
    }
}

/// Why one endpoint did not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The host name means nothing here.
    #[error("the host name cannot be resolved ({0})")]
    Resolve(String),
    /// Silence.
    #[error("no answer; is a node running there, and does the network let UDP through?")]
    NoAnswer,
    /// Something answers, but it does not speak `jobraft/1`.
    #[error("what answers there is not a Jobraft node ({0})")]
    NotJobraft(String),
    /// The node's certificate is not trusted: of another CA, expired, or for another host.
    #[error(
        "the node's certificate is refused ({0}); check that the CA file is this cluster's and that the host is named in the certificate"
    )]
    NodeCertificate(String),
    /// The node does not trust this client's certificate.
    #[error(
        "the node refuses this client's certificate ({0}); it must be issued by the cluster's CA, for the role client, and not be expired"
    )]
    ClientCertificate(String),
    /// The node refuses the session and says why.
    #[error("{0}")]
    Refused(Error),
    /// The connection ended before the session began.
    #[error("the connection was closed ({0})")]
    Closed(String),
    /// This machine refuses a socket.
    #[error("no socket ({0})")]
    Socket(String),
    /// This client's certificates cannot be read any more.
    #[error("{0}")]
    Tls(String),
}

impl ConnectFailure {
    /// Whether time alone may mend it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoAnswer | Self::Closed(_) | Self::Socket(_) | Self::Resolve(_) => true,
            Self::Refused(error) => error.code.retry() != Retry::Never,
            Self::NotJobraft(_) | Self::NodeCertificate(_) | Self::ClientCertificate(_) | Self::Tls(_) => false,
        }
    }
}
