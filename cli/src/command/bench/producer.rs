//! Producers: each a client of its own, with its part of the window.

use super::course::Course;
use super::schedule::Ticket;
use crate::connection::{self, Connection};
use crate::failure::Failure;
use jobraft_protocol::EnqueueOutcome;
use jobraft_sdk::{Client, SdkError};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long the thread that tells the time of requests sleeps at least: requests may be sent so much late, which counts as
/// latency.
const NAP: Duration = Duration::from_micros(100);

/// Requests that are let go at once at most: far from what a semaphore takes.
const PERMITS_MAX: usize = 1 << 24;

/// Connects the producers, of which none is without a request of the window.
pub(super) async fn connect(connection: &Connection, course: &Course) -> Result<Vec<Client>, Failure> {
    let mut clients = Vec::new();
    for _ in 0..course.load.producers.min(course.load.in_flight) {
        clients.push(connection.connect().await?);
    }
    Ok(clients)
}

/// Enqueues until the measurement is over.
pub(super) async fn produce(clients: &[Client], course: &Arc<Course>) -> Result<(), Failure> {
    let failed = |error| connection::failed("measure", &error);
    if let Some(due) = &course.due {
        tell_time(Arc::downgrade(due), course);
    }
    let mut requests = JoinSet::new();
    for place in 0..course.load.in_flight as usize {
        requests.spawn(one_after_the_other(clients[place % clients.len()].clone(), Arc::clone(course)));
    }
    while let Some(finished) = requests.join_next().await {
        finished.map_err(|error| Failure::new("measure", error))?.map_err(failed)?;
    }
    Ok(())
}

/// One request at a time.
async fn one_after_the_other(client: Client, course: Arc<Course>) -> Result<(), SdkError> {
    let mut numbers = Vec::new();
    while let Some(ticket) = course.ticket().await {
        let Ticket { first, jobs, .. } = ticket;
        let made = (first..first + u64::from(jobs)).map(|number| course.jobs.make(&client, number)).collect();
        numbers.clear();
        for (number, outcome) in (first..).zip(client.enqueue(made).await?) {
            match outcome {
                EnqueueOutcome::Created | EnqueueOutcome::Existing => numbers.push(number),
                EnqueueOutcome::Duplicate(_) | EnqueueOutcome::Replaced(_) => {}
                EnqueueOutcome::Refused(error) => return Err(SdkError::Refused(error)),
            }
        }
        course.enqueued(&ticket, &numbers);
    }
    Ok(())
}

/// Lets requests go at their times, from a thread of its own: the runtime's timers know only milliseconds.
fn tell_time(due: Weak<Semaphore>, course: &Course) {
    let (schedule, started) = (course.load.schedule, course.begin());
    let end = schedule.end();
    std::thread::spawn(move || {
        let mut let_go = 0;
        // The measurement may be given up.
        while let Some(due) = due.upgrade() {
            let now = started.elapsed();
            let more = schedule.due_by(now).saturating_sub(let_go);
            if end.is_some_and(|end| now >= end) {
                // What was to be sent and could not yet still is; whoever asks for more learns that there is none.
                return due.add_permits(Semaphore::MAX_PERMITS / 2);
            }
            due.add_permits(usize::try_from(more).unwrap_or(usize::MAX).min(PERMITS_MAX));
            let_go += more;
            drop(due);
            let next = schedule.due(let_go).unwrap_or_default();
            std::thread::sleep(next.saturating_sub(started.elapsed()).clamp(NAP, Duration::from_millis(50)));
        }
    });
}
