//! Endpoints, connections and frames, over real sockets on the loopback interface.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Authority, address, intrude, loopback, soon};
use super::{Accepted, CloseCode, Endpoint, FrameReceiver, FrameSender, Protocol, TransportError};
use crate::tls::Identity;
use bytes::Bytes;
use futures_util::FutureExt;
use jobraft_protocol::frame::FrameError;
use jobraft_protocol::limits::CLIENT_FRAME_BYTES_MAX;
use jobraft_protocol::{ALPN_CLIENT, ALPN_PEER, NodeId};
use std::net::UdpSocket;
use time::OffsetDateTime;

/// A client's stream to a node, and the node's end of it; the endpoints, to be kept.
struct Pair {
    client: (FrameSender, FrameReceiver),
    node: (FrameSender, FrameReceiver),
    client_connection: super::Connection,
    node_connection: super::Connection,
    _endpoints: (Endpoint, Endpoint),
}

async fn pair() -> Pair {
    let authority = Authority::new();
    let (node, client) = (authority.node(1), authority.client("alice"));
    let client_connection = soon(client.connect(&address(&node), Protocol::Client)).await.unwrap();
    let accepted = soon(node.accept()).await.unwrap();
    let mut stream = client_connection.open().await.unwrap();
    stream.0.send(&"hello").await.unwrap();
    let mut other = soon(accepted.connection.accept()).await.unwrap();
    assert_eq!(soon(other.1.recv::<String>()).await.unwrap().as_deref(), Some("hello"));
    Pair {
        client: stream,
        node: other,
        client_connection,
        node_connection: accepted.connection,
        _endpoints: (node, client),
    }
}

/// Shows that `node` still takes a connection of an honest client, and nobody's before it.
async fn serves(authority: &Authority, node: &Endpoint) {
    let client = authority.client("honest");
    let _connection = soon(client.connect(&address(node), Protocol::Client)).await.unwrap();
    let Accepted { identity, protocol, .. } = soon(node.accept()).await.unwrap();
    assert_eq!((identity, protocol), (Identity::admin("honest"), Protocol::Client));
}

#[tokio::test]
async fn both_sides_prove_their_roles() {
    let authority = Authority::new();
    let (one, two, client) = (authority.node(1), authority.node(2), authority.client("alice"));

    let connection = soon(client.connect(&address(&one), Protocol::Client)).await.unwrap();
    assert_eq!(connection.identity(), &Identity::Node(NodeId(1)));
    let accepted = soon(one.accept()).await.unwrap();
    assert_eq!((accepted.identity, accepted.protocol), (Identity::admin("alice"), Protocol::Client));

    let by_name = format!("localhost:{}", one.local_addr().port()).parse().unwrap();
    let _connection = soon(two.connect(&by_name, Protocol::Peer)).await.unwrap();
    let accepted = soon(one.accept()).await.unwrap();
    assert_eq!((accepted.identity, accepted.protocol), (Identity::Node(NodeId(2)), Protocol::Peer));
    assert_eq!(one.refused_total(), 0);
}

#[tokio::test]
async fn a_client_certificate_is_refused_on_the_peer_protocol() {
    let authority = Authority::new();
    let (node, client) = (authority.node(1), authority.client("mallory"));
    let connection = soon(client.connect(&address(&node), Protocol::Peer)).await.unwrap();
    let reason = soon(connection.closed()).await;
    assert!(
        matches!(&reason, TransportError::Closed { code, reason } if *code == CloseCode::Identity as u64 && reason.contains("mallory")),
        "{reason}"
    );
    serves(&authority, &node).await;
    assert_eq!(node.refused_total(), 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let node = authority.node(1);
    // It does not trust the node.
    let error = soon(foreign.node(2).connect(&address(&node), Protocol::Peer)).await.err().unwrap();
    assert!(matches!(error, TransportError::Handshake(_)), "{error}");
    // It trusts the node, but the node does not trust it.
    let now = OffsetDateTime::now_utc();
    let (ours, theirs) = (Identity::admin("ours"), Identity::Node(NodeId(2)));
    let (ours, theirs) = (authority.files(&ours, now, 1), foreign.files(&theirs, now, 1));
    for alpn in [ALPN_PEER, ALPN_CLIENT] {
        let error = intrude(&node, &ours, Some(&theirs), &[alpn]).await;
        assert!(matches!(error, TransportError::Handshake(_)), "{error}");
    }
    serves(&authority, &node).await;
}

#[tokio::test]
async fn no_certificate_and_no_known_protocol_are_refused() {
    let authority = Authority::new();
    let node = authority.node(1);
    let files = authority.files(&Identity::admin("ours"), OffsetDateTime::now_utc(), 1);
    for (pair, alpns) in [(Some(&files), &[&b"h3"[..]][..]), (Some(&files), &[][..]), (None, &[][..])] {
        let error = intrude(&node, &files, pair, alpns).await;
        assert!(matches!(error, TransportError::Handshake(_)), "{error}");
    }
    // Without a certificate only a client can be somebody, and only by a token, for which it is given some seconds.
    for (alpn, close) in [(ALPN_PEER, CloseCode::Identity), (ALPN_CLIENT, CloseCode::Unauthenticated)] {
        let error = intrude(&node, &files, None, &[alpn]).await;
        assert!(matches!(&error, TransportError::Closed { code, .. } if *code == close as u64), "{error}");
    }
    serves(&authority, &node).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_the_handshake() {
    let authority = Authority::new();
    let node = authority.node(1);
    let then = OffsetDateTime::now_utc() - time::Duration::minutes(100 * 24 * 60);
    let valid = authority.files(&Identity::admin("valid"), OffsetDateTime::now_utc(), 1);
    let expired = authority.files(&Identity::admin("expired"), then, 1);
    let error = intrude(&node, &valid, Some(&expired), &[ALPN_CLIENT]).await;
    assert!(matches!(error, TransportError::Handshake(_)), "{error}");
    serves(&authority, &node).await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let authority = Authority::new();
    let node = authority.node(1);
    let credentials = authority.credentials(&Identity::Node(NodeId(2)));
    let error = Endpoint::bind(node.local_addr(), &credentials).err().unwrap();
    assert!(matches!(error, TransportError::AddressInUse { address } if address == node.local_addr()), "{error}");
}

#[tokio::test]
async fn garbage_datagrams_do_no_harm() {
    let authority = Authority::new();
    let node = authority.node(1);
    let socket = UdpSocket::bind(loopback()).unwrap();
    for size in (0..1_500).step_by(7) {
        for first in [0x00, 0x40, 0x80, 0xc0, 0xff] {
            let mut bytes: Vec<u8> = (0..size).map(|_| rand::random()).collect();
            if let Some(byte) = bytes.first_mut() {
                *byte = first | (*byte & 0x3f);
            }
            socket.send_to(&bytes, node.local_addr()).unwrap();
        }
    }
    serves(&authority, &node).await;
}

#[tokio::test]
async fn a_closed_endpoint_accepts_no_more_and_tells_its_peers() {
    let authority = Authority::new();
    let (node, client) = (authority.node(1), authority.client("alice"));
    let connection = soon(client.connect(&address(&node), Protocol::Client)).await.unwrap();
    let _accepted = soon(node.accept()).await.unwrap();
    soon(node.close()).await;
    assert!(soon(node.accept()).await.is_none());
    let reason = soon(connection.closed()).await;
    assert!(matches!(reason, TransportError::Closed { code, .. } if code == CloseCode::Shutdown as u64), "{reason}");
}

#[tokio::test]
async fn queued_frames_arrive_in_order_and_large_ones_whole() {
    let pair = pair().await;
    let Pair { client: (mut sender, _keep), node: (_, mut receiver), .. } = pair;
    let frames: Vec<Vec<u8>> = (0..5_000_usize)
        .map(|n| vec![u8::try_from(n % 251).unwrap(); if n % 1_000 == 999 { 3 << 20 } else { n % 700 }])
        .collect();
    let sent = frames.clone();
    let sending = tokio::spawn(async move {
        for frame in &sent {
            sender.queue(&Bytes::copy_from_slice(frame)).unwrap();
            if sender.is_full() {
                sender.flush().await.unwrap();
            }
        }
        sender.finish().await.unwrap();
        sender.settled().await;
    });
    for frame in &frames {
        let received = soon(receiver.recv::<Bytes>()).await.unwrap().unwrap();
        assert!(received == frame, "{} bytes instead of {}", received.len(), frame.len());
    }
    assert_eq!(soon(receiver.recv::<Bytes>()).await.unwrap(), None);
    sending.await.unwrap();
}

#[tokio::test]
async fn dropped_calls_lose_no_bytes() {
    let pair = pair().await;
    let Pair { client: (mut sender, _keep), node: (_, mut receiver), .. } = pair;
    let text = "x".repeat(3 << 20); // flow control stops some writes midway
    let sent = text.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..12 {
            sender.queue(&sent).unwrap();
            // Polled once and dropped, however far it came.
            let _ = sender.flush().now_or_never();
            tokio::task::yield_now().await;
        }
        sender.finish().await.unwrap();
        sender.settled().await;
    });
    let mut received = 0;
    let all = async {
        while received < 12 {
            match receiver.recv::<String>().now_or_never() {
                Some(frame) => {
                    assert_eq!(frame.unwrap().unwrap(), text);
                    received += 1;
                }
                None => tokio::task::yield_now().await,
            }
        }
    };
    soon(all).await;
    sending.await.unwrap();
}

#[tokio::test]
async fn bodies_follow_frames() {
    let pair = pair().await;
    let Pair { client: (mut sender, mut receiver), node: (mut reply, mut body), .. } = pair;
    let bytes = Bytes::from((0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
    let sent = bytes.clone();
    let sending = tokio::spawn(async move {
        sender.queue(&1_u8).unwrap();
        sender.send_bytes(sent).await.unwrap();
        sender.finish().await.unwrap();
        receiver.recv::<u8>().await
    });
    assert_eq!(soon(body.recv::<u8>()).await.unwrap(), Some(1));
    let mut received = Vec::new();
    while let Some(chunk) = soon(body.recv_chunk()).await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert!(received == bytes, "the body differs");
    reply.send(&2_u8).await.unwrap();
    assert_eq!(soon(sending).await.unwrap().unwrap(), Some(2));
}

#[tokio::test]
async fn what_is_no_frame_ends_its_stream_and_no_other() {
    let pair = pair().await;
    let Pair { client_connection, node_connection, client: (mut sender, _keep), node: (_reply, mut receiver), .. } =
        pair;
    let too_large = u32::try_from(CLIENT_FRAME_BYTES_MAX + 1).unwrap().to_be_bytes().to_vec();
    let malformed = vec![0, 0, 0, 3, 0xff, 0xff, 0xff];
    let trailing = vec![0, 0, 0, 2, 0x01, 0x01];
    let other_type = vec![0, 0, 0, 1, 0xf6];
    let truncated = vec![0, 0, 0, 9, 1];
    for (bytes, code) in [
        (too_large, CloseCode::FrameTooLarge),
        (malformed, CloseCode::FrameMalformed),
        (trailing, CloseCode::FrameMalformed),
        (other_type, CloseCode::FrameMalformed),
        (truncated, CloseCode::FrameMalformed),
    ] {
        let (mut bad, _keep) = client_connection.open().await.unwrap();
        bad.send_bytes(Bytes::from(bytes)).await.unwrap();
        let (_reply, mut node) = soon(node_connection.accept()).await.unwrap();
        if code == CloseCode::FrameMalformed {
            bad.finish().await.unwrap();
        }
        let error = soon(node.recv::<u32>()).await.unwrap_err();
        let expected = match code {
            CloseCode::FrameTooLarge => matches!(error, TransportError::Frame(FrameError::TooLarge { .. })),
            _ => matches!(error, TransportError::Frame(_) | TransportError::Truncated),
        };
        assert!(expected, "{error}");
        assert!(soon(node.recv::<u32>()).await.is_err(), "the stream is over");
        if code == CloseCode::FrameTooLarge {
            // The sender learns of it.
            let told = async {
                loop {
                    match bad.send(&0_u32).await {
                        Ok(()) => tokio::task::yield_now().await,
                        Err(error) => return error,
                    }
                }
            };
            let error = soon(told).await;
            assert!(matches!(error, TransportError::StreamReset { code } if code == 6), "{error}");
        }
    }
    sender.send(&7_u32).await.unwrap();
    assert_eq!(soon(receiver.recv::<u32>()).await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_frame_over_the_limit_is_not_sent_and_harms_nothing() {
    let pair = pair().await;
    let Pair { client: (mut sender, _keep), node: (_reply, mut receiver), .. } = pair;
    let error = sender.queue(&Bytes::from(vec![0; CLIENT_FRAME_BYTES_MAX])).unwrap_err();
    assert!(matches!(error, TransportError::Frame(FrameError::TooLarge { .. })), "{error}");
    sender.send(&7_u32).await.unwrap();
    assert_eq!(soon(receiver.recv::<u32>()).await.unwrap(), Some(7));
}
