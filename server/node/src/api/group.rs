//! The groups of a queue.

use super::Api;
use super::request::Answer;
use super::room::{LIST_BYTES_MAX, Room};
use jobraft_protocol::{Consistency, Error, ErrorCode, GroupKey, QueueName, Response, limits};

/// The most that a group takes in a list, about.
const GROUP_BYTES_MAX: usize = 1024;
const _: () = assert!(limits::GROUP_LIST_MAX as usize * GROUP_BYTES_MAX <= LIST_BYTES_MAX, "a page fits into a frame");

/// What is asked for.
pub(super) struct Listing {
    pub(super) queue: QueueName,
    pub(super) after: Option<GroupKey>,
    pub(super) limit: u32,
    pub(super) consistency: Consistency,
}

/// Lists groups by key, a page of them.
pub(super) async fn list(api: &Api, listing: Listing, room: &mut Room) -> Answer {
    let Listing { queue, after, limit, consistency } = listing;
    let limit = limit.clamp(1, limits::GROUP_LIST_MAX) as usize;
    api.fresh(consistency).await?;
    room.reserve(limit * GROUP_BYTES_MAX).await;
    let groups = api.consensus.read(|core| core.groups(&queue, after.as_ref(), limit));
    let unknown = || Error::new(ErrorCode::NotFound, format!("no queue {queue}: it comes to be with its first job"));
    groups.map(Response::Groups).ok_or_else(unknown)
}
