//! Enqueue.

use super::request::{Answer, mismatch};
use super::{Api, bounds};
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{LogTime, NewJob, Response, Start};

/// Puts jobs into their queues.
pub(super) async fn enqueue(api: &Api, jobs: Vec<NewJob>, all_or_none: bool) -> Answer {
    if jobs.is_empty() {
        return Err(bounds::invalid("no job is given: give one at least"));
    }
    bounds::new_jobs(&jobs)?;
    let due_at = due_at(api, &jobs);
    let outcome = api.consensus.propose(Command::Enqueue { jobs, all_or_none, known: Vec::new() }).await?;
    if let Some(at) = due_at {
        api.dispatcher.due_at(at);
    }
    match outcome {
        Outcome::Enqueued(outcomes) => Ok(Response::Enqueued(outcomes)),
        other => Err(mismatch("enqueue", &other)),
    }
}

/// About when the first of these jobs falls due: is to become ready, or to expire.
pub(super) fn due_at(api: &Api, jobs: &[NewJob]) -> Option<LogTime> {
    if jobs.iter().all(|job| job.start.is_now() && job.ttl_ms.is_none() && job.start_deadline_ms.is_none()) {
        return None;
    }
    let now = api.consensus.log_time();
    jobs.iter().filter_map(|job| first_timer(now, job)).min()
}

fn first_timer(now: LogTime, job: &NewJob) -> Option<LogTime> {
    let (delayed_until, start) = match job.start {
        Start::Now => (None, now),
        Start::AfterMs(ms) => (Some(now.plus_ms(ms)), now.plus_ms(ms)),
        Start::At(at) => (Some(at), at.max(now)),
    };
    let ttl_ends = job.ttl_ms.map(|ms| now.plus_ms(ms));
    let start_by = job.start_deadline_ms.map(|ms| start.plus_ms(ms));
    [delayed_until, ttl_ends, start_by].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use jobraft_protocol::{JobId, Task};

    #[test]
    fn a_job_falls_due_at_its_start_or_where_it_expires_before() {
        let now = LogTime::from_ms(1_000);
        let task = Task::Handler("t".parse().unwrap());
        let job = NewJob::new(JobId::new(now, [1; 10]), "q".parse().unwrap(), task, "");
        let at = |start, ttl_ms, start_deadline_ms| {
            first_timer(now, &NewJob { start, ttl_ms, start_deadline_ms, ..job.clone() }).map(LogTime::as_ms)
        };
        assert_eq!(at(Start::Now, None, None), None);
        assert_eq!(at(Start::AfterMs(50), None, None), Some(1_050));
        assert_eq!(at(Start::AfterMs(50), Some(20), None), Some(1_020));
        assert_eq!(at(Start::Now, Some(20), Some(10)), Some(1_010));
        assert_eq!(at(Start::Now, None, Some(10)), Some(1_010));
        assert_eq!(at(Start::At(LogTime::from_ms(1_070)), None, Some(10)), Some(1_070));
    }
}
