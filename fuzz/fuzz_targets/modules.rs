//! Uploaded modules: whatever the bytes, what stands in a manifest or an error stays short.

#![no_main]

use jobraft_node::modules::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match inspect(bytes) {
        Ok(imports) => assert!(imports.len() <= 2 * 46, "imports are bounded by what a worker provides"),
        Err(reason) => assert!(reason.len() <= 8 * 1024, "a reason is short: {} bytes", reason.len()),
    }
});
