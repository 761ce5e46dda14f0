//! The frame decoder: frames are taken off any bytes as the node's receiver does it, and what is read is written again.

#![no_main]

use jobraft_protocol::frame::{self, HEADER_BYTES};
use jobraft_protocol::{ServerFrame, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((value, size))) = frame::first::<ServerFrame>(rest, limits::CLIENT_FRAME_BYTES_MAX) {
        assert!((HEADER_BYTES..=rest.len()).contains(&size), "a frame lies within what was read");
        let mut again = Vec::new();
        frame::encode(&value, &mut again, limits::CLIENT_FRAME_BYTES_MAX).expect("what was read can be written");
        let (same, length) = frame::first::<ServerFrame>(&again, limits::CLIENT_FRAME_BYTES_MAX)
            .expect("what was written can be read")
            .expect("it was written whole");
        assert_eq!((same, length), (value, again.len()));
        rest = &rest[size..];
    }
});
