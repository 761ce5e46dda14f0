//! What jobs run: few tasks, many jobs. All jobs of a task share it.

use crate::id_table::KeyedHasher;
use jobraft_protocol::Task;
use std::collections::HashSet;
use std::sync::Arc;

/// Tasks up to which nobody looks for those that no job has any more.
const FEW: usize = 64;

/// The tasks of the jobs in memory, and some that were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    known: HashSet<Arc<Task>, KeyedHasher>,
    /// How many there may be until the others are looked for.
    room: usize,
}

impl Tasks {
    pub(crate) fn intern(&mut self, task: &Task) -> Arc<Task> {
        if let Some(known) = self.known.get(task) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.room {
            self.known.retain(|task| Arc::strong_count(task) > 1);
            self.room = FEW.max(2 * self.known.len());
        }
        let task = Arc::new(task.clone());
        self.known.insert(Arc::clone(&task));
        task
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn jobs_share_a_task_and_what_no_job_has_is_forgotten() {
        let task = |number: usize| Task::Handler(format!("t{number}").parse().unwrap());
        let mut tasks = Tasks::default();
        let held: Vec<_> = (0..100).map(|number| tasks.intern(&task(number))).collect();
        assert!((0..100).all(|number| Arc::ptr_eq(&tasks.intern(&task(number)), &held[number])));
        for number in 100..10_000 {
            tasks.intern(&task(number));
        }
        assert!(tasks.known.len() <= 2 * held.len(), "{} are known", tasks.known.len());
        assert!((0..100).all(|number| Arc::ptr_eq(&tasks.intern(&task(number)), &held[number])));
    }
}
