//! Where the names and keys are in what travels.
//!
//! What a client sends is taken apart without `..`: a field that is added must be looked at here.

use super::{Namespace, NotLocal, SEPARATOR};
use crate::{
    Completion, EnqueueOutcome, Error, JobAction, JobFilter, JobSummary, JobTemplate, JobView, LeasedJob,
    ModuleManifest, ModuleName, ModuleRef, NamespaceView, NewBatch, NewJob, NewToken, Push, Request, Response,
    Schedule, ScheduleTick, ScheduleView, SecretChange, SecretGrant, SecretView, ServerFrame, Setting, TokenChange,
    TokenView, Unique, WorkerInfo, WorkerView,
};
use std::sync::Arc;

/// What is done with each name and key.
type Visit<'a> = dyn FnMut(&mut Arc<str>) + 'a;

impl Request {
    /// Makes its names full ones of this namespace.
    ///
    /// # Errors
    /// [`NotLocal`] if one of them says a namespace itself. The request is then not to be used.
    pub fn enter(&mut self, namespace: &Namespace) -> Result<(), NotLocal> {
        let mut entered = Ok(());
        request(self, &mut |text| entered = entered.and(namespace.enter(text)));
        if let Self::ListState { prefix, .. } = self {
            if prefix.contains(SEPARATOR) {
                return Err(NotLocal);
            }
            prefix.insert_str(0, &namespace.beginning());
        }
        entered
    }
}

impl ModuleName {
    /// Makes it a full one of this namespace.
    ///
    /// # Errors
    /// [`NotLocal`] if it says a namespace itself.
    pub fn enter(&mut self, namespace: &Namespace) -> Result<(), NotLocal> {
        namespace.enter(&mut self.0)
    }
}

impl ModuleRef {
    /// Makes a name a full one of this namespace.
    ///
    /// # Errors
    /// As [`ModuleName::enter`].
    pub fn enter(&mut self, namespace: &Namespace) -> Result<(), NotLocal> {
        match self {
            Self::Name(name) => name.enter(namespace),
            Self::Digest(_) => Ok(()),
        }
    }
}

fn request(request: &mut Request, visit: &mut Visit<'_>) {
    match request {
        Request::Enqueue { jobs, all_or_none: _ } => jobs.iter_mut().for_each(|job| new_job(job, visit)),
        Request::CreateBatch { batch } => {
            let NewBatch { id: _, label: _, on_complete, on_failure, jobs, open: _ } = batch.as_mut();
            let callbacks = [on_complete, on_failure].into_iter().flatten().map(AsMut::as_mut);
            jobs.iter_mut().chain(callbacks).for_each(|job| new_job(job, visit));
        }
        Request::ListGroups { queue, after: _, limit: _, consistency: _ } => visit(&mut queue.0),
        Request::ListSchedules { after, limit: _, consistency: _ } => {
            after.iter_mut().for_each(|name| visit(&mut name.0));
        }
        Request::GetSchedule { name, next: _, consistency: _ } | Request::RunSchedule { name, job: _ } => {
            visit(&mut name.0);
        }
        Request::RegisterWorker {
            info: WorkerInfo { queues, name: _, agent: _, concurrency: _, owner: _, namespace: _ },
        }
        | Request::Lease { queues, worker: _, weights: _, max: _, lease_ms: _, wait_ms: _ }
        | Request::Subscribe { queues, worker: _, weights: _, lease_ms: _, credits: _ } => {
            queues.iter_mut().for_each(|queue| visit(&mut queue.0));
        }
        Request::Complete { completions } => {
            for (_, Completion { result: _, log: _, jobs, state }) in completions {
                jobs.iter_mut().for_each(|job| new_job(job, visit));
                state.iter_mut().for_each(|write| visit(&mut write.key.0));
            }
        }
        Request::Act { jobs: _, action, only_in: _ } => match action {
            JobAction::Move { queue } => visit(&mut queue.0),
            JobAction::Cancel { reason: _, grace_ms: _ }
            | JobAction::Delete
            | JobAction::Retry
            | JobAction::Prioritize { priority: _ } => {}
        },
        Request::ListJobs { filter, after: _, oldest_first: _, limit: _, consistency: _ } => {
            let JobFilter { queues, namespace: _, states: _, task: _, key, batch: _, enqueued_from: _, enqueued_before: _, error: _ } =
                filter;
            queues.iter_mut().for_each(|queue| visit(&mut queue.0));
            key.iter_mut().for_each(|key| visit(&mut key.0));
        }
        Request::Configure { settings } => settings.iter_mut().for_each(|change| setting(change, visit)),
        Request::GetState { key, consistency: _ } => visit(&mut key.0),
        Request::ListState { prefix: _, after, limit: _, consistency: _ } => {
            after.iter_mut().for_each(|key| visit(&mut key.0));
        }
        Request::ResolveModule { module } => module_ref(module, visit),
        Request::ChangeToken { change } => match change {
            TokenChange::Create(NewToken { name, hash: _, grant: _, ttl_ms: _ })
            | TokenChange::Rotate { name, hash: _, grace_ms: _ }
            | TokenChange::Revoke { name } => visit(&mut name.0),
        },
        Request::ListTokens { after, limit: _, consistency: _ } => {
            after.iter_mut().for_each(|name| visit(&mut name.0));
        }
        Request::ChangeSecret { change } => match change {
            SecretChange::Put { name, value: _, grant } => {
                visit(&mut name.0);
                grant.iter_mut().for_each(|grant| secret_grant(grant, visit));
            }
            SecretChange::Grant { name, grant } => {
                visit(&mut name.0);
                secret_grant(grant, visit);
            }
            SecretChange::Reseal => {}
            SecretChange::Delete { name } => visit(&mut name.0),
        },
        // Ids are of the whole cluster: whose they are is looked up.
        Request::SealBatch { batch: _, cancel: _ }
        | Request::GetBatch { batch: _, consistency: _, wait_ms: _ }
        | Request::ListBatches { after: _, limit: _, consistency: _ }
        | Request::Heartbeat { worker: _ }
        | Request::AddCredits { worker: _, credits: _ }
        | Request::Unsubscribe { worker: _ }
        | Request::Extend { leases: _, lease_ms: _, progress: _ }
        | Request::Checkpoint { lease: _, data: _ }
        | Request::Fail { lease: _, failure: _ }
        | Request::Release { lease: _, delay_ms: _ }
        | Request::Disconnect { worker: _ }
        | Request::GetSettings { consistency: _ }
        | Request::ListWorkers { after: _, limit: _, consistency: _ }
        | Request::OrderWorker { worker: _, order: _ }
        | Request::GetJob { job: _, consistency: _, wait_ms: _ }
        | Request::ListQueues { consistency: _ }
        | Request::ListModules { consistency: _ }
        | Request::ListSecrets { consistency: _ }
        | Request::GetSecrets { lease: _ }
        // About namespaces, and in none.
        | Request::ChangeNamespace { change: _ }
        | Request::ListNamespaces { after: _, limit: _, consistency: _ }
        | Request::ClusterStatus
        | Request::AddNode { node: _, address: _, learner: _ }
        | Request::RemoveNode { node: _ }
        | Request::TransferLeader { to: _ } => {}
    }
}

fn module_ref(module: &mut ModuleRef, visit: &mut Visit<'_>) {
    match module {
        ModuleRef::Name(name) => visit(&mut name.0),
        ModuleRef::Digest(_) => {}
    }
}

/// The queues are told by local names, as in the grants of tokens.
fn secret_grant(SecretGrant { modules, queues: _ }: &mut SecretGrant, visit: &mut Visit<'_>) {
    modules.iter_mut().for_each(|module| module_ref(module, visit));
}

fn new_job(job: &mut NewJob, visit: &mut Visit<'_>) {
    let NewJob {
        queue,
        unique: key,
        id: _,
        task: _,
        payload: _,
        priority: _,
        start: _,
        max_attempts: _,
        run_timeout_ms: _,
        ttl_ms: _,
        start_deadline_ms: _,
        backoff: _,
        max_crashes: _,
        // Of its queue.
        group: _,
        after: _,
        batch: _,
        label: _,
    } = job;
    visit(&mut queue.0);
    unique(key, visit);
}

fn template(job: &mut JobTemplate, visit: &mut Visit<'_>) {
    let JobTemplate {
        queue,
        unique: key,
        task: _,
        payload: _,
        priority: _,
        max_attempts: _,
        run_timeout_ms: _,
        ttl_ms: _,
        start_deadline_ms: _,
        backoff: _,
        max_crashes: _,
        group: _,
        label: _,
    } = job;
    visit(&mut queue.0);
    unique(key, visit);
}

fn unique(unique: &mut Option<Unique>, visit: &mut Visit<'_>) {
    unique.iter_mut().for_each(|unique| visit(&mut unique.key.0));
}

fn schedule(schedule: &mut Schedule, visit: &mut Visit<'_>) {
    let Schedule { name, cron: _, time_zone: _, job, catch_up: _, overlap: _ } = schedule;
    visit(&mut name.0);
    template(job, visit);
}

fn setting(setting: &mut Setting, visit: &mut Visit<'_>) {
    match setting {
        Setting::Queue(queue, _) | Setting::Group(queue, _, _) => visit(&mut queue.0),
        Setting::PutSchedule(put) => schedule(put, visit),
        Setting::PauseSchedule(name, _) | Setting::RemoveSchedule(name) => visit(&mut name.0),
        Setting::CreateQueues(_) => {}
    }
}

impl ServerFrame {
    /// Makes its names local to this namespace, to which they all belong.
    pub fn leave(&mut self, namespace: &Namespace) {
        if namespace.is_default() {
            return;
        }
        match self {
            Self::Reply { id: _, result: Ok(answer) } => response(answer, namespace),
            Self::Reply { id: _, result: Err(refusal) } => refusal.leave(namespace),
            Self::Push(Push::Leased { worker: _, jobs }) => jobs.iter_mut().for_each(|job| leased(job, namespace)),
            Self::Push(Push::CancelRequested { notice, .. }) => namespace.leave_text(&mut notice.reason),
            Self::Push(Push::Ordered { .. } | Push::Revoked { .. } | Push::SubscriptionEnded { .. }) => {}
        }
    }
}

impl Error {
    /// Makes the names in its text local to this namespace.
    pub fn leave(&mut self, namespace: &Namespace) {
        namespace.leave_text(&mut self.message);
    }
}

impl ModuleManifest {
    /// Makes its names local to this namespace.
    pub fn leave(&mut self, namespace: &Namespace) {
        self.names.iter_mut().for_each(|name| namespace.leave(&mut name.0));
        namespace.leave_text(&mut self.owner);
    }
}

fn response(response: &mut Response, namespace: &Namespace) {
    let leave = &mut |text: &mut Arc<str>| namespace.leave(text);
    match response {
        Response::Enqueued(outcomes) => outcomes.iter_mut().for_each(|outcome| {
            if let EnqueueOutcome::Refused(refusal) = outcome {
                refusal.leave(namespace);
            }
        }),
        Response::Schedule(view) => schedule_view(view, namespace),
        Response::Schedules(views) => views.iter_mut().for_each(|view| schedule_view(view, namespace)),
        Response::Leased(jobs) => jobs.iter_mut().for_each(|job| leased(job, namespace)),
        Response::Extended(answers) => {
            answers.iter_mut().filter_map(|answer| answer.as_mut().err()).for_each(|refusal| refusal.leave(namespace));
        }
        Response::Acted(answers) => {
            answers.iter_mut().filter_map(|answer| answer.as_mut().err()).for_each(|refusal| refusal.leave(namespace));
        }
        Response::Jobs(page) => page.jobs.iter_mut().for_each(|JobSummary { queue, key, .. }| {
            leave(&mut queue.0);
            key.iter_mut().for_each(|key| leave(&mut key.0));
        }),
        Response::Workers(views) => views.iter_mut().for_each(|WorkerView { info, .. }| {
            info.queues.iter_mut().for_each(|queue| leave(&mut queue.0));
            namespace.leave_text(&mut info.owner);
        }),
        Response::State(value) => value.iter_mut().for_each(|value| leave(&mut value.key.0)),
        Response::StateList(values) => values.iter_mut().for_each(|value| leave(&mut value.key.0)),
        Response::Job(view) => job_view(view, namespace),
        Response::Queues(queues) => queues.iter_mut().for_each(|stats| leave(&mut stats.queue.0)),
        Response::Modules(manifests) => manifests.iter_mut().for_each(|manifest| manifest.leave(namespace)),
        Response::Module(manifest) => manifest.leave(namespace),
        Response::Tokens(tokens) => tokens.iter_mut().for_each(|TokenView { name, created_by, .. }| {
            leave(&mut name.0);
            namespace.leave_text(created_by);
        }),
        Response::Secrets(views) => views.iter_mut().for_each(|SecretView { name, grant, changed_by, .. }| {
            leave(&mut name.0);
            secret_grant(grant, leave);
            namespace.leave_text(changed_by);
        }),
        Response::JobSecrets(secrets) => secrets.iter_mut().for_each(|(name, _)| leave(&mut name.0)),
        Response::Namespaces(views) => {
            views.iter_mut().for_each(|NamespaceView { created_by, .. }| namespace.leave_text(created_by));
        }
        Response::Done
        | Response::Resealed(_)
        | Response::Batch(_)
        | Response::Batches(_)
        | Response::Groups(_)
        | Response::Registered(_)
        | Response::Order(_)
        | Response::Settings(_)
        | Response::Failed { .. }
        | Response::Cluster(_)
        | Response::Leader(_) => {}
    }
}

fn leased(job: &mut LeasedJob, namespace: &Namespace) {
    namespace.leave(&mut job.queue.0);
    tick(&mut job.tick, namespace);
}

fn tick(tick: &mut Option<ScheduleTick>, namespace: &Namespace) {
    tick.iter_mut().for_each(|tick| namespace.leave(&mut tick.schedule.0));
}

fn job_view(view: &mut JobView, namespace: &Namespace) {
    let JobView { queue, unique: claim, tick: ticked, cancelled_by, cancel_reason, cancel, .. } = view;
    namespace.leave(&mut queue.0);
    unique(claim, &mut |text| namespace.leave(text));
    tick(ticked, namespace);
    // The next tick of a schedule that takes its place says so by name.
    let reason = cancel.iter_mut().map(|notice| &mut notice.reason);
    cancelled_by.iter_mut().chain(cancel_reason).chain(reason).for_each(|text| namespace.leave_text(text));
}

fn schedule_view(view: &mut ScheduleView, namespace: &Namespace) {
    schedule(&mut view.schedule, &mut |text| namespace.leave(text));
    view.last_error.iter_mut().for_each(|error| namespace.leave_text(error));
}
