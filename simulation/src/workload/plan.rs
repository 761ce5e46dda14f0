//! How many clients there are, of which kinds, and how long they go on.

use super::seat::Seat;
use super::{operator, producer, worker};
use crate::history::Recorder;
use jobraft_protocol::{Backoff, BackoffCurve, JobId, NewJob, QueueName, Task, TaskName};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

/// The queues that there is work in.
const QUEUES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Where the cluster is, and where what is seen of it is written.
#[derive(Clone, Debug)]
pub struct Site {
    /// From where clients connect.
    pub endpoint: quinn::Endpoint,
    /// How: TLS with a client's certificate, ALPN `jobraft/1`, and an idle time-out that notices a lost node.
    pub config: quinn::ClientConfig,
    /// The nodes, each with the host that its certificate is for. Hints to a leader are looked up here.
    pub addresses: Vec<(SocketAddr, String)>,
    /// The history.
    pub recorder: Recorder,
}

/// What the clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Clients that enqueue.
    pub producers: u32,
    /// Clients that work.
    pub workers: u32,
    /// Clients that look, call off and set.
    pub operators: u32,
    /// What each of them does, in steps, before it ends.
    pub steps: u32,
    /// How long each rests between two steps, at most.
    pub pause_ms_max: u64,
    /// For how long workers lease, at most; at least the shortest lease that there is.
    pub lease_ms_max: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { producers: 2, workers: 3, operators: 1, steps: 60, pause_ms_max: 50, lease_ms_max: 5_000 }
    }
}

/// A client at work; it ends when it has made its steps.
pub type Client = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The clients of a plan, to be spawned.
#[must_use]
pub fn clients(site: &Site, plan: &Plan, seed: u64) -> Vec<Client> {
    let seats = (0..plan.producers + plan.workers + plan.operators).map(|number| Seat::new(site.clone(), number, seed));
    let clients = seats.enumerate().map(|(number, seat)| -> Client {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if number < plan.producers {
            Box::pin(producer::produce(seat, plan.clone()))
        } else if number < plan.producers + plan.workers {
            Box::pin(worker::work(seat, plan.clone()))
        } else {
            Box::pin(operator::operate(seat, plan.clone()))
        }
    });
    clients.collect()
}

pub(super) fn queue(place: usize) -> QueueName {
    QueueName::new(QUEUES[place % QUEUES.len()]).expect("it is a name")
}

pub(super) fn queues() -> Vec<QueueName> {
    (0..QUEUES.len()).map(queue).collect()
}

/// A job that comes back soon when it fails.
pub(super) fn job(id: JobId, place: usize, payload: impl Into<bytes::Bytes>) -> NewJob {
    NewJob { backoff: Some(backoff(200)), ..NewJob::new(id, queue(place), task(), payload) }
}

pub(super) fn backoff(delay_ms: u64) -> Backoff {
    Backoff::new(BackoffCurve::Fixed { delay_ms })
}

pub(super) fn task() -> Task {
    Task::Handler(TaskName::new("workload").expect("it is a name"))
}
