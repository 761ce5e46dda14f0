//! A connection whose other side has proved who it is.

use super::endpoint::Protocol;
use super::frame_room::FrameRoom;
use super::limits::{CLIENT_BUFFER_KEPT_BYTES, PEER_BUFFER_KEPT_BYTES, STREAM_OPEN_TIMEOUT, WRITE_STALL_TIMEOUT};
use super::live::Live;
use super::refusals::Refusals;
use super::{CloseCode, FrameReceiver, FrameSender, TransportError};
use crate::tls::Identity;
use jobraft_protocol::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};
use quinn::{RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// Where a connection's streams come from: what they need to report, and what lives as long as any of them.
pub(super) struct Origin {
    quic: quinn::Connection,
    remote: SocketAddr,
    /// Where it is known by this number.
    live: Arc<Live>,
    number: u64,
    refusals: Arc<Refusals>,
    /// `None` for a connection that this side opened.
    guest: Option<Guest>,
}

/// What a connection that came in holds of this node's; given back with the last stream.
pub(super) struct Guest {
    /// Its place among those of its kind.
    #[expect(dead_code, reason = "held, not read")]
    pub(super) place: OwnedSemaphorePermit,
    /// Its place among those of its name, if it is a client's.
    #[expect(dead_code, reason = "held, not read")]
    pub(super) share: Option<OwnedSemaphorePermit>,
    /// Room for its large frames, if it is a client's. Peers are few and known.
    pub(super) room: Option<FrameRoom>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.live.leave(self.number);
    }
}

impl Origin {
    pub(super) const fn quic(&self) -> &quinn::Connection {
        &self.quic
    }

    pub(super) fn is_closed(&self) -> bool {
        self.quic.close_reason().is_some()
    }

    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        self.quic.close(code.var_int(), reason.as_bytes());
    }

    pub(super) fn refuse(&self, kind: &'static str, reason: &dyn Display) {
        self.refusals.record(self.remote, kind, reason);
    }

    /// Room for the large frames of a client's connection.
    pub(super) fn frame_room(&self) -> Option<&FrameRoom> {
        self.guest.as_ref()?.room.as_ref()
    }
}

/// A connection; cheap to clone. It closes when the last clone and the last stream are dropped, or by
/// [`Connection::close`].
#[derive(Clone)]
pub struct Connection {
    quic: quinn::Connection,
    identity: Identity,
    protocol: Protocol,
    origin: Arc<Origin>,
}

impl Connection {
    /// A connection that has been made. It counts as open until its last handle is gone.
    ///
    /// # Errors
    /// [`TransportError::Revoked`] if the other side's certificate was revoked meanwhile; closing it is left to the caller.
    pub(super) fn new(
        quic: quinn::Connection,
        identity: Identity,
        protocol: Protocol,
        (refusals, live): (Arc<Refusals>, Arc<Live>),
        guest: Option<Guest>,
    ) -> Result<Self, TransportError> {
        let (remote, number) = (quic.remote_address(), live.number());
        let origin = Origin { quic: quic.clone(), remote, live: Arc::clone(&live), number, refusals, guest };
        let origin = Arc::new(origin);
        if live.enter(number, &origin) {
            Ok(Self { quic, identity, protocol, origin })
        } else {
            Err(TransportError::Revoked)
        }
    }

    /// Opens a stream. The other side learns of it with the first bytes that are flushed.
    ///
    /// # Errors
    /// When the connection is lost, or no stream became free within [`STREAM_OPEN_TIMEOUT`].
    pub async fn open(&self) -> Result<(FrameSender, FrameReceiver), TransportError> {
        let opened = timeout(STREAM_OPEN_TIMEOUT, self.quic.open_bi()).await;
        let streams =
            opened.map_err(|_| TransportError::TimedOut { what: "opening a stream", limit: STREAM_OPEN_TIMEOUT })??;
        Ok(self.framed(streams))
    }

    /// The next stream that the other side opens; `None` when the connection is closed ([`Connection::closed`] says
    /// why). Cancel-safe.
    pub async fn accept(&self) -> Option<(FrameSender, FrameReceiver)> {
        self.quic.accept_bi().await.ok().map(|streams| self.framed(streams))
    }

    /// Who is on the other side, as its certificate or its token proves.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is spoken.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where the other side is now.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Closes the connection at once, with all its streams; the other side learns `code` and `reason`.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.origin.close(code, reason);
    }

    /// Waits until the connection is closed and says why.
    pub async fn closed(&self) -> TransportError {
        self.quic.closed().await.into()
    }

    /// Whether the connection is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.origin.is_closed()
    }

    pub(super) fn refuse(&self, kind: &'static str, reason: &dyn Display) {
        self.origin.refuse(kind, reason);
    }

    fn framed(&self, (send, recv): (SendStream, RecvStream)) -> (FrameSender, FrameReceiver) {
        let (frame_max, kept) = match self.protocol {
            Protocol::Peer => (PEER_FRAME_BYTES_MAX, PEER_BUFFER_KEPT_BYTES),
            Protocol::Client => (CLIENT_FRAME_BYTES_MAX, CLIENT_BUFFER_KEPT_BYTES),
        };
        let stall = self.origin.frame_room().map(|_| WRITE_STALL_TIMEOUT);
        let sender = FrameSender::new(send, Arc::clone(&self.origin), frame_max, stall);
        (sender, FrameReceiver::new(recv, Arc::clone(&self.origin), frame_max, kept))
    }
}

/// The other side's own certificate; `None` if it showed none.
pub(super) fn leaf_of(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    chain.and_then(|chain| chain.into_iter().next())
}
