//! Frames on a stream: many in one write, many out of one read.
//!
//! A sender gathers frames in one buffer and hands that buffer to QUIC whole, without a copy. A receiver reads as much
//! as has arrived and parses the frames where they lie. Neither loses anything when a future of theirs is dropped.

use super::connection::Origin;
use super::frame_room::FramePlace;
use super::limits::{RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES};
use super::{CloseCode, TransportError};
use bytes::Bytes;
use jobraft_protocol::frame::{self, HEADER_BYTES};
use jobraft_protocol::limits::CHUNK_BYTES;
use quinn::{RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The first capacity of a send buffer.
const FIRST_BUFFER_BYTES: usize = 512;

/// The sending half of a stream. Dropping it ends the stream cleanly after what was flushed; what is queued is lost.
pub struct FrameSender {
    stream: SendStream,
    /// Held, not read: its connection counts as open while this can write.
    _origin: Arc<Origin>,
    frame_bytes_max: usize,
    queued: Vec<u8>,
    /// What a flush has begun to write: kept here, so that a dropped flush tears no frame.
    writing: Bytes,
    capacity: usize,
    /// How long the other side may take nothing, if there is a limit to that.
    stall: Option<Duration>,
}

impl FrameSender {
    pub(super) const fn new(
        stream: SendStream,
        origin: Arc<Origin>,
        frame_bytes_max: usize,
        stall: Option<Duration>,
    ) -> Self {
        Self {
            stream,
            _origin: origin,
            frame_bytes_max,
            queued: Vec::new(),
            writing: Bytes::new(),
            capacity: FIRST_BUFFER_BYTES,
            stall,
        }
    }

    /// Encodes a frame behind those that wait for [`FrameSender::flush`]. Whoever queues in a loop flushes when
    /// [`FrameSender::is_full`], so that the buffer stays bounded.
    ///
    /// # Errors
    /// [`TransportError::Frame`] if the frame is larger than this connection permits: nothing is queued then, and the
    /// stream is as good as before.
    pub fn queue<T: Serialize>(&mut self, value: &T) -> Result<(), TransportError> {
        if self.queued.capacity() == 0 {
            self.queued.reserve(self.capacity);
        }
        Ok(frame::encode(value, &mut self.queued, self.frame_bytes_max)?)
    }

    /// Whether so much is queued that it should be flushed before more is.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.queued.len() >= SEND_BUFFER_BYTES
    }

    /// Writes everything queued; returns when QUIC has taken it, not when it has arrived. Cancel-safe: what a dropped
    /// call left over, the next one writes first.
    ///
    /// # Errors
    /// When the other side gave up the stream, or the connection is lost.
    pub async fn flush(&mut self) -> Result<(), TransportError> {
        self.drain().await?;
        if !self.queued.is_empty() {
            // The next buffer begins with the size that this one grew to, within reason.
            self.capacity = self.queued.len().clamp(FIRST_BUFFER_BYTES, SEND_BUFFER_BYTES);
            self.writing = Bytes::from(std::mem::take(&mut self.queued));
            self.drain().await?;
        }
        Ok(())
    }

    /// Queues a frame and flushes.
    ///
    /// # Errors
    /// As [`FrameSender::queue`] and [`FrameSender::flush`].
    pub async fn send<T: Serialize>(&mut self, value: &T) -> Result<(), TransportError> {
        self.queue(value)?;
        self.flush().await
    }

    /// Writes bytes without a frame around them, behind what is queued, without copying them.
    ///
    /// # Errors
    /// As [`FrameSender::flush`].
    pub async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), TransportError> {
        self.flush().await?;
        self.writing = bytes;
        self.drain().await
    }

    /// Flushes and ends the stream cleanly: the other side reads everything, then the end.
    ///
    /// # Errors
    /// As [`FrameSender::flush`].
    pub async fn finish(&mut self) -> Result<(), TransportError> {
        self.flush().await?;
        self.stream.finish().map_err(|_| TransportError::StreamEnded)
    }

    /// Ends the stream at once; the other side's reads fail with `code`, whatever was under way.
    pub fn reset(&mut self, code: CloseCode) {
        // Already ended is as good.
        let _ = self.stream.reset(code.var_int());
    }

    /// Waits until the other side has received everything after [`FrameSender::finish`], or has given up the stream.
    pub async fn settled(&mut self) {
        // Lost or stopped is as settled as received.
        let _ = self.stream.stopped().await;
    }

    pub(super) fn set_priority(&self, priority: i32) {
        // A stream that is gone needs no priority.
        let _ = self.stream.set_priority(priority);
    }

    async fn drain(&mut self) -> Result<(), TransportError> {
        while !self.writing.is_empty() {
            let write = self.stream.write_chunks(std::slice::from_mut(&mut self.writing));
            match self.stall {
                None => drop(write.await?),
                Some(limit) => {
                    let Ok(written) = timeout(limit, write).await else { return Err(self.give_up(limit)) };
                    written?;
                }
            }
        }
        Ok(())
    }

    /// Ends a stream whose other side takes nothing.
    fn give_up(&mut self, limit: Duration) -> TransportError {
        self.writing = Bytes::new();
        self.queued = Vec::new();
        self.reset(CloseCode::Overloaded);
        TransportError::TimedOut { what: "writing", limit }
    }
}

/// The receiving half of a stream. Dropping it tells the other side to stop sending.
pub struct FrameReceiver {
    stream: RecvStream,
    origin: Arc<Origin>,
    frame_bytes_max: usize,
    buffer_kept_bytes: usize,
    /// All of it initialized, so that reading into it costs no zeroing; `start..end` is what was read and not parsed.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Room for the frame that is read now, or was read last, if it is a large one.
    place: Option<FramePlace>,
    stopped: bool,
}

impl FrameReceiver {
    pub(super) const fn new(
        stream: RecvStream,
        origin: Arc<Origin>,
        frame_bytes_max: usize,
        buffer_kept_bytes: usize,
    ) -> Self {
        Self {
            stream,
            origin,
            frame_bytes_max,
            buffer_kept_bytes,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            place: None,
            stopped: false,
        }
    }

    /// The next frame; `None` at the clean end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// [`TransportError::Frame`] or [`TransportError::Truncated`] for what is not a frame of this kind: the other side
    /// is told to stop, and every later call fails. The sending half is the caller's to [`FrameSender::reset`].
    /// Otherwise when the other side gave up the stream, or the connection is lost.
    ///
    /// Whoever calls this again has dealt with the frame before: until then it keeps its room.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, TransportError> {
        self.clear_large();
        loop {
            if let Some(value) = self.try_recv()? {
                return Ok(Some(value));
            }
            if self.fill().await? {
                continue;
            }
            return if self.start == self.end { Ok(None) } else { Err(self.refuse(TransportError::Truncated)) };
        }
    }

    /// The next frame, if it was already read whole; never waits. For handling at once what arrived at once.
    ///
    /// # Errors
    /// [`TransportError::Frame`], as [`FrameReceiver::recv`].
    pub fn try_recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, TransportError> {
        let parsed = frame::first(&self.buffer[self.start..self.end], self.frame_bytes_max);
        match parsed {
            Ok(Some((value, bytes))) => {
                self.start += bytes;
                Ok(Some(value))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(self.refuse(error.into())),
        }
    }

    /// The next bytes, unframed: for bodies that follow the last frame; `None` at the clean end. Cancel-safe.
    ///
    /// # Errors
    /// When the other side gave up the stream, or the connection is lost.
    pub async fn recv_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if self.start < self.end {
            let bytes = Bytes::copy_from_slice(&self.buffer[self.start..self.end]);
            self.start = self.end;
            return Ok(Some(bytes));
        }
        Ok(self.stream.read_chunk(CHUNK_BYTES, true).await?.map(|chunk| chunk.bytes))
    }

    /// Notes that what came was refused, without filling the log with it.
    pub(crate) fn report(&self, kind: &'static str, reason: &dyn Display) {
        self.origin.refuse(kind, reason);
    }

    /// Tells the other side to stop sending; its writes fail with `code`.
    pub fn stop(&mut self, code: CloseCode) {
        (self.start, self.end) = (0, 0);
        self.clear_large();
        self.stopped = true;
        // Already ended is as good.
        let _ = self.stream.stop(code.var_int());
    }

    /// Gives the stream up because of what the other side sent, and sees to it that this is known.
    fn refuse(&mut self, error: TransportError) -> TransportError {
        self.stop(error.close_code());
        self.origin.refuse("a frame", &error);
        error
    }

    /// Reads what has arrived, at least one byte; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool, TransportError> {
        // QUIC would call a stream that was stopped after its last byte cleanly ended.
        if self.stopped {
            return Err(TransportError::StreamEnded);
        }
        let large = self.large_frame_bytes();
        if let (Some(bytes), None, Some(room)) = (large, &self.place, self.origin.frame_room()) {
            self.place = Some(room.place(bytes).await);
        }
        self.make_room(large);
        let read = self.stream.read(&mut self.buffer[self.end..]);
        let read = match &self.place {
            None => read.await,
            Some(place) => match place.within(read).await {
                Ok(read) => read,
                Err(late) => return Err(self.refuse(late)),
            },
        };
        let Some(read) = read? else { return Ok(false) };
        self.end += read;
        Ok(true)
    }

    /// The size, with its header, of the frame that has begun to come in, if it is larger than what the buffer keeps.
    fn large_frame_bytes(&self) -> Option<usize> {
        let header = self.buffer[self.start..self.end].first_chunk::<HEADER_BYTES>()?;
        let bytes = HEADER_BYTES + frame::length(*header, self.frame_bytes_max).ok()?;
        (bytes > self.buffer_kept_bytes).then_some(bytes)
    }

    /// Gives back what a large frame took, once it is parsed. Nothing behind it was read.
    fn clear_large(&mut self) {
        if self.start == self.end && self.buffer.len() > self.buffer_kept_bytes {
            (self.start, self.end) = (0, 0);
            self.buffer = Vec::new();
        }
        if self.buffer.len() <= self.buffer_kept_bytes && self.large_frame_bytes().is_none() {
            self.place = None;
        }
    }

    /// Sees to free space at the buffer's end. It grows only when full of bytes that did arrive, so that a length alone
    /// makes nobody allocate; and not beyond the end of a large frame, so that its room is all that it takes.
    fn make_room(&mut self, large: Option<usize>) {
        let was_filled = self.end == self.buffer.len();
        if self.start == self.end || was_filled {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let size = self.buffer.len();
        let size_max = large.unwrap_or(self.buffer_kept_bytes);
        if was_filled && self.end == size {
            // Exactly: what a vector grows by of itself may be twice as much.
            let size = (size * 2).max(RECEIVE_BUFFER_BYTES).min(size_max);
            self.buffer.reserve_exact(size - self.end);
            self.buffer.resize(size, 0);
        } else if was_filled && size < self.buffer_kept_bytes {
            self.buffer.resize((size * 2).max(RECEIVE_BUFFER_BYTES).min(self.buffer_kept_bytes), 0);
        }
    }
}
