//! What of a request goes into the audit log: names and ids, never what a job carries.

use super::request::Answer;
use super::session::Session;
use crate::audit::Outcome;
use crate::auth::{Kind, Need, Reach, Stored};
use jobraft_protocol::namespace::shown;
use jobraft_protocol::{
    EnqueueOutcome, Error, JobAction, NamespaceChange, NamespaceSetting, NewToken, Request, Response, SecretChange,
    Setting, TokenChange,
};
use std::fmt::Display;

/// Things of one request that are named; the number of the others stands behind them.
const NAMED_MAX: usize = 16;
/// Characters of each that are kept.
const NAMED_CHARS_MAX: usize = 160;

/// What will be told of a request once it is answered.
pub(super) struct Trail {
    request: &'static str,
    on: Vec<String>,
    /// Whether it is told also when it was not refused.
    always: bool,
}

impl Trail {
    /// Of a request that its handler gets; `None` if nothing can be to tell of it. Reads and what takes a job on its course
    /// are told on request: there is too much of them. Of what its handler looks up, it may still be refused.
    pub(super) fn of(session: &Session, request: &Request) -> Option<Self> {
        let (audit, need) = (&session.api.audit, Need::of(request));
        let always = audit.has_all() || need.permission.kind() == Kind::Change;
        let is_told = audit.is_on() && (always || matches!(need.stored, Stored::Answer));
        is_told.then(|| Self { request: request.name(), on: named(request), always })
    }

    /// Tells what came of it.
    pub(super) async fn end(self, session: &Session, answer: &Answer) {
        let outcome = match answer {
            Ok(response) => match refused_parts(response) {
                0 => Outcome::Done,
                refused => Outcome::DonePartly(refused),
            },
            Err(error) => Outcome::Failed(error.clone()),
        };
        if !outcome.is_denial() && !self.always {
            return;
        }
        session.client.tell(&session.api.audit, self.request, self.on, outcome).await;
    }
}

/// Tells that a request was refused before its handler had it.
pub(super) async fn refused(session: &Session, request: &Request, error: &Error) {
    // A node that does not lead refuses nobody, and one that cannot ask the others does not know.
    let (audit, outcome) = (&session.api.audit, Outcome::Failed(error.clone()));
    if audit.is_on() && outcome.is_refusal() {
        session.client.tell(audit, request.name(), named(request), outcome).await;
    }
}

/// How many parts of what was asked for were refused.
fn refused_parts(response: &Response) -> usize {
    match response {
        Response::Acted(answers) => answers.iter().filter(|answer| answer.is_err()).count(),
        Response::Extended(answers) => answers.iter().filter(|answer| answer.is_err()).count(),
        Response::Enqueued(outcomes) => {
            outcomes.iter().filter(|outcome| matches!(outcome, EnqueueOutcome::Refused(_))).count()
        }
        _ => 0,
    }
}

/// What a request names.
fn named(request: &Request) -> Vec<String> {
    let mut on = Vec::new();
    let (mut need, mut all) = (Need::of(request), 0);
    let mut note = |kind: &str, name: &dyn Display| {
        all += 1;
        if on.len() < NAMED_MAX {
            on.push(format!("{kind} {name}").chars().take(NAMED_CHARS_MAX).collect());
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
        Request::GetSchedule { name, .. } => note("schedule", name),
        Request::ChangeToken { change } => note("token", &changed(change)),
        Request::ChangeSecret { change } => note("secret", &secret_change(change)),
        Request::ChangeNamespace { change } => note("namespace", &namespace_change(change)),
        Request::ResolveModule { module } => note("module", module),
        _ => {}
    }
    match &mut need.reach {
        // The settings say it better.
        Reach::Names(_) if matches!(request, Request::Configure { .. }) => {}
        Reach::Names(names) => names.for_each(|name| note("name", &shown(name))),
        Reach::Beginning(beginning) => note("prefix", &shown(beginning)),
        Reach::Nothing | Reach::Everything | Reach::Cluster => {}
    }
    match need.stored {
        // A batch is named above.
        Stored::Nothing | Stored::Answer | Stored::Batch(_) => {}
        Stored::OwnWorker(worker) | Stored::Worker(worker) => note("worker", &worker),
        Stored::OwnLeases(leases) => leases.for_each(|lease| note("job", &lease.job)),
        Stored::Jobs(jobs) => jobs.iter().for_each(|job| note("job", job)),
        Stored::Schedules(_) if matches!(request, Request::Configure { .. }) => {}
        Stored::Schedules(schedules) => schedules.for_each(|(schedule, _)| note("schedule", schedule)),
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

/// A change of tokens, without their hashes.
fn changed(change: &TokenChange) -> String {
    match change {
        TokenChange::Create(NewToken { name, grant, .. }) => format!("{name} created: {grant}"),
        TokenChange::Rotate { name, .. } => format!("{name} rotated"),
        TokenChange::Revoke { name } => format!("{name} revoked"),
    }
}

/// A change of secrets, without their values.
fn secret_change(change: &SecretChange) -> String {
    match change {
        SecretChange::Put { name, grant: Some(grant), .. } => format!("{name} put, given to {grant}"),
        SecretChange::Put { name, grant: None, .. } => format!("{name} put"),
        SecretChange::Grant { name, grant } => format!("{name} given to {grant}"),
        SecretChange::Reseal => "all sealed anew".to_owned(),
        SecretChange::Delete { name } => format!("{name} deleted"),
    }
}

/// A change of namespaces, with what was said of the quota.
fn namespace_change(change: &NamespaceChange) -> String {
    let bounds = |quota: &[NamespaceSetting]| quota.iter().map(|bound| format!(", {bound}")).collect::<String>();
    match change {
        NamespaceChange::Create { name, quota } => format!("{name} created{}", bounds(quota)),
        NamespaceChange::Set { name, quota } => format!("{name} set{}", bounds(quota)),
        NamespaceChange::Delete { name } => format!("{name} deleted"),
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
