//! Groups of one queue share it by their weights, exactly enough to be promised.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "only the disk is needed here")]
mod support;

use jobraft_core::{Command, Core, Entry, Outcome};
use jobraft_protocol::{
    Completion, GroupSetting, JobId, LeasedJob, LogTime, NewJob, QueueName, Rate, Setting, Task, WorkerId, WorkerInfo,
};
use std::collections::BTreeMap;
use support::Disk;

const LEASES: usize = 10_000;
/// Tenants and their weights, with more jobs than they will ever be given.
const TENANTS: [(&str, u32, u64); 3] = [("one", 1, 2_000), ("two", 2, 4_000), ("four", 4, 8_000)];

struct Cluster {
    core: Core,
    disk: Disk,
    at: u64,
    jobs: u64,
}

fn queue() -> QueueName {
    "q".parse().unwrap()
}

impl Cluster {
    /// Everyone has a backlog.
    fn new() -> Self {
        let mut cluster = Self { core: Core::new(), disk: Disk::default(), at: 1_000, jobs: 0 };
        cluster.apply(Command::RegisterWorker { info: WorkerInfo::default() });
        for (tenant, weight, jobs) in TENANTS {
            cluster.set(tenant, GroupSetting::Weight(Some(weight)));
            cluster.enqueue(tenant, jobs);
        }
        cluster
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let entry = Entry { at: LogTime::from_ms(self.at), commands: vec![command], ..Entry::default() };
        self.core.apply(&entry).outcomes.remove(0).unwrap()
    }

    fn set(&mut self, tenant: &str, setting: GroupSetting) {
        self.apply(Command::Configure { settings: vec![Setting::Group(queue(), tenant.parse().unwrap(), setting)] });
    }

    fn enqueue(&mut self, tenant: &str, count: u64) {
        let job = |number: u64| {
            let mut random = [0; 10];
            random[2..].copy_from_slice(&number.to_be_bytes());
            let id = JobId::new(LogTime::from_ms(self.at), random);
            let group = Some(tenant.parse().unwrap());
            NewJob { group, ..NewJob::new(id, queue(), Task::Handler("t".parse().unwrap()), "") }
        };
        let jobs: Vec<NewJob> = (self.jobs..self.jobs + count).map(job).collect();
        self.jobs += count;
        for bulk in jobs.chunks(1_000) {
            self.apply(Command::enqueue(bulk.to_vec()));
        }
    }

    fn lease(&mut self, max: u32) -> Vec<LeasedJob> {
        let (worker, queues) = (WorkerId(1), vec![queue()]);
        match self.apply(Command::Lease { worker, queues, shares: Vec::new(), max, lease_ms: 43_200_000 }) {
            Outcome::Leased(leased) => leased.jobs,
            other => panic!("{other:?}"),
        }
    }

    /// Leases so many at once, until there were so many; who got how many.
    fn run(&mut self, at_once: u32, mut between: impl FnMut(&mut Self, &[LeasedJob])) -> BTreeMap<String, usize> {
        let mut shares: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = 0;
        while count < LEASES {
            let jobs = self.lease(at_once.min((LEASES - count) as u32));
            assert!(!jobs.is_empty(), "nothing to lease after {count}");
            count += jobs.len();
            for job in &jobs {
                *shares.entry(job.group.as_ref().unwrap().as_str().to_owned()).or_default() += 1;
            }
            between(self, &jobs);
        }
        shares
    }

    fn restart(&mut self) {
        self.disk.checkpoint(&mut self.core);
        self.core = self.disk.load();
    }
}

/// Each has its part of all leases, within 2 % of it.
fn check(shares: &BTreeMap<String, usize>, tenants: &[(&str, u32)]) {
    let weights: u32 = tenants.iter().map(|(_, weight)| weight).sum();
    for (tenant, weight) in tenants {
        let (due, got) = (LEASES as f64 * f64::from(*weight) / f64::from(weights), shares[*tenant] as f64);
        assert!((got - due).abs() <= due * 0.02, "{tenant} got {got} of {due:.0}: {shares:?}");
    }
}

const ALL: [(&str, u32); 3] = [("one", 1), ("two", 2), ("four", 4)];

#[test]
fn backlogged_tenants_share_by_weight() {
    for at_once in [1, 7, 256] {
        check(&Cluster::new().run(at_once, |_, _| {}), &ALL);
    }
}

#[test]
fn it_makes_no_difference_how_quickly_jobs_are_done() {
    let shares = Cluster::new().run(3, |cluster, jobs| {
        for job in jobs.iter().filter(|job| !job.token.0.is_multiple_of(3)) {
            cluster.apply(Command::complete(job.lease(), Completion::default()));
        }
    });
    check(&shares, &ALL);
}

#[test]
fn a_restart_in_the_middle_changes_nothing() {
    let mut plain = Vec::new();
    Cluster::new().run(10, |_, jobs| plain.extend(jobs.iter().map(|job| job.id)));
    let mut leases = 0;
    let mut restarted = Vec::new();
    let shares = Cluster::new().run(10, |cluster, jobs| {
        restarted.extend(jobs.iter().map(|job| job.id));
        leases += 1;
        if leases % 250 == 1 {
            cluster.restart();
        }
    });
    check(&shares, &ALL);
    assert!(plain == restarted, "the same jobs in the same order");
}

#[test]
fn who_is_held_by_a_limit_leaves_its_share_to_the_others() {
    let mut cluster = Cluster::new();
    cluster.set("two", GroupSetting::Concurrency(Some(1)));
    cluster.enqueue("one", 2_000);
    cluster.enqueue("four", 2_000);
    let shares = cluster.run(16, |_, _| {});
    assert_eq!(shares["two"], 1);
    check(&shares, &[("one", 1), ("four", 4)]);
}

#[test]
fn a_rate_is_kept_beside_the_shares() {
    let mut cluster = Cluster::new();
    // Less than its share: a token every 100 ms, and ten leases by then.
    cluster.set("four", GroupSetting::Rate(Some(Rate { burst: Some(1), ..Rate::new(10, 1_000) })));
    cluster.enqueue("one", 4_000);
    cluster.enqueue("two", 4_000);
    let before = cluster.at;
    let shares = cluster.run(1, |cluster, _| cluster.at += 10);
    let tokens = (cluster.at - before) as usize / 100;
    assert!(tokens.abs_diff(shares["four"]) <= 1, "{shares:?}, {tokens} tokens");
    let others = shares["one"] + shares["two"];
    assert!(others.abs_diff(3 * shares["one"]) <= others / 50, "{shares:?}");
}

#[test]
fn a_newcomer_is_served_within_one_round() {
    for at_once in [1_u32, 5, 64] {
        let mut cluster = Cluster::new();
        let tenants: Vec<String> = (0..50).map(|number| format!("t{number}")).collect();
        tenants.iter().for_each(|tenant| cluster.enqueue(tenant, 40));
        let active = tenants.len() + TENANTS.len();
        for round in 0..8 {
            (0..20).for_each(|_| drop(cluster.lease(at_once.min(5))));
            if round % 7 == 3 {
                cluster.restart();
            }
            let newcomer = format!("new{round}");
            cluster.enqueue(&newcomer, 1);
            let is_its = |job: &LeasedJob| job.group.as_ref().unwrap().as_str() == newcomer;
            let mut leased: Vec<LeasedJob> = Vec::new();
            while !leased.iter().any(is_its) {
                leased.extend(cluster.lease(at_once));
                assert!(leased.len() <= active + round + at_once as usize, "round {round}: nothing for it");
            }
            // Each of the others may go first, once.
            let place = leased.iter().position(is_its).unwrap();
            assert!(place <= active, "round {round}: {place} before it, {active} groups");
        }
    }
}

#[test]
fn a_million_jobs_of_one_do_not_starve_another() {
    let mut cluster = Cluster::new();
    cluster.enqueue("bulk", 20_000);
    (0..2_000).for_each(|_| drop(cluster.lease(1)));
    cluster.enqueue("small", 1);
    let tenants: Vec<String> =
        cluster.lease(10).iter().map(|job| job.group.as_ref().unwrap().as_str().to_owned()).collect();
    assert!(tenants.iter().any(|tenant| tenant == "small"), "{tenants:?}");
}
