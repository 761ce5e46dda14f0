//! What is wished of a schedule, and what that would change: for `schedule put` as for `apply`.

use crate::command::settings::{Change, Place};
use crate::command::work::JobSpec;
use crate::output::human;
use jobraft_protocol::{CatchUp, Overlap, Schedule, ScheduleName, ScheduleView, Setting, Task, limits};
use std::time::Duration;

/// Bytes of a payload that are shown where it changes.
const PAYLOAD_BYTES: usize = 40;
/// What was not said.
const DEFAULT: &str = "default";

/// A schedule as it is described: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) struct ScheduleSpec {
    /// When.
    pub(in crate::command) cron: String,
    /// In which time zone.
    pub(in crate::command) time_zone: String,
    /// What.
    pub(in crate::command) job: JobSpec,
    /// What becomes of late ticks.
    pub(in crate::command) catch_up: CatchUp,
    /// What becomes of a tick while the job before lives.
    pub(in crate::command) overlap: Overlap,
    /// Whether its ticks are passed over; absent: as before, and a new one's are not.
    pub(in crate::command) paused: Option<bool>,
}

impl ScheduleSpec {
    /// The schedule, running this.
    pub(in crate::command) fn schedule(&self, name: &ScheduleName, task: Task) -> Schedule {
        Schedule {
            name: name.clone(),
            cron: self.cron.clone(),
            time_zone: self.time_zone.clone(),
            job: self.job.template(task),
            catch_up: self.catch_up,
            overlap: self.overlap,
        }
    }
}

/// What putting `wanted` would change. What is put replaces all that was there, but whether it is paused.
pub(in crate::command) fn changes(now: Option<&ScheduleView>, wanted: &Schedule, paused: Option<bool>) -> Vec<Change> {
    let place = || Place::Schedule { schedule: wanted.name.clone() };
    let former = now.map(|view| fields(&view.schedule));
    let mut changes = Vec::new();
    // The whole is put once, with the first of its changes.
    let mut put = Some(Setting::PutSchedule(Box::new(wanted.clone())));
    for (index, field) in fields(wanted).into_iter().enumerate() {
        let before = former.as_ref().and_then(|former| former.get(index));
        let is_new = before.is_none() && field.value.is_some();
        if is_new || before.is_some_and(|before| before.exact != field.exact) {
            changes.push(Change {
                place: place(),
                setting: field.name,
                from: before.map(Field::told),
                to: Some(field.told()),
                wish: put.take(),
            });
        }
    }
    let was_paused = now.is_some_and(|view| view.paused);
    if let Some(paused) = paused.filter(|paused| *paused != was_paused) {
        changes.push(Change {
            place: place(),
            setting: "paused",
            from: now.map(|view| view.paused.to_string()),
            to: Some(paused.to_string()),
            wish: Some(Setting::PauseSchedule(wanted.name.clone(), paused)),
        });
    }
    changes
}

/// What removing a schedule changes.
pub(in crate::command) fn removal(view: &ScheduleView) -> Change {
    let name = &view.schedule.name;
    let [cron, time_zone] =
        [&view.schedule.cron, &view.schedule.time_zone].map(|text| human::one_line(text, limits::CRON_BYTES_MAX));
    Change {
        place: Place::Schedule { schedule: name.clone() },
        setting: "cron",
        from: Some(format!("{cron} ({time_zone})")),
        to: None,
        wish: Some(Setting::RemoveSchedule(name.clone())),
    }
}

/// One thing that a schedule says.
struct Field {
    /// The key of it.
    name: &'static str,
    /// For people; absent: not said.
    value: Option<String>,
    /// What two of them are compared by: the value for people may be cut.
    exact: String,
}

impl Field {
    fn told(&self) -> String {
        self.value.clone().unwrap_or_else(|| DEFAULT.to_owned())
    }
}

/// What a schedule says, by its keys, but for its policies.
pub(super) fn said(schedule: &Schedule) -> Vec<(&'static str, String)> {
    let policies = ["catch_up", "overlap"];
    let said = fields(schedule).into_iter().filter(|field| !policies.contains(&field.name));
    said.filter_map(|field| Some((field.name, field.value?))).collect()
}

/// All that a schedule says; always the same number, in the same order.
fn fields(schedule: &Schedule) -> Vec<Field> {
    let job = &schedule.job;
    let said = |name, value: Option<String>| Field { name, exact: format!("{value:?}"), value };
    let text = |name, text: &str| {
        let value = Some(human::one_line(text, limits::CRON_BYTES_MAX));
        Field { name, value, exact: text.to_owned() }
    };
    let time = |name, ms: Option<u64>| said(name, ms.map(|ms| human::duration(Duration::from_millis(ms))));
    let (task_key, exact) = match &job.task {
        Task::Module(_) => ("module", job.task.to_string()),
        Task::Handler(_) => ("task", job.task.to_string()),
    };
    let payload = (!job.payload.is_empty()).then(|| {
        let size = human::bytes(job.payload.len() as u64);
        let text = human::one_line(&human::excerpt(&job.payload, PAYLOAD_BYTES), PAYLOAD_BYTES);
        format!("{text:?} ({size})")
    });
    vec![
        text("cron", &schedule.cron),
        text("time_zone", &schedule.time_zone),
        said("queue", Some(job.queue.to_string())),
        Field { name: task_key, value: Some(human::task(&job.task)), exact },
        Field { name: "payload", value: payload, exact: format!("{:?}", job.payload) },
        said("priority", job.priority.map(|priority| priority.to_string())),
        said("group", job.group.as_ref().map(ToString::to_string)),
        said("label", job.label.as_ref().map(ToString::to_string)),
        said("max_attempts", job.max_attempts.map(|attempts| attempts.to_string())),
        time("timeout", job.run_timeout_ms),
        time("ttl", job.ttl_ms),
        time("start_deadline", job.start_deadline_ms),
        said("backoff", job.backoff.as_ref().map(human::backoff)),
        said("max_crashes", job.max_crashes.map(|crashes| crashes.to_string())),
        Field { name: "unique", value: job.unique.as_ref().map(human::unique), exact: format!("{:?}", job.unique) },
        said("catch_up", (schedule.catch_up != CatchUp::default()).then(|| schedule.catch_up.to_string())),
        said("overlap", (schedule.overlap != Overlap::default()).then(|| schedule.overlap.to_string())),
    ]
}

#[cfg(test)]
pub(in crate::command) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::{JobTemplate, LogTime};

    /// A schedule that says as little as it can.
    pub(in crate::command) fn schedule(name: &str, cron: &str) -> Schedule {
        let job = JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        Schedule {
            name: name.parse().unwrap(),
            cron: cron.to_owned(),
            time_zone: "UTC".to_owned(),
            job,
            catch_up: CatchUp::Skip,
            overlap: Overlap::Allow,
        }
    }

    /// As a reader sees it.
    pub(in crate::command) fn view(schedule: Schedule) -> ScheduleView {
        ScheduleView {
            schedule,
            paused: false,
            created_at: LogTime::ZERO,
            ticked_to: LogTime::ZERO,
            last_job: None,
            fired: 0,
            missed: 0,
            skipped: 0,
            last_error: None,
            next: Vec::new(),
            withheld: false,
        }
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes.iter().map(Change::told).collect()
    }

    #[test]
    fn a_new_schedule_is_told_by_what_it_says_and_put_once() {
        let mut wanted = schedule("nightly", "0 3 * * *");
        wanted.job.priority = Some(1);
        wanted.catch_up = CatchUp::One;
        let changes = changes(None, &wanted, Some(true));
        assert_eq!(
            told(&changes),
            [
                "schedule nightly: new: cron: 0 3 * * *",
                "schedule nightly: new: time_zone: UTC",
                "schedule nightly: new: queue: q",
                "schedule nightly: new: task: t",
                "schedule nightly: new: priority: 1",
                "schedule nightly: new: catch_up: one",
                "schedule nightly: new: paused: true",
            ]
        );
        let wishes: Vec<Setting> = changes.iter().filter_map(|change| change.wish.clone()).collect();
        let pause = Setting::PauseSchedule(wanted.name.clone(), true);
        assert_eq!(wishes, [Setting::PutSchedule(Box::new(wanted)), pause]);
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let now = view(schedule("nightly", "0 3 * * *"));
        assert_eq!(changes(Some(&now), &now.schedule, None), []);
        assert_eq!(changes(Some(&now), &now.schedule, Some(false)), []);
        let mut wanted = schedule("nightly", "0 4 * * *");
        wanted.overlap = Overlap::Skip;
        wanted.job.payload = "one\ntwo".into();
        wanted.job.run_timeout_ms = Some(90_000);
        assert_eq!(
            told(&changes(Some(&now), &wanted, Some(true))),
            [
                "schedule nightly: cron: 0 3 * * * -> 0 4 * * *",
                "schedule nightly: payload: default -> \"one two\" (7 B)",
                "schedule nightly: timeout: default -> 1 min 30 s",
                "schedule nightly: overlap: default -> skip",
                "schedule nightly: paused: false -> true",
            ]
        );
        // To pause it is no reason to put it.
        let paused = changes(Some(&now), &now.schedule, Some(true));
        assert_eq!(paused.len(), 1);
        assert_eq!(paused[0].wish, Some(Setting::PauseSchedule(now.schedule.name.clone(), true)));
    }

    #[test]
    fn payloads_that_look_the_same_may_differ() {
        let with_payload = |end: char| {
            let mut schedule = schedule("s", "@hourly");
            schedule.job.payload = format!("{}{end}", "x".repeat(100)).into();
            schedule
        };
        assert_eq!(changes(Some(&view(with_payload('a'))), &with_payload('b'), None).len(), 1);
        assert_eq!(changes(Some(&view(with_payload('a'))), &with_payload('a'), None), []);
    }

    #[test]
    fn a_removal_says_what_goes() {
        let change = removal(&view(schedule("old", "@hourly")));
        assert_eq!(change.told(), "schedule old: removed: cron: @hourly (UTC)");
    }
}
