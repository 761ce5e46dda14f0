//! QUIC: endpoints, connections, framed streams, and the links between nodes. The only place that names `quinn`.
//!
//! One UDP port serves two protocols, told apart by ALPN: nodes speak `jobraft-peer/1` to each other, everybody else
//! `jobraft/1`. A connection is handed on only after TLS, with the role that its certificate proves, or, if it is a client's that
//! has none, its token; a client's certificate on the peer protocol goes no further than here.
//!
//! What must hold: nothing from the network can make this module panic, allocate without bound ([`limits`]), or stop
//! serving others. What is refused is closed with a reason that the other side can read, and logged once a minute for
//! each origin. Payloads and secrets are never logged.
//!
//! The way in: [`Endpoint::bind`], then [`Endpoint::accept`] in a loop; a [`Protocol::Peer`] connection then goes
//! through [`PeerConnection::welcome`] in a task of its own. The way out: [`Peers::link`], then [`PeerLink::stream`].

mod accept;
pub mod connection;
pub mod endpoint;
pub mod error;
pub mod frame;
mod frame_room;
mod hello;
pub mod limits;
pub mod link;
mod live;
pub mod peer;
mod quic;
mod refusals;
mod tokens;
mod unproved;

#[cfg(test)]
mod test_link;
#[cfg(test)]
mod test_renewal;
#[cfg(test)]
mod test_transport;
#[cfg(test)]
pub(crate) mod testing;

pub use connection::Connection;
pub use endpoint::{Accepted, Endpoint, Protocol, UdpPort};
pub use error::{CloseCode, TransportError};
pub use frame::{FrameReceiver, FrameSender};
pub use hello::{PeerGate, PeerHello, PeerStream, PeerWelcome};
pub use link::{LocalPeer, PeerLink, Peers};
pub use peer::PeerConnection;
pub use tokens::{TokenDirectory, Whose};
