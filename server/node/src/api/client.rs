//! A client's connection: who it is, and what its sessions share, so that many of them may ask for no more than one.

use super::room::Rooms;
use crate::tls::Identity;
use jobraft_protocol::limits::{CONNECTION_FETCHES_MAX, CONNECTION_REQUESTS_MAX};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A client's connection, as its sessions see it. Clones are of the same one.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) identity: Arc<Identity>,
    /// Places of requests under way.
    pub(super) places: Arc<Semaphore>,
    /// Places of leases that wait.
    pub(super) fetches: Arc<Semaphore>,
    pub(super) rooms: Rooms,
}

impl Client {
    /// One whose answers take room of `answer_bytes` as well.
    pub(super) fn new(identity: Identity, answer_bytes: &Arc<Semaphore>) -> Self {
        Self {
            identity: Arc::new(identity),
            places: Arc::new(Semaphore::new(CONNECTION_REQUESTS_MAX)),
            fetches: Arc::new(Semaphore::new(CONNECTION_FETCHES_MAX)),
            rooms: Rooms::new(Arc::clone(answer_bytes)),
        }
    }
}
