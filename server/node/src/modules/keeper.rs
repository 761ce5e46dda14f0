//! Keeping up: a node fetches, in the background, the bytes of every module that the cluster knows and it lacks.

use super::ModuleExchange;
use jobraft_protocol::Digest;
use std::time::Duration;

/// The pause after modules could not be fetched; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often the catalog is compared with the disk when nothing says that it changed: what a snapshot brings is not
/// announced.
const RECHECK: Duration = Duration::from_secs(30);

impl ModuleExchange {
    /// Fetches what is missing, now and whenever [`super::ModuleStore::want`] is called. Runs until it is dropped.
    pub async fn keep_up(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            let mut failed = 0;
            for digest in self.missing() {
                if let Err(error) = self.fetch(digest).await {
                    failed += 1;
                    if pause == PAUSE_MIN {
                        tracing::warn!(%digest, %error, "no node gives a module that is missing here; trying again");
                    }
                }
            }
            let wait = if failed == 0 { RECHECK } else { pause };
            pause = if failed == 0 { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            // Running out of time and being called mean the same.
            let _ = tokio::time::timeout(wait, self.store.wanted()).await;
        }
    }

    fn missing(&self) -> Vec<Digest> {
        let known: Vec<Digest> = self.consensus.read(|core| core.module_digests().collect());
        known.into_iter().filter(|digest| !self.store.has_file(digest)).collect()
    }
}
