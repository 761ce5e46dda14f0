//! When checkpoints are made, how much log is kept behind them, and when `state.db` is swept.
//!
//! Every node does this for itself, whoever leads; a leader alone also keeps log for members that lack it.

use super::Raft;
use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::types::LogId;
use crate::machine;
use jobraft_core::planted::{Bug, is_planted};
use openraft::async_runtime::WatchReceiver;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How often to look whether there is something to write.
const INTERVAL: Duration = Duration::from_secs(2);
/// The least time between two looks, however much changes: steps of one job that fall between them are written once.
const INTERVAL_MIN: Duration = Duration::from_millis(250);
/// The pause between two parts of a sweep: time for a checkpoint, and for the disk.
const SWEEP_PAUSE: Duration = Duration::from_millis(25);
/// Bytes of log kept behind a checkpoint, whoever needs them: a node that comes to lead has them for members that lack them.
const LOG_BYTES_KEPT: u64 = 64 * 1024 * 1024;
/// Bytes of log that a leader keeps for members that lack them. More is sent as a snapshot; and what comes while that is on
/// its way must still be there when it has arrived, else another has to follow.
const LOG_BYTES_KEPT_BEHIND: u64 = 1024 * 1024 * 1024;
/// Entries purged for nothing less: purging is a write too.
const PURGE_ENTRIES_MIN: u64 = 1_024;

/// Consensus has stopped.
struct Stopped;

/// Makes a checkpoint whenever something was applied since the last, purges the log behind it, and sweeps what is kept
/// no longer; ends with the node.
pub(crate) async fn run(raft: Raft, state: StateMachine, log: LogStore) {
    let mut looked_at = Instant::now();
    let mut has_more = false;
    loop {
        tokio::select! {
            () = sleep_until(looked_at + INTERVAL) => {}
            () = under_pressure(&state, looked_at + INTERVAL_MIN) => {}
            () = state.damage() => {
                // The checkpoint is refused: so openraft hears of it, and the node stops.
                let _ = raft.trigger().snapshot().await;
                return;
            }
            () = sleep(SWEEP_PAUSE), if has_more => {
                match sweep(&raft, &state).await {
                    Ok(more) => has_more = more,
                    Err(Stopped) => return,
                }
                continue;
            }
        }
        looked_at = Instant::now();
        if checkpoint(&raft, &log).await.is_err() {
            return;
        }
        match sweep(&raft, &state).await {
            Ok(more) => has_more = more,
            Err(Stopped) => return,
        }
    }
}

/// Waits until much has changed, and until `earliest`.
async fn under_pressure(state: &StateMachine, earliest: Instant) {
    sleep_until(earliest).await;
    state.pressure().await;
}

/// Has a checkpoint made if something was applied since the last that openraft knows of, and purges the log behind that.
async fn checkpoint(raft: &Raft, log: &LogStore) -> Result<(), Stopped> {
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    let (applied, checkpoint, purged, held_by_all) = {
        let metrics = raft.data_metrics();
        let metrics = metrics.borrow_watched();
        // Known to a leader only.
        let held = metrics.replication.iter().flat_map(|of_members| of_members.values().copied().map(index)).min();
        (metrics.last_applied, metrics.snapshot, index(metrics.purged), held.unwrap_or(u64::MAX))
    };
    if applied > checkpoint {
        raft.trigger().snapshot().await.map_err(|_| Stopped)?;
    }
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    if is_planted(Bug::PurgeBeforeCheckpoint) {
        return raft.trigger().purge_log(checkpoint.index).await.map_err(|_| Stopped);
    }
    let upto = purge_upto(|bytes| log.purge_index_keeping(bytes), checkpoint.index, held_by_all);
    if upto >= purged + PURGE_ENTRIES_MIN {
        raft.trigger().purge_log(upto).await.map_err(|_| Stopped)?;
    }
    Ok(())
}

/// The last index that the log can do without: it lies in the checkpoint and either all members hold it, or the log would
/// be too long. `keeping` is [`LogStore::purge_index_keeping`], which goes through all that is kept: the longer part only
/// while a member lacks something.
fn purge_upto(keeping: impl Fn(u64) -> Option<u64>, checkpoint: u64, held_by_all: u64) -> u64 {
    let upto = keeping(LOG_BYTES_KEPT).unwrap_or(0).min(checkpoint);
    if held_by_all >= upto {
        return upto;
    }
    keeping(LOG_BYTES_KEPT_BEHIND).unwrap_or(0).max(held_by_all).min(upto)
}

async fn sweep(raft: &Raft, state: &StateMachine) -> Result<bool, Stopped> {
    let this = state.clone();
    let swept = machine::blocking(move || this.sweep()).await;
    let error = match swept {
        Ok(Ok(more)) => return Ok(more),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(%error, "could not remove what is kept no longer");
    // The next checkpoint is refused as well: so openraft hears of it, and the node stops.
    let _ = raft.trigger().snapshot().await;
    Err(Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of that many records of 1 MiB each, counted from 1.
    fn log_of(records: u64) -> impl Fn(u64) -> Option<u64> {
        move |bytes| records.checked_sub(bytes >> 20).filter(|index| *index > 0)
    }

    #[test]
    fn what_all_members_hold_goes_but_for_a_short_tail() {
        assert_eq!(purge_upto(log_of(64), 64, u64::MAX), 0);
        assert_eq!(purge_upto(log_of(2_000), 2_000, u64::MAX), 1_936);
        assert_eq!(purge_upto(log_of(2_000), 2_000, 1_936), 1_936);
    }

    #[test]
    fn what_is_in_no_checkpoint_stays() {
        assert_eq!(purge_upto(log_of(2_000), 1_500, u64::MAX), 1_500);
        assert_eq!(purge_upto(log_of(2_000), 500, 100), 500);
    }

    #[test]
    fn what_a_member_lacks_stays_until_the_log_is_long() {
        assert_eq!(purge_upto(log_of(900), 900, 0), 0);
        assert_eq!(purge_upto(log_of(2_000), 2_000, 1_500), 1_500);
        assert_eq!(purge_upto(log_of(2_000), 2_000, 10), 976);
    }
}
