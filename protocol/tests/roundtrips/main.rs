//! Everything that travels survives the wire; and whatever becomes of the bytes on the way, reading them is no panic.

mod answers;
mod draw;
mod requests;

use draw::Draw;
use jobraft_protocol::frame::{self, HEADER_BYTES};
use jobraft_protocol::{ClientFrame, Namespace, NotLocal, ServerFrame, StreamOpen, limits};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn encoded(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(value, &mut bytes, limits::CLIENT_FRAME_BYTES_MAX).expect("it fits");
    bytes
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = encoded(value);
    let (same, size) =
        frame::first(&bytes, limits::CLIENT_FRAME_BYTES_MAX).expect("it is a frame").expect("a whole one");
    assert_eq!((&same, size), (value, bytes.len()));
    // In pieces it is none yet, and never another one.
    for end in [0, HEADER_BYTES - 1, HEADER_BYTES, bytes.len() - 1] {
        assert_eq!(frame::first::<T>(&bytes[..end], limits::CLIENT_FRAME_BYTES_MAX), Ok(None));
    }
}

/// Bytes that were changed are an error, or another value, which then survives itself.
fn is_read_or_refused<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    if let Ok(value) = frame::decode::<T>(body) {
        survives(&value);
    }
}

proptest! {
    #[test]
    fn every_request_survives_the_wire(seed: u64) {
        let mut draw = Draw::new(seed);
        for request in requests::every(&mut draw) {
            survives(&ClientFrame { id: draw.number(), request });
        }
        for open in requests::every_opening(&mut draw) {
            survives(&open);
        }
    }

    #[test]
    fn a_request_enters_a_namespace_once(seed: u64) {
        let (mut draw, acme) = (Draw::new(seed), "acme".parse::<Namespace>().expect("a name"));
        for request in requests::every(&mut draw) {
            let (mut same, mut entered) = (request.clone(), request.clone());
            prop_assert_eq!(same.enter(&Namespace::default()), Ok(()));
            prop_assert_eq!(&same, &request);
            prop_assert_eq!(entered.enter(&acme), Ok(()));
            // What says a namespace itself is nothing that a client may ask for.
            let again = [entered.clone().enter(&Namespace::default()), entered.clone().enter(&acme)];
            prop_assert_eq!(again, if entered == request { [Ok(()); 2] } else { [Err(NotLocal); 2] });
            survives(&ClientFrame { id: 1, request: entered });
        }
    }

    #[test]
    fn every_answer_and_push_survives_the_wire(seed: u64) {
        let mut draw = Draw::new(seed);
        for result in answers::every(&mut draw) {
            survives(&ServerFrame::Reply { id: draw.number(), result });
        }
        for push in answers::every_push(&mut draw) {
            survives(&ServerFrame::Push(push));
        }
        survives(&Ok::<_, jobraft_protocol::Error>(answers::hello(&mut draw)));
    }

    #[test]
    fn changed_bytes_are_refused_or_another_value_and_never_a_panic(seed: u64) {
        let mut draw = Draw::new(seed);
        let requests = requests::every(&mut draw).into_iter().map(|request| encoded(&ClientFrame { id: 1, request }));
        let openings = requests::every_opening(&mut draw);
        let answers = answers::every(&mut draw).into_iter().map(|result| encoded(&ServerFrame::Reply { id: 1, result }));
        let all: Vec<_> = requests.chain(openings.iter().map(encoded)).chain(answers).collect();
        for bytes in all {
            let mut body = bytes[HEADER_BYTES..].to_vec();
            draw.change(&mut body);
            is_read_or_refused::<ClientFrame>(&body);
            is_read_or_refused::<StreamOpen>(&body);
            is_read_or_refused::<ServerFrame>(&body);
        }
    }
}

#[test]
fn a_list_of_names_beyond_all_need_is_not_read() {
    let names = |count| {
        let request = jobraft_protocol::Request::Lease {
            worker: jobraft_protocol::WorkerId(1),
            queues: vec!["q".parse().expect("a name"); count],
            weights: vec![],
            max: 1,
            lease_ms: 1,
            wait_ms: 0,
        };
        encoded(&ClientFrame { id: 1, request })
    };
    let read = |count| frame::decode::<ClientFrame>(&names(count)[HEADER_BYTES..]);
    assert!(read(limits::TEXTS_READ_MAX).is_ok());
    let refused = read(limits::TEXTS_READ_MAX + 1).expect_err("one too many");
    assert!(refused.to_string().contains("more than 4096"), "{refused}");
}
