//! The state hash: two nodes at the same index must agree on it, byte for byte.
//!
//! It covers everything that can show in a later answer, in an order that follows from the state alone. It does not
//! cover what a node happens to hold: rows not written yet, ended jobs not yet taken, ids not yet forgotten.

use crate::Core;
use crate::record::{QueueRecord, encode};
use bytes::Bytes;
use jobraft_protocol::JobId;
use sha2::{Digest as _, Sha256};

impl Core {
    /// SHA-256 over the whole state. Costs time in proportion to its size: for tests, audits and diagnosis.
    ///
    /// # Panics
    /// If a payload rests.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let read = |id| -> Result<Bytes, std::convert::Infallible> { panic!("the payload of job {id} rests") };
        let Ok(hash) = self.state_hash_with(read);
        hash
    }

    /// The same of a state whose payloads may [rest](Core::payload_rests): `read` reads one.
    ///
    /// # Errors
    /// The first of `read`.
    pub fn state_hash_with<E>(&self, mut read: impl FnMut(JobId) -> Result<Bytes, E>) -> Result<[u8; 32], E> {
        let mut hash = Sha256::new();
        let mut part = |bytes: Vec<u8>| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(encode(&self.header()));
        part(encode(&self.ended.sorted(self.now)));
        part(encode(&self.dead_jobs()));
        part(encode(&self.keys.sorted(self.now).collect::<Vec<_>>()));
        part(encode(&self.workers.iter().collect::<Vec<_>>()));
        part(encode(&self.values.by_key));
        part(encode(&self.queues()));
        let queues = self.index.queues.sorted();
        part(encode(&queues.map(QueueRecord::from).collect::<Vec<_>>()));
        let groups = self.index.queues.sorted().map(|queue| queue.groups.records().collect::<Vec<_>>());
        part(encode(&groups.collect::<Vec<_>>()));
        part(encode(self.batches.records()));
        part(encode(self.schedules.records()));
        part(encode(&self.catalog.records().collect::<Vec<_>>()));
        part(encode(&self.index.queues.namespaces.records().collect::<Vec<_>>()));
        part(encode(&self.namespaces(None).collect::<Vec<_>>()));
        part(encode(&self.catalog.names()));
        part(encode(self.secrets.records()));
        part(encode(&self.tokens.by_name));
        let mut jobs: Vec<_> = self.jobs.iter().collect();
        jobs.sort_unstable_by_key(|(id, _)| *id);
        for (id, job) in jobs {
            let queue = self.index.queues.get(job.queue);
            let mut record = job.record(id, queue, self.holds_key(id, job));
            if job.payload.is_at_rest() {
                record.view.payload = read(id)?;
            }
            part(encode(&record));
        }
        Ok(hash.finalize().into())
    }
}
