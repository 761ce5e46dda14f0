//! Groups.

use crate::Core;
use jobraft_protocol::{GroupKey, GroupView, QueueName};

impl Core {
    /// The groups of a queue whose keys are greater than `after`, by key, at most `max`; `None` if there is no such queue.
    #[must_use]
    pub fn groups(&self, _queue: &QueueName, _after: Option<&GroupKey>, _max: usize) -> Option<Vec<GroupView>> {
        None
    }
}
