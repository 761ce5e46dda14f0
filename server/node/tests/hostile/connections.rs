//! Many connections, many streams, handshakes that never end, strangers.

use crate::MIB;
use crate::attacker::{Attacker, session};
use crate::target::{Target, soon};
use jobraft_node::transport::limits::HANDSHAKES_MAX;
use jobraft_protocol::ALPN_PEER;
use jobraft_protocol::limits::CLIENT_STREAMS_MAX;
use quinn::{ConnectionError, VarInt};
use std::net::UdpSocket;
use std::time::Duration;
use tokio::time::timeout;

/// What a connection takes that does nothing, with a session; and as much again for the peaks of handshakes.
const BY_CONNECTION: usize = 256 * 1024;
/// What honest work takes meanwhile.
const BY_WORK: usize = 16 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_takes_bounded_memory() {
    const CONNECTIONS: usize = 200;
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let attacker = Attacker::new(&target, "mallory");
    target.begin();
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        sessions.push(attacker.session().await);
    }
    honest.works().await;
    target.honest().await.works().await;
    target.held_at_most("200 connections", CONNECTIONS * BY_CONNECTION + BY_WORK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_streams_takes_bounded_memory() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let connection = Attacker::new(&target, "mallory").connect().await;
    target.begin();
    // As many as there may be, and not one more; none of the kind that nobody uses.
    let mut open = Vec::new();
    for _ in 0..CLIENT_STREAMS_MAX {
        open.push(session(&connection).await);
    }
    for more in [
        timeout(Duration::from_millis(200), async { connection.open_bi().await.is_ok() }).await,
        timeout(Duration::from_millis(200), async { connection.open_uni().await.is_ok() }).await,
    ] {
        assert!(more.is_err(), "a stream beyond the limit was opened");
    }
    drop(open);
    // One after the other, each given up in the middle of something.
    for _ in 0..500 {
        let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
        soon(send.write_all(&[0, 0, 1])).await.unwrap();
        let (_, _) = (send.reset(VarInt::from_u32(9)), recv.stop(VarInt::from_u32(9)));
    }
    honest.works().await;
    target.held_at_most("streams opened and given up", BY_WORK);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_lock_nobody_out() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    target.begin();
    // First packets of real handshakes, caught and sent on; whoever answers them is not heard.
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let flooder = Attacker::new(&target, "mallory").endpoint;
    let from = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut begun = Vec::new();
    for _ in 0..HANDSHAKES_MAX + 100 {
        begun.push(flooder.connect(trap.local_addr().unwrap(), "127.0.0.1").unwrap());
        let mut packet = [0; 2_000];
        let (size, _) = tokio::task::block_in_place(|| trap.recv_from(&mut packet)).unwrap();
        from.send_to(&packet[..size], target.address).unwrap();
    }
    honest.works().await;
    target.honest().await.works().await;
    target.held_at_most("handshakes that never end", HANDSHAKES_MAX * BY_CONNECTION + BY_WORK);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_takes_no_memory_and_stops_nobody() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    target.begin();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..2_000_usize {
        let mut bytes: Vec<u8> = (0..n % 1_500).map(|_| rand::random()).collect();
        if let Some(first) = bytes.first_mut() {
            *first = [0x00, 0x40, 0x80, 0xc0, 0xff][n % 5] | (*first & 0x3f);
        }
        socket.send_to(&bytes, target.address).unwrap();
    }
    honest.works().await;
    target.honest().await.works().await;
    target.held_at_most("garbage", BY_WORK);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_peer_gets_nowhere_on_the_protocol_of_peers() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    target.begin();
    let client = Attacker::with(&target, &target.credentials("mallory"), ALPN_PEER);
    for _ in 0..50 {
        let connection = client.connect().await;
        // It may be closed before or after the stream is there.
        if let Ok((mut send, _recv)) = soon(connection.open_bi()).await {
            let _ = soon(send.write_all(&[0, 0, 1, 0, 0xff])).await;
        }
        let closed = soon(connection.closed()).await;
        assert!(
            matches!(&closed, ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(1)),
            "{closed}"
        );
    }
    // A node's certificate, and no hello, or none that is one.
    let stranger = Attacker::with(&target, &target.node_credentials(9), ALPN_PEER);
    let mut silent = Vec::new();
    for number in 0..50 {
        let connection = stranger.connect().await;
        let (mut send, recv) = soon(connection.open_bi()).await.unwrap();
        if number % 2 == 0 {
            soon(send.write_all(&[0, 0, 0, 2, 0xff, 0xff])).await.unwrap();
        }
        silent.push((connection, send, recv));
    }
    honest.works().await;
    for (connection, ..) in silent {
        soon(connection.closed()).await;
    }
    honest.works().await;
    target.held_at_most("peers that are none", 100 * BY_CONNECTION + BY_WORK);
}
