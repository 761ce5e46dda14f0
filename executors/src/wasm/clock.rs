//! Clocks that tell a guest nothing.

use jobraft_protocol::LogTime;
use std::time::Duration;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// The wall clock stands at the given time, the monotonic clock at zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrozenClock(pub(super) LogTime);

impl HostWallClock for FrozenClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.as_ms())
    }
}

impl HostMonotonicClock for FrozenClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}
