//! One run: the disks, the nodes, the load, fault after fault, and the judgement.

use super::damage::Damage;
use super::disk::Defect;
use super::rack::Rack;
use crate::history::Recorder;
use crate::real::cluster::Place;
use crate::real::load::{Load, Plan};
use crate::real::verdict::{Report, Trouble, Verdict, in_time};
use crate::real::{Cluster, finish, process};
use jobraft_sdk::Client;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NODES: u64 = 3;
const PORT: u16 = 7_400;
/// Clients that share the load.
const CLIENTS: usize = 6;
const START_TIMEOUT: Duration = Duration::from_secs(45);
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(45);
const END_TIMEOUT: Duration = Duration::from_secs(45);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Work after each fault before the next one.
const WORK: u64 = 20;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    CutOne,
    CutTwo,
    CutAll,
    FailingSync,
    Full,
    ReadOnly,
    Truncated,
    Flipped,
}

/// Faults in the shares in which they come.
const DECK: [Fault; 12] = [
    Fault::CutOne,
    Fault::CutOne,
    Fault::CutTwo,
    Fault::CutAll,
    Fault::CutAll,
    Fault::CutAll,
    Fault::FailingSync,
    Fault::Full,
    Fault::ReadOnly,
    Fault::Truncated,
    Fault::Flipped,
    Fault::Flipped,
];

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::CutOne => "power lost by one node",
            Self::CutTwo => "power lost by two nodes",
            Self::CutAll => "power lost by all nodes",
            Self::FailingSync => "fsync fails",
            Self::Full => "disk full",
            Self::ReadOnly => "disk read-only",
            Self::Truncated => "file cut short",
            Self::Flipped => "bit turned over",
        }
    }
}

/// What is asked for.
pub(super) struct Campaign {
    pub(super) jobraft: PathBuf,
    pub(super) seed: u64,
    pub(super) cuts: u32,
    pub(super) time: Duration,
    /// When all of it is given up.
    pub(super) limit: Duration,
    pub(super) rate: u32,
}

struct Scene<'a> {
    cluster: &'a mut Cluster,
    rack: &'a mut Rack,
    client: &'a Client,
    load: &'a Load,
    random: StdRng,
    /// How often damage was noticed.
    noticed: usize,
}

impl Campaign {
    pub(super) async fn run(self) -> Result<Report, Trouble> {
        let mut report = Report::new("disk", self.seed);
        let known = "damage to the very end of a WAL: it cannot be told from a write that was torn";
        report.left_out.push(known.to_owned());
        let directory = tempfile::Builder::new().prefix("jobraft-disk-").tempdir();
        let directory = directory.map_err(|error| Trouble::machine("make a directory", error))?;
        let mut rack = Rack::new(directory.path(), NODES)?;
        let place = |node: u64| {
            let (host, port) = (IpAddr::V4(Ipv4Addr::LOCALHOST), PORT + u16::try_from(node).unwrap_or(0));
            Place { host, port, namespace: None, data_dir: rack.data_dir(node), clock: None }
        };
        let places = (1..=NODES).map(place).collect();
        let mut cluster = Cluster::prepare(self.jobraft.clone(), directory.path().to_owned(), places)?;
        let rounds = self.rounds(&mut cluster, &mut rack, &mut report);
        if let Err(trouble) = in_time(self.limit, rounds).await {
            report.broken_off(&trouble);
        }
        cluster.kill(&cluster.running())?;
        if report.verdict == Verdict::Violated {
            rack.export(directory.path())?;
        }
        drop(rack);
        report.attach_logs(&cluster, directory);
        Ok(report)
    }

    async fn rounds(&self, cluster: &mut Cluster, rack: &mut Rack, report: &mut Report) -> Result<(), Trouble> {
        let (client, clients) = cluster.begin(CLIENTS, START_TIMEOUT).await?;
        let recorder = Recorder::new();
        let mut load = Load::start(Plan { rate: self.rate, pairs: 4, seed: self.seed }, &clients, recorder.clone())?;
        load.goes_on(WORK, START_TIMEOUT).await?;
        let end = Instant::now() + self.time;
        let random = StdRng::seed_from_u64(self.seed);
        let mut scene = Scene { cluster, rack, client: &client, load: &load, random, noticed: 0 };
        let (mut deck, mut played): (Vec<Fault>, BTreeMap<Fault, usize>) = (Vec::new(), BTreeMap::new());
        let mut longest = Duration::ZERO;
        let mut left = self.cuts;
        let outcome = async {
            while left > 0 && Instant::now() < end {
                if deck.is_empty() {
                    deck = DECK.to_vec();
                    deck.shuffle(&mut scene.random);
                }
                let Some(fault) = deck.pop() else { break };
                let named = |trouble: Trouble| match trouble {
                    Trouble::Violation(text) => Trouble::Violation(format!("{}: {text}", fault.name())),
                    other => other,
                };
                let befell = scene.play(fault).await.map_err(named)?;
                let recovered = scene.load.goes_on(WORK, RECOVERY_TIMEOUT).await.map_err(named)?;
                eprintln!("  {} ({befell}); work went on {:.1} s later", fault.name(), recovered.as_secs_f64());
                longest = longest.max(recovered);
                *played.entry(fault).or_default() += 1;
                left -= 1;
                tokio::time::sleep(Duration::from_millis(scene.random.random_range(100..1_500))).await;
            }
            Ok(())
        }
        .await;
        let noticed = scene.noticed;
        let mut kinds = DECK.to_vec();
        kinds.sort();
        kinds.dedup();
        for kind in kinds {
            report.count(format!("fault: {}", kind.name()), played.get(&kind).copied().unwrap_or(0));
        }
        report.count("damage noticed, and the file named", noticed);
        report.figure("longest recovery, s", longest.as_secs_f64());
        report.count("fsyncs", usize::try_from(rack.syncs()).unwrap_or(usize::MAX));
        outcome?;
        if left > 0 {
            report.insufficient(format!("{left} of {} faults did not fit into {:?}", self.cuts, self.time));
        }
        finish(cluster, &client, &mut load, &recorder, DRAIN_TIMEOUT, report).await
    }
}

impl Scene<'_> {
    async fn play(&mut self, fault: Fault) -> Result<String, Trouble> {
        let all = self.cluster.ids();
        self.cluster.leader_among(&all, self.client, RECOVERY_TIMEOUT).await?;
        let mut chosen = all.clone();
        chosen.shuffle(&mut self.random);
        let node = chosen[0];
        match fault {
            Fault::CutOne => self.cut(&chosen[..1]).await,
            Fault::CutTwo => self.cut(&chosen[..2]).await,
            Fault::CutAll => self.cut(&all).await,
            Fault::FailingSync => self.defect(node, Defect::FailingSync).await,
            Fault::Full => self.defect(node, Defect::Full).await,
            Fault::ReadOnly => self.defect(node, Defect::ReadOnly).await,
            Fault::Truncated => self.damage(node, Damage::Truncated).await,
            Fault::Flipped => self.damage(node, Damage::Flipped).await,
        }
    }

    /// The power of these nodes is lost in one moment, and comes back a little later.
    async fn cut(&mut self, nodes: &[u64]) -> Result<String, Trouble> {
        self.cluster.kill(nodes)?;
        for node in nodes {
            self.rack.cut(*node, &mut self.random)?;
        }
        tokio::time::sleep(Duration::from_millis(self.random.random_range(0..1_500))).await;
        nodes.iter().try_for_each(|node| self.cluster.start(*node))?;
        self.cluster.caught_up(nodes, self.client, RECOVERY_TIMEOUT).await?;
        Ok(format!("{nodes:?}"))
    }

    /// A disk fails: its node must stop, and say which file it was; repaired, it comes back.
    async fn defect(&mut self, node: u64, defect: Defect) -> Result<String, Trouble> {
        let logged = std::fs::metadata(self.cluster.log_file(node)).map_or(0, |log| log.len());
        self.rack.set_defect(node, defect);
        let status = self.cluster.end_of(node, END_TIMEOUT, "its disk fails").await?;
        let log = std::fs::read(self.cluster.log_file(node)).unwrap_or_default();
        let told = String::from_utf8_lossy(log.get(usize::try_from(logged).unwrap_or(0)..).unwrap_or_default());
        let last = process::tail(&self.cluster.log_file(node), 1);
        let names = told.contains("log.db") || told.contains("state.db");
        if status.success() || told.contains("panicked") || !names {
            return Err(Trouble::Violation(format!("node {node} ended ({status}) and does not name the file: {last}")));
        }
        self.rack.set_defect(node, Defect::None);
        self.rack.cut(node, &mut self.random)?;
        self.cluster.start(node)?;
        self.cluster.caught_up(&[node], self.client, RECOVERY_TIMEOUT).await?;
        Ok(format!("node {node}: {last}"))
    }

    async fn damage(&mut self, node: u64, damage: Damage) -> Result<String, Trouble> {
        self.load.pause(true);
        self.load.drained(self.client, DRAIN_TIMEOUT).await?;
        self.cluster.caught_up(&self.cluster.ids(), self.client, RECOVERY_TIMEOUT).await?;
        let outcome = damage.befall(self.cluster, self.rack, node, &mut self.random).await?;
        self.load.pause(false);
        self.cluster.caught_up(&[node], self.client, RECOVERY_TIMEOUT).await?;
        self.noticed += usize::from(outcome.noticed);
        let noticed = if outcome.noticed { "it stopped and said so" } else { "not in use: it serves what it served" };
        Ok(format!("node {node}: {}; {noticed}", outcome.what))
    }
}
