//! Settings: what queues and the cluster are set to, changed all at once or not at all.

use crate::enqueue::invalid;
use crate::{Core, Outcome};
use jobraft_protocol::{ClusterSettings, Error, ErrorCode, QueueName, Setting, limits};
use std::collections::BTreeSet;

impl Core {
    /// Checks all settings, then makes them.
    pub(crate) fn configure(&mut self, settings: &[Setting]) -> Result<Outcome, Error> {
        if settings.len() > limits::SETTINGS_MAX {
            let text = format!("{} settings, at most {} at once; split them", settings.len(), limits::SETTINGS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let mut made: BTreeSet<&QueueName> = BTreeSet::new();
        for setting in settings {
            if let Setting::Queue(queue, setting) = setting {
                setting.check().map_err(|fault| invalid(format!("queue {queue}: {fault}")))?;
                if self.index.queues.index_of(queue).is_none() {
                    made.insert(queue);
                }
            }
        }
        if !made.is_empty() && self.index.queues.len() + made.len() > self.bounds.queues {
            return Err(self.too_many_queues());
        }
        for setting in settings {
            match setting {
                Setting::Queue(queue, setting) => {
                    let index = self.index.queues.intern(queue);
                    self.index.queues.set(index, *setting, self.now);
                }
                Setting::CreateQueues(create) => self.settings.create_queues = *create,
                _ => {}
            }
        }
        Ok(Outcome::Done)
    }

    pub(crate) fn too_many_queues(&self) -> Error {
        let text = format!("the cluster has {} queues, the most it takes: use one of them", self.bounds.queues);
        Error::new(ErrorCode::TooMany, text)
    }

    /// What the cluster as a whole is set to.
    #[must_use]
    pub fn settings(&self) -> ClusterSettings {
        self.settings.clone()
    }
}
