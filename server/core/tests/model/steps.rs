//! What happens, before it is known which ids and tokens there are: few jobs, queues, keys and workers, so that they meet.

use jobraft_protocol::{
    Backoff, BackoffCurve, CatchUp, GroupSetting, JobState, NewJob, OnConflict, OnFailure, Overlap, QueueMode,
    QueueSetting, Rate, Retention, Start, Unique, UniqueScope,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) const JOBS: u8 = 6;
pub(crate) const QUEUES: [&str; 3] = ["a", "b", "c"];
pub(crate) const GROUPS: [&str; 3] = ["g", "h", "i"];
pub(crate) const BATCHES: u8 = 2;
pub(crate) const SCHEDULES: [&str; 2] = ["n", "m"];
pub(crate) const KEYS: [&str; 2] = ["k", "l"];

/// A job to be: everything of it but its id.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) job: u8,
    /// Whether under a new id, if its last one was used.
    pub(crate) anew: bool,
    pub(crate) queue: usize,
    pub(crate) start: Start,
    pub(crate) priority: Option<u8>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) timeout: Option<u64>,
    pub(crate) ttl: Option<u64>,
    pub(crate) deadline: Option<u64>,
    pub(crate) max_crashes: Option<u32>,
    pub(crate) unique: Option<Unique>,
    pub(crate) payload: usize,
    pub(crate) group: Option<usize>,
    /// Jobs that it comes after.
    pub(crate) after: Vec<u8>,
    pub(crate) on_failure: OnFailure,
    pub(crate) batch: Option<u8>,
    /// Whether its id may be old, and those that it comes after unknown or named twice.
    pub(crate) is_careless: bool,
}

/// A schedule to be put.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    pub(crate) queue: usize,
    pub(crate) zone: u8,
    pub(crate) catch_up: CatchUp,
    pub(crate) overlap: Overlap,
    pub(crate) unique: Option<Unique>,
    pub(crate) group: Option<usize>,
    pub(crate) priority: u8,
}

/// A lease by its job, and how many tokens back.
pub(crate) type Held = (u8, u64);

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Cancel { grace_ms: u64 },
    Delete,
    Retry,
    Move { queue: usize },
    Prioritize { priority: u8 },
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// With what the leader read of ended jobs: nothing, what it noted, or what there is.
    Enqueue {
        plans: Vec<Plan>,
        all: bool,
        row: u8,
    },
    CreateBatch {
        batch: u8,
        anew: bool,
        open: bool,
        plans: Vec<Plan>,
        row: u8,
        calls: [Option<usize>; 2],
    },
    SealBatch(u8, bool),
    Put(usize, Calendar),
    Pause(usize, bool),
    Remove(usize),
    Run(usize, u8, bool),
    /// Ticks so long before log time.
    Tick {
        name: usize,
        ago: Vec<u64>,
        passed_over: u64,
        more: bool,
        is_old: bool,
    },
    Group(usize, usize, GroupSetting),
    Register,
    Seen(u64),
    Order(u64, u8),
    Lease {
        worker: u64,
        queues: Vec<usize>,
        max: u32,
        lease_ms: u64,
    },
    Extend(Vec<Held>, u64),
    Checkpoint(Held, usize),
    Complete {
        held: Held,
        children: Vec<Plan>,
        writes: Vec<(usize, Option<usize>, Option<u64>)>,
    },
    Fail(Held, bool),
    Release(Held, u64),
    Disconnect(u64),
    /// With the row as it is, as it was noted, or none.
    Act {
        jobs: Vec<u8>,
        row: u8,
        act: Act,
        only_in: Vec<JobState>,
    },
    /// A leader reads the job's row, for an entry to come.
    Note(u8),
    Configure(Vec<(usize, QueueSetting)>),
    CreateQueues(bool),
    Nothing,
}

/// How log time goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pass {
    Ms(i64),
    /// To the next timer, and so much beside it.
    Timer(i64),
}

pub(crate) fn pass() -> impl Strategy<Value = Pass> {
    prop_oneof![
        12 => Just(Pass::Ms(0)),
        10 => prop_oneof![Just(1_i64), Just(999), Just(1_000), Just(5_000), -2_000..0_i64, 0..10_000_i64].prop_map(Pass::Ms),
        12 => prop_oneof![Just(-1_i64), Just(0), Just(1)].prop_map(Pass::Timer),
        1 => prop_oneof![Just(60_000_i64), Just(299_999), Just(300_000), Just(300_001), Just(400_000), Just(600_000)].prop_map(Pass::Ms),
        1 => prop_oneof![Just(3_600_001_i64), Just(3_700_000), Just(86_400_000), Just(259_200_000), Just(2_592_000_000), Just(2_592_000_001)]
            .prop_map(Pass::Ms),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let short = || prop_oneof![Just(1_000_u64), Just(5_000), 1..20_000_u64];
    let start = prop_oneof![3 => Just(Start::Now), 1 => short().prop_map(Start::AfterMs)];
    let first = (
        0..JOBS,
        prop::bool::weighted(0.3),
        0..QUEUES.len(),
        start,
        option::weighted(0.3, prop_oneof![30 => 0..10_u8, 1 => Just(10)]),
    );
    let second = (
        option::weighted(0.7, 1..3_u32),
        option::weighted(0.3, short()),
        option::weighted(0.2, short()),
        option::weighted(0.2, short()),
        option::weighted(0.4, 1..3_u32),
        option::weighted(0.5, unique()),
        0..150_usize,
    );
    let policy = (0..OnFailure::ALL.len()).prop_map(|at| OnFailure::ALL[at]);
    let ties = (
        group(),
        prop_oneof![2 => Just(Vec::new()), 2 => vec(0..JOBS, 1..2), 1 => vec(0..JOBS, 2..4)],
        policy,
        option::weighted(0.2, 0..BATCHES),
        prop::bool::weighted(0.1),
    );
    (first, second, ties).prop_map(
        |(
            (job, anew, queue, start, priority),
            (max_attempts, timeout, ttl, deadline, max_crashes, unique, payload),
            (group, after, on_failure, batch, is_careless),
        )| Plan {
            job,
            anew,
            queue,
            start,
            priority,
            max_attempts,
            timeout,
            ttl,
            deadline,
            max_crashes,
            unique,
            payload,
            group,
            after,
            on_failure,
            batch,
            is_careless,
        },
    )
}

fn group() -> impl Strategy<Value = Option<usize>> {
    option::weighted(0.6, 0..GROUPS.len())
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    let rate = (1..4_u64, prop_oneof![Just(1_000_u64), Just(7_000)], option::weighted(0.4, 1..5_u64));
    option::weighted(0.7, rate.prop_map(|(count, per_ms, burst)| Rate { count, per_ms, burst }))
}

fn concurrency() -> impl Strategy<Value = Option<u64>> {
    option::weighted(0.7, 1..4_u64)
}

fn calendar() -> impl Strategy<Value = Calendar> {
    let catch_up = (0..CatchUp::ALL.len()).prop_map(|at| CatchUp::ALL[at]);
    let overlap = (0..Overlap::ALL.len()).prop_map(|at| Overlap::ALL[at]);
    let priority = prop_oneof![20 => 0..10_u8, 1 => Just(10)];
    (0..QUEUES.len(), 0..2_u8, catch_up, overlap, option::weighted(0.3, unique()), group(), priority).prop_map(
        |(queue, zone, catch_up, overlap, unique, group, priority)| Calendar {
            queue,
            zone,
            catch_up,
            overlap,
            unique,
            group,
            priority,
        },
    )
}

/// What has to do with many jobs together.
fn together() -> impl Strategy<Value = Step> {
    let schedule = || 0..SCHEDULES.len();
    let batch = || 0..BATCHES;
    let calls = || option::weighted(0.7, 0..QUEUES.len());
    let ago = prop_oneof![4 => 0..20_000_u64, 2 => 50_000..70_000_u64, 1 => Just(60_000_u64), 1 => Just(3_600_000)];
    let group_setting = prop_oneof![
        option::weighted(0.8, 0..5_u32).prop_map(GroupSetting::Weight),
        concurrency().prop_map(GroupSetting::Concurrency),
        rate().prop_map(GroupSetting::Rate),
    ];
    prop_oneof![
        5 => (batch(), prop::bool::weighted(0.5), prop::bool::weighted(0.4), vec(plan(), 0..3), 0..4_u8, [calls(), calls()])
            .prop_map(|(batch, anew, open, plans, row, calls)| Step::CreateBatch { batch, anew, open, plans, row, calls }),
        2 => (batch(), prop::bool::weighted(0.2)).prop_map(|(batch, cancel)| Step::SealBatch(batch, cancel)),
        3 => (schedule(), calendar()).prop_map(|(at, calendar)| Step::Put(at, calendar)),
        1 => (schedule(), prop::bool::weighted(0.4)).prop_map(|(at, paused)| Step::Pause(at, paused)),
        1 => schedule().prop_map(Step::Remove),
        2 => (schedule(), 0..JOBS, any::<bool>()).prop_map(|(at, job, anew)| Step::Run(at, job, anew)),
        7 => (schedule(), vec(ago, 0..4), prop_oneof![3 => Just(0_u64), 1 => 1..5_u64], prop::bool::weighted(0.2), prop::bool::weighted(0.05))
            .prop_map(|(name, ago, passed_over, more, is_old)| Step::Tick { name, ago, passed_over, more, is_old }),
        5 => (0..QUEUES.len(), 0..GROUPS.len(), group_setting).prop_map(|(queue, group, setting)| Step::Group(queue, group, setting)),
    ]
}

fn unique() -> impl Strategy<Value = Unique> {
    let scope = prop_oneof![
        Just(UniqueScope::Waiting),
        Just(UniqueScope::UntilStarted),
        Just(UniqueScope::UntilDone),
        prop_oneof![Just(5_000_u64), 1..20_000_u64].prop_map(UniqueScope::ForMs),
    ];
    let replace = prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))];
    let on_conflict = prop_oneof![
        1 => Just(OnConflict::Reject),
        2 => Just(OnConflict::ReturnExisting),
        2 => replace.prop_map(|(payload, start)| OnConflict::Replace { payload, start }),
    ];
    let key = (0..KEYS.len()).prop_map(|key| KEYS[key].parse().expect("a key"));
    (key, scope, on_conflict).prop_map(|(key, scope, on_conflict)| Unique { key, scope, on_conflict })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let job = || 0..JOBS;
    let held = || (job(), prop_oneof![8 => Just(0_u64), 1 => Just(1), 1 => 2..5_u64]);
    let worker = || prop_oneof![12 => 1..4_u64, 1 => Just(40_u64)];
    let length = || prop_oneof![Just(0_u64), Just(1_000), Just(5_000), Just(30_000), Just(100_000)];
    let write = (0..2_usize, option::weighted(0.8, 0..4_usize), option::weighted(0.4, 0..5_u64));
    let act = prop_oneof![
        4 => prop_oneof![Just(0_u64), Just(1_000), Just(5_000), Just(40_000)].prop_map(|grace_ms| Act::Cancel { grace_ms }),
        3 => Just(Act::Delete),
        5 => Just(Act::Retry),
        2 => (0..QUEUES.len()).prop_map(|queue| Act::Move { queue }),
        1 => (0..10_u8).prop_map(|priority| Act::Prioritize { priority }),
    ];
    let state = (0..JobState::ALL.len()).prop_map(|at| JobState::ALL[at]);
    prop_oneof![
        12 => (vec(plan(), 1..4), any::<bool>(), 0..4_u8).prop_map(|(plans, all, row)| Step::Enqueue { plans, all, row }),
        16 => together(),
        1 => Just(Step::Register),
        1 => worker().prop_map(Step::Seen),
        1 => (worker(), 0..5_u8).prop_map(|(worker, order)| Step::Order(worker, order)),
        14 => (worker(), vec(0..QUEUES.len(), 1..4), 1..4_u32, length())
            .prop_map(|(worker, queues, max, lease_ms)| Step::Lease { worker, queues, max, lease_ms }),
        3 => (vec(held(), 1..3), length()).prop_map(|(held, ms)| Step::Extend(held, ms)),
        1 => (held(), 0..9_usize).prop_map(|(held, bytes)| Step::Checkpoint(held, bytes)),
        4 => (
            held(),
            vec(plan(), 0..3),
            prop::bool::weighted(0.3),
            prop::collection::btree_map(0..2_usize, write, 0..3),
        ).prop_map(|(held, mut children, twins, writes)| {
            if let ([first, second], true) = (&mut children[..], twins) {
                (second.job, second.anew) = (first.job, false);
            }
            let writes = writes.into_iter().map(|(key, (_, value, version))| (key, value, version)).collect();
            Step::Complete { held, children, writes }
        }),
        6 => (held(), prop::bool::weighted(0.7)).prop_map(|(held, retryable)| Step::Fail(held, retryable)),
        2 => (held(), prop_oneof![Just(0_u64), Just(5_000)]).prop_map(|(held, ms)| Step::Release(held, ms)),
        1 => worker().prop_map(Step::Disconnect),
        12 => (vec(job(), 1..3), 0..6_u8, act, prop_oneof![4 => Just(Vec::new()), 1 => vec(state, 1..4)])
            .prop_map(|(jobs, row, act, only_in)| Step::Act { jobs, row, act, only_in }),
        3 => job().prop_map(Step::Note),
        5 => vec((0..QUEUES.len(), setting()), 1..3).prop_map(Step::Configure),
        1 => prop::bool::weighted(0.7).prop_map(Step::CreateQueues),
        2 => Just(Step::Nothing),
    ]
}

fn setting() -> impl Strategy<Value = QueueSetting> {
    let age = prop_oneof![Just(0_u64), Just(1_000), Just(10_000), Just(86_400_000)];
    let keep = option::weighted(
        0.7,
        (age, option::weighted(0.5, 0..3_u64)).prop_map(|(age_ms, count)| Retention { age_ms, count }),
    );
    prop_oneof![
        3 => prop_oneof![4 => Just(QueueMode::Open), 1 => Just(QueueMode::Paused), 1 => Just(QueueMode::Draining)].prop_map(QueueSetting::Mode),
        1 => option::weighted(0.7, 0..4_u64).prop_map(QueueSetting::DepthMax),
        2 => keep.clone().prop_map(QueueSetting::KeepDead),
        1 => keep.clone().prop_map(QueueSetting::KeepCompleted),
        1 => keep.clone().prop_map(QueueSetting::KeepCancelled),
        1 => keep.prop_map(QueueSetting::KeepExpired),
        2 => concurrency().prop_map(QueueSetting::Concurrency),
        2 => rate().prop_map(QueueSetting::Rate),
        2 => concurrency().prop_map(QueueSetting::GroupConcurrency),
        2 => rate().prop_map(QueueSetting::GroupRate),
    ]
}

/// Curves without jitter, which tests of the core's own cover.
pub(crate) fn backoff(job: u8) -> Backoff {
    Backoff::new(if job.is_multiple_of(2) {
        BackoffCurve::Fixed { delay_ms: u64::from(job) * 1_000 }
    } else {
        BackoffCurve::Linear { step_ms: 4_000 }
    })
}

/// What [`backoff`] says of this attempt.
pub(crate) fn backoff_ms(new: &NewJob, attempt: u32) -> u64 {
    match new.backoff.as_ref().map(|backoff| &backoff.curve) {
        Some(BackoffCurve::Fixed { delay_ms }) => *delay_ms,
        Some(BackoffCurve::Linear { step_ms }) => step_ms * u64::from(attempt),
        curve => unreachable!("no step asks for {curve:?}"),
    }
}
