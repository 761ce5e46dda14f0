//! What a guest writes, kept in memory within a limit.

use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// How much a guest may hand over in one write.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// What happens to that which exceeds the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    /// The guest is stopped.
    Stop,
    /// The oldest bytes are forgotten.
    Forget,
}

/// A stream that a guest writes to; clones write to the same place.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    limit: usize,
    beyond: Beyond,
    written: Arc<Mutex<Written>>,
}

#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    exceeded: bool,
}

impl Capture {
    /// Keeps everything; a guest that writes more than `limit` bytes is stopped.
    pub(super) fn all(limit: usize) -> Self {
        Self { limit, beyond: Beyond::Stop, written: Arc::default() }
    }

    /// Keeps the last `limit` bytes.
    pub(super) fn tail(limit: usize) -> Self {
        Self { limit, beyond: Beyond::Forget, written: Arc::default() }
    }

    /// Whether more was written than is kept.
    pub(super) fn exceeded(&self) -> bool {
        self.lock().exceeded
    }

    /// Takes what was written.
    pub(super) fn take(&self) -> Bytes {
        let mut written = self.lock();
        self.forget_oldest(&mut written);
        Bytes::from(std::mem::take(&mut written.bytes))
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_oldest(&self, written: &mut Written) {
        let excess = written.bytes.len().saturating_sub(self.limit);
        written.exceeded |= excess > 0;
        written.bytes.drain(..excess);
    }

    /// Whether the guest may go on.
    fn push(&self, bytes: &[u8]) -> bool {
        let mut written = self.lock();
        match self.beyond {
            Beyond::Stop if bytes.len() > self.limit - written.bytes.len() => {
                written.exceeded = true;
                false
            }
            Beyond::Stop => {
                written.bytes.extend_from_slice(bytes);
                true
            }
            Beyond::Forget => {
                written.bytes.extend_from_slice(bytes);
                // Only at twice the limit, so that each byte is moved once at most.
                if written.bytes.len() > 2 * self.limit {
                    self.forget_oldest(&mut written);
                }
                true
            }
        }
    }
}

#[async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.push(&bytes) { Ok(()) } else { Err(StreamError::trap("more output than permitted")) }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for Capture {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.push(bytes) {
            Poll::Ready(Ok(bytes.len()))
        } else {
            Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()))
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_the_end_whatever_the_pieces() {
        let capture = Capture::tail(4);
        for piece in ["a", "bcd", "efghijklmno", "p"] {
            assert!(capture.push(piece.as_bytes()));
        }
        assert_eq!(&capture.take()[..], b"mnop");
        assert!(capture.exceeded());
    }

    #[test]
    fn exactly_the_limit_is_permitted_and_one_byte_more_is_not() {
        let capture = Capture::all(4);
        assert!(capture.push(b"abcd"));
        assert!(!capture.exceeded());
        assert!(!capture.push(b"e"));
        assert!(capture.exceeded());
    }
}
