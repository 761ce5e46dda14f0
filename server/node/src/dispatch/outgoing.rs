//! What goes to a client on its session, with the room that it takes while it waits to be written.

use jobraft_protocol::ServerFrame;
use tokio::sync::OwnedSemaphorePermit;

/// A frame for the writer of a session.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// What is sent.
    pub(crate) frame: ServerFrame,
    /// Given back once it is written or dropped.
    #[expect(dead_code, reason = "it is held, and let go with the frame")]
    pub(crate) room: Option<RoomHeld>,
}

impl From<ServerFrame> for Outgoing {
    fn from(frame: ServerFrame) -> Self {
        Self { frame, room: None }
    }
}

/// Room that an answer takes: of its connection's, and of all clients'.
#[derive(Debug)]
pub(crate) struct RoomHeld {
    pub(crate) own: OwnedSemaphorePermit,
    pub(crate) all: OwnedSemaphorePermit,
}
