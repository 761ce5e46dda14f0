//! Makes faults happen, ends them, and looks after what they leave: nodes that ended start again, those with damaged data
//! are replaced.
//!
//! What it must not do: damage more than a minority of the voters, or make two changes of membership at once. What the
//! cluster promises ends there.

use super::chronicle;
use super::cluster::{Cluster, End};
use super::environment::SECOND_NS;
use super::faults::{Fault, Faults, Happened, Kind};
use super::network::{HostId, Weather};
use super::operator::{Change, Operator, Over};
use super::world::World;
use crate::disk::{Change as DiskChange, Fate, Unsynced};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};

/// Places for nodes beyond those with which a run begins: each replacement takes one.
pub const SPARE_PLACES: usize = 4;
/// The largest cluster.
const VOTERS_MAX: usize = 7;
/// How far a clock may be behind: certificates begin an hour before they are issued.
const BEHIND_NS_MAX: i64 = 40 * 60 * 1_000_000_000;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// How far a clock may be ahead.
const AHEAD_NS_MAX: i64 = 3 * 3_600 * 1_000_000_000;

/// See the module.
pub struct Adversary {
    faults: Faults,
    random: SmallRng,
    /// What ends by itself, and when.
    ends: BTreeMap<(u64, u64), Ending>,
    count: u64,
    /// How many nodes there can be, counting those that are gone.
    places: usize,
    /// Nodes whose data were damaged, until they are removed.
    damaged: BTreeSet<HostId>,
    /// Nodes that belong to the cluster no more.
    gone: BTreeSet<HostId>,
    happened: Happened,
    /// The operator.
    pub operator: Operator,
    is_over: bool,
}

enum Ending {
    Weather,
    Cuts(Vec<(HostId, HostId)>),
    Start(HostId),
    SlowDisk(HostId),
    FullDisk(HostId),
}

impl Adversary {
    /// The adversary of a seed, of a cluster that begins with `size` nodes.
    #[must_use]
    pub fn new(seed: u64, size: usize) -> Self {
        Self {
            faults: Faults::new(seed),
            random: SmallRng::seed_from_u64(seed ^ 0x6164_7665_7273_6172),
            ends: BTreeMap::new(),
            count: 0,
            places: size + SPARE_PLACES,
            damaged: BTreeSet::new(),
            gone: BTreeSet::new(),
            happened: Happened::default(),
            operator: Operator::default(),
            is_over: false,
        }
    }

    /// When it acts next.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        let ends = self.ends.keys().next().map_or(u64::MAX, |(at, _)| *at);
        let faults = if self.is_over { u64::MAX } else { self.faults.next_ns() };
        ends.min(faults).min(self.operator.looks_at_ns())
    }

    /// What happened so far.
    #[must_use]
    pub const fn happened(&self) -> &Happened {
        &self.happened
    }

    /// The nodes that belong to the cluster, or are to.
    pub fn belonging(&self, cluster: &Cluster) -> Vec<HostId> {
        cluster.members().map(|(host, _)| host).filter(|host| !self.gone.contains(host)).collect()
    }

    /// Does what is due.
    pub fn act(&mut self, world: &mut World, cluster: &mut Cluster) {
        let now = world.now_ns();
        while let Some(entry) = self.ends.first_entry()
            && entry.key().0 <= now
        {
            let ending = entry.remove();
            self.finish(ending, world, cluster);
        }
        if !self.is_over && self.faults.next_ns() <= now {
            let planned = self.faults.draw();
            let kind = planned.fault.kind();
            if self.happen(planned.fault.clone(), world, cluster).is_some() {
                chronicle::note(format_args!("fault: {:?}", planned.fault));
                self.happened.count(kind);
            }
        }
        match self.operator.look(world, cluster) {
            Some(Over::Done(Change::Remove(host))) => self.retire(host, world, cluster),
            Some(Over::Spoiled(host)) => {
                self.retire(host, world, cluster);
                let host = cluster.add(world).expect("a certificate can be issued");
                cluster.start(world, host).expect("a host can be booted");
                self.operator.ask_first_for(Change::Add(host));
            }
            Some(Over::Done(Change::Add(_))) | None => {}
        }
    }

    fn retire(&mut self, host: HostId, world: &mut World, cluster: &mut Cluster) {
        self.gone.insert(host);
        self.damaged.remove(&host);
        self.kill(host, world, cluster);
    }

    /// Looks after a node that has run: what it says of its end, if it has ended, is answered.
    pub fn attend(&mut self, host: HostId, world: &mut World, cluster: &mut Cluster) -> Option<String> {
        if cluster.disk(host).is_some_and(|disk| disk.cut_step().is_some()) {
            chronicle::note(format_args!("{}: the power failed in the midst of a write", world.station(host).name));
            self.crash(host, world, cluster);
            return None;
        }
        let end = cluster.end(host)?;
        let name = world.station(host).name.clone();
        chronicle::note(format_args!("{name} ended: {end:?}"));
        let after = self.random.random_range(SECOND_NS / 20..2 * SECOND_NS);
        self.kill(host, world, cluster);
        if self.gone.contains(&host) {
            return None;
        }
        match end {
            End::Failed { reason, is_damage: true } if !self.damaged.contains(&host) => {
                return Some(format!("{name} says that its data are damaged, though no bit was flipped: {reason}"));
            }
            End::Failed { is_damage: true, .. } => self.replace(host, world, cluster),
            End::Failed { .. } | End::Stopped => self.end_after(after, Ending::Start(host), world),
        }
        None
    }

    /// Ends all faults: from now on the cluster is in peace.
    pub fn make_peace(&mut self, world: &mut World, cluster: &mut Cluster) {
        self.is_over = true;
        chronicle::note("all faults end");
        for (_, ending) in std::mem::take(&mut self.ends) {
            self.finish(ending, world, cluster);
        }
        world.network.mend_all();
        world.network.set_weather(Weather::FAIR);
        for host in self.belonging(cluster) {
            world.hold(host, 0);
            world.machines().set_slowness(host, 1);
            if let Some(disk) = cluster.disk(host) {
                disk.leave_room(None);
            }
        }
    }

    fn finish(&mut self, ending: Ending, world: &mut World, cluster: &mut Cluster) {
        match ending {
            Ending::Weather => world.network.set_weather(Weather::FAIR),
            Ending::Cuts(cuts) => cuts.into_iter().for_each(|(from, to)| world.network.mend(from, to)),
            Ending::Start(host) => {
                if !world.is_up(host) && !self.gone.contains(&host) {
                    cluster.start(world, host).expect("a host can be booted");
                }
            }
            Ending::SlowDisk(host) => world.machines().set_slowness(host, 1),
            Ending::FullDisk(host) => {
                if let Some(disk) = cluster.disk(host) {
                    disk.leave_room(None);
                }
            }
        }
    }

    fn end_after(&mut self, after_ns: u64, ending: Ending, world: &World) {
        self.count += 1;
        self.ends.insert((world.now_ns() + after_ns, self.count), ending);
    }

    /// Makes a fault happen; `None` if it cannot, there and then.
    fn happen(&mut self, fault: Fault, world: &mut World, cluster: &mut Cluster) -> Option<()> {
        let hosts = self.belonging(cluster);
        let pick = |number: usize| hosts[number % hosts.len()];
        let up = |number: usize| Some(pick(number)).filter(|host| world.is_up(*host));
        match fault {
            Fault::Storm(weather, time) => {
                world.network.set_weather(weather);
                self.end_after(time, Ending::Weather, world);
            }
            Fault::Isolate(node, time) => {
                let node = pick(node);
                let others = (0..world.stations()).filter(|other| *other != node);
                let cuts = others.flat_map(|other| [(node, other), (other, node)]).collect();
                self.cut(cuts, time, world);
            }
            Fault::OneWay(node, out, time) => {
                let node = pick(node);
                let others = hosts.iter().filter(|other| **other != node);
                let cuts = others.map(|&other| if out { (node, other) } else { (other, node) }).collect();
                self.cut(cuts, time, world);
            }
            Fault::Deaf(from, to, time) => self.cut(vec![(pick(from), pick(to))], time, world),
            Fault::Split(sides, time) => {
                let side = |host: HostId| sides >> (host % 64) & 1;
                let pairs = hosts.iter().flat_map(|&from| hosts.iter().map(move |&to| (from, to)));
                let cuts = pairs.filter(|&(from, to)| side(from) != side(to)).collect();
                self.cut(cuts, time, world);
            }
            Fault::Crash(node, time) => {
                let host = up(node)?;
                self.kill(host, world, cluster);
                self.end_after(time, Ending::Start(host), world);
            }
            Fault::CrashAtWrite(node, writes, _) => {
                let disk = cluster.disk(up(node)?)?;
                disk.cut_power_at(disk.steps() + writes);
            }
            Fault::Blackout(time) => {
                for host in hosts.iter().copied().filter(|host| world.is_up(*host)).collect::<Vec<_>>() {
                    self.kill(host, world, cluster);
                    let later = self.random.random_range(0..=time);
                    self.end_after(time + later, Ending::Start(host), world);
                }
            }
            Fault::Stop(node, _) => cluster.stop(world, up(node)?),
            Fault::Pause(node, time) => world.hold(up(node)?, world.now_ns() + time),
            Fault::SlowDisk(node, times, time) => {
                world.machines().set_slowness(pick(node), times);
                self.end_after(time, Ending::SlowDisk(pick(node)), world);
            }
            Fault::FullDisk(node, bytes, time) => {
                cluster.disk(up(node)?)?.leave_room(Some(bytes));
                self.end_after(time, Ending::FullDisk(pick(node)), world);
            }
            Fault::FailedSync(node) => cluster.disk(up(node)?)?.fail_next_sync(None),
            Fault::BitFlip(node, log, place) => return self.flip(pick(node), log, place, world, cluster),
            Fault::Clock(node, by) => {
                let host = pick(node);
                let skew = (world.station(host).skew_ns() + by).clamp(-BEHIND_NS_MAX, AHEAD_NS_MAX);
                world.set_skew_ns(host, skew);
            }
            Fault::Transfer(node) => {
                let (leader, consensus) = cluster.leader(world)?;
                let to = cluster.member(pick(node))?.node;
                world.host_mut(leader)?.spawn(async move { drop(consensus.transfer_leader(Some(to)).await) });
            }
            Fault::Checkpoint(node, purge) => {
                let host = up(node)?;
                let consensus = cluster.consensus(host)?;
                world.host_mut(host)?.spawn(async move { drop(consensus.checkpoint(purge).await) });
            }
            Fault::Replace(node) => {
                if self.operator.waiting().next().is_some() {
                    return None;
                }
                let host = pick(node);
                self.replace(host, world, cluster);
            }
            Fault::Resize(grow) => return self.resize(grow, world, cluster),
        }
        Some(())
    }

    fn cut(&mut self, cuts: Vec<(HostId, HostId)>, time: u64, world: &World) {
        cuts.iter().for_each(|&(from, to)| world.network.cut(from, to));
        self.end_after(time, Ending::Cuts(cuts), world);
    }

    fn resize(&mut self, grow: bool, world: &mut World, cluster: &mut Cluster) -> Option<()> {
        let hosts = self.belonging(cluster);
        if self.operator.waiting().next().is_some() || !self.damaged.is_empty() {
            return None;
        }
        if grow && hosts.len() < VOTERS_MAX {
            self.add(world, cluster)
        } else if !grow && hosts.len() > 3 {
            let host = hosts[self.random.random_range(0..hosts.len())];
            self.operator.ask_for(Change::Remove(host));
            Some(())
        } else {
            None
        }
    }

    fn add(&mut self, world: &mut World, cluster: &mut Cluster) -> Option<()> {
        if cluster.members().count() >= self.places {
            return None;
        }
        let host = cluster.add(world).expect("a certificate can be issued");
        cluster.start(world, host).expect("a host can be booted");
        self.operator.ask_for(Change::Add(host));
        Some(())
    }

    /// A new node comes, then the old one goes: or the other way round, if nothing can come.
    fn replace(&mut self, host: HostId, world: &mut World, cluster: &mut Cluster) {
        if !self.operator.waiting().any(|change| change == Change::Remove(host)) && self.add(world, cluster).is_some() {
            self.operator.ask_for(Change::Remove(host));
        }
    }

    /// Flips a bit of a node that is down for it. It counts as damaged and is replaced, whether or not it notices.
    fn flip(&mut self, host: HostId, log: bool, place: u64, world: &mut World, cluster: &mut Cluster) -> Option<()> {
        let voters = self.belonging(cluster).len();
        let is_new = self.operator.waiting().next().is_some() || cluster.members().count() >= self.places;
        if is_new || self.damaged.contains(&host) || 2 * (self.damaged.len() + 1) >= voters {
            return None;
        }
        self.kill(host, world, cluster);
        let file =
            if log { ["log.db", "log.db-wal"] } else { ["state.db", "state.db-wal"] }[usize::from(place & 1 == 1)];
        let relative = std::path::Path::new("group-0").join(file);
        let disk = cluster.disk(host)?;
        let bytes = std::fs::metadata(disk.path().join(&relative)).map_or(0, |metadata| metadata.len());
        self.end_after(SECOND_NS / 10, Ending::Start(host), world);
        if bytes == 0 {
            return None;
        }
        let bit = (place >> 1) % (bytes * 8);
        disk.flip_bit(&relative, bit).expect("the file has that bit");
        chronicle::note(format_args!("{}: bit {bit} of {file} flips", world.station(host).name));
        self.damaged.insert(host);
        self.replace(host, world, cluster);
        Some(())
    }

    /// Cuts a node's power, and says what its disk keeps of what was not synced.
    fn kill(&mut self, host: HostId, world: &mut World, cluster: &mut Cluster) {
        let mood = self.random.random_range(0..4);
        let random = &mut self.random;
        cluster.kill(world, host, &mut |write: &Unsynced<'_>| match (mood, write.change) {
            (0, _) => Fate::Lost,
            (1, _) => Fate::Whole,
            (2, DiskChange::Written { at, bytes }) if write.number + 1 == write.count => {
                Fate::Head(tear(at, bytes, random))
            }
            (2, _) => Fate::Whole,
            (_, DiskChange::Written { at, bytes }) => match random.random_range(0..6) {
                0 | 1 => Fate::Lost,
                2 | 3 => Fate::Whole,
                4 if random.random() => Fate::Tail(tear(at, bytes, random)),
                4 => Fate::Head(tear(at, bytes, random)),
                _ => Fate::Zeros,
            },
            _ if random.random() => Fate::Lost,
            _ => Fate::Whole,
        });
    }

    fn crash(&mut self, host: HostId, world: &mut World, cluster: &mut Cluster) {
        let after = self.random.random_range(SECOND_NS / 20..2 * SECOND_NS);
        self.kill(host, world, cluster);
        self.happened.count(Kind::Crash);
        self.end_after(after, Ending::Start(host), world);
    }
}

/// Where a write of so many bytes at an offset tears: between two sectors, for a disk writes each whole or not at all.
fn tear(at: u64, bytes: usize, random: &mut SmallRng) -> usize {
    let place = random.random_range(0..=bytes);
    let within = usize::try_from((at + place as u64) % SECTOR_BYTES).unwrap_or(0);
    if place == bytes { bytes } else { place.saturating_sub(within) }
}
