//! Room for answers: how much of them a connection, and all of them, may have read and not yet written to their clients.
//!
//! A request that may be answered by much takes room for the most before it reads, and gives back what it did not need.
//! So a client that asks for many large jobs at once and reads slowly waits for itself, and nobody's memory fills.

use crate::dispatch::RoomHeld;
use jobraft_protocol::limits::{CLIENT_ANSWER_BYTES_MAX, CONNECTION_ANSWER_BYTES_MAX};
use jobraft_protocol::{
    JobView, ModuleManifest, ModuleRef, Predecessor, Response, ScheduleView, SecretGrant, SecretView, StateValue,
    TokenView, WorkerView, limits,
};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The unit in which they are counted.
const UNIT_BYTES: usize = 1024;
/// What a job that another one came after takes with that one, at most.
const PREDECESSOR_BYTES_MAX: usize = 64;
/// The most that a job takes, about: the rest of it is small beside this.
pub(super) const JOB_BYTES_MAX: usize = limits::PAYLOAD_BYTES_MAX
    + limits::RESULT_BYTES_MAX
    + limits::LOG_TAIL_BYTES_MAX
    + limits::ATTEMPT_ERRORS_MAX * limits::FAILURE_MESSAGE_BYTES_MAX
    + limits::AFTER_JOBS_MAX * PREDECESSOR_BYTES_MAX;

/// Bytes in one page of a list after which nothing further is taken into it.
pub(super) const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most that a list takes that comes whole: a larger one fits into no frame.
pub(super) const LIST_BYTES_MAX: usize = limits::CLIENT_FRAME_BYTES_MAX;

const _: () = assert!(
    2 * PAGE_BYTES_MAX <= LIST_BYTES_MAX,
    "a page fits into a frame, its last part and the names of fields too"
);
const _: () = assert!(LIST_BYTES_MAX <= CONNECTION_ANSWER_BYTES_MAX, "a list always finds room");
const _: () = assert!(CONNECTION_ANSWER_BYTES_MAX <= CLIENT_ANSWER_BYTES_MAX / 2, "one connection never takes all");
const _: () = assert!(JOB_BYTES_MAX <= CONNECTION_ANSWER_BYTES_MAX, "one job always finds room");

/// The room of a connection.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// The room of all connections together.
pub(super) fn of_all() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CLIENT_ANSWER_BYTES_MAX / UNIT_BYTES))
}

impl Rooms {
    /// A connection's part of `all`.
    pub(super) fn new(all: Arc<Semaphore>) -> Self {
        Self { own: Arc::new(Semaphore::new(CONNECTION_ANSWER_BYTES_MAX / UNIT_BYTES)), all }
    }

    /// Of a request that has taken none yet.
    pub(super) fn room(&self) -> Room {
        Room { rooms: self.clone(), held: None }
    }
}

/// The room of one request.
#[derive(Debug)]
pub(super) struct Room {
    rooms: Rooms,
    held: Option<RoomHeld>,
}

impl Room {
    /// Waits for room for an answer of up to `bytes_max`, instead of what is held.
    pub(super) async fn reserve(&mut self, bytes_max: usize) {
        self.held = None;
        let units = units(bytes_max.min(CONNECTION_ANSWER_BYTES_MAX));
        let take = |room: &Arc<Semaphore>| Arc::clone(room).acquire_many_owned(units);
        // Of its own first: who has much waiting already must not wait in front of others.
        let own = take(&self.rooms.own).await.expect("this semaphore is never closed");
        let all = take(&self.rooms.all).await.expect("this semaphore is never closed");
        self.held = Some(RoomHeld { own, all });
    }

    /// Gives back what an answer of so many bytes does not need.
    fn shrink(&mut self, bytes: usize) {
        if let Some(RoomHeld { own, all }) = &mut self.held {
            let surplus = own.num_permits().saturating_sub(units(bytes) as usize);
            drop((own.split(surplus), all.split(surplus)));
        }
    }

    /// Gives back all.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// What is to be held until the answer is written.
    pub(super) fn until_written(mut self, answer: Option<&Response>) -> Option<RoomHeld> {
        self.shrink(answer.map_or(0, bytes));
        self.held.filter(|held| held.own.num_permits() > 0)
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// Of what there is, as much as it takes to reach `bytes_max`, one at least: a page of a list.
pub(super) fn page<T>(all: impl IntoIterator<Item = T>, bytes: impl Fn(&T) -> usize, bytes_max: usize) -> Vec<T> {
    let mut taken = 0;
    let fits = all.into_iter().take_while(|one| {
        let has_room = taken < bytes_max;
        taken += bytes(one);
        has_room
    });
    fits.collect()
}

/// What an answer takes, for those that may be large.
pub(super) fn bytes(response: &Response) -> usize {
    match response {
        Response::Job(view) => job_bytes(view),
        Response::Jobs(page) => {
            let texts =
                page.jobs.iter().map(|job| job.error.as_ref().map_or(0, String::len) + size_of_val(&job.after[..]));
            size_of_val(page.jobs.as_slice()) + texts.sum::<usize>()
        }
        Response::StateList(values) => values.iter().map(value_bytes).sum(),
        Response::Workers(workers) => workers.iter().map(worker_bytes).sum(),
        Response::Tokens(tokens) => tokens.iter().map(token_bytes).sum(),
        Response::Batches(batches) => size_of_val(batches.as_slice()),
        Response::Groups(groups) => size_of_val(groups.as_slice()),
        Response::Schedule(schedule) => schedule_bytes(schedule),
        Response::Schedules(schedules) => schedules.iter().map(schedule_bytes).sum(),
        Response::Queues(queues) => size_of_val(queues.as_slice()),
        Response::Modules(modules) => modules.iter().map(module_bytes).sum(),
        Response::Secrets(secrets) => secrets.iter().map(secret_bytes).sum(),
        Response::JobSecrets(secrets) => {
            let texts = secrets.iter().map(|(name, value)| name.as_str().len() + value.reveal().len());
            size_of_val(secrets.as_slice()) + texts.sum::<usize>()
        }
        Response::Namespaces(namespaces) => {
            let texts = namespaces.iter().map(|view| view.name.as_str().len() + view.created_by.len());
            size_of_val(namespaces.as_slice()) + texts.sum::<usize>()
        }
        _ => 0,
    }
}

fn job_bytes(view: &JobView) -> usize {
    let after = size_of::<Predecessor>().max(PREDECESSOR_BYTES_MAX) * view.after.len();
    let errors = view.errors.iter().map(|error| size_of_val(error) + error.message.len());
    size_of_val(view) + view.payload.len() + view.result.len() + view.log.len() + errors.sum::<usize>() + after
}

pub(super) fn value_bytes(value: &StateValue) -> usize {
    size_of_val(value) + value.key.as_str().len() + value.value.len()
}

pub(super) fn worker_bytes(worker: &WorkerView) -> usize {
    let WorkerView { info, jobs, .. } = worker;
    let queues = info.queues.iter().map(|queue| size_of_val(queue) + queue.as_str().len()).sum::<usize>();
    size_of_val(worker) + info.name.len() + info.agent.len() + queues + size_of_val(jobs.as_slice())
}

pub(super) fn token_bytes(token: &TokenView) -> usize {
    let patterns = token.grant.queues().iter().map(|pattern| size_of_val(pattern) + pattern.as_str().len());
    size_of_val(token) + token.name.as_str().len() + token.created_by.len() + patterns.sum::<usize>()
}

pub(super) fn schedule_bytes(view: &ScheduleView) -> usize {
    let schedule = &view.schedule;
    let texts = schedule.cron.len() + schedule.time_zone.len() + view.last_error.as_ref().map_or(0, String::len);
    size_of_val(view) + texts + schedule.job.payload.len() + size_of_val(view.next.as_slice())
}

fn secret_bytes(secret: &SecretView) -> usize {
    let SecretGrant { modules, queues } = &secret.grant;
    let names = modules.iter().map(|module| match module {
        ModuleRef::Name(name) => name.as_str().len(),
        ModuleRef::Digest(_) => 0,
    });
    let patterns = queues.iter().map(|pattern| pattern.as_str().len()).sum::<usize>();
    let lists = size_of_val(modules.as_slice()) + size_of_val(queues.as_slice());
    size_of_val(secret) + secret.name.as_str().len() + secret.changed_by.len() + lists + names.sum::<usize>() + patterns
}

fn module_bytes(module: &ModuleManifest) -> usize {
    let imports = module.imports.iter().map(|import| size_of_val(import) + import.len());
    size_of_val(module) + size_of_val(module.names.as_slice()) + imports.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_page_ends_where_it_is_full_and_has_one_part_at_least() {
        for (bytes_max, expected) in [(1, 1), (100, 1), (101, 2), (200, 2), (300, 3), (1_000, 3)] {
            assert_eq!(page([100; 3], |bytes| *bytes, bytes_max).len(), expected, "{bytes_max}");
        }
    }

    #[tokio::test]
    async fn an_answer_keeps_only_the_room_that_it_needs_until_it_is_written() {
        let rooms = Rooms::new(of_all());
        let free = || rooms.own.available_permits() * UNIT_BYTES;
        let mut room = rooms.room();
        room.reserve(JOB_BYTES_MAX).await;
        assert!(free() <= CONNECTION_ANSWER_BYTES_MAX - JOB_BYTES_MAX);
        assert!(room.until_written(Some(&Response::Done)).is_none());
        assert_eq!(free(), CONNECTION_ANSWER_BYTES_MAX);

        let mut room = rooms.room();
        room.reserve(1024 * 1024).await;
        room.shrink(5_000);
        assert_eq!(free(), CONNECTION_ANSWER_BYTES_MAX - 5 * 1024);
        room.release();
        assert_eq!(free(), CONNECTION_ANSWER_BYTES_MAX);
    }

    #[tokio::test]
    async fn all_connections_together_take_no_more_than_there_is() {
        let all = of_all();
        let rooms: Vec<_> = (0..1_000).map(|_| Rooms::new(Arc::clone(&all)).room()).collect();
        let filled = rooms.into_iter().map_while(|mut room| {
            room.reserve(CONNECTION_ANSWER_BYTES_MAX).now_or_never()?;
            Some(room)
        });
        let filled: Vec<_> = filled.collect();
        assert_eq!(filled.len(), CLIENT_ANSWER_BYTES_MAX / CONNECTION_ANSWER_BYTES_MAX);
        assert_eq!(all.available_permits(), 0);
        drop(filled);
        assert_eq!(all.available_permits(), CLIENT_ANSWER_BYTES_MAX / UNIT_BYTES);
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_the_answers_before() {
        let rooms = Rooms::new(of_all());
        let (mut first, mut second) = (rooms.room(), rooms.room());
        // More than there is is as much as there is.
        first.reserve(CONNECTION_ANSWER_BYTES_MAX * 2).await;
        assert!(second.reserve(1).now_or_never().is_none());
        drop(first);
        assert!(second.reserve(1).now_or_never().is_some());
    }
}
