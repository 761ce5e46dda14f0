//! Lists of jobs: by id, page by page, as of the last checkpoint.
//!
//! The index to walk is chosen here and not by SQLite, and each row walked over is counted, whether or not it is wanted: a page
//! costs no more than its bound, and says where to go on. In the full name of a queue U+001F, `char(31)`, stands behind that of
//! its namespace.

use super::StorageError;
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
const ROWID: usize = 1;
const IS_WANTED: usize = 2;

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
        self.read(|connection| walk.run(connection, (&self.inner.path, &self.inner.seal), rows_max.max(1), f))
    }
}

/// A statement that walks over rows in the order of their ids and says of each whether it is wanted.
pub(super) struct Walk {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// An index whose entries within some range are in the order of their ids, and that range.
struct Way {
    index: &'static str,
    range: String,
}

impl Walk {
    pub(super) fn new(filter: &JobFilter, after: Option<JobId>, oldest_first: bool) -> Self {
        let (low, high) = bounds(filter, after, oldest_first);
        let mut values = vec![Value::Blob(low), Value::Blob(high)];
        let condition = condition(filter, &mut values);
        let ways = ways(filter, &mut values).into_iter().map(|Way { index, range }| {
            format!(
                "SELECT id, rowid, CASE WHEN {condition} THEN 1 ELSE 0 END FROM jobs INDEXED BY {index}
                 WHERE {range} AND id > ?1 AND id < ?2"
            )
        });
        let ways: Vec<_> = ways.collect();
        let order = if oldest_first { "ASC" } else { "DESC" };
        Self { sql: format!("{} ORDER BY 1 {order}", ways.join(" UNION ALL ")), values }
    }

    fn run<E: From<StorageError>>(
        &self,
        connection: &Connection,
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
        let (mut looked_at, mut last, mut is_full) = (0, None, false);
        while let Some(row) = rows.next().map_err(&failed)? {
            if is_full || looked_at == rows_max {
                return Ok(last);
            }
            looked_at += 1;
            let id = row.get_ref(ID).and_then(|id| Ok(id.as_blob()?)).map_err(&failed)?;
            last = Some(read_id(id, path)?);
            if !row.get::<_, bool>(IS_WANTED).map_err(&failed)? {
                continue;
            }
            let mut found = read.query([row.get::<_, i64>(ROWID).map_err(&failed)?]).map_err(&failed)?;
            let found = found.next().map_err(&failed)?;
            let found = found.ok_or_else(|| StorageError::corrupt(path, "an index names a row that is not there"))?;
            is_full = f(&checked_job(found, path)?.open(seal, path)?)?;
        }
        Ok(None)
    }
}

/// Which way leads past the fewest rows that are not wanted.
fn ways(filter: &JobFilter, values: &mut Vec<Value>) -> Vec<Way> {
    if let Some(key) = &filter.key {
        let key = push(values, key.as_str().to_owned());
        return vec![Way { index: "jobs_key", range: format!("key IS NOT NULL AND key = {key}") }];
    }
    if let Some(batch) = &filter.batch {
        let batch = push(values, batch.0.as_bytes().to_vec());
        return vec![Way { index: "jobs_batch", range: format!("batch IS NOT NULL AND batch = {batch}") }];
    }
    if let Some(namespace) = filter.namespace.as_ref().filter(|namespace| !namespace.is_default()) {
        // The index's own condition and expression, word for word. No row of another namespace is walked over.
        let beginning = push(values, namespace.full(""));
        let range = format!("instr(queue, char(31)) > 0 AND substr(queue, 1, instr(queue, char(31))) = {beginning}");
        return vec![Way { index: "jobs_space", range }];
    }
    let wants = |state: &JobState| filter.states.contains(state);
    if filter.states.is_empty() || wants(&JobState::Completed) {
        return vec![Way { index: "jobs_id", range: "TRUE".to_owned() }];
    }
    let live = JobState::ALL.iter().any(|state| !state.is_terminal() && wants(state));
    let live = live.then(|| Way { index: "jobs_live", range: "live = 1".to_owned() });
    let ended = JobState::ALL.iter().filter(|state| state.is_terminal() && wants(state)).map(|state| {
        // The index's own condition, word for word, and the state's.
        let range = format!("live = 0 AND state <> 'completed' AND state = '{state}'");
        Way { index: "jobs_rare", range }
    });
    live.into_iter().chain(ended).collect()
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
        Some(namespace) if namespace.is_default() => conditions.push("instr(queue, char(31)) = 0".to_owned()),
        Some(namespace) => {
            let beginning = push(values, namespace.full(""));
            conditions.push(format!("substr(queue, 1, instr(queue, char(31))) = {beginning}"));
        }
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
