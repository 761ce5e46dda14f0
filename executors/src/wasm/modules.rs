//! Modules ready to run in this process: compiled, loaded and linked once, however many jobs want them at the same time.

use super::artifacts::{Artifacts, blocking};
use super::guest::Guest;
use super::loader::{Known, Loader};
use super::recent::Recent;
use super::verdict;
use jobraft_protocol::{Digest, Failure};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use wasmtime::InstancePre;

/// The modules, by digest.
pub(super) struct Modules {
    artifacts: Artifacts,
    loader: Arc<Loader>,
    ready: Mutex<Recent<Arc<OnceCell<Known>>>>,
}

impl Modules {
    /// No module yet; at most `max` are kept ready.
    pub(super) fn new(artifacts: Artifacts, loader: Loader, max: usize) -> Self {
        Self { artifacts, loader: Arc::new(loader), ready: Mutex::new(Recent::new(max)) }
    }

    /// The module, ready to run. Concurrent first uses compile once.
    ///
    /// # Errors
    /// Final if the module is to blame; if it could not be fetched, or the machine is to blame, another attempt may help.
    pub(super) async fn get(&self, digest: Digest) -> Result<InstancePre<Guest>, Failure> {
        let cell = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get_or_default(digest);
        match cell.get_or_try_init(|| self.prepare(digest)).await? {
            Ok(module) => Ok(module.clone()),
            Err(reason) => Err(verdict::invalid_module(reason)),
        }
    }

    async fn prepare(&self, digest: Digest) -> Result<Known, Failure> {
        match self.artifacts.get(digest).await? {
            Ok(code) => {
                let loader = Arc::clone(&self.loader);
                blocking(move || loader.load(&code)).await
            }
            Err(reason) => Ok(Err(reason)),
        }
    }
}
