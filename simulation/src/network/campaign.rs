//! One run: the network, the nodes, the load, fault after fault, and the judgement.

use super::certificate::found_authority;
use super::fault::{Deck, Fault};
use super::scene::Scene;
use super::topology::Topology;
use super::weather::Shaping;
use crate::history::Recorder;
use crate::real::clock::ClockLibrary;
use crate::real::cluster::Place;
use crate::real::load::{Load, Plan};
use crate::real::verdict::{Report, Trouble, in_time};
use crate::real::{Cluster, Sandbox, finish};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NODES: u64 = 3;
const PORT: u16 = 7_400;
/// Clients that share the load.
const CLIENTS: usize = 6;
const START_TIMEOUT: Duration = Duration::from_secs(45);
/// How long the cluster may need to go on after a fault is mended.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(45);
/// Work after each fault before the next one.
const WORK: u64 = 20;
const FIRST_FAULT_AFTER: Duration = Duration::from_secs(3);
/// No fault begins so shortly before the end of the load.
const LAST_FAULT_BEFORE: Duration = Duration::from_secs(8);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What is asked for.
pub(super) struct Campaign {
    pub(super) jobraft: PathBuf,
    pub(super) seed: u64,
    pub(super) load: Duration,
    /// When all of it is given up.
    pub(super) limit: Duration,
    pub(super) rate: u32,
}

impl Campaign {
    pub(super) async fn run(self, sandbox: &Sandbox) -> Result<Report, Trouble> {
        let mut report = Report::new("network", self.seed);
        let directory = tempfile::Builder::new().prefix("jobraft-network-").tempdir();
        let directory = directory.map_err(|error| Trouble::machine("make a directory", error))?;
        let topology = Topology::build(sandbox, NODES)?;
        let shaping = Shaping::detect(&topology)?;
        if shaping == Shaping::TokenBucket {
            report.left_out.push(
                "delay and disorder of packets: this kernel has no netem; links are thinned by tbf, losses made by iptables"
                    .to_owned(),
            );
        }
        let mut kinds = Fault::ALL.to_vec();
        let library = ClockLibrary::build(directory.path());
        if let Err(trouble) = &library {
            kinds.retain(|kind| !kind.needs_clock());
            report.left_out.push(format!("clocks that jump and certificates that run out: {trouble}"));
        }
        let mut cluster = self.prepare(directory.path(), &topology, library.ok().as_ref())?;
        let rounds = self.rounds(&topology, shaping, &mut cluster, kinds, &mut report);
        let outcome = in_time(self.limit, rounds).await;
        if let Err(trouble) = outcome {
            report.broken_off(&trouble);
        }
        report.attach_logs(&cluster, directory);
        Ok(report)
    }

    fn prepare(
        &self,
        directory: &Path,
        topology: &Topology,
        clocks: Option<&ClockLibrary>,
    ) -> Result<Cluster, Trouble> {
        if let Some(clocks) = clocks {
            let past = clocks.clock(directory.join("clock-past"))?;
            found_authority(&self.jobraft, &directory.join("certs"), &past)?;
        }
        let place = |node: u64| -> Result<Place, Trouble> {
            let clock = clocks.map(|clocks| clocks.clock(directory.join(format!("clock-{node}")))).transpose()?;
            let (host, namespace) = (topology.address(node), Some(topology.namespace(node)?));
            Ok(Place { host, port: PORT, namespace, data_dir: directory.join(format!("data-{node}")), clock })
        };
        let places = (1..=NODES).map(place).collect::<Result<_, _>>()?;
        Cluster::prepare(self.jobraft.clone(), directory.to_owned(), places)
    }

    async fn rounds(
        &self,
        topology: &Topology,
        shaping: Shaping,
        cluster: &mut Cluster,
        kinds: Vec<Fault>,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let (client, clients) = cluster.begin(CLIENTS, START_TIMEOUT).await?;
        let recorder = Recorder::new();
        let plan = Plan { rate: self.rate, pairs: 4, seed: self.seed };
        let mut load = Load::start(plan, &clients, recorder.clone())?;
        let end = Instant::now() + self.load;
        tokio::time::sleep(FIRST_FAULT_AFTER).await;
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut deck = Deck::of(kinds.clone());
        let mut played: BTreeMap<Fault, usize> = BTreeMap::new();
        let mut longest = Duration::ZERO;
        let outcome = async {
            load.goes_on(WORK, START_TIMEOUT).await?;
            while Instant::now() + LAST_FAULT_BEFORE < end {
                let Some(fault) = deck.draw(&mut random) else { break };
                let begun = Instant::now();
                let mut scene =
                    Scene { topology, shaping, cluster: &mut *cluster, client: &client, random: &mut random };
                let befell = scene.play(fault).await.map_err(|trouble| during(fault, &trouble))?;
                let lasted = begun.elapsed();
                let recovered =
                    load.goes_on(WORK, RECOVERY_TIMEOUT).await.map_err(|trouble| during(fault, &trouble))?;
                longest = longest.max(recovered);
                *played.entry(fault).or_default() += 1;
                recorder.history().fault(fault.name());
                eprintln!(
                    "  {} ({befell}) for {:.1} s; work went on {:.1} s later",
                    fault.name(),
                    lasted.as_secs_f64(),
                    recovered.as_secs_f64()
                );
                tokio::time::sleep(Duration::from_millis(random.random_range(100..900))).await;
            }
            tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
            Ok(())
        }
        .await;
        for kind in &kinds {
            report.count(format!("fault: {}", kind.name()), played.get(kind).copied().unwrap_or(0));
        }
        report.figure("longest recovery, s", longest.as_secs_f64());
        outcome?;
        let missed: Vec<&str> =
            kinds.iter().filter(|kind| !played.contains_key(kind)).map(|kind| kind.name()).collect();
        if missed.len() > kinds.len() / 2 {
            report.insufficient(format!("most kinds of faults did not fit into the time: {}", missed.join(", ")));
        } else if !missed.is_empty() {
            report.left_out.push(format!("for want of time: {}", missed.join(", ")));
        }
        finish(cluster, &client, &mut load, &recorder, DRAIN_TIMEOUT, report).await
    }
}

fn during(fault: Fault, trouble: &Trouble) -> Trouble {
    let text = format!("{}: {trouble}", fault.name());
    match trouble {
        Trouble::Violation(_) => Trouble::Violation(text),
        _ => Trouble::Machine(text),
    }
}
