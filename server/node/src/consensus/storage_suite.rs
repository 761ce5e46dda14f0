//! openraft's own storage test suite, on our storage.

use super::log_store::LogStore;
use super::state_machine::StateMachine;
use super::types::TypeConfig;
use crate::storage::{LogDb, StateDb};
use openraft::StorageError;
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
            StateMachine::load(db, directory.path().to_path_buf(), Arc::new(|_| {})).expect("an empty state loads");
        Ok((directory, log, state))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_storage_suite_passes() {
    Suite::test_all(Builder).await.expect("the suite passes");
}
