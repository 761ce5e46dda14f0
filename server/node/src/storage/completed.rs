//! Completed jobs: in runs, which never change but as a whole (ADR 0035).
//!
//! A run goes when retention is over for the last of its jobs. What is deleted or pinned is rare: then the run is written anew.

use super::StorageError;
use super::places::Places;
use super::runs::{Draft, Holds, Run, RunJob, put_runs};
use crate::seal::Seal;
use jobraft_core::command::JobRow;
use jobraft_protocol::JobId;
use rusqlite::Transaction;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Writes completed jobs, in the order of their ids. None of them may have another row.
pub(super) fn put_completed(
    transaction: &Transaction<'_>,
    jobs: &[&JobRow],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    // Nobody completes a job twice; were it so, no run would hold what cannot be found.
    put_runs(transaction, Holds::Completed, jobs, seal, path, &|id| remove_completed(transaction, &[id], seal, path))
}

/// Removes these jobs, as far as they are among the completed.
pub(super) fn remove_completed(
    transaction: &Transaction<'_>,
    jobs: &[JobId],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    let mut runs: BTreeMap<i64, BTreeSet<JobId>> = BTreeMap::new();
    let mut places = Places::of(transaction, Holds::Completed, path)?;
    for id in jobs {
        if let Some(run) = places.run_of(*id)? {
            runs.entry(run).or_default().insert(*id);
        }
    }
    for (number, gone) in runs {
        let run = Run::numbered(transaction, Holds::Completed, number, seal, path)?;
        keep(&run, transaction, |job| !gone.contains(&job.id), seal).map_err(StorageError::database(path))?;
    }
    Ok(())
}

/// Writes a run anew with these of its jobs alone.
pub(super) fn keep(
    run: &Run,
    transaction: &Transaction<'_>,
    mut keep: impl FnMut(&RunJob<'_>) -> bool,
    seal: &Seal,
) -> rusqlite::Result<()> {
    let mut forget = transaction.prepare_cached("DELETE FROM completed WHERE id = ?1 AND run = ?2")?;
    let mut kept = Draft::new(Vec::new());
    for job in run.jobs() {
        if keep(&job) {
            kept.take_over(&job);
        } else {
            forget.execute((&job.id.as_bytes()[..], run.number))?;
        }
    }
    if kept.count == 0 {
        return transaction.prepare_cached("DELETE FROM runs WHERE run = ?1")?.execute([run.number]).map(drop);
    }
    kept.write(transaction, (Holds::Completed, run.number), &run.queue, seal)
}
