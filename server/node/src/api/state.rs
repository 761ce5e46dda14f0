//! The cluster's state for jobs, to be read. It is written by completions only.

use super::Api;
use super::request::Answer;
use super::room::{PAGE_BYTES_MAX, Room, page, value_bytes};
use crate::tls::Identity;
use jobraft_protocol::key::KEY_BYTES_MAX;
use jobraft_protocol::{Consistency, Response, StateKey, limits};

/// What is asked for.
pub(super) struct Listing {
    pub(super) prefix: String,
    pub(super) after: Option<StateKey>,
    pub(super) limit: u32,
    pub(super) consistency: Consistency,
}

/// Reads a value.
pub(super) async fn get(api: &Api, key: &StateKey, consistency: Consistency) -> Answer {
    api.fresh(consistency).await?;
    Ok(Response::State(api.consensus.read(|core| core.state_value(key))))
}

/// Lists values, a page of them.
pub(super) async fn list(api: &Api, identity: &Identity, listing: Listing, room: &mut Room) -> Answer {
    let Listing { prefix, after, limit, consistency } = listing;
    let (limit, namespace) = (limit.clamp(1, limits::STATE_LIST_MAX), identity.namespace());
    api.fresh(consistency).await?;
    room.reserve(PAGE_BYTES_MAX + KEY_BYTES_MAX + limits::STATE_VALUE_BYTES_MAX).await;
    // Values are shared with the state: to read more of them than fit costs no copy.
    let values = api.consensus.read(|core| core.state_values(&namespace, &prefix, after.as_ref(), limit as usize));
    Ok(Response::StateList(page(values, value_bytes, PAGE_BYTES_MAX)))
}
