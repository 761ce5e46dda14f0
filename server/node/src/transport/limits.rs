//! The bounds of the transport, by name. What happens at a bound stands beside it. Frame sizes and the streams of a
//! client are in [`jobraft_protocol::limits`], since both sides must know them.

use std::time::Duration;

/// A connection between nodes without any packet for so long is lost. (The shorter wish of both sides counts; a node
/// that accepts asks for [`CLIENT_IDLE_TIMEOUT`], the one that connects for this.)
pub const PEER_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the connecting node pings an idle connection.
pub const PEER_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A client's connection without any packet for so long is lost.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the client pings an idle connection; the node never does.
pub const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long TLS may take when another connects; then the connection is refused.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to find out whose a token is that this node does not know; then it says that it cannot say.
pub const TOKEN_LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long finding an address and TLS may take when this node connects; then the attempt has failed. Short, since a
/// node that comes back hears only the next attempt soon enough.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What is taken for the round trip until it is measured: lost first packets are sent again after three of these. The
/// 333 ms of the RFC would have a starting cluster wait for seconds for its slowest node.
pub const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(50);
/// How long the hello of a peer connection may take after TLS; then it is refused.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long opening a stream waits for one to become free, and an accepted peer stream for its first frame; then the
/// stream is given up.
pub const STREAM_OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a large frame of a client may take from when there is room for it; then its stream is given up, so that the room
/// comes back.
pub const LARGE_FRAME_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take none of what is written to it; then the stream is given up, and what waits for it is gone.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stopping endpoint waits for its farewells to arrive; then it goes anyway.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a refused peer, or whoever shows a token, has to read the answer before the connection is closed under it.
pub const REFUSAL_GRACE: Duration = Duration::from_secs(1);

/// Streams that a peer may hold open at once on one connection; it waits for one to end before it opens another.
pub const PEER_STREAMS_MAX: u32 = 32;
/// Connections from nodes; further ones are refused. Apart from those of clients, who thus cannot lock nodes out.
pub const PEER_CONNECTIONS_MAX: usize = 256;
/// Handshakes under way at once; further connections are refused until one ends. From a quarter of it on, whoever
/// connects must first prove that its address is its own (a QUIC Retry).
pub const HANDSHAKES_MAX: usize = 512;
/// Connection attempts whose first packets came and that nobody looked at yet; further ones are refused. They are looked at
/// at once, unless the machine is overwhelmed.
pub const INCOMING_MAX: usize = 1_024;
/// Bytes of further packets kept of one of them; more are dropped, and the other side sends them again.
pub const INCOMING_BYTES_MAX: u64 = 16 * 1024;
/// Those of all of them.
pub const INCOMING_TOTAL_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Connections after their handshake that wait to be accepted; those beyond keep their handshake's place.
pub const ACCEPTED_WAITING_MAX: usize = 64;
/// Addresses of one DNS name that are tried.
pub const ADDRESSES_MAX: usize = 4;

/// Bytes on one stream that the other side may send ahead of what was read.
pub const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes on all streams of a connection that it may send before it is known who it is.
pub const UNPROVED_WINDOW_BYTES: u32 = 16 * 1024;
/// Bytes on all streams of a client's connection that it may send ahead of what was read.
pub const CLIENT_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes on all streams of a peer's connection that it may send ahead of what was read.
pub const PEER_WINDOW_BYTES: u32 = 32 * 1024 * 1024;
/// Bytes sent and not acknowledged on one connection; writing waits beyond.
pub const SEND_WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// The first size of a stream's receive buffer; it doubles while reads fill it.
pub const RECEIVE_BUFFER_BYTES: usize = 8 * 1024;
/// The size to which a client stream's receive buffer grows for speed, and shrinks after a larger frame. A frame that does
/// not fit takes room among [`jobraft_protocol::limits::CLIENT_FRAMES_BYTES_MAX`].
pub const CLIENT_BUFFER_KEPT_BYTES: usize = 64 * 1024;
/// The size to which a peer stream's receive buffer grows for speed, and shrinks after a larger frame.
pub const PEER_BUFFER_KEPT_BYTES: usize = 1024 * 1024;
/// Queued bytes from which on [`super::FrameSender::is_full`] asks for a flush.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The pause after the first failed attempt to reach a peer; it doubles with each further one.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts to reach a peer.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Characters of a close reason from the other side that are kept.
pub const REASON_CHARS_MAX: usize = 256;
