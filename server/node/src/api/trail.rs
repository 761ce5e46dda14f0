//! What of a request goes into the audit log: names and ids, never what a job carries.

use super::request::Answer;
use super::session::Session;
use crate::audit::Outcome;
use crate::auth::{Need, Permission, Reach, Stored};
use jobraft_protocol::{ErrorCode, JobAction, Request, Response, Setting};
use std::fmt::Display;

/// Things of one request that are named; the number of the others stands behind them.
const NAMED_MAX: usize = 16;

/// What will be told of a request once it is answered.
pub(super) struct Trail {
    request: &'static str,
    on: Vec<String>,
    /// Whether it is told also when it was not refused.
    is_change: bool,
}

impl Trail {
    /// Of a request that is under way; `None` if nothing can be to tell of it. What takes a job on its course is told only
    /// on request, or if it is refused: there is too much of it.
    pub(super) fn of(session: &Session, request: &Request) -> Option<Self> {
        let audit = &session.api.audit;
        let course = matches!(Need::of(request).permission, Permission::Enqueue | Permission::Work);
        (audit.has_all() || audit.is_on() && !course).then(|| Self::new(session, request))
    }

    /// Of one that was refused before anything was done.
    pub(super) fn of_refused(session: &Session, request: &Request) -> Option<Self> {
        session.api.audit.is_on().then(|| Self::new(session, request))
    }

    fn new(session: &Session, request: &Request) -> Self {
        let is_change = session.api.audit.has_all() || changes(request);
        Self { request: request.name(), on: named(request), is_change }
    }

    /// Tells what came of it.
    pub(super) async fn end(self, session: &Session, answer: &Answer) {
        let is_refusal = matches!(answer, Err(error) if error.code == ErrorCode::Forbidden);
        if !self.is_change && !is_refusal {
            return;
        }
        let outcome = match answer {
            Ok(Response::Acted(answers)) => match answers.iter().filter(|answer| answer.is_err()).count() {
                0 => Outcome::Done,
                refused => Outcome::DonePartly(refused),
            },
            other => Outcome::of(other),
        };
        session.api.audit.tell(session.client.asked(self.request, self.on, outcome)).await;
    }
}

/// Whether a request changes something by somebody's decision, rather than taking a job on its course or reading.
fn changes(request: &Request) -> bool {
    match Need::of(request).permission {
        Permission::Cancel
        | Permission::RunSchedule
        | Permission::Push
        | Permission::Operate
        | Permission::Administer => true,
        Permission::Connect
        | Permission::Enqueue
        | Permission::Work
        | Permission::ReadJob
        | Permission::Read
        | Permission::ReadValues => false,
    }
}

/// What a request names.
fn named(request: &Request) -> Vec<String> {
    let mut on = Vec::new();
    let (mut need, mut all) = (Need::of(request), 0);
    let mut note = |kind: &str, name: &dyn Display| {
        all += 1;
        if on.len() < NAMED_MAX {
            on.push(format!("{kind} {name}"));
        }
    };
    match request {
        Request::Act { action, .. } => note("action", &describe(action)),
        Request::Configure { settings } => settings.iter().for_each(|setting| note("setting", &set(setting))),
        Request::OrderWorker { order, .. } => note("order", order),
        Request::AddNode { node, address, .. } => note("node", &format!("{node} at {address}")),
        Request::RemoveNode { node } => note("node", node),
        Request::TransferLeader { to: Some(node) } => note("node", node),
        Request::SealBatch { batch, .. } | Request::GetBatch { batch, .. } => note("batch", batch),
        Request::CreateBatch { batch } => note("batch", &batch.id),
        Request::GetJob { job, .. } => note("job", job),
        Request::ResolveModule { module } => note("module", module),
        _ => {}
    }
    match &mut need.reach {
        // The settings say it better.
        Reach::Names(_) if matches!(request, Request::Configure { .. }) => {}
        Reach::Names(names) => names.for_each(|name| note("name", &name)),
        Reach::Beginning(beginning) => note("prefix", beginning),
        Reach::Nothing | Reach::Everything => {}
    }
    match need.stored {
        Stored::Nothing | Stored::Answer => {}
        Stored::OwnWorker(worker) | Stored::Worker(worker) => note("worker", &worker),
        Stored::OwnLeases(leases) => leases.for_each(|lease| note("job", &lease.job)),
        Stored::Jobs(jobs) => jobs.iter().for_each(|job| note("job", job)),
        Stored::Schedules(_) if matches!(request, Request::Configure { .. }) => {}
        Stored::Schedules(schedules) => schedules.for_each(|schedule| note("schedule", schedule)),
    }
    if all > on.len() {
        on.push(format!("and {} more", all - on.len()));
    }
    on
}

fn describe(action: &JobAction) -> String {
    match action {
        JobAction::Move { queue } => format!("move to {queue}"),
        JobAction::Prioritize { priority } => format!("prioritize to {priority}"),
        JobAction::Cancel { .. } | JobAction::Delete | JobAction::Retry => action.as_str().to_owned(),
    }
}

/// A setting without what its jobs carry.
fn set(setting: &Setting) -> String {
    match setting {
        Setting::Queue(queue, setting) => format!("queue {queue}: {setting:?}"),
        Setting::CreateQueues(create) => format!("create_queues: {create}"),
        Setting::Group(queue, group, setting) => format!("queue {queue}, group {group}: {setting:?}"),
        Setting::PutSchedule(schedule) => format!("schedule {} put, into queue {}", schedule.name, schedule.job.queue),
        Setting::PauseSchedule(name, true) => format!("schedule {name} paused"),
        Setting::PauseSchedule(name, false) => format!("schedule {name} resumed"),
        Setting::RemoveSchedule(name) => format!("schedule {name} removed"),
    }
}
