//! Cancel: how a job is called off, whatever it is doing.

use crate::job::cut;
use crate::transition::Next;
use crate::{Core, Event, Outcome};
use jobraft_protocol::{Error, ErrorCode, JobId, JobState, LeaseRef, limits};

impl Core {
    /// Cancels a live job; a lease on it is void from now on, and its holder is told. Again is the same as once.
    pub(crate) fn cancel(&mut self, id: JobId, reason: &str) -> Result<Outcome, Error> {
        let Some(job) = self.jobs.get_mut(&id) else {
            return match self.ended.get(id, self.now) {
                Some(ended) if ended.state == JobState::Cancelled => Ok(Outcome::Done),
                Some(ended) => Err(Error::new(ErrorCode::WrongState, format!("job {id} is {} already", ended.state))),
                None => {
                    Err(Error::new(ErrorCode::NotFound, format!("no live job {id}: it ended long ago or never was")))
                }
            };
        };
        if let Some(lease) = &job.lease {
            let (worker, token) = (lease.worker, lease.token);
            self.events.push(Event::Revoked { worker, lease: LeaseRef { job: id, token } });
        }
        job.past_mut().cancel_reason = Some(cut(reason, limits::REASON_BYTES_MAX));
        self.transition(id, Next::Ended { state: JobState::Cancelled, at: self.now });
        Ok(Outcome::Done)
    }
}
