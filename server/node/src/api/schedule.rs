//! Schedules: read with the ticks that come next, and run when asked. They are put, paused and removed as settings.

use super::request::Answer;
use super::room::{LIST_BYTES_MAX, PAGE_BYTES_MAX, Room, page, schedule_bytes};
use super::{Api, enqueue, visible};
use crate::auth;
use crate::cron::Cron;
use crate::machine;
use crate::tls::Identity;
use jobraft_core::command::Command;
use jobraft_protocol::{
    Consistency, Error, ErrorCode, JobId, LogTime, Response, Schedule, ScheduleName, ScheduleView, limits,
};

/// The most that a schedule takes, about: its payload, its texts, and the ticks that are shown.
const SCHEDULE_BYTES_MAX: usize = limits::PAYLOAD_BYTES_MAX + 32 * 1024;
const _: () = assert!(PAGE_BYTES_MAX + SCHEDULE_BYTES_MAX <= LIST_BYTES_MAX, "a page fits into a frame");

/// Lists schedules whose queues the client covers by name, a page of them, each with its next tick.
pub(super) async fn list(
    api: &Api,
    identity: &Identity,
    after: Option<ScheduleName>,
    limit: u32,
    consistency: Consistency,
    room: &mut Room,
) -> Answer {
    let limit = limit.clamp(1, limits::SCHEDULE_LIST_MAX) as usize;
    api.fresh(consistency).await?;
    room.reserve(PAGE_BYTES_MAX + SCHEDULE_BYTES_MAX).await;
    let is_shown = |view: &ScheduleView| identity.covers(view.schedule.job.queue.as_str());
    let mut schedules = api.consensus.read(|core| {
        let schedules = core.schedules(after.as_ref()).filter(is_shown).take(limit);
        page(schedules, schedule_bytes, PAGE_BYTES_MAX)
    });
    schedules.iter_mut().for_each(|view| visible::schedule(identity, view));
    with_next(api, schedules, 1).await.map(Response::Schedules)
}

/// Reads a schedule, with so many of its next ticks.
pub(super) async fn get(
    api: &Api,
    identity: &Identity,
    name: ScheduleName,
    next: u32,
    consistency: Consistency,
    room: &mut Room,
) -> Answer {
    let next = next.min(limits::NEXT_TICKS_MAX) as usize;
    api.fresh(consistency).await?;
    room.reserve(SCHEDULE_BYTES_MAX).await;
    let found = api.consensus.read(|core| core.schedule(&name));
    let mut found = found.ok_or_else(|| unknown(&name))?;
    auth::covered(identity, found.schedule.job.queue.as_str(), || format!("schedule {name}"))?;
    visible::schedule(identity, &mut found);
    let mut with_next = with_next(api, vec![found], next).await?;
    let found = with_next.pop().ok_or_else(|| Error::new(ErrorCode::Internal, "a schedule was lost on the way"))?;
    Ok(Response::Schedule(Box::new(found)))
}

/// The refusal of a schedule that this cluster does not know.
pub(super) fn unknown(name: &ScheduleName) -> Error {
    Error::new(ErrorCode::NotFound, format!("no schedule {name} in this cluster"))
}

/// Enqueues a schedule's job now.
pub(super) async fn run(api: &Api, name: ScheduleName, job: JobId) -> Answer {
    enqueue::enqueued(api, Command::RunSchedule { name, job }).await
}

/// Says when they tick next.
async fn with_next(api: &Api, mut schedules: Vec<ScheduleView>, count: usize) -> Result<Vec<ScheduleView>, Error> {
    let now = api.consensus.log_time();
    // Some expressions tick so seldom that the calendar is read for a while.
    let read = machine::blocking(move || {
        for view in schedules.iter_mut().filter(|view| !view.paused) {
            view.next = next(&view.schedule, view.ticked_to.max(now), count);
        }
        schedules
    });
    read.await.map_err(|error| {
        tracing::error!(%error, "could not read the calendar of a schedule; please report this");
        Error::new(ErrorCode::Internal, "a defect of Jobraft: the node's log says more")
    })
}

/// The first ticks behind a time; none if this node cannot read the expression, which a newer one may have let through.
fn next(schedule: &Schedule, after: LogTime, count: usize) -> Vec<LogTime> {
    let Ok(cron) = Cron::parse(&schedule.cron, &schedule.time_zone) else { return Vec::new() };
    std::iter::successors(cron.next_after(after), |last| cron.next_after(*last)).take(count).collect()
}
