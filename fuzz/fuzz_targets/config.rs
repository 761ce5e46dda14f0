//! A node's configuration file: whatever its text, it is taken or refused with a line that is in it.

#![no_main]

use jobraft_node::config::{NodeConfig, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = NodeConfig::from_source(&Source::from_text("/etc/jobraft/node.toml", text)) {
        assert!(!error.to_string().is_empty());
    }
});
