//! openraft's own storage test suite, on our storage.

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::types::{LogEntry, TypeConfig, log_id};
use crate::storage::{LogDb, StateDb};
use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (db, recovered) = LogDb::open(directory.path()).expect("an empty log opens");
        let log = LogStore::new(db, recovered).expect("an empty log is well-formed");
        let db = StateDb::open(directory.path()).expect("an empty state opens");
        let state =
            StateMachine::load(db, directory.path().to_path_buf(), Arc::new(|_, _| {})).expect("an empty state loads");
        Ok((directory, log, state))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_storage_suite_passes() {
    Suite::test_all(Builder).await.expect("the suite passes");
}

#[tokio::test]
async fn a_log_ends_no_earlier_than_the_snapshot_it_was_purged_for() {
    let (_directory, mut log, _state) = Builder.build().await.expect("an empty store");
    // Of a later term than what the snapshot holds, but never committed.
    log.append([LogEntry::new_blank(log_id(5, 1))], IOFlushed::noop()).await.expect("appended");
    log.purge(log_id(4, 10)).await.expect("purged");
    let state = log.get_log_state().await.expect("the state");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(4, 10)), Some(log_id(4, 10))));
}
