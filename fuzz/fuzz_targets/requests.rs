//! Everything that a client may send first on a stream or in a session: it is refused, or survives the wire unchanged.

#![no_main]

use jobraft_protocol::{ClientFrame, StreamOpen, frame, limits};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fuzz_target!(|body: &[u8]| {
    survives::<ClientFrame>(body);
    survives::<StreamOpen>(body);
});

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    let Ok(value) = frame::decode::<T>(body) else { return };
    let mut again = Vec::new();
    frame::encode(&value, &mut again, limits::PEER_FRAME_BYTES_MAX).expect("what was read can be written");
    assert_eq!(frame::decode::<T>(&again[frame::HEADER_BYTES..]).as_ref(), Ok(&value));
}
