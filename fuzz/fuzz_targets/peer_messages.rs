//! What nodes say to each other: the hello, then, by the first byte, appends, questions and headers of snapshots.

#![no_main]

use jobraft_node::consensus::check_message;
use jobraft_node::transport::{PeerHello, PeerStream, PeerWelcome};
use jobraft_protocol::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    // An error is as good an answer as any.
    let _ = match kind % 5 {
        0 => check_message(PeerStream::Append, body),
        1 => check_message(PeerStream::Rpc, body),
        2 => check_message(PeerStream::Snapshot, body),
        3 => frame::decode::<PeerHello>(body).map(drop),
        _ => frame::decode::<Result<PeerWelcome, jobraft_protocol::Error>>(body).map(drop),
    };
});
