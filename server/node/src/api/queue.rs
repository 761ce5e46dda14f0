//! Queues.

use super::Api;
use super::request::Answer;
use super::room::{LIST_BYTES_MAX, Room};
use jobraft_core::Core;
use jobraft_protocol::{Consistency, Response};

/// Lists queues with their counts.
pub(super) async fn list(api: &Api, consistency: Consistency, room: &mut Room) -> Answer {
    api.fresh(consistency).await?;
    room.reserve(LIST_BYTES_MAX).await;
    Ok(Response::Queues(api.consensus.read(Core::queues)))
}
