//! What was set, as it is told beside the figures.

use super::load::Load;
use super::schedule::Until;
use serde::Serialize;

/// What was set, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Setup {
    pub(super) in_flight: u32,
    pub(super) batch: u32,
    pub(super) producers: u32,
    pub(super) workers: u32,
    pub(super) payload_bytes: u32,
    pub(super) queues: u32,
    pub(super) keys: u32,
    pub(super) groups: u32,
    pub(super) waiting: u64,
    pub(super) rate: Option<f64>,
    pub(super) seconds: Option<f64>,
    pub(super) count: Option<u64>,
    pub(super) warm_up_seconds: f64,
}

impl From<&Load> for Setup {
    fn from(load: &Load) -> Self {
        let schedule = load.schedule;
        let (seconds, count) = match schedule.until {
            Until::Over(length) => (Some(length.as_secs_f64()), None),
            Until::Jobs(jobs) => (None, Some(jobs)),
        };
        Self {
            in_flight: load.in_flight,
            batch: schedule.batch,
            producers: load.producers,
            workers: load.workers,
            payload_bytes: load.payload_bytes,
            queues: load.queues,
            keys: load.keys,
            groups: load.groups,
            waiting: load.waiting,
            rate: schedule.rate,
            seconds,
            count,
            warm_up_seconds: load.warm_up.as_secs_f64(),
        }
    }
}
