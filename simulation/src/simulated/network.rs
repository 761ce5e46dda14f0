//! A network of datagrams between simulated hosts: late, lost, doubled, out of order, cut one way or both.

use super::environment;
use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Datagrams that wait at a port; those beyond are lost, as with an operating system.
const INBOX_MAX: usize = 4_096;
/// The way of a datagram takes at least this.
const DELAY_NS_MIN: u64 = 50_000;

/// A host by its number in the world.
pub type HostId = usize;

/// How the network treats what is sent; the same for all, but for what is cut.
#[derive(Clone, Debug)]
pub struct Weather {
    /// The most that a datagram takes beyond [`DELAY_NS_MIN`].
    pub delay_ns_max: u64,
    /// How many of a thousand are lost.
    pub lost_permille: u32,
    /// How many of a thousand arrive twice.
    pub doubled_permille: u32,
    /// How many of a thousand take a hundred times as long, and so come out of order.
    pub late_permille: u32,
}

impl Weather {
    /// Without faults.
    pub const FAIR: Self = Self { delay_ns_max: 450_000, lost_permille: 0, doubled_permille: 0, late_permille: 0 };
}

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Traffic {
    /// Sent.
    pub sent: u64,
    /// Lost by the weather.
    pub lost: u64,
    /// Doubled.
    pub doubled: u64,
    /// Made late.
    pub late: u64,
    /// Lost where the network is cut.
    pub cut: u64,
}

/// The network. Clones share everything.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    random: SmallRng,
    weather: Weather,
    /// From whom nothing comes to whom.
    cut: BTreeSet<(HostId, HostId)>,
    ports: BTreeMap<SocketAddr, Port>,
    under_way: BTreeMap<(u64, u64), Datagram>,
    count: u64,
    traffic: Traffic,
    /// Over all that was sent: two runs of one seed agree on it.
    fingerprint: u64,
}

struct Port {
    host: HostId,
    /// Which binding of the address it is.
    number: u64,
    inbox: VecDeque<(SocketAddr, Bytes)>,
    waker: Option<Waker>,
}

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

impl Network {
    /// A network whose chances follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: SmallRng::seed_from_u64(seed),
            weather: Weather::FAIR,
            cut: BTreeSet::new(),
            ports: BTreeMap::new(),
            under_way: BTreeMap::new(),
            count: 0,
            traffic: Traffic::default(),
            fingerprint: 0xcbf2_9ce4_8422_2325,
        })))
    }

    /// Binds a port of a host.
    ///
    /// # Errors
    /// If it is in use.
    pub fn bind(&self, host: HostId, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let mut state = self.state();
        if state.ports.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        state.count += 1;
        let number = state.count;
        state.ports.insert(address, Port { host, number, inbox: VecDeque::new(), waker: None });
        Ok(Arc::new(Socket { network: self.clone(), host, number, address }))
    }

    /// The ports of a host are gone, and what waits there.
    pub fn unplug(&self, host: HostId) {
        self.state().ports.retain(|_, port| port.host != host);
    }

    /// Nothing comes from one host to the other any more.
    pub fn cut(&self, from: HostId, to: HostId) {
        self.state().cut.insert((from, to));
    }

    /// Mends what was cut from one host to the other.
    pub fn mend(&self, from: HostId, to: HostId) {
        self.state().cut.remove(&(from, to));
    }

    /// Mends everything.
    pub fn mend_all(&self) {
        self.state().cut.clear();
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_arrival_ns(&self) -> Option<u64> {
        self.state().under_way.keys().next().map(|&(at, _)| at)
    }

    /// Delivers what arrives up to `now_ns`; says at which hosts.
    pub fn deliver(&self, now_ns: u64, at: &mut BTreeSet<HostId>) {
        let mut wakers = Vec::new();
        let mut state = self.state();
        while let Some(entry) = state.under_way.first_entry()
            && entry.key().0 <= now_ns
        {
            let datagram = entry.remove();
            let Some(port) = state.ports.get_mut(&datagram.to) else { continue };
            if port.inbox.len() < INBOX_MAX {
                port.inbox.push_back((datagram.from, datagram.bytes));
            }
            at.insert(port.host);
            wakers.extend(port.waker.take());
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// What became of datagrams so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.state().traffic
    }

    /// A number that differs, almost surely, if anything else was sent.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.state().fingerprint
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, from: (HostId, SocketAddr), to: SocketAddr, contents: &[u8]) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.traffic.sent += 1;
        for &byte in contents.iter().take(64).chain(&(contents.len() as u64).to_le_bytes()) {
            state.fingerprint = (state.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let Some(target) = state.ports.get(&to).map(|port| port.host) else { return };
        if state.cut.contains(&(from.0, target)) {
            state.traffic.cut += 1;
            return;
        }
        if state.random.random_ratio(state.weather.lost_permille, 1_000) {
            state.traffic.lost += 1;
            return;
        }
        let bytes = Bytes::copy_from_slice(contents);
        let is_doubled = state.random.random_ratio(state.weather.doubled_permille, 1_000);
        state.traffic.doubled += u64::from(is_doubled);
        for _ in 0..=u32::from(is_doubled) {
            let mut delay = DELAY_NS_MIN + state.random.random_range(0..=state.weather.delay_ns_max);
            if state.random.random_ratio(state.weather.late_permille, 1_000) {
                delay *= 100;
                state.traffic.late += 1;
            }
            state.count += 1;
            let key = (environment::now_ns() + delay, state.count);
            state.under_way.insert(key, Datagram { from: from.1, to, bytes: bytes.clone() });
        }
    }
}

/// A port as its host sees it.
struct Socket {
    network: Network,
    host: HostId,
    number: u64,
    address: SocketAddr,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.state().ports.retain(|_, port| port.number != self.number);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.address)
    }
}

/// A simulated port takes everything at once.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.network.send((self.host, self.address), transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.network.state();
        // Unplugged: the host is about to end.
        let Some(port) = state.ports.get_mut(&self.address) else { return Poll::Pending };
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some((from, bytes)) = port.inbox.pop_front() else { break };
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            *meta = RecvMeta { addr: from, len, stride: len, ecn: None, dst_ip: None };
            received += 1;
        }
        if received > 0 {
            return Poll::Ready(Ok(received));
        }
        port.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
