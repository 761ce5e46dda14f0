//! What a worker and the process that runs its guests say to each other: CBOR in frames, over two pipes.
//!
//! Guests may have taken the process over, so the worker believes nothing that it says: frames are bounded, an answer to a
//! question that was not asked ends the process, and what an answer can decide is the outcome of a job that runs there.

use super::config::{Clocks, WasmLimits};
use super::secrets::Secrets;
use bytes::Bytes;
use jobraft_protocol::frame::{self, FrameError, HEADER_BYTES};
use jobraft_protocol::limits::{
    FAILURE_MESSAGE_BYTES_MAX, JOB_SECRETS_BYTES_MAX, JOB_SECRETS_MAX, LOG_TAIL_BYTES_MAX, PAYLOAD_BYTES_MAX,
    RESULT_BYTES_MAX,
};
use jobraft_protocol::{Completion, Digest, Failure, FailureKind, LogTime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a frame holds beside the bytes that it carries.
const BESIDE_BYTES_MAX: usize = 1024;
/// Machine code goes in parts of this size, so that word to stop a guest need not wait for tens of megabytes.
pub(super) const PART_BYTES: usize = 256 * 1024;
/// What it holds beside the name and the value of each secret.
const BESIDE_SECRET_BYTES_MAX: usize = 8;
/// The largest frame to the process.
pub(super) const TO_HOST_BYTES_MAX: usize =
    PAYLOAD_BYTES_MAX + JOB_SECRETS_BYTES_MAX + JOB_SECRETS_MAX * BESIDE_SECRET_BYTES_MAX + BESIDE_BYTES_MAX;
/// The largest frame from it.
pub(super) const FROM_HOST_BYTES_MAX: usize =
    RESULT_BYTES_MAX + LOG_TAIL_BYTES_MAX + FAILURE_MESSAGE_BYTES_MAX + BESIDE_BYTES_MAX;

/// What the worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHost {
    /// The first: how guests run.
    Settings(Settings),
    /// Here comes a module's machine code, of so many bytes. It is answered by [`FromHost::Loaded`]; one at a time.
    Load { digest: Digest, bytes: u64 },
    /// The next part of it.
    Part(Bytes),
    /// Run a module that was loaded. It is answered by [`FromHost::Ended`].
    Run { id: u64, digest: Digest, payload: Bytes, enqueued_at: LogTime, secrets: Secrets },
    /// Stop that run, if it has not ended yet.
    Stop { id: u64 },
}

/// How guests run, for the life of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    /// What the worker's compiler makes code for.
    pub(super) compatibility: String,
    /// What each job may use.
    pub(super) limits: WasmLimits,
    /// What clocks it may read.
    pub(super) clocks: Clocks,
    /// How many run at once.
    pub(super) concurrency: usize,
    /// On how many threads.
    pub(super) threads: usize,
    /// How many modules are kept ready.
    pub(super) modules_cached: usize,
}

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromHost {
    /// The first: it has given up its rights, and is ready for modules.
    Ready,
    /// The module is ready to run, or why it never can be.
    Loaded { digest: Digest, refused: Option<String> },
    /// How a run ended.
    Ended { id: u64, outcome: Outcome },
}

/// How a run ended. Less than a worker can report: a guest enqueues nothing and writes no values.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// It did what it should.
    Completed { result: Bytes, log: Bytes },
    /// It did not.
    Failed { kind: FailureKind, retryable: bool, message: String, log: Bytes },
    /// It was never begun: the module is none of those kept ready.
    Unknown,
}

impl Outcome {
    /// An outcome small enough for a frame.
    pub(super) fn of(ended: Result<Completion, Failure>) -> Self {
        match ended {
            Ok(Completion { result, log, .. }) => Self::Completed { result, log },
            Err(Failure { kind, message, retryable, log }) => {
                Self::Failed { kind, retryable, message: cut(message), log }
            }
        }
    }

    /// Whether it is within what a guest with these limits could have brought about.
    pub(super) fn is_within(&self, limits: &WasmLimits) -> bool {
        match self {
            Self::Completed { result, log } => result.len() <= limits.stdout_bytes && log.len() <= limits.stderr_bytes,
            Self::Failed { message, log, .. } => {
                message.len() <= FAILURE_MESSAGE_BYTES_MAX && log.len() <= limits.stderr_bytes
            }
            Self::Unknown => true,
        }
    }
}

/// As much of a message as is sent.
pub(super) fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(FAILURE_MESSAGE_BYTES_MAX));
    message
}

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The pipe broke.
    #[error("the pipe broke: {0}")]
    Io(#[from] io::Error),
    /// What came is no frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// Waits for the next frame; none if the other end is gone.
pub(super) fn read<T: DeserializeOwned>(pipe: &mut impl Read, max: usize) -> Result<Option<T>, WireError> {
    let mut header = [0; HEADER_BYTES];
    let mut body = match pipe.read_exact(&mut header) {
        Ok(()) => vec![0; frame::length(header, max)?],
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    pipe.read_exact(&mut body)?;
    Ok(Some(frame::decode(&body)?))
}

/// The same, without keeping a thread. Not to be dropped halfway: what was read by then is lost.
pub(super) async fn next<T: DeserializeOwned>(
    pipe: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<Option<T>, WireError> {
    let mut header = [0; HEADER_BYTES];
    let mut body = match pipe.read_exact(&mut header).await {
        Ok(_) => vec![0; frame::length(header, max)?],
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    pipe.read_exact(&mut body).await?;
    Ok(Some(frame::decode(&body)?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::limits::SECRET_BYTES_MAX;
    use jobraft_protocol::{SecretName, SecretValue};

    #[test]
    fn the_largest_outcomes_fit_in_a_frame() {
        let limits = WasmLimits::default();
        let bytes = |count| Bytes::from(vec![0xff; count]);
        let log = bytes(limits.stderr_bytes);
        let completed = Completion { result: bytes(limits.stdout_bytes), log: log.clone(), ..Completion::default() };
        let failed = Failure { log, ..Failure::retryable("ä".repeat(FAILURE_MESSAGE_BYTES_MAX)) };
        for ended in [Ok(completed), Err(failed)] {
            let outcome = Outcome::of(ended);
            assert!(outcome.is_within(&limits));
            frame::encode(&FromHost::Ended { id: u64::MAX, outcome }, &mut Vec::new(), FROM_HOST_BYTES_MAX).unwrap();
        }
    }

    #[test]
    fn more_than_a_job_may_have_is_noticed() {
        let limits = WasmLimits { stdout_bytes: 2, stderr_bytes: 1, ..WasmLimits::default() };
        let completed = |result: &'static [u8], log: &'static [u8]| {
            let (result, log) = (Bytes::from_static(result), Bytes::from_static(log));
            Outcome::Completed { result, log }.is_within(&limits)
        };
        assert!(completed(b"ab", b"a"));
        assert!(!completed(b"abc", b"") && !completed(b"", b"ab"));
        let failed = |message: String, log: &'static [u8]| {
            let log = Bytes::from_static(log);
            Outcome::Failed { kind: FailureKind::Error, retryable: true, message, log }.is_within(&limits)
        };
        assert!(failed("a".repeat(FAILURE_MESSAGE_BYTES_MAX), b"a"));
        assert!(!failed("a".repeat(FAILURE_MESSAGE_BYTES_MAX + 1), b"") && !failed(String::new(), b"ab"));
    }

    fn run(payload: Bytes, secrets: Secrets) -> ToHost {
        let (digest, enqueued_at) = (Digest([0xff; 32]), LogTime::from_ms(u64::MAX >> 16));
        ToHost::Run { id: u64::MAX, digest, payload, enqueued_at, secrets }
    }

    #[test]
    fn the_largest_job_fits_in_a_frame() {
        let payload = Bytes::from(vec![0xff; PAYLOAD_BYTES_MAX]);
        // As many as there may be, and as large as there may be.
        for count in [JOB_SECRETS_MAX, JOB_SECRETS_BYTES_MAX.div_ceil(SECRET_BYTES_MAX)] {
            let secret = |n: usize| {
                let name = SecretName::new(&format!("{}{n:0>63}", ["A", "_"][n % 2])).unwrap();
                let bytes = JOB_SECRETS_BYTES_MAX / count - name.as_str().len();
                (name, SecretValue::new("x".repeat(bytes)).unwrap())
            };
            let secrets: Secrets = (0..count).map(secret).collect();
            let bytes: usize = secrets.iter().map(|(name, value)| name.as_str().len() + value.reveal().len()).sum();
            assert_eq!(bytes, JOB_SECRETS_BYTES_MAX);
            frame::encode(&run(payload.clone(), secrets), &mut Vec::new(), TO_HOST_BYTES_MAX).unwrap();
        }
    }

    #[test]
    fn secrets_arrive_and_are_shown_to_nobody() {
        let sent: Secrets = vec![
            (SecretName::new("API_KEY").unwrap(), "hunter2".parse().unwrap()),
            (SecretName::new("PEM").unwrap(), "-----BEGIN\n\u{e4}".parse().unwrap()),
        ];
        let frame = run(Bytes::new(), sent.clone());
        let shown = format!("{frame:?}");
        assert!(shown.contains("API_KEY") && !shown.contains("hunter2") && !shown.contains("BEGIN"), "{shown}");
        let mut bytes = Vec::new();
        frame::encode(&frame, &mut bytes, TO_HOST_BYTES_MAX).unwrap();
        match read(&mut &bytes[..], TO_HOST_BYTES_MAX).unwrap() {
            Some(ToHost::Run { secrets, .. }) => assert_eq!(secrets, sent),
            other => panic!("{other:?}"),
        }
    }
}
