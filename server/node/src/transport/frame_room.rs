//! Room for large frames on their way in: of each client's connection, and of all of them.
//!
//! A buffer of [`super::limits::CLIENT_BUFFER_KEPT_BYTES`] is every stream's own. A frame that does not fit takes room for
//! the whole of it before more is read, so that a thousand frames that never end take no more memory than a few. Who has
//! room must make use of it within [`LARGE_FRAME_TIMEOUT`].

use super::TransportError;
use super::limits::LARGE_FRAME_TIMEOUT;
use jobraft_protocol::limits::{CLIENT_FRAME_BYTES_MAX, CLIENT_FRAMES_BYTES_MAX, CONNECTION_FRAME_BYTES_MAX};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The unit in which room is counted.
const UNIT_BYTES: usize = 1024;

const _: () = assert!(CLIENT_FRAME_BYTES_MAX + UNIT_BYTES <= CONNECTION_FRAME_BYTES_MAX, "one frame always finds room");
const _: () = assert!(CONNECTION_FRAME_BYTES_MAX <= CLIENT_FRAMES_BYTES_MAX, "one connection never takes all");

/// Room for the large frames of all clients.
#[derive(Clone, Debug)]
pub(super) struct FrameRooms(Arc<Semaphore>);

/// A connection's part of it.
#[derive(Debug)]
pub(super) struct FrameRoom {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// Room for one frame, until it is dealt with.
#[derive(Debug)]
pub(super) struct FramePlace {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    until: Instant,
}

impl FrameRooms {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CLIENT_FRAMES_BYTES_MAX / UNIT_BYTES)))
    }

    pub(super) fn of_connection(&self) -> FrameRoom {
        let own = Arc::new(Semaphore::new(CONNECTION_FRAME_BYTES_MAX / UNIT_BYTES));
        FrameRoom { all: Arc::clone(&self.0), own }
    }
}

impl FrameRoom {
    /// Waits for room for a frame of so many bytes. First among the connection's own: who has much under way already must
    /// not wait in front of others.
    pub(super) async fn place(&self, bytes: usize) -> FramePlace {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let take = |room: &Arc<Semaphore>| Arc::clone(room).acquire_many_owned(units);
        let own = take(&self.own).await.expect("this semaphore is never closed");
        let all = take(&self.all).await.expect("this semaphore is never closed");
        FramePlace { _all: all, _own: own, until: Instant::now() + LARGE_FRAME_TIMEOUT }
    }
}

impl FramePlace {
    /// Waits for more of the frame, but not forever.
    pub(super) async fn within<T>(&self, read: impl Future<Output = T>) -> Result<T, TransportError> {
        let late = |_| TransportError::TimedOut { what: "a large frame", limit: LARGE_FRAME_TIMEOUT };
        timeout_at(self.until, read).await.map_err(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_connection_takes_no_more_than_its_part_and_all_no_more_than_there_is() {
        let rooms = FrameRooms::new();
        let largest = CLIENT_FRAME_BYTES_MAX;
        let one = rooms.of_connection();
        let held: Vec<_> = (0..9).map_while(|_| one.place(largest).now_or_never()).collect();
        assert_eq!(held.len(), CONNECTION_FRAME_BYTES_MAX / largest);
        let others: Vec<_> = (0..1_000).map(|_| rooms.of_connection()).collect();
        let taken: Vec<_> = others.iter().map_while(|other| other.place(largest).now_or_never()).collect();
        assert_eq!(held.len() + taken.len(), CLIENT_FRAMES_BYTES_MAX / largest);
        drop(held);
        assert!(others[999].place(largest).now_or_never().is_some(), "room comes back");
    }

    #[tokio::test]
    async fn who_has_room_and_sends_nothing_is_given_up() {
        let mut place = FrameRooms::new().of_connection().place(1).await;
        assert!(place.until > Instant::now());
        place.until = Instant::now();
        let waited = place.within(std::future::pending::<()>()).await;
        assert!(matches!(waited, Err(TransportError::TimedOut { .. })));
    }
}
