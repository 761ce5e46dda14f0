//! The cluster's state for jobs, to be read. It is written by completions only.

use super::request::Answer;
use super::room::Room;
use super::{Api, bounds};
use jobraft_protocol::key::KEY_BYTES_MAX;
use jobraft_protocol::{Consistency, Response, StateKey, StateValue, limits};

/// Bytes of keys and values in one page after which no further one is taken into it.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

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
pub(super) async fn list(api: &Api, listing: Listing, room: &mut Room) -> Answer {
    let Listing { prefix, after, limit, consistency } = listing;
    bounds::size("prefix", prefix.len(), KEY_BYTES_MAX)?;
    let limit = limit.clamp(1, limits::STATE_LIST_MAX);
    api.fresh(consistency).await?;
    room.reserve(PAGE_BYTES_MAX + KEY_BYTES_MAX + limits::STATE_VALUE_BYTES_MAX).await;
    // Values are shared with the state: to read more of them than fit costs no copy.
    let mut values = api.consensus.read(|core| core.state_values(&prefix, after.as_ref(), limit as usize));
    cut(&mut values, PAGE_BYTES_MAX);
    Ok(Response::StateList(values))
}

/// Leaves as many as it takes to reach the bound, one at least.
fn cut(values: &mut Vec<StateValue>, bytes_max: usize) {
    let mut bytes = 0;
    let full = values.iter().position(|value| {
        bytes += value.key.as_str().len() + value.value.len();
        bytes >= bytes_max
    });
    if let Some(last) = full {
        values.truncate(last + 1);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use jobraft_protocol::LogTime;

    #[test]
    fn a_page_ends_where_it_is_full_and_has_one_value_at_least() {
        let value = |name: &str| StateValue {
            key: name.parse().unwrap(),
            value: vec![0; 99].into(),
            version: 1,
            written_at: LogTime::ZERO,
        };
        for (bytes_max, expected) in [(1, 1), (100, 1), (101, 2), (200, 2), (300, 3), (1_000, 3)] {
            let mut values = vec![value("a"), value("b"), value("c")];
            cut(&mut values, bytes_max);
            assert_eq!(values.len(), expected, "{bytes_max}");
        }
    }
}
