//! Which faults happen, and when: a list that follows from the seed.

use super::environment::SECOND_NS;
use super::network::Weather;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::fmt;

const MS: u64 = 1_000_000;

/// Something that goes wrong, or that an operator does at a bad moment. Nodes are meant by any number: the one there is
/// at that place, counted round.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The network loses, doubles and delays for a while.
    Storm(Weather, u64),
    /// A node is cut off, both ways, for a while.
    Isolate(usize, u64),
    /// What a node sends is lost for a while; or what it should hear.
    OneWay(usize, bool, u64),
    /// One node no longer hears another, for a while.
    Deaf(usize, usize, u64),
    /// The nodes fall into two parts for a while.
    Split(u64, u64),
    /// A node loses its power, and comes back after a while.
    Crash(usize, u64),
    /// The power fails in the midst of one of a node's next writes.
    CrashAtWrite(usize, u64, u64),
    /// All nodes lose their power.
    Blackout(u64),
    /// A node is stopped in order, and comes back after a while.
    Stop(usize, u64),
    /// A node does not run for a while, as a virtual machine that is moved.
    Pause(usize, u64),
    /// A disk is so many times slower for a while.
    SlowDisk(usize, u64, u64),
    /// A disk has no more than so many bytes left, for a while.
    FullDisk(usize, u64, u64),
    /// The next fsync of a disk fails.
    FailedSync(usize),
    /// A bit of a node's log, or of its state, flips while it is down.
    BitFlip(usize, bool, u64),
    /// A wall clock jumps.
    Clock(usize, i64),
    /// The leader hands over to a node.
    Transfer(usize),
    /// A node makes a checkpoint, and lets go of its log.
    Checkpoint(usize, bool),
    /// A node is replaced by a new one.
    Replace(usize),
    /// A node is removed, or one added.
    Resize(bool),
}

/// A fault and its time.
#[derive(Clone, Debug)]
pub struct Planned {
    /// When.
    pub at_ns: u64,
    /// What.
    pub fault: Fault,
}

/// The faults of a run, in order, without end.
pub struct Faults {
    random: SmallRng,
    next_ns: u64,
    /// How much of each kind this run has: most runs have a few kinds, and some have all.
    weights: Vec<(Kind, u32)>,
    pause_ns_max: u64,
}

/// What kinds of faults there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// See [`Fault::Storm`].
    Storm,
    /// The network is cut somewhere.
    Cut,
    /// Power.
    Crash,
    /// In order.
    Stop,
    /// Nodes that do not run.
    Pause,
    /// Slow or full disks, fsyncs that fail.
    Disk,
    /// Bit flips.
    Flip,
    /// Clocks.
    Clock,
    /// Leadership handed over.
    Transfer,
    /// Checkpoints and purges.
    Checkpoint,
    /// Membership.
    Membership,
}

const KINDS: [(Kind, u32); 11] = [
    (Kind::Storm, 6),
    (Kind::Cut, 10),
    (Kind::Crash, 12),
    (Kind::Stop, 3),
    (Kind::Pause, 5),
    (Kind::Disk, 6),
    (Kind::Flip, 3),
    (Kind::Clock, 5),
    (Kind::Transfer, 5),
    (Kind::Checkpoint, 8),
    (Kind::Membership, 4),
];

/// Every kind that there is.
pub fn all_kinds() -> impl Iterator<Item = Kind> {
    KINDS.into_iter().map(|(kind, _)| kind)
}

impl Faults {
    /// The faults of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x6661_756c_7473_2121);
        let all = random.random_ratio(1, 4);
        let weights = KINDS.into_iter().filter(|_| all || random.random_ratio(3, 5)).collect::<Vec<_>>();
        let weights = if weights.is_empty() { vec![(Kind::Crash, 1)] } else { weights };
        let pause_ns_max = [400, 2_000, 8_000][random.random_range(0..3_usize)] * MS;
        Self { random, next_ns: 4 * SECOND_NS, weights, pause_ns_max }
    }

    /// When the next one is due.
    #[must_use]
    pub const fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// The next one.
    pub fn draw(&mut self) -> Planned {
        let at_ns = self.next_ns;
        self.next_ns += self.random.random_range(20 * MS..=self.pause_ns_max);
        let total: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.random_range(0..total);
        let kind = self.weights.iter().find_map(|&(kind, weight)| {
            let found = left < weight;
            left = left.saturating_sub(weight);
            found.then_some(kind)
        });
        let fault = self.of_kind(kind.expect("what is left is less than the sum"));
        Planned { at_ns, fault }
    }

    fn of_kind(&mut self, kind: Kind) -> Fault {
        let random = &mut self.random;
        let node = random.random_range(0..64_usize);
        let short = random.random_range(5..1_500_u64) * MS;
        let long = random.random_range(300..9_000_u64) * MS;
        match kind {
            Kind::Storm => {
                let weather = Weather {
                    delay_ns_max: random.random_range(1..80_u64) * MS,
                    lost_permille: random.random_range(0..200),
                    doubled_permille: random.random_range(0..100),
                    late_permille: random.random_range(0..50),
                };
                Fault::Storm(weather, long)
            }
            Kind::Cut => match random.random_range(0..4) {
                0 => Fault::Isolate(node, long),
                1 => Fault::OneWay(node, random.random(), long),
                2 => Fault::Deaf(node, random.random_range(0..64), long),
                _ => Fault::Split(random.random(), long),
            },
            Kind::Crash => match random.random_range(0..8) {
                0 => Fault::Blackout(short),
                1..4 => Fault::CrashAtWrite(node, random.random_range(0..60), short),
                _ => Fault::Crash(node, if random.random_ratio(1, 3) { long } else { short }),
            },
            Kind::Stop => Fault::Stop(node, short),
            Kind::Pause => Fault::Pause(node, if random.random_ratio(1, 3) { long } else { short }),
            Kind::Disk => match random.random_range(0..4) {
                0 => Fault::FullDisk(node, random.random_range(0..64_u64) * 1_024, short),
                1 => Fault::FailedSync(node),
                _ => Fault::SlowDisk(node, random.random_range(5..3_000), long),
            },
            Kind::Flip => Fault::BitFlip(node, random.random(), random.random()),
            Kind::Clock => {
                let most = [500_i64, 20_000, 1_800_000][random.random_range(0..3_usize)];
                let ms = random.random_range(1..most);
                Fault::Clock(node, if random.random() { ms } else { -ms } * 1_000_000)
            }
            Kind::Transfer => Fault::Transfer(node),
            Kind::Checkpoint => Fault::Checkpoint(node, random.random_ratio(2, 3)),
            Kind::Membership if random.random() => Fault::Replace(node),
            Kind::Membership => Fault::Resize(random.random()),
        }
    }
}

impl Fault {
    /// Of what kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Storm(..) => Kind::Storm,
            Self::Isolate(..) | Self::OneWay(..) | Self::Deaf(..) | Self::Split(..) => Kind::Cut,
            Self::Crash(..) | Self::CrashAtWrite(..) | Self::Blackout(_) => Kind::Crash,
            Self::Stop(..) => Kind::Stop,
            Self::Pause(..) => Kind::Pause,
            Self::SlowDisk(..) | Self::FullDisk(..) | Self::FailedSync(_) => Kind::Disk,
            Self::BitFlip(..) => Kind::Flip,
            Self::Clock(..) => Kind::Clock,
            Self::Transfer(_) => Kind::Transfer,
            Self::Checkpoint(..) => Kind::Checkpoint,
            Self::Replace(_) | Self::Resize(_) => Kind::Membership,
        }
    }
}

/// How often each kind of fault happened: in truth, not by plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Happened(BTreeMap<Kind, u64>);

impl Happened {
    /// Counts one.
    pub fn count(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Of each kind.
    pub fn each(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in other.each() {
            *self.0.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (kind, count)) in self.each().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{kind:?} {count}")?;
        }
        Ok(())
    }
}
