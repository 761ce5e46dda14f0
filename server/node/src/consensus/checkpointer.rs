//! When checkpoints are made and how much log is kept behind them.

use super::Raft;
use super::log_store::LogStore;
use super::state_machine::StateMachine;
use openraft::async_runtime::WatchReceiver;
use std::time::Duration;

/// How often to look whether there is something to write.
const INTERVAL: Duration = Duration::from_secs(2);
/// Bytes of log kept behind a checkpoint, so that a node that was away for a moment needs no snapshot.
const LOG_BYTES_KEPT: u64 = 64 * 1024 * 1024;
/// Entries purged for nothing less: purging is a write too.
const PURGE_ENTRIES_MIN: u64 = 1_024;

/// Makes a checkpoint whenever something was applied since the last, and purges the log behind it; ends with the node.
pub(crate) async fn run(raft: Raft, state: StateMachine, log: LogStore) {
    let mut clock = tokio::time::interval(INTERVAL);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let (applied, purged) = {
            let metrics = raft.data_metrics();
            let metrics = metrics.borrow_watched();
            (metrics.last_applied, metrics.purged.map_or(0, |id| id.index))
        };
        let checkpoint = state.checkpointed();
        if applied > checkpoint && raft.trigger().snapshot().await.is_err() {
            return; // Stopped.
        }
        let Some(checkpoint) = checkpoint else { continue };
        let Some(upto) = log.purge_index_keeping(LOG_BYTES_KEPT) else { continue };
        let upto = upto.min(checkpoint.index);
        if upto >= purged + PURGE_ENTRIES_MIN && raft.trigger().purge_log(upto).await.is_err() {
            return; // Stopped.
        }
    }
}
