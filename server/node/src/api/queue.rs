//! Queues.

use super::Api;
use super::request::Answer;
use jobraft_core::Core;
use jobraft_protocol::{Consistency, Response};

/// Lists queues with their counts.
pub(super) async fn list(api: &Api, consistency: Consistency) -> Answer {
    api.fresh(consistency).await?;
    Ok(Response::Queues(api.consensus.read(Core::queues)))
}
