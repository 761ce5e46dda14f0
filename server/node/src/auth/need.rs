//! The table: what each request needs. A request that does not stand here does not compile.

use super::Permission;
use jobraft_protocol::{
    BatchId, Completion, JobAction, JobId, LeaseRef, ModuleName, NewBatch, NewJob, QueueName, Request, ScheduleName,
    SecretChange, Setting, WorkerId,
};
use std::collections::HashSet;

/// What a request needs.
pub struct Need<'a> {
    /// What it does.
    pub permission: Permission,
    /// What it names that must be covered.
    pub reach: Reach<'a>,
    /// What it names of which only the state knows whose it is, or to which queue it belongs.
    pub stored: Stored<'a>,
    /// Jobs that those which it makes come after, and that it does not make itself. Their queues must be covered as far as
    /// they are known: whoever works on a job reads the results of those before it.
    pub after: Box<dyn Iterator<Item = JobId> + Send + 'a>,
}

/// What a request names, in full. Names of queues, of modules, and of values of the state, are matched by the patterns of a grant.
pub enum Reach<'a> {
    /// No name.
    Nothing,
    /// These.
    Names(Box<dyn Iterator<Item = &'a str> + Send + 'a>),
    /// Whatever begins so.
    Beginning(&'a str),
    /// The namespace as a whole.
    Everything,
    /// The cluster as a whole.
    Cluster,
}

/// What a request names that is looked up.
pub enum Stored<'a> {
    /// Nothing.
    Nothing,
    /// What its handler looks up itself, since that is what it answers.
    Answer,
    /// A worker that must be the asker's own.
    OwnWorker(WorkerId),
    /// Leases that must be held by workers of the asker's own, as far as they are held.
    OwnLeases(Box<dyn Iterator<Item = LeaseRef> + Send + 'a>),
    /// A worker all of whose queues must be covered.
    Worker(WorkerId),
    /// A batch, of which only those know to whom it was told.
    Batch(BatchId),
    /// Jobs whose queues must be covered.
    Jobs(&'a [JobId]),
    /// Schedules whose jobs' queues must be covered, and whether each must be there.
    Schedules(Box<dyn Iterator<Item = (&'a ScheduleName, bool)> + Send + 'a>),
}

impl<'a> Need<'a> {
    fn new(permission: Permission, reach: Reach<'a>, stored: Stored<'a>) -> Self {
        Self { permission, reach, stored, after: Box::new(std::iter::empty()) }
    }

    /// Of what touches nothing.
    fn plain(permission: Permission) -> Self {
        Self::new(permission, Reach::Nothing, Stored::Nothing)
    }

    /// Of what touches what has these names.
    fn names(permission: Permission, names: impl Iterator<Item = &'a str> + Send + 'a) -> Self {
        Self::new(permission, Reach::Names(Box::new(names)), Stored::Nothing)
    }

    /// Of what touches all of a namespace.
    fn everything(permission: Permission) -> Self {
        Self::new(permission, Reach::Everything, Stored::Nothing)
    }

    /// Of what touches the whole.
    fn cluster(permission: Permission) -> Self {
        Self::new(permission, Reach::Cluster, Stored::Nothing)
    }

    /// Of what touches only what is looked up.
    fn stored(permission: Permission, stored: Stored<'a>) -> Self {
        Self::new(permission, Reach::Nothing, stored)
    }

    /// The same, and this is looked up.
    fn and(self, stored: Stored<'a>) -> Self {
        Self { stored, ..self }
    }

    /// The same, and these jobs are made.
    fn making(self, jobs: impl Iterator<Item = &'a NewJob> + Clone + Send + 'a) -> Self {
        if jobs.clone().all(|job| job.after.is_none()) {
            return self;
        }
        let after = std::iter::once_with(move || {
            let made: HashSet<JobId> = jobs.clone().map(|job| job.id).collect();
            let after = jobs.filter_map(|job| job.after.as_ref()).flat_map(|after| after.jobs.iter().copied());
            after.filter(move |before| !made.contains(before))
        });
        Self { after: Box::new(after.flatten()), ..self }
    }

    /// Of a request.
    #[must_use]
    pub fn of(request: &'a Request) -> Self {
        use Permission::{
            Administer, Cancel, ChangeNamespaces, ChangeSecrets, ChangeTokens, Connect, Enqueue, Operate, Read,
            ReadJob, ReadSecrets, ReadTokens, ReadValues, RunSchedule, Work,
        };
        match request {
            Request::Enqueue { jobs, .. } => Self::names(Enqueue, queues(jobs)).making(jobs.iter()),
            Request::CreateBatch { batch } => Self::names(Enqueue, queues(batch_jobs(batch))).making(batch_jobs(batch)),
            Request::SealBatch { batch, .. } => Self::stored(Cancel, Stored::Batch(*batch)),
            Request::RunSchedule { name, .. } => Self::stored(RunSchedule, schedules(std::iter::once((name, true)))),

            Request::RegisterWorker { info } => Self::names(Work, texts(&info.queues)),
            Request::Lease { worker, queues, .. } | Request::Subscribe { worker, queues, .. } => {
                Self::names(Work, texts(queues)).and(Stored::OwnWorker(*worker))
            }
            Request::Heartbeat { worker } | Request::Disconnect { worker } => {
                Self::stored(Work, Stored::OwnWorker(*worker))
            }
            // Of a subscription of the session, which was looked at when it was made.
            Request::AddCredits { .. } | Request::Unsubscribe { .. } => Self::plain(Work),
            Request::Extend { leases, progress, .. } => {
                let told = progress.iter().map(|(lease, _)| *lease);
                Self::stored(Work, own_leases(leases.iter().copied().chain(told)))
            }
            Request::Complete { completions } => {
                let leases = completions.iter().map(|(lease, _)| *lease);
                let children = completions.iter().flat_map(|(_, completion)| &completion.jobs);
                Self::names(Work, completed(completions)).and(own_leases(leases)).making(children)
            }
            Request::Checkpoint { lease, .. } | Request::Fail { lease, .. } | Request::Release { lease, .. } => {
                Self::stored(Work, own_leases(std::iter::once(*lease)))
            }

            Request::Act { jobs, action, .. } => match action {
                JobAction::Cancel { .. } => Self::stored(Cancel, Stored::Jobs(jobs)),
                JobAction::Move { queue } => {
                    Self::names(Operate, std::iter::once(queue.as_str())).and(Stored::Jobs(jobs))
                }
                JobAction::Delete | JobAction::Retry | JobAction::Prioritize { .. } => {
                    Self::stored(Operate, Stored::Jobs(jobs))
                }
            },
            Request::Configure { settings } if settings.iter().any(is_of_all) => Self::cluster(Operate),
            Request::Configure { settings } => {
                let named = settings.iter().filter_map(schedule_of);
                Self::names(Operate, settings.iter().filter_map(queue_of)).and(schedules(named))
            }
            Request::OrderWorker { worker, .. } => Self::stored(Operate, Stored::Worker(*worker)),

            Request::GetJob { .. } => Self::stored(ReadJob, Stored::Answer),
            Request::ListJobs { filter, .. } => Self::names(Read, texts(&filter.queues)).and(Stored::Answer),
            Request::ListQueues { .. }
            | Request::ListSchedules { .. }
            | Request::GetSchedule { .. }
            | Request::ListWorkers { .. }
            | Request::ListModules { .. } => Self::stored(Read, Stored::Answer),
            Request::ListGroups { queue, .. } => Self::names(Read, std::iter::once(queue.as_str())),
            Request::GetBatch { batch, .. } => Self::stored(Read, Stored::Batch(*batch)),
            Request::GetSettings { .. } => Self::plain(Read),
            Request::ListNamespaces { .. } => Self::stored(Read, Stored::Answer),
            Request::ListBatches { .. } => Self::everything(Read),
            Request::GetState { key, .. } => Self::names(ReadValues, std::iter::once(key.as_str())),
            Request::ListState { prefix, .. } => Self::new(ReadValues, Reach::Beginning(prefix), Stored::Nothing),

            Request::ResolveModule { .. } | Request::ClusterStatus => Self::plain(Connect),
            Request::AddNode { .. } | Request::RemoveNode { .. } | Request::TransferLeader { .. } => {
                Self::cluster(Administer)
            }
            Request::ChangeSecret { change: SecretChange::Reseal } => Self::cluster(ChangeSecrets),
            Request::ChangeSecret { .. } => Self::everything(ChangeSecrets),
            Request::ListSecrets { .. } => Self::everything(ReadSecrets),
            Request::GetSecrets { lease } => Self::stored(Work, own_leases(std::iter::once(*lease))),
            Request::ChangeNamespace { .. } => Self::cluster(ChangeNamespaces),
            Request::ChangeToken { .. } => Self::everything(ChangeTokens),
            Request::ListTokens { .. } => Self::everything(ReadTokens),
        }
    }

    /// Of an upload under this name. Whose the name is now is looked up by whoever receives it.
    #[must_use]
    pub fn of_upload(name: Option<&'a ModuleName>) -> Self {
        Self::names(Permission::Push, name.map(ModuleName::as_str).into_iter()).and(Stored::Answer)
    }

    /// Of setting anything.
    #[must_use]
    pub fn of_setting() -> Self {
        Self::plain(Permission::Operate)
    }

    /// Of moving a name that points to somebody else's module.
    #[must_use]
    pub fn of_foreign_name() -> Self {
        Self::of_setting()
    }

    /// Of a download.
    #[must_use]
    pub fn of_download() -> Self {
        Self::plain(Permission::Connect)
    }
}

fn schedules<'a>(names: impl Iterator<Item = (&'a ScheduleName, bool)> + Send + 'a) -> Stored<'a> {
    Stored::Schedules(Box::new(names))
}

fn own_leases<'a>(leases: impl Iterator<Item = LeaseRef> + Send + 'a) -> Stored<'a> {
    Stored::OwnLeases(Box::new(leases))
}

fn texts(queues: &[QueueName]) -> impl Iterator<Item = &str> {
    queues.iter().map(QueueName::as_str)
}

fn queues<'a>(jobs: impl IntoIterator<Item = &'a NewJob>) -> impl Iterator<Item = &'a str> {
    jobs.into_iter().map(|job| job.queue.as_str())
}

fn batch_jobs(batch: &NewBatch) -> impl Iterator<Item = &NewJob> + Clone {
    let callbacks = [&batch.on_complete, &batch.on_failure].into_iter().flatten();
    batch.jobs.iter().chain(callbacks.map(AsRef::as_ref))
}

/// The queues of the jobs that completions enqueue, and the keys of the values that they write.
fn completed(completions: &[(LeaseRef, Completion)]) -> impl Iterator<Item = &str> {
    completions.iter().flat_map(|(_, completion)| {
        queues(&completion.jobs).chain(completion.state.iter().map(|write| write.key.as_str()))
    })
}

fn is_of_all(setting: &Setting) -> bool {
    matches!(setting, Setting::CreateQueues(_))
}

/// The queue that a setting is of, if it says so.
fn queue_of(setting: &Setting) -> Option<&str> {
    match setting {
        Setting::Queue(queue, _) | Setting::Group(queue, ..) => Some(queue.as_str()),
        Setting::PutSchedule(schedule) => Some(schedule.job.queue.as_str()),
        Setting::CreateQueues(_) | Setting::PauseSchedule(..) | Setting::RemoveSchedule(_) => None,
    }
}

/// The schedule that a setting takes the place of, if there is one, or changes.
fn schedule_of(setting: &Setting) -> Option<(&ScheduleName, bool)> {
    match setting {
        Setting::PutSchedule(schedule) => Some((&schedule.name, false)),
        Setting::PauseSchedule(name, _) | Setting::RemoveSchedule(name) => Some((name, true)),
        Setting::Queue(..) | Setting::Group(..) | Setting::CreateQueues(_) => None,
    }
}
