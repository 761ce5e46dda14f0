//! Schedules.

use crate::{Core, Plan};
use jobraft_protocol::{ScheduleName, ScheduleView};

impl Core {
    /// A schedule, without its next ticks.
    #[must_use]
    pub fn schedule(&self, _name: &ScheduleName) -> Option<ScheduleView> {
        None
    }

    /// The schedules whose names are greater than `after`, by name, without their next ticks. Looked at as they are taken.
    pub fn schedules(&self, _after: Option<&ScheduleName>) -> impl Iterator<Item = ScheduleView> {
        std::iter::empty()
    }

    /// What the leader reads the calendar for: the schedules that are not paused.
    #[must_use]
    pub fn plans(&self) -> Vec<Plan> {
        Vec::new()
    }
}
