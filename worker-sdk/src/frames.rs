//! Frames on a QUIC stream: read with a bound, written one at a time.

use jobraft_protocol::frame::{self, FrameError, HEADER_BYTES};
use jobraft_protocol::limits::CLIENT_FRAME_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most that is taken from the stream at once.
const READ_BYTES: usize = 64 * 1024;
/// A buffer that one large frame has grown beyond this is given back once it is empty.
const BUFFER_KEPT_BYTES: usize = 256 * 1024;

/// Why no further frame can be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The peer sent what is not a frame, or one that is too large.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream or its connection broke.
    #[error(transparent)]
    Stream(#[from] quinn::ReadError),
    /// The stream ended, at a frame's end or within one.
    #[error("the stream ended")]
    End,
}

/// Reads frames of at most [`CLIENT_FRAME_BYTES_MAX`] bytes.
pub(crate) struct FrameReader {
    stream: quinn::RecvStream,
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame begins.
    start: usize,
}

impl FrameReader {
    pub(crate) fn new(stream: quinn::RecvStream) -> Self {
        Self { stream, buffer: Vec::new(), start: 0 }
    }

    /// The next frame. Cancel-safe: what was read stays in the buffer.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, ReadError> {
        loop {
            if let Some(value) = self.buffered()? {
                return Ok(value);
            }
            self.fill().await?;
        }
    }

    /// What follows the frames read so far, unframed; `None` at the end of the stream.
    pub(crate) async fn raw(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        if self.start == self.buffer.len() {
            match self.fill().await {
                Err(ReadError::End) => return Ok(None),
                other => other?,
            }
        }
        let bytes = self.buffer.split_off(self.start);
        self.buffer.clear();
        self.start = 0;
        Ok(Some(bytes))
    }

    fn buffered<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReadError> {
        let Some((header, body)) = self.buffer[self.start..].split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = frame::length(*header, CLIENT_FRAME_BYTES_MAX)?;
        let Some(body) = body.get(..length) else { return Ok(None) };
        let value = frame::decode(body)?;
        self.start += HEADER_BYTES + length;
        Ok(Some(value))
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        let chunk = self.stream.read_chunk(READ_BYTES, true).await?.ok_or(ReadError::End)?;
        self.buffer.extend_from_slice(&chunk.bytes);
        Ok(())
    }
}

/// `value` as one frame.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut buffer = Vec::new();
    frame::encode(value, &mut buffer, CLIENT_FRAME_BYTES_MAX)?;
    Ok(buffer)
}
