//! What waits for the log's writer.
//!
//! The writer takes everything at once, so that the longer an fsync takes, the more the next one carries. Both bounds
//! block the sender until the writer has taken what is there.

use super::database::lock;
use super::{Done, LogPosition, LogRecord};
use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Operations that may wait; the sender of one more is blocked.
const QUEUE_OPS_MAX: usize = 16_384;
/// Bytes of records that may wait; the sender of more is blocked. One operation may exceed it alone.
const QUEUE_BYTES_MAX: usize = 32 << 20;

/// A change to the log.
pub(super) enum Op {
    Append(Vec<LogRecord>),
    SaveVote(Vec<u8>),
    TruncateAfter(Option<u64>),
    Purge(LogPosition),
}

/// What one transaction writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) ops: Vec<(Op, Done)>,
    pub(super) committed: Option<Vec<u8>>,
}

/// Why nothing is written any more.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) kind: io::ErrorKind,
    pub(super) reason: String,
}

impl Failure {
    fn to_error(&self) -> io::Error {
        io::Error::new(self.kind, self.reason.clone())
    }
}

#[derive(Default)]
pub(super) struct LogQueue {
    state: Mutex<State>,
    /// The writer waits here for work.
    work: Condvar,
    /// Senders wait here for room.
    room: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Batch,
    bytes: usize,
    writer: Writer,
    closing: bool,
    stopped: Option<Failure>,
}

/// How a writer waits for work, if it does.
#[derive(Default)]
enum Writer {
    #[default]
    Works,
    WaitsAsThread,
    WaitsAsTask(Waker),
}

impl LogQueue {
    /// Queues an operation, in order; calls `done` at once if nothing is written any more.
    pub(super) fn push(&self, op: Op, done: Done) {
        let bytes = match &op {
            Op::Append(records) => records.iter().map(|record| record.body.len()).sum(),
            Op::SaveVote(_) | Op::TruncateAfter(_) | Op::Purge(_) => 0,
        };
        let mut state = lock(&self.state);
        while state.takes_more() && (state.waiting.ops.len() >= QUEUE_OPS_MAX || state.bytes >= QUEUE_BYTES_MAX) {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.takes_more() {
            let error = state.refusal();
            drop(state);
            return done(Err(error));
        }
        state.waiting.ops.push((op, done));
        state.bytes += bytes;
        self.wake_writer(&mut state);
    }

    /// Leaves a value for the next transaction; only the latest counts. Wakes nobody.
    pub(super) fn set_committed(&self, committed: Vec<u8>) {
        lock(&self.state).waiting.committed = Some(committed);
    }

    /// Everything that waits. If nothing does, waits for something, and answers an empty batch if nothing comes within
    /// `patience`. `None` once the queue was closed and is empty.
    pub(super) fn take(&self, patience: Option<Duration>) -> Option<Batch> {
        let mut state = lock(&self.state);
        if patience != Some(Duration::ZERO) {
            let is_idle = |state: &mut State| {
                let is_idle = state.waiting.ops.is_empty() && !state.closing;
                state.writer = if is_idle { Writer::WaitsAsThread } else { Writer::Works };
                is_idle
            };
            let waited = match patience {
                None => self.work.wait_while(state, is_idle),
                Some(patience) => match self.work.wait_timeout_while(state, patience, is_idle) {
                    Ok((state, _)) => Ok(state),
                    Err(poisoned) => Err(PoisonError::new(poisoned.into_inner().0)),
                },
            };
            state = waited.unwrap_or_else(PoisonError::into_inner);
            state.writer = Writer::Works;
        }
        if state.closing && state.waiting.ops.is_empty() && state.waiting.committed.is_none() {
            return None;
        }
        state.bytes = 0;
        let batch = mem::take(&mut state.waiting);
        drop(state);
        self.room.notify_all();
        Some(batch)
    }

    /// Resolves when something waits, or the queue was closed.
    pub(super) fn poll_work(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if !state.waiting.ops.is_empty() || state.closing {
            return Poll::Ready(());
        }
        state.writer = Writer::WaitsAsTask(context.waker().clone());
        Poll::Pending
    }

    /// Takes nothing more; what waits is still written.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closing = true;
        self.wake_writer(&mut state);
        drop(state);
        self.room.notify_all();
    }

    /// Ends everything: `ops`, what waits and what is still to come fail, in order. The first failure stays the reason.
    pub(super) fn stop(&self, failure: Failure, ops: Vec<(Op, Done)>) {
        let mut state = lock(&self.state);
        let failure = state.stopped.get_or_insert(failure).clone();
        let waiting = mem::take(&mut state.waiting);
        state.bytes = 0;
        drop(state);
        self.room.notify_all();
        for (_, done) in ops.into_iter().chain(waiting.ops) {
            done(Err(failure.to_error()));
        }
    }

    fn wake_writer(&self, state: &mut MutexGuard<'_, State>) {
        match mem::take(&mut state.writer) {
            Writer::Works => {}
            Writer::WaitsAsThread => self.work.notify_one(),
            Writer::WaitsAsTask(waker) => waker.wake(),
        }
    }
}

impl State {
    fn takes_more(&self) -> bool {
        !self.closing && self.stopped.is_none()
    }

    fn refusal(&self) -> io::Error {
        self.stopped.as_ref().map_or_else(|| io::Error::other("the log is closed"), Failure::to_error)
    }
}
