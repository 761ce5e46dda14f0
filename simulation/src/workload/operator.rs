//! Clients that look at jobs and at the cluster, call jobs off, bring them back, and set queues.

use super::plan::{Plan, backoff, queue, task};
use super::seat::{Answer, Seat};
use crate::history::{Ask, Call, Outcome, Seen};
use jobraft_protocol::{
    ClientRole, Consistency, Digest, ErrorCode, Grant, JobAction, JobFilter, JobId, JobState, JobTemplate, ModuleRef,
    Namespace, NamespaceChange, NamespaceSetting, NewToken, QueueMode, QueueSetting, Request, Response, Schedule,
    ScheduleName, SecretChange, SecretGrant, SecretName, Setting, StateKey, TokenChange, TokenName, WorkerOrder,
};
use rand::RngExt as _;

pub(super) async fn operate(mut seat: Seat, plan: Plan) {
    for _ in 0..plan.steps {
        seat.rest(plan.pause_ms_max).await;
        match seat.rng.random_range(0..100) {
            0..40 => {
                if let Some(job) = any_job(&mut seat) {
                    let wait_ms = if seat.chance(20) { 500 } else { 0 };
                    get(&mut seat, job, wait_ms).await;
                }
            }
            40..70 => act(&mut seat).await,
            70..75 => pause(&mut seat).await,
            75..80 => schedule(&mut seat).await,
            80..83 => quiet(&mut seat).await,
            83..86 => tokens(&mut seat).await,
            86..88 => namespaces(&mut seat).await,
            88..90 => secrets(&mut seat).await,
            _ => look(&mut seat).await,
        }
    }
}

/// Puts the schedule, runs it, and looks at it. What its ticks enqueue has no name until somebody has it.
async fn schedule(seat: &mut Seat) {
    let template = JobTemplate { backoff: Some(backoff(200)), ..JobTemplate::new(queue(2), task(), "tick") };
    let schedule = Box::new(Schedule::new(schedule_name(), "*/2 * * * * *", template));
    seat.ask(Request::Configure { settings: vec![Setting::PutSchedule(schedule)] }).await;
    if let Some(job) = seat.new_id() {
        let ask = seat.begin(job, Call::Spawn);
        let answer = seat.ask(Request::RunSchedule { name: schedule_name(), job }).await;
        seat.end(ask, &answer, |response| match response {
            Response::Enqueued(outcomes) => outcomes.first().map(Outcome::from),
            _ => None,
        });
    }
    let consistency = Consistency::Linearizable;
    seat.ask(Request::GetSchedule { name: schedule_name(), next: 3, consistency }).await;
    seat.rest(1_000).await;
    seat.ask(Request::Configure { settings: vec![Setting::PauseSchedule(schedule_name(), true)] }).await;
}

fn schedule_name() -> ScheduleName {
    ScheduleName::new("workload").expect("it is a name")
}

/// Makes a token, gives it another secret, and removes it. Whether any of them is refused is nothing to this history: what is
/// asked for is that all nodes come to the same.
async fn tokens(seat: &mut Seat) {
    let name: TokenName = format!("token-{}", seat.rng.random_range(0..3)).parse().expect("it is a name");
    let hash = |seat: &mut Seat| Digest(seat.rng.random());
    let grant = Grant::new([ClientRole::Viewer]);
    let ttl_ms = seat.chance(50).then_some(5_000);
    let new = NewToken { name: name.clone(), hash: hash(seat), grant, ttl_ms };
    seat.ask(Request::ChangeToken { change: TokenChange::Create(new) }).await;
    let change = TokenChange::Rotate { name: name.clone(), hash: hash(seat), grace_ms: 1_000 };
    seat.ask(Request::ChangeToken { change }).await;
    if seat.chance(50) {
        seat.ask(Request::ChangeToken { change: TokenChange::Revoke { name } }).await;
    }
}

/// Makes a namespace, bounds it, and removes it for good. What is refused of that is nothing to this history either.
async fn namespaces(seat: &mut Seat) {
    let name: Namespace = format!("tenant-{}", seat.rng.random_range(0..5)).parse().expect("it is a name");
    let quota = vec![NamespaceSetting::Jobs(Some(100))];
    seat.ask(Request::ChangeNamespace { change: NamespaceChange::Create { name: name.clone(), quota } }).await;
    let quota = vec![NamespaceSetting::Jobs(None), NamespaceSetting::Queues(Some(seat.rng.random_range(1..10)))];
    seat.ask(Request::ChangeNamespace { change: NamespaceChange::Set { name: name.clone(), quota } }).await;
    if seat.chance(20) {
        seat.ask(Request::ChangeNamespace { change: NamespaceChange::Delete { name } }).await;
    }
}

/// Puts a secret, grants it to nobody, and removes it; without a key on the nodes all of that is refused.
async fn secrets(seat: &mut Seat) {
    let name: SecretName = format!("SECRET_{}", seat.rng.random_range(0..3)).parse().expect("it is a name");
    let value = "hush".parse().expect("it is a value");
    seat.ask(Request::ChangeSecret { change: SecretChange::Put { name: name.clone(), value, grant: None } }).await;
    seat.ask(Request::ChangeSecret {
        change: SecretChange::Grant { name: name.clone(), grant: SecretGrant::default() },
    })
    .await;
    seat.ask(Request::ListSecrets { consistency: Consistency::Stale }).await;
    if seat.chance(50) {
        seat.ask(Request::ChangeSecret { change: SecretChange::Delete { name } }).await;
    }
}

/// Lets a worker rest for a while.
async fn quiet(seat: &mut Seat) {
    let worker = seat.history().operations.iter().rev().find_map(|operation| match operation.call {
        Call::Lease { worker, .. } => Some(worker),
        _ => None,
    });
    let Some(worker) = worker else { return };
    seat.ask(Request::OrderWorker { worker, order: WorkerOrder::Quiet }).await;
    seat.rest(300).await;
    seat.ask(Request::OrderWorker { worker, order: WorkerOrder::Run }).await;
}

/// Ends the schedule; says whether there is none.
pub(super) async fn unschedule(seat: &mut Seat) -> bool {
    match seat.ask(Request::Configure { settings: vec![Setting::RemoveSchedule(schedule_name())] }).await {
        Answer::Done(_) => true,
        Answer::Refused(error) => error.code == ErrorCode::NotFound,
        Answer::Unsent | Answer::Unknown => false,
    }
}

/// Opens every queue again, whoever closed it; says whether all are.
pub(super) async fn reopen(seat: &mut Seat) -> bool {
    let open = |place| Setting::Queue(queue(place), QueueSetting::Mode(QueueMode::Open));
    let settings = (0..3).map(open).collect();
    matches!(seat.ask(Request::Configure { settings }).await, Answer::Done(_))
}

/// One of the jobs that anybody knows of, rather a late one.
fn any_job(seat: &mut Seat) -> Option<JobId> {
    let back = seat.rng.random_range(0..200_usize);
    let history = seat.history();
    let place = history.operations.len().checked_sub(1)?.saturating_sub(back);
    history.operations.get(place).map(|operation| operation.job)
}

/// Reads a job; says how it stands.
pub(super) async fn get(seat: &mut Seat, job: JobId, wait_ms: u64) -> Answer {
    let ask = seat.begin(job, Call::Get);
    let answer = seat.ask(Request::GetJob { job, consistency: Consistency::Linearizable, wait_ms }).await;
    seat.end(ask, &answer, |response| match response {
        Response::Job(view) => Some(Outcome::View(Box::new(Seen::from(view.as_ref())))),
        _ => None,
    });
    answer
}

async fn act(seat: &mut Seat) {
    let count = if seat.chance(80) { 1 } else { seat.rng.random_range(2..5) };
    let mut jobs: Vec<JobId> = (0..count).filter_map(|_| any_job(seat)).collect();
    jobs.sort_unstable();
    jobs.dedup();
    if jobs.is_empty() {
        return;
    }
    let only_in = if seat.chance(20) { vec![JobState::Ready, JobState::Scheduled, JobState::Dead] } else { Vec::new() };
    let (action, call) = match seat.rng.random_range(0..10) {
        0..3 => {
            let grace_ms = if seat.chance(50) { 0 } else { seat.rng.random_range(1..2_000) };
            let call = Call::Cancel { grace_ms, only_in: only_in.clone() };
            (JobAction::Cancel { reason: "called off".to_owned(), grace_ms }, call)
        }
        3..6 => (JobAction::Retry, Call::Retry { only_in: only_in.clone() }),
        6 => (JobAction::Delete, Call::Delete { only_in: only_in.clone() }),
        7 => {
            let action = JobAction::Move { queue: queue(seat.rng.random_range(0..3)) };
            (action, Call::Amend { only_in: only_in.clone(), waiting_only: true })
        }
        _ => {
            let action = JobAction::Prioritize { priority: seat.rng.random_range(0..10) };
            (action, Call::Amend { only_in: only_in.clone(), waiting_only: false })
        }
    };
    let asks: Vec<Ask> = jobs.iter().map(|job| seat.begin(*job, call.clone())).collect();
    let answer = seat.ask(Request::Act { jobs, action, only_in }).await;
    for (place, ask) in asks.into_iter().enumerate() {
        seat.end(ask, &answer, |response| match response {
            Response::Acted(acted) => super::call::part(acted.get(place)?),
            _ => None,
        });
    }
}

/// Closes a queue for a while.
async fn pause(seat: &mut Seat) {
    let place = seat.rng.random_range(0..3);
    let mode = |mode| vec![Setting::Queue(queue(place), QueueSetting::Mode(mode))];
    seat.ask(Request::Configure { settings: mode(QueueMode::Paused) }).await;
    seat.rest(500).await;
    seat.ask(Request::Configure { settings: mode(QueueMode::Open) }).await;
}

/// Asks for what there is to look at; that an answer comes is all that is asked of it here.
async fn look(seat: &mut Seat) {
    let consistency = if seat.chance(50) { Consistency::Linearizable } else { Consistency::Stale };
    let request = match seat.rng.random_range(0..14) {
        12 => Request::ListTokens { after: None, limit: 100, consistency },
        13 => Request::ListNamespaces { after: None, limit: 100, consistency },
        7 => Request::GetState { key: StateKey::new("value-0").expect("it is a key"), consistency },
        8 => Request::ListBatches { after: None, limit: 100, consistency },
        9 => Request::ListSchedules { after: None, limit: 100, consistency },
        10 => Request::ListModules { consistency },
        11 => Request::ResolveModule { module: ModuleRef::Digest(Digest([7; 32])) },
        0 => Request::ListQueues { consistency },
        1 => Request::ListWorkers { after: None, limit: 100, consistency },
        2 => Request::ClusterStatus,
        3 => Request::GetSettings { consistency },
        4 => Request::ListState { prefix: String::new(), after: None, limit: 100, consistency },
        5 => Request::ListGroups { queue: queue(0), after: None, limit: 100, consistency },
        _ => {
            let filter = JobFilter { queues: vec![queue(1)], ..JobFilter::default() };
            Request::ListJobs { filter, after: None, oldest_first: false, limit: 100, consistency }
        }
    };
    seat.ask(request).await;
}
