//! The settings of QUIC: what each side grants the other, and what makes a restarted node recognizable.

use super::TransportError;
use super::endpoint::Protocol;
use super::limits::{
    CLIENT_IDLE_TIMEOUT, CLIENT_KEEP_ALIVE, CLIENT_WINDOW_BYTES, INCOMING_BYTES_MAX, INCOMING_MAX,
    INCOMING_TOTAL_BYTES_MAX, INITIAL_ROUND_TRIP, PEER_IDLE_TIMEOUT, PEER_KEEP_ALIVE, PEER_STREAMS_MAX,
    PEER_WINDOW_BYTES, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES, UNPROVED_WINDOW_BYTES,
};
use crate::tls::{Credentials, TlsError};
use jobraft_protocol::limits::{CLIENT_STREAMS_MAX, DATAGRAM_BYTES_MAX};
use jobraft_protocol::{ALPN_CLIENT, ALPN_PEER};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, MtuDiscoveryConfig, ServerConfig,
    TransportConfig, VarInt,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Long enough that random ids never meet.
const CONNECTION_ID_BYTES: usize = 8;

/// What a server grants before it knows who connects: the streams of a client, and hardly any bytes on them.
pub(super) fn server_config(credentials: &Credentials) -> Result<ServerConfig, TransportError> {
    let mut config = ServerConfig::with_crypto(server_tls(credentials)?);
    config
        .transport_config(Arc::new(transport(CLIENT_IDLE_TIMEOUT, None, CLIENT_STREAMS_MAX, UNPROVED_WINDOW_BYTES)))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_TOTAL_BYTES_MAX);
    Ok(config)
}

/// The same with other credentials. Also the key of the Retry tokens stays: whoever was just told to come back with one is
/// let in.
pub(super) fn renewed(config: &ServerConfig, credentials: &Credentials) -> Result<ServerConfig, TransportError> {
    let mut config = config.clone();
    config.crypto = server_tls(credentials)?;
    Ok(config)
}

fn server_tls(credentials: &Credentials) -> Result<Arc<QuicServerConfig>, TransportError> {
    let tls = credentials.server_config(&[ALPN_PEER, ALPN_CLIENT])?;
    Ok(Arc::new(QuicServerConfig::try_from(tls).map_err(|error| TlsError::Cryptography(error.to_string()))?))
}

/// What a connection asks for and grants that this node opens.
pub(super) fn client_config(credentials: &Credentials, protocol: Protocol) -> Result<ClientConfig, TransportError> {
    let (alpn, transport) = match protocol {
        Protocol::Peer => {
            // Only the side that connects opens streams.
            (ALPN_PEER, transport(PEER_IDLE_TIMEOUT, Some(PEER_KEEP_ALIVE), 0, PEER_WINDOW_BYTES))
        }
        Protocol::Client => {
            (ALPN_CLIENT, transport(CLIENT_IDLE_TIMEOUT, Some(CLIENT_KEEP_ALIVE), 0, CLIENT_WINDOW_BYTES))
        }
    };
    let tls = credentials.client_config(alpn)?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| TlsError::Cryptography(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Raises what an accepted connection was granted to a client's share.
pub(super) fn grant_client(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES));
}

/// Raises what an accepted connection was granted to a peer's share.
pub(super) fn grant_peer(connection: &quinn::Connection) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(PEER_STREAMS_MAX));
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW_BYTES));
}

/// Reset tokens that are the same after a restart: a node that was killed can then tell its peers at once that their
/// connections are gone (RFC 9000, section 10.3), instead of leaving them to the idle timeout.
///
/// They follow from the key that the node started with and stay when that is renewed, for peers were told the tokens of
/// the connections that are open: under another key this node would send resets that nobody recognizes. The price is paid by a node
/// that is killed after its key was renewed: its new tokens are not the old ones, and its peers learn of its restart by the idle
/// timeout. That an old key, once it is out, also tells the tokens is no loss: who can forge a reset must see the
/// connection's ids, and ends that connection only.
pub(super) fn endpoint_config(credentials: &Credentials) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(credentials.derive_secret("jobraft stateless reset"))));
    config.cid_generator(|| Box::new(RandomIds));
    config.max_udp_payload_size(DATAGRAM_BYTES_MAX).expect("it is more than the least that QUIC allows");
    config
}

fn transport(idle: Duration, keep_alive: Option<Duration>, streams: u32, window: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(DATAGRAM_BYTES_MAX);
    config
        .mtu_discovery_config(Some(discovery))
        .max_idle_timeout(Some(idle.try_into().expect("idle timeouts are seconds, far below the 2^62 ms of QUIC")))
        .keep_alive_interval(keep_alive)
        .initial_rtt(INITIAL_ROUND_TRIP)
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(window))
        .send_window(SEND_WINDOW_BYTES);
    config
}

/// Random connection ids. quinn's own carry a checksum under a key drawn at each start, by which a restarted node would
/// take its predecessor's for noise and not answer.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; CONNECTION_ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A keyed hash in the manner of HMAC: the outer pass hides the state of the inner one, so that no tag can be extended.
struct ResetKey([u8; 32]);

impl ResetKey {
    fn tag(&self, data: &[u8]) -> [u8; 32] {
        let inner = Sha256::new().chain_update([0x36]).chain_update(self.0).chain_update(data).finalize();
        Sha256::new().chain_update([0x5c]).chain_update(self.0).chain_update(inner).finalize().into()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.tag(data));
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // In constant time: the difference of all bytes, not of the first that differs.
        let tag = self.tag(data);
        let difference = tag.iter().zip(signature).fold(0, |all, (a, b)| all | (a ^ b));
        if signature.len() == tag.len() && difference == 0 { Ok(()) } else { Err(CryptoError) }
    }
}
