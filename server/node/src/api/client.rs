//! A client's connection: who it is, and what its sessions share, so that many of them may ask for no more than one.

use super::room::Rooms;
use crate::audit::{Audit, Event, Outcome};
use crate::tls::Identity;
use jobraft_protocol::Digest;
use jobraft_protocol::limits::{CONNECTION_FETCHES_MAX, CONNECTION_REQUESTS_MAX};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A client's connection, as its sessions see it. Clones are of the same one.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) identity: Arc<Identity>,
    /// By the hash of which token it was let in, if by one.
    pub(super) token: Option<Digest>,
    /// Where it connected from.
    pub(super) remote: SocketAddr,
    /// Places of requests under way.
    pub(super) places: Arc<Semaphore>,
    /// Places of leases that wait.
    pub(super) fetches: Arc<Semaphore>,
    pub(super) rooms: Rooms,
}

impl Client {
    /// Tells the audit log what came of something that the client asked for; of what is refused, of which there may be as
    /// much as it likes, once a minute for each request.
    pub(super) async fn tell(&self, audit: &Audit, request: &'static str, on: Vec<String>, outcome: Outcome) {
        let is_refusal = outcome.is_refusal();
        let event = Event::Asked { who: Arc::clone(&self.identity), from: self.remote, request, on, outcome };
        if is_refusal {
            audit.tell_seldom(&self.identity.owner(), request, event).await;
        } else {
            audit.tell(event).await;
        }
    }

    /// One whose answers take room of `answer_bytes` as well.
    pub(super) fn new(
        identity: Identity,
        token: Option<Digest>,
        remote: SocketAddr,
        answer_bytes: &Arc<Semaphore>,
    ) -> Self {
        Self {
            identity: Arc::new(identity),
            token,
            remote,
            places: Arc::new(Semaphore::new(CONNECTION_REQUESTS_MAX)),
            fetches: Arc::new(Semaphore::new(CONNECTION_FETCHES_MAX)),
            rooms: Rooms::new(Arc::clone(answer_bytes)),
        }
    }
}
