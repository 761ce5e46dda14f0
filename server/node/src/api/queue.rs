//! Queues.

use super::Api;
use super::request::Answer;
use super::room::{LIST_BYTES_MAX, Room};
use crate::tls::Identity;
use jobraft_core::Core;
use jobraft_protocol::{Consistency, Response};

/// Lists the queues that a client covers, with their counts.
pub(super) async fn list(api: &Api, identity: &Identity, consistency: Consistency, room: &mut Room) -> Answer {
    api.fresh(consistency).await?;
    room.reserve(LIST_BYTES_MAX).await;
    let mut queues = api.consensus.read(Core::queues);
    queues.retain(|stats| identity.covers(stats.queue.as_str()));
    Ok(Response::Queues(queues))
}
