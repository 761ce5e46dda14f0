//! Certificates: the identity in a certificate (DER), a PEM file, and the URI of an identity.

#![no_main]

use jobraft_node::tls::{Identity, describe_pem};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(identity) = Identity::of_certificate(bytes) {
        assert_eq!(identity.uri().parse(), Ok(identity));
    }
    if let Ok(Ok(identity)) = str::from_utf8(bytes).map(str::parse::<Identity>) {
        // What a client may do can be said in any order; what is written is read as the same.
        assert_eq!(identity.uri().parse(), Ok(identity));
    }
    let _ = describe_pem(Path::new("fuzz.pem"), bytes);
});
