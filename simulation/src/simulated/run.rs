//! One seed from beginning to verdict.

use super::adversary::Adversary;
use super::chronicle;
use super::cluster::Cluster;
use super::environment::{Environment, SECOND_NS};
use super::errands::{Done, Errands};
use super::faults::Happened;
use super::ledger::{Ledger, Progress};
use super::logs;
use super::network::Traffic;
use super::patrons::{self, Patrons};
use super::world::World;
use crate::{disk, history, vfs};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How long the cluster may take to heal, in virtual time.
const HEAL_NS: u64 = 180 * SECOND_NS;
/// How long it must then have been well.
const CALM_NS: u64 = 2 * SECOND_NS;
/// A run that commits fewer commands says nothing.
const COMMANDS_MIN: u64 = 20;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// Steps with faults, before the cluster is left in peace.
    pub steps: u64,
}

/// What is said of a run in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Everything held that was checked.
    Passed,
    /// Something did not.
    Violation(String),
    /// Too little happened for it to say anything.
    Insufficient(String),
}

/// What came of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// Steps made.
    pub steps: u64,
    /// Virtual time that went by.
    pub virtual_ns: u64,
    /// What the cluster did.
    pub progress: Progress,
    /// What those who work with it were answered.
    pub done: Done,
    /// Which faults happened.
    pub happened: Happened,
    /// What became of datagrams.
    pub traffic: Traffic,
    /// Two runs of one seed agree on it.
    pub fingerprint: u64,
    /// What happened.
    pub chronicle: Vec<String>,
}

impl Report {
    /// Of a run that came to no end.
    #[must_use]
    pub fn broken(seed: u64, why: String) -> Self {
        Self {
            seed,
            verdict: Verdict::Violation(why),
            steps: 0,
            virtual_ns: 0,
            progress: Progress::default(),
            done: Done::default(),
            happened: Happened::default(),
            traffic: Traffic::default(),
            fingerprint: 0,
            chronicle: Vec::new(),
        }
    }
}

/// Runs a seed, on a thread of its own. To be called once in a process: tokio and others count for the whole process, and
/// a second run would find other numbers.
///
/// # Panics
/// If the simulation itself fails.
#[must_use]
pub fn run(plan: Plan) -> Report {
    vfs::install();
    // Its name is drawn here, where chance is the kernel's: two runs of one seed must not share it.
    let home = disk::scratch().expect("a temporary directory can be made");
    let path = home.path().to_owned();
    let thread = std::thread::Builder::new().name(format!("seed {}", plan.seed)).stack_size(16 << 20);
    let thread = thread.spawn(move || tell(plan, &path)).expect("the system has room for a thread");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn tell(plan: Plan, home: &Path) -> Report {
    // Before anything else: the first hash map of the thread draws its keys.
    let environment = Environment::begin(plan.seed);
    vfs::seed(plan.seed);
    chronicle::begin(&home.to_string_lossy());
    let listening = chronicle::listen(tracing::Level::INFO);
    let mut run = Run::new(plan, home, environment);
    let violation = run.make_trouble().and_then(|()| run.heal()).err();
    let report = run.report(violation);
    drop(listening);
    Report { chronicle: chronicle::end(), ..report }
}

/// A run under way.
struct Run {
    plan: Plan,
    ledger: Ledger,
    adversary: Adversary,
    cluster: Cluster,
    world: World,
    errands: Errands,
    patrons: Patrons,
}

impl Run {
    fn new(plan: Plan, home: &Path, environment: Environment) -> Self {
        let mut world = World::new(plan.seed, environment);
        let mut random = SmallRng::seed_from_u64(plan.seed);
        let ledger = Ledger::default();
        let size = [3, 3, 3, 5, 5, 7][random.random_range(0..6_usize)];
        let mut cluster = Cluster::new(&mut world, home, size, ledger.clone()).expect("the directory is ours");
        for host in cluster.members().map(|(host, _)| host).collect::<Vec<_>>() {
            cluster.start(&mut world, host).expect("a host can be booted");
        }
        let adversary = Adversary::new(plan.seed, size);
        let patrons = Patrons::boot(&mut world, &cluster, size, plan.steps, plan.seed).expect("a host can be booted");
        Self { plan, ledger, adversary, cluster, world, errands: Errands::new(plan.seed), patrons }
    }

    /// Lets faults happen for as many steps as planned.
    fn make_trouble(&mut self) -> Result<(), String> {
        while self.world.steps() < self.plan.steps {
            self.go_on()?;
        }
        Ok(())
    }

    /// Ends the faults, and waits until the cluster is well and what waits is done.
    fn heal(&mut self) -> Result<(), String> {
        self.adversary.make_peace(&mut self.world, &mut self.cluster);
        self.errands.wind_up();
        self.get_well()?;
        chronicle::note("the cluster is well");
        let until = self.world.now_ns() + Patrons::patience_ns();
        loop {
            self.go_on()?;
            if let Some(finished) = self.patrons.finish(&mut self.world) {
                if let Err(unfinished) = finished {
                    // What waits for its time, after a failure such as for minutes, is not stranded.
                    let queues = self.ledger.read(jobraft_core::Core::queues);
                    if queues.iter().any(|queue| queue.ready + queue.leased > 0) {
                        return Err(format!("no job is stranded: {unfinished}"));
                    }
                    chronicle::note(unfinished);
                }
                break;
            }
            if self.world.now_ns() >= until {
                return Err(
                    "when faults cease, all ready work is offered: the clients did not come to an end".to_owned()
                );
            }
        }
        self.get_well()?;
        let hosts = self.adversary.belonging(&self.cluster);
        let compared = logs::compare(&self.cluster, &hosts, &self.ledger)?;
        chronicle::note(format_args!("{compared} entries of logs agree"));
        Ok(())
    }

    /// Goes on until the cluster has been well for a while.
    fn get_well(&mut self) -> Result<(), String> {
        let until = self.world.now_ns() + HEAL_NS;
        let (mut well_since, mut looks_at) = (None, 0);
        while self.world.now_ns() < until {
            self.go_on()?;
            let now = self.world.now_ns();
            if now < looks_at {
                continue;
            }
            looks_at = now + SECOND_NS / 10;
            let since = *well_since.get_or_insert(now);
            if self.ailment().is_some() {
                well_since = None;
            } else if now >= since + CALM_NS {
                return Ok(());
            }
        }
        let ailment = self.ailment().unwrap_or_else(|| "it was never well for long".to_owned());
        Err(format!("when faults cease, the cluster heals: after {} s, {ailment}", HEAL_NS / SECOND_NS))
    }

    /// What is not as it should be, in peace.
    fn ailment(&self) -> Option<String> {
        if let Some(change) = self.adversary.operator.waiting().next() {
            return Some(format!("{change:?} is not done"));
        }
        let Some((_, leader)) = self.cluster.leader(&self.world) else { return Some("nobody leads".to_owned()) };
        let (index, hash) = self.ledger.end();
        let term = leader.pulse().term;
        for host in self.adversary.belonging(&self.cluster) {
            let name = &self.world.station(host).name;
            let Some(consensus) = self.cluster.consensus(host) else { return Some(format!("{name} does not run")) };
            let pulse = consensus.pulse();
            if pulse.term != term {
                return Some(format!("{name} is in term {}, the leader in {term}", pulse.term));
            }
            if pulse.applied.index != index {
                return Some(format!("{name} has applied {} of {index} entries", pulse.applied.index));
            }
            match consensus.state_hash() {
                Ok(own) if own == hash => {}
                Ok(_) => return Some(format!("{name} has another state at {index}")),
                Err(error) => return Some(format!("{name} cannot read its state at {index}: {error}")),
            }
        }
        // What waits for a time, or for another job, may go on waiting.
        super::wishes::is_work_left(&self.ledger).then(|| "the errands' queues hold work that nobody does".to_owned())
    }

    /// Goes on to the next thing that happens.
    fn go_on(&mut self) -> Result<(), String> {
        let limit = self.adversary.next_ns().min(self.errands.next_ns());
        for host in self.world.advance(limit) {
            self.world.run(host);
            if let Some(consensus) = self.cluster.consensus(host) {
                let node = self.cluster.member(host).expect("it has consensus").node;
                self.ledger.check_pulse(node, consensus.pulse());
            }
            if let Some(violation) = self.adversary.attend(host, &mut self.world, &mut self.cluster) {
                chronicle::note(format_args!("VIOLATION: {violation}"));
                return Err(violation);
            }
        }
        if let Some(violation) = self.ledger.violation() {
            return Err(violation);
        }
        if self.world.now_ns() >= self.adversary.next_ns() {
            self.adversary.act(&mut self.world, &mut self.cluster);
        }
        if self.world.now_ns() >= self.errands.next_ns() {
            self.errands.run(&mut self.world, &self.cluster, &self.ledger);
        }
        Ok(())
    }

    fn report(mut self, violation: Option<String>) -> Report {
        let progress = self.ledger.progress();
        let happened = self.adversary.happened().clone();
        let verdict = match violation {
            Some(violation) => Verdict::Violation(violation),
            None if happened.total() == 0 => Verdict::Insufficient("no fault happened".to_owned()),
            None if progress.commands < COMMANDS_MIN => {
                Verdict::Insufficient(format!("only {} commands were committed", progress.commands))
            }
            None => match patrons::judged(&self.patrons.recorder().history()) {
                history::Verdict::Passed(_) => Verdict::Passed,
                history::Verdict::Violated(violation) => Verdict::Violation(violation.to_string()),
                history::Verdict::Insufficient { why, .. } => Verdict::Insufficient(why),
            },
        };
        let report = Report {
            seed: self.plan.seed,
            verdict,
            steps: self.world.steps(),
            virtual_ns: self.world.now_ns(),
            progress,
            done: self.errands.done(),
            happened,
            traffic: self.world.network.traffic(),
            fingerprint: self.world.fingerprint(),
            chronicle: Vec::new(),
        };
        self.cluster.end_all(&mut self.world);
        report
    }
}
