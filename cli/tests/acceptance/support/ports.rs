//! Ports for nodes that are killed and started again.
//!
//! A port that the system gives away by itself (port 0) may go to anybody while its node is down, such as to a client's
//! socket. These lie below the range that it gives away from, and no two tests of this process get the same.

use rand::RngExt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// An address on which nobody listens now.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::rng().random_range(0..COUNT)));
    for _ in 0..COUNT {
        let address = SocketAddr::from(([127, 0, 0, 1], FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT));
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free UDP port on 127.0.0.1");
}
