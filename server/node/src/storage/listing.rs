//! Lists of jobs: by id, page by page, as of the last checkpoint.
//!
//! The index to walk is chosen here and not by SQLite, and each row walked over is counted, whether or not it is wanted: a page
//! costs no more than its bound, and says where to go on. Of a job in a run only the run knows whether it is wanted.

use super::StorageError;
use super::runs::{Holds, KeptRuns};
use super::state_db::StateDb;
use super::state_rows::{JOB_COLUMNS, checked_job, column_time, read_id};
use crate::seal::Seal;
use jobraft_protocol::{JobFilter, JobId, JobState, LogTime, QueueName, limits};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::Path;

/// How much older than its enqueue a job's id is at most, at any setting of the idempotency window.
const ID_AGE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Of the id's timestamp.
const TIMESTAMP_MS_MAX: u64 = (1 << 48) - 1;
/// Where the columns of [`Walk::sql`] are.
const ID: usize = 0;
const ROWID_OR_RUN: usize = 1;
const KIND: usize = 2;
/// What the last of them says.
const NOT_WANTED: i64 = 0;
const WANTED: i64 = 1;
const IN_COMPLETED: i64 = 2;
const IN_BACKLOG: i64 = 3;

impl StateDb {
    /// Calls `f` with the bodies of the jobs that `filter` wants, by id, from the one behind `after` on, until `f` says
    /// that it has enough or `rows_max` rows were looked at. Answers the id behind which the rest begins, `None` at the
    /// end. `f` must not call this [`StateDb`].
    ///
    /// # Errors
    /// As [`StateDb::meta`], or the first error of `f`.
    pub fn list_jobs<E: From<StorageError>>(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        oldest_first: bool,
        rows_max: usize,
        f: impl FnMut(&[u8]) -> Result<bool, E>,
    ) -> Result<Option<JobId>, E> {
        let walk = Walk::new(filter, after, oldest_first);
        let place = (&*self.inner.path, &*self.inner.seal);
        self.read(|connection| walk.run(connection, filter, place, rows_max.max(1), f))
    }
}

/// A statement that walks over rows in the order of their ids and says of each whether it is wanted.
pub(super) struct Walk {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// An index whose entries within some range are in the order of their ids, and that range.
struct Way {
    table: Table,
    /// None: the primary key.
    index: Option<&'static str>,
    range: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Jobs,
    Runs(Holds),
}

impl Walk {
    pub(super) fn new(filter: &JobFilter, after: Option<JobId>, oldest_first: bool) -> Self {
        let (low, high) = bounds(filter, after, oldest_first);
        let mut values = vec![Value::Blob(low), Value::Blob(high)];
        let ways = ways(filter, &mut values);
        let is_condition_needed = ways.iter().any(|way| way.table == Table::Jobs);
        let condition = if is_condition_needed { condition(filter, &mut values) } else { String::new() };
        let ways = ways.into_iter().map(|Way { table, index, range }| {
            let what = match table {
                Table::Jobs => {
                    format!("id, rowid, CASE WHEN {condition} THEN {WANTED} ELSE {NOT_WANTED} END FROM jobs")
                }
                Table::Runs(Holds::Completed) => format!("id, run, {IN_COMPLETED} FROM completed"),
                Table::Runs(Holds::Ready) => format!("id, run, {IN_BACKLOG} FROM waiting"),
            };
            let index = index.map(|index| format!("INDEXED BY {index}")).unwrap_or_default();
            format!("SELECT {what} {index} WHERE {range} AND id > ?1 AND id < ?2")
        });
        let ways: Vec<_> = ways.collect();
        let order = if oldest_first { "ASC" } else { "DESC" };
        Self { sql: format!("{} ORDER BY 1 {order}", ways.join(" UNION ALL ")), values }
    }

    fn run<E: From<StorageError>>(
        &self,
        connection: &Connection,
        filter: &JobFilter,
        (path, seal): (&Path, &Seal),
        rows_max: usize,
        mut f: impl FnMut(&[u8]) -> Result<bool, E>,
    ) -> Result<Option<JobId>, E> {
        let failed = StorageError::database(path);
        let row_sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE rowid = ?1");
        let mut read = connection.prepare_cached(&row_sql).map_err(&failed)?;
        let mut walk = connection.prepare(&self.sql).map_err(&failed)?;
        // While this is under way, all of the connection sees one state.
        let mut rows = walk.query(params_from_iter(&self.values)).map_err(&failed)?;
        let mut runs = KeptRuns::default();
        let (mut looked_at, mut last, mut is_full) = (0, None, false);
        while let Some(row) = rows.next().map_err(&failed)? {
            if is_full || looked_at == rows_max {
                return Ok(last);
            }
            looked_at += 1;
            let id = row.get_ref(ID).and_then(|id| Ok(id.as_blob()?)).map_err(&failed)?;
            let id = read_id(id, path)?;
            last = Some(id);
            let rowid_or_run = row.get(ROWID_OR_RUN).map_err(&failed)?;
            match row.get(KIND).map_err(&failed)? {
                NOT_WANTED => {}
                WANTED => {
                    let mut found = read.query([rowid_or_run]).map_err(&failed)?;
                    let found = found.next().map_err(&failed)?;
                    let found =
                        found.ok_or_else(|| StorageError::corrupt(path, "an index names a row that is not there"))?;
                    is_full = f(&checked_job(found, path)?.open(seal, path)?)?;
                }
                kind => {
                    let holds = if kind == IN_BACKLOG { Holds::Ready } else { Holds::Completed };
                    let run = runs.get(connection, holds, rowid_or_run, seal, path)?;
                    if let Some(job) = run.wanted(id, filter, path)? {
                        is_full = f(job.body)?;
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Which way leads past the fewest rows that are not wanted.
fn ways(filter: &JobFilter, values: &mut Vec<Value>) -> Vec<Way> {
    let wants = |state: &JobState| filter.states.is_empty() || filter.states.contains(state);
    let run_way = |holds: Holds, index: Option<&'static str>, range: &str| {
        wants(&holds.state()).then(|| Way { table: Table::Runs(holds), index, range: range.to_owned() })
    };
    // The backlog has neither keys nor batches.
    let by = |of_jobs, of_completed, of_waiting: Option<&'static str>, range: &str| {
        let jobs = Way { table: Table::Jobs, index: Some(of_jobs), range: range.to_owned() };
        let completed = run_way(Holds::Completed, Some(of_completed), range);
        let waiting = of_waiting.and_then(|index| run_way(Holds::Ready, Some(index), range));
        std::iter::once(jobs).chain(completed).chain(waiting).collect()
    };
    if let Some(key) = &filter.key {
        let key = push(values, key.as_str().to_owned());
        return by("jobs_key", "completed_key", None, &format!("key IS NOT NULL AND key = {key}"));
    }
    if let Some(batch) = &filter.batch {
        let batch = push(values, batch.0.as_bytes().to_vec());
        return by("jobs_batch", "completed_batch", None, &format!("batch IS NOT NULL AND batch = {batch}"));
    }
    if let Some(namespace) = filter.namespace.as_ref().filter(|namespace| !namespace.is_default()) {
        let space = push(values, namespace.as_str().to_owned());
        // No row of another namespace is walked over.
        let range = format!("space IS NOT NULL AND space = {space}");
        return by("jobs_space", "completed_space", Some("waiting_space"), &range);
    }
    let runs = [Holds::Completed, Holds::Ready].into_iter().filter_map(|holds| run_way(holds, None, "TRUE"));
    if filter.states.is_empty() {
        let jobs = Way { table: Table::Jobs, index: Some("jobs_id"), range: "TRUE".to_owned() };
        return std::iter::once(jobs).chain(runs).collect();
    }
    let live = JobState::ALL.iter().any(|state| !state.is_terminal() && wants(state));
    let live = live.then(|| Way { table: Table::Jobs, index: Some("jobs_live"), range: "live = 1".to_owned() });
    let is_rare = |state: &&JobState| state.is_terminal() && **state != JobState::Completed && wants(state);
    let ended = JobState::ALL.iter().filter(is_rare).map(|state| {
        let range = format!("live = 0 AND state = '{state}'");
        Way { table: Table::Jobs, index: Some("jobs_rare"), range }
    });
    live.into_iter().chain(ended).chain(runs).collect()
}

/// What a row must be like: what the indexes hold first.
fn condition(filter: &JobFilter, values: &mut Vec<Value>) -> String {
    let JobFilter { queues, namespace, states, task, key: _, batch, enqueued_from, enqueued_before, error } = filter;
    let mut conditions = vec!["TRUE".to_owned()];
    if !queues.is_empty() {
        let queues: Vec<_> = queues.iter().map(|queue| push(values, QueueName::as_str(queue).to_owned())).collect();
        conditions.push(format!("queue IN ({})", queues.join(", ")));
    }
    match namespace {
        Some(namespace) if namespace.is_default() => conditions.push("space IS NULL".to_owned()),
        Some(namespace) => conditions.push(format!("space = {}", push(values, namespace.as_str().to_owned()))),
        None => {}
    }
    if !states.is_empty() {
        let states: Vec<_> = states.iter().map(|state| push(values, state.as_str().to_owned())).collect();
        conditions.push(format!("state IN ({})", states.join(", ")));
    }
    // Where it chose the way, it costs nothing to say it again.
    if let Some(batch) = batch {
        conditions.push(format!("batch = {}", push(values, batch.0.as_bytes().to_vec())));
    }
    if let Some(from) = enqueued_from {
        conditions.push(format!("enqueued_at >= {}", push(values, column_time(*from))));
    }
    if let Some(before) = enqueued_before {
        conditions.push(format!("enqueued_at < {}", push(values, column_time(*before))));
    }
    if let Some(task) = task {
        conditions.push(format!("task = {}", push(values, task.clone())));
    }
    if let Some(error) = error {
        // SQLite's `lower` knows ASCII alone, as does ours.
        conditions.push(format!("instr(lower(error), {}) > 0", push(values, error.to_ascii_lowercase())));
    }
    conditions.join(" AND ")
}

/// Adds a value, and names its place.
fn push(values: &mut Vec<Value>, value: impl Into<Value>) -> String {
    values.push(value.into());
    format!("?{}", values.len())
}

/// Between what the ids must be: behind `after`, and, since an id is about as old as its job, about as old as is asked for.
fn bounds(filter: &JobFilter, after: Option<JobId>, oldest_first: bool) -> (Vec<u8>, Vec<u8>) {
    let minted = |at_ms: u64| at_ms.min(TIMESTAMP_MS_MAX).to_be_bytes()[2..].to_vec();
    let lowest = |from: LogTime| minted(from.as_ms().saturating_sub(ID_AGE_MS_MAX));
    let mut low = filter.enqueued_from.map(lowest).unwrap_or_default();
    // Longer than an id: behind all.
    let end = vec![0xFF; 17];
    let latest = |before: LogTime| before.as_ms().saturating_add(limits::ID_AHEAD_MS_MAX + 1);
    let mut high = match filter.enqueued_before.map(latest) {
        Some(latest) if latest <= TIMESTAMP_MS_MAX => minted(latest),
        _ => end,
    };
    match after.map(|id| id.as_bytes().to_vec()) {
        Some(after) if oldest_first => low = low.max(after),
        Some(after) => high = high.min(after),
        None => {}
    }
    (low, high)
}
