//! Frames that never end, are too long, or lie about what is in them.

use crate::MIB;
use crate::attacker::{Attacker, framed, pour, session, until_it_stops};
use crate::target::{Target, soon};
use jobraft_node::transport::limits::{CLIENT_BUFFER_KEPT_BYTES, CLIENT_WINDOW_BYTES};
use jobraft_protocol::frame::HEADER_BYTES;
use jobraft_protocol::limits::{CLIENT_FRAME_BYTES_MAX, CLIENT_STREAMS_MAX, CONNECTION_FRAME_BYTES_MAX};
use jobraft_protocol::{ClientFrame, Request, WorkerId};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What a connection can make the node hold by frames: those that have room, what QUIC keeps behind them, a buffer for each
/// stream; and as much again for copies on the way and the work of honest clients.
const BY_FRAMES: usize = 2
    * (CONNECTION_FRAME_BYTES_MAX
        + CLIENT_WINDOW_BYTES as usize
        + CLIENT_STREAMS_MAX as usize * CLIENT_BUFFER_KEPT_BYTES);

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_never_end_take_bounded_memory() {
    const CONNECTIONS: usize = 3;
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let attacker = Attacker::new(&target, "mallory");
    target.begin();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = attacker.connect().await;
        for _ in 0..CLIENT_STREAMS_MAX {
            sessions.push(session(&connection).await);
        }
    }
    let mut unread = Vec::new();
    for session in sessions {
        let mut unfinished = u32::try_from(CLIENT_FRAME_BYTES_MAX).unwrap().to_be_bytes().to_vec();
        unfinished.resize(CLIENT_FRAME_BYTES_MAX - 1, 0x80);
        pour(session.send, unfinished, &taken);
        unread.push((session.connection, session.recv));
    }
    until_it_stops(&taken).await;
    honest.works().await;
    target.honest().await.works().await;
    target.held_at_most("frames that never end", CONNECTIONS * BY_FRAMES);
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_at_a_time_holds_up_nobody() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let connection = Attacker::new(&target, "mallory").connect().await;
    target.begin();
    let mut sessions = Vec::new();
    for _ in 0..CLIENT_STREAMS_MAX {
        sessions.push(session(&connection).await);
    }
    let slow = framed(&ClientFrame { id: 1, request: Request::ClusterStatus });
    for byte in &slow {
        for session in &mut sessions {
            soon(session.send.write_all(std::slice::from_ref(byte))).await.unwrap();
        }
        honest.enqueue("honest", 10).await;
    }
    for session in &mut sessions {
        soon(session.answer()).await;
    }
    honest.works().await;
    target.held_at_most("a byte at a time", BY_FRAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_about_its_size_is_refused_before_anything_is_allocated_for_it() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let connection = Attacker::new(&target, "mallory").connect().await;
    // Its first use makes what stays.
    drop(session(&connection).await);
    target.begin();
    for body in lies() {
        for in_session in [false, true] {
            let (mut send, mut recv) = if in_session {
                let session = session(&connection).await;
                (session.send, session.recv)
            } else {
                soon(connection.open_bi()).await.unwrap()
            };
            // Refused while it is still sent is as good.
            let _ = soon(send.write_all(&body)).await;
            let _ = send.finish();
            let refused = soon(recv.read_to_end(MIB)).await;
            assert!(refused.is_err(), "{:02x?}…", &body[..body.len().min(24)]);
        }
        honest.enqueue("honest", 10).await;
    }
    honest.works().await;
    target.held_at_most("frames that lie", BY_FRAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_small_on_the_wire_is_bounded_once_decoded() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let mut session = Attacker::new(&target, "mallory").session().await;
    target.begin();
    // Two bytes each, of which a list makes a text of its own each.
    let names = vec!["q".parse().unwrap(); CLIENT_FRAME_BYTES_MAX / 2 - 100];
    let lease = Request::Lease { worker: WorkerId(1), queues: names, weights: vec![], max: 1, lease_ms: 1, wait_ms: 0 };
    let bytes = framed(&ClientFrame { id: 1, request: lease });
    assert!(bytes.len() <= CLIENT_FRAME_BYTES_MAX + HEADER_BYTES);
    let _ = soon(session.send.write_all(&bytes)).await;
    // Refused by an answer is as good as by the end of the session.
    let _ = soon(session.recv.read(&mut [0])).await;
    honest.works().await;
    target.held_at_most("a list of short names", BY_FRAMES);
}

/// Frames whose length, or whose CBOR, claims what is not there.
fn lies() -> Vec<Vec<u8>> {
    let frame = |body: Vec<u8>| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat();
    let claims = |major: u8| {
        [
            vec![major << 5 | 0x1a, 0x3b, 0x9a, 0xca, 0x00],
            [vec![major << 5 | 0x1b], u64::MAX.to_be_bytes().to_vec()].concat(),
            [vec![major << 5 | 0x1b], (1_u64 << 40).to_be_bytes().to_vec(), vec![0x41; 1_000]].concat(),
        ]
    };
    // In the place of a request's fields: {"id": 1, "request": {KIND: {FIELD: …
    let text = |text: &str| [&[0x60 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let within = |kind: &str, field: &str, lie: &[u8]| {
        let start = [vec![0xa2], text("id"), vec![1], text("request"), vec![0xa1], text(kind), vec![0xa1], text(field)];
        [start.concat(), lie.to_vec()].concat()
    };
    let mut lies = vec![u32::MAX.to_be_bytes().to_vec(), (CLIENT_FRAME_BYTES_MAX as u32 + 1).to_be_bytes().to_vec()];
    // Byte strings, texts, lists, maps.
    for lie in [2, 3, 4, 5].into_iter().flat_map(claims) {
        lies.push(frame(lie.clone()));
        let fields = [
            ("enqueue", "jobs"),
            ("act", "jobs"),
            ("lease", "queues"),
            ("checkpoint", "data"),
            ("configure", "settings"),
        ];
        for (kind, field) in fields {
            lies.push(frame(within(kind, field, &lie)));
        }
    }
    // Lists in lists, maps in maps, tags on tags, and texts without end.
    for deep in [0x81, 0x9f, 0xa1, 0xbf, 0xc1] {
        lies.push(frame(vec![deep; 200_000]));
        lies.push(frame(within("enqueue", "unknown", &vec![deep; 200_000])));
    }
    lies.push(frame([vec![0x7f], [0x61, b'a'].repeat(200_000)].concat()));
    lies
}
