//! The client: one request in, one answer out, whatever the cluster goes through meanwhile.
//!
//! What is sent again, and when:
//! - nothing was done (`not_leader`, `unavailable`, `overloaded`, `shutting_down`, no connection): any request, until
//!   its time is up, with growing pauses; a hint at the leader is followed without a pause;
//! - it may have been done (the connection broke, `outcome_unknown`): only a request that is idempotent, see
//!   [`Client`]. The others end as [`SdkError::OutcomeUnknown`].

use crate::clock::{self, ClockAnchor};
use crate::config::ClientConfig;
use crate::doubt;
use crate::error::{FailedAttempt, SdkError};
use crate::frames::encode;
use crate::ids::JobIds;
use crate::requests::answered;
use crate::router::Router;
use crate::session::{CallError, Session};
use crate::together::Together;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use jobraft_protocol::{
    ClientFrame, Completion, EnqueueOutcome, ErrorCode, JobId, LeaseRef, LeasedJob, LogTime, NewJob, Request, Response,
    Retry,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often in a row a hint is followed without a pause.
const HOPS_MAX: u32 = 3;

/// A connection to the cluster. Cheap to clone; all clones share one connection.
///
/// Calls are made from within a tokio runtime; the connection itself lives on a thread of its own. Each call takes at
/// most [`ClientConfig::request_timeout`], retries included, unless it says otherwise.
///
/// Jobs that are enqueued one by one at the same time, by any clones, go in one request, and so do completions; each call gets
/// its own answer.
///
/// Requests that are safe to repeat are repeated when the connection breaks: enqueue and create a batch (ids are made by
/// the client, so the same id is the same job), extend, checkpoint, complete, fail, release, disconnect, actions on jobs,
/// settings, schedules, tokens, secrets, namespaces, and all that only read. The others (lease, register a worker, change the members, hand over
/// leadership) end as [`SdkError::OutcomeUnknown`]; leasing again is then safe too, for what the lost answer leased comes
/// back to its queue when that lease ends.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    router: Arc<Router>,
    next_id: AtomicU64,
    ids: JobIds,
    enqueues: Together<NewJob>,
    completions: Together<(LeaseRef, Completion)>,
}

/// What [`Client::call`] learnt on the way.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// An attempt whose outcome is unknown was made.
    pub(crate) maybe_done: bool,
    under_way: bool,
    last: Option<String>,
}

impl Client {
    /// Connects to the cluster: to its leader, or, if there is none for now, to any node.
    ///
    /// # Errors
    /// [`SdkError::Tls`] if the certificates or the key are not usable, [`SdkError::Unreachable`] if no node answers
    /// within [`ClientConfig::connect_timeout`]: it says what each endpoint said. [`SdkError::Unauthenticated`] if the token does
    /// not count; one that ceases to later, and that is in a file, is read again until it does.
    pub async fn connect(config: ClientConfig) -> Result<Self, SdkError> {
        let router = Arc::new(Router::new(config)?);
        let deadline = clock::after(router.config().connect_timeout);
        let mut pauses = backoff();
        loop {
            match router.session().await {
                Ok(_) => break,
                Err(SdkError::Unreachable(tried)) if tried.iter().any(|one| one.unauthenticated().is_some()) => {
                    // A token that does not count at the start is a mistake.
                    let error = tried.iter().find_map(FailedAttempt::unauthenticated).cloned();
                    return Err(error.map_or(SdkError::Unreachable(tried), SdkError::Unauthenticated));
                }
                Err(error) => match pauses.next() {
                    Some(pause) if error.retryable() && Instant::now() + pause < deadline => {
                        tokio::time::sleep(pause).await;
                    }
                    _ => return Err(error),
                },
            }
        }
        router.io().spawn(doubt::watch(Arc::downgrade(&router)));
        let inner = Inner {
            router,
            next_id: AtomicU64::new(1),
            ids: JobIds::default(),
            enqueues: Together::default(),
            completions: Together::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends the connection of this client and all its clones, and tells the node so.
    pub async fn close(&self) {
        self.inner.router.close().await;
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        self.inner.router.config()
    }

    /// Log time now, to within the round trip of the connection's beginning.
    #[must_use]
    pub fn log_time(&self) -> LogTime {
        self.inner.router.clock().map_or_else(machine_time, |clock| clock.estimate(Instant::now()))
    }

    /// Makes an id for a new job, by the cluster's time; greater than all that this client made before.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.inner.ids.next(self.log_time())
    }

    /// The instant at which a lease that was just granted for `granted_for` must be taken for lost: never later than
    /// its true end. See [`ClockAnchor::lease_deadline`](crate::clock::ClockAnchor::lease_deadline).
    #[must_use]
    pub fn lease_deadline(&self, job: &LeasedJob, granted_for: Duration) -> Instant {
        self.deadline_of(job.expires_at, Instant::now(), granted_for)
    }

    pub(crate) fn deadline_of(&self, end: LogTime, granted_at: Instant, granted_for: Duration) -> Instant {
        match self.inner.router.clock() {
            Some(clock) => clock.lease_deadline(end, granted_at, granted_for),
            None => granted_at + granted_for.min(clock::FOR_EVER),
        }
    }

    pub(crate) fn router(&self) -> &Router {
        &self.inner.router
    }

    pub(crate) fn enqueues(&self) -> &Together<NewJob> {
        &self.inner.enqueues
    }

    pub(crate) fn completions(&self) -> &Together<(LeaseRef, Completion)> {
        &self.inner.completions
    }

    /// Asks within the configured time.
    pub(crate) async fn ask(&self, request: Request) -> Result<Response, SdkError> {
        self.ask_within(request, self.config().request_timeout).await
    }

    /// Asks for a change. If it `removes` something that was not there when it was asked again, for want of an answer, the first
    /// time may have removed it.
    pub(crate) async fn change(&self, request: Request, removes: bool) -> Result<(), SdkError> {
        let (name, mut trail) = (name(&request), Trail::default());
        match self.call(request, self.config().request_timeout, &mut trail).await {
            Err(SdkError::Refused(error)) if removes && trail.maybe_done && error.code == ErrorCode::NotFound => {
                Err(SdkError::OutcomeUnknown { request: name, reason: error.message })
            }
            other => answered!(other?, Done),
        }
    }

    pub(crate) async fn ask_within(&self, request: Request, timeout: Duration) -> Result<Response, SdkError> {
        let answer = self.call(request, timeout, &mut Trail::default()).await;
        if says_that_ids_are_of_another_time(&answer) {
            self.learn_time().await;
        }
        answer
    }

    /// Reads log time anew. It leaps ahead when a node comes to lead whose clock is ahead: ids made by the reading from the
    /// connection's beginning would be refused until there is another connection.
    async fn learn_time(&self) {
        let (sent, timeout) = (Instant::now(), self.config().request_timeout);
        let answer = self.call(Request::ClusterStatus, timeout, &mut Trail::default()).await;
        if let Ok(Response::Cluster(status)) = answer {
            self.router().learn_time(ClockAnchor::new(sent, Instant::now(), status.time));
        }
    }

    /// Asks within `timeout`, over as many sessions as it takes.
    pub(crate) async fn call(
        &self,
        request: Request,
        timeout: Duration,
        trail: &mut Trail,
    ) -> Result<Response, SdkError> {
        let (name, repeatable) = (name(&request), is_idempotent(&request));
        let (id, frame) = self.frame(request)?;
        match tokio::time::timeout(timeout, self.attempts(id, frame, name, repeatable, trail)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SdkError::Timeout {
                request: name,
                after: timeout,
                outcome_unknown: (trail.maybe_done || trail.under_way) && changes_something(name),
                last: trail.last.take(),
            }),
        }
    }

    /// Asks on this session alone, once.
    pub(crate) async fn call_on(
        &self,
        session: &Session,
        request: Request,
        timeout: Duration,
    ) -> Result<Response, SdkError> {
        let name = name(&request);
        let (id, frame) = self.frame(request)?;
        match tokio::time::timeout(timeout, session.call(id, frame)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(CallError::Refused(error))) => Err(SdkError::Refused(error)),
            Ok(Err(CallError::Lost { reason, .. })) => Err(SdkError::OutcomeUnknown { request: name, reason }),
            Err(_) => Err(SdkError::Timeout { request: name, after: timeout, outcome_unknown: true, last: None }),
        }
    }

    /// Numbers are the client's, not the session's: the same frame can go out on another session.
    fn frame(&self, request: Request) -> Result<(u64, Bytes), SdkError> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(&ClientFrame { id, request }).map_err(|error| SdkError::TooLarge(error.to_string()))?;
        Ok((id, frame.into()))
    }

    async fn attempts(
        &self,
        id: u64,
        frame: Bytes,
        name: &'static str,
        repeatable: bool,
        trail: &mut Trail,
    ) -> Result<Response, SdkError> {
        // Hardly any request needs them.
        let mut pauses = None;
        let mut hops = 0;
        loop {
            let mut wish = None;
            match self.router().session().await {
                Ok(session) => {
                    trail.under_way = true;
                    let outcome = session.call(id, frame.clone()).await;
                    trail.under_way = false;
                    match outcome {
                        Ok(response) => return Ok(response),
                        Err(CallError::Refused(error)) => {
                            match error.code.retry() {
                                Retry::Never => return Err(SdkError::Refused(error)),
                                Retry::Safe => {}
                                Retry::IfIdempotent if repeatable => trail.maybe_done = true,
                                Retry::IfIdempotent => {
                                    return Err(SdkError::OutcomeUnknown { request: name, reason: error.message });
                                }
                            }
                            wish = error.retry_after_ms.map(Duration::from_millis);
                            let moved = self.router().refused(&session, &error);
                            trail.last = Some(error.to_string());
                            if moved && hops < HOPS_MAX {
                                hops += 1;
                                continue;
                            }
                        }
                        Err(CallError::Lost { reason, sent }) => {
                            trail.maybe_done |= sent;
                            if sent && !repeatable {
                                return Err(SdkError::OutcomeUnknown { request: name, reason });
                            }
                            trail.last = Some(format!("the connection to {} was lost: {reason}", session.address));
                        }
                    }
                }
                Err(error) if error.retryable() => trail.last = Some(error.to_string()),
                Err(error) => return Err(error),
            }
            let pause = pauses.get_or_insert_with(backoff).next().unwrap_or(PAUSE_MAX);
            tokio::time::sleep(wish.unwrap_or(pause)).await;
        }
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);

/// Endless pauses from [`PAUSE_MIN`], doubling up to [`PAUSE_MAX`], each with up to as much again at random.
pub(crate) fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Whether ids of new jobs were refused because the time in them is not the cluster's.
fn says_that_ids_are_of_another_time(answer: &Result<Response, SdkError>) -> bool {
    let is_it = |code: ErrorCode| code == ErrorCode::IdOutsideWindow;
    match answer {
        Ok(Response::Enqueued(outcomes)) => {
            let refused =
                |outcome: &EnqueueOutcome| matches!(outcome, EnqueueOutcome::Refused(error) if is_it(error.code));
            outcomes.iter().any(refused)
        }
        Err(error) => error.code().is_some_and(is_it),
        Ok(_) => false,
    }
}

/// Only until the first hello is this needed.
fn machine_time() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogTime::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// An answer of another kind than the request asks for.
pub(crate) fn unexpected(wanted: &str, got: &Response) -> SdkError {
    let got = format!("{got:?}");
    let kind = got.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    SdkError::Protocol(format!("it answered {kind} where {wanted} was due"))
}

/// Whether the request, carried out twice, does no more than once.
fn is_idempotent(request: &Request) -> bool {
    match request {
        Request::Enqueue { .. }
        | Request::CreateBatch { .. }
        | Request::SealBatch { .. }
        | Request::RunSchedule { .. }
        | Request::Extend { .. }
        | Request::Complete { .. }
        | Request::Fail { .. }
        | Request::Release { .. }
        | Request::Disconnect { .. }
        | Request::Checkpoint { .. }
        | Request::Heartbeat { .. }
        | Request::Act { .. }
        | Request::Configure { .. }
        | Request::OrderWorker { .. }
        | Request::ChangeToken { .. }
        | Request::ListTokens { .. }
        | Request::ChangeSecret { .. }
        | Request::ListSecrets { .. }
        | Request::GetSecrets { .. }
        | Request::ChangeNamespace { .. }
        | Request::ListNamespaces { .. }
        | Request::GetJob { .. }
        | Request::GetBatch { .. }
        | Request::GetSchedule { .. }
        | Request::ListBatches { .. }
        | Request::ListGroups { .. }
        | Request::ListSchedules { .. }
        | Request::ListJobs { .. }
        | Request::ListQueues { .. }
        | Request::ListModules { .. }
        | Request::ListWorkers { .. }
        | Request::ListState { .. }
        | Request::GetState { .. }
        | Request::GetSettings { .. }
        | Request::ResolveModule { .. }
        | Request::ClusterStatus => true,
        Request::RegisterWorker { .. }
        | Request::Lease { .. }
        | Request::Subscribe { .. }
        | Request::AddCredits { .. }
        | Request::Unsubscribe { .. }
        | Request::AddNode { .. }
        | Request::RemoveNode { .. }
        | Request::TransferLeader { .. } => false,
    }
}

const READS: [&str; 19] = [
    "get_job",
    "get_batch",
    "get_schedule",
    "list_batches",
    "list_groups",
    "list_schedules",
    "list_jobs",
    "list_queues",
    "list_modules",
    "list_workers",
    "list_tokens",
    "list_namespaces",
    "list_secrets",
    "get_secrets",
    "list_state",
    "get_state",
    "get_settings",
    "resolve_module",
    "cluster_status",
];

fn changes_something(name: &str) -> bool {
    !READS.contains(&name)
}

/// What is being asked for, to stand in errors and logs.
fn name(request: &Request) -> &'static str {
    match request {
        Request::Act { action, .. } => action.as_str(),
        request => request.name(),
    }
}
