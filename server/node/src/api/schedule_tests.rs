//! Schedules, spoken frame by frame to a real node: by the calendar, by hand, and over a restart.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, Session, code, fetch, leased, subscription};
use jobraft_protocol::{
    CatchUp, Completion, Consistency, EnqueueOutcome, ErrorCode, JobFilter, JobTemplate, LogTime, Overlap,
    QueueSetting, Request, Response, Schedule, ScheduleName, ScheduleView, Setting, Start, Task, limits,
};
use std::collections::BTreeSet;
use std::time::Duration;

const FRESH: Consistency = Consistency::Linearizable;
const EACH_SECOND: &str = "* * * * * *";

fn name(name: &str) -> ScheduleName {
    name.parse().unwrap()
}

fn schedule(named: &str, cron: &str) -> Schedule {
    let job = JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "by the clock");
    let time_zone = "Europe/Berlin".to_owned();
    Schedule {
        name: name(named),
        cron: cron.to_owned(),
        time_zone,
        job,
        catch_up: CatchUp::All,
        overlap: Overlap::Allow,
    }
}

impl Session {
    async fn change(&mut self, setting: Setting) {
        self.done(Request::Configure { settings: vec![setting] }).await;
    }

    async fn put(&mut self, schedule: Schedule) {
        self.change(Setting::PutSchedule(Box::new(schedule))).await;
    }

    async fn schedule(&mut self, named: &str, next: u32) -> ScheduleView {
        match self.ask(Request::GetSchedule { name: name(named), next, consistency: FRESH }).await {
            Ok(Response::Schedule(view)) => *view,
            other => panic!("{other:?}"),
        }
    }

    async fn schedules(&mut self, after: Option<&str>, limit: u32) -> Vec<ScheduleView> {
        let after = after.map(name);
        match self.ask(Request::ListSchedules { after, limit, consistency: FRESH }).await {
            Ok(Response::Schedules(views)) => views,
            other => panic!("{other:?}"),
        }
    }

    /// The ticks of all jobs that there are, each with how many jobs it has.
    async fn ticks(&mut self) -> Vec<LogTime> {
        let request = Request::ListJobs {
            filter: JobFilter::default(),
            after: None,
            oldest_first: true,
            limit: limits::LIST_JOBS_MAX,
            consistency: FRESH,
        };
        let Ok(Response::Jobs(page)) = self.ask(request).await else { panic!("a page") };
        let mut ticks = Vec::new();
        for job in page.jobs {
            ticks.extend(self.view(job.id).await.tick.map(|tick| tick.tick));
        }
        ticks.sort_unstable();
        ticks
    }
}

/// Asserts that each second from the first to the last one has one tick.
fn assert_each_second(ticks: &[LogTime]) {
    let expected: Vec<u64> = (0..ticks.len() as u64).map(|second| ticks[0].as_ms() + second * 1_000).collect();
    assert_eq!(ticks.iter().map(|tick| tick.as_ms()).collect::<Vec<_>>(), expected);
    assert!(ticks[0].as_ms().is_multiple_of(1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_ticks_by_the_clock_until_it_is_paused_and_again_when_it_is_resumed() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    session.done(subscription(worker, 100)).await;
    session.put(schedule("s", EACH_SECOND)).await;
    let mut ticks = Vec::new();
    while ticks.len() < 3 {
        for job in session.leased_push().await {
            let tick = job.tick.unwrap();
            assert_eq!((tick.schedule, job.payload), (name("s"), "by the clock".into()));
            let late = bench.node.consensus().log_time().ms_since(tick.tick);
            assert!(late < 900, "{late} ms late: not at its time, but when somebody looked by chance");
            ticks.push(tick.tick);
        }
    }
    assert_each_second(&ticks);

    session.change(Setting::PauseSchedule(name("s"), true)).await;
    let paused = session.schedule("s", 5).await;
    assert!(paused.paused && paused.next.is_empty() && paused.fired >= 3);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(session.schedule("s", 0).await.fired, paused.fired);
    session.change(Setting::PauseSchedule(name("s"), false)).await;
    while session.schedule("s", 0).await.fired == paused.fired {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    session.change(Setting::RemoveSchedule(name("s"))).await;
    let before = session.ticks().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(session.ticks().await, before);
    let gone = session.ask(Request::GetSchedule { name: name("s"), next: 1, consistency: FRESH }).await;
    assert_eq!(code(gone), ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_run_when_asked_though_it_is_paused_and_once_for_an_id() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    session.put(schedule("s", "@yearly")).await;
    session.change(Setting::PauseSchedule(name("s"), true)).await;
    let job = session.job(Start::Now).id;
    let run = |named: &str| Request::RunSchedule { name: name(named), job };
    assert_eq!(session.ask(run("s")).await, Ok(Response::Enqueued(vec![EnqueueOutcome::Created])));
    assert_eq!(session.ask(run("s")).await, Ok(Response::Enqueued(vec![EnqueueOutcome::Existing])));
    assert_eq!(code(session.ask(run("other")).await), ErrorCode::NotFound);
    let view = session.view(job).await;
    assert_eq!(view.tick.unwrap().schedule, name("s"));
    assert_eq!(session.schedule("s", 0).await.last_job, Some(job));
    let worker = session.register().await;
    assert_eq!(leased(session.ask(fetch(worker, MINUTE_MS)).await)[0].id, job);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_ticks_are_shown_as_many_as_are_asked_for_and_as_may_be() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    for named in ["a", "b", "c"] {
        session.put(schedule(named, "0 9 * * MON-FRI")).await;
    }
    let shown = session.schedule("b", 10).await.next;
    assert!(shown.len() == 10 && shown.is_sorted() && shown[0] > bench.node.consensus().log_time());
    assert_eq!(session.schedule("b", 0).await.next, []);
    let most = session.schedule("b", u32::MAX).await.next;
    assert_eq!((most.len(), &most[..10]), (limits::NEXT_TICKS_MAX as usize, &shown[..]));
    let page = session.schedules(None, 2).await;
    assert_eq!(page.iter().map(|view| view.schedule.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(page.iter().all(|view| view.next == shown[..1]));
    let rest = session.schedules(Some("b"), 1_000).await;
    assert_eq!((rest.len(), &rest[0].schedule), (1, &schedule("c", "0 9 * * MON-FRI")));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_that_fit_into_no_frame_are_listed_page_by_page() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let mut expected = Vec::new();
    for number in 0..40 {
        let named = format!("s{number:02}");
        let mut large = schedule(&named, "@monthly");
        large.job.payload = vec![7; limits::PAYLOAD_BYTES_DEFAULT].into();
        session.put(large).await;
        expected.push(named);
    }
    let (mut listed, mut pages): (Vec<String>, _) = (Vec::new(), 0);
    loop {
        let page = session.schedules(listed.last().map(String::as_str), 1_000).await;
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|view| view.schedule.name.to_string()));
        pages += 1;
    }
    assert_eq!((listed, pages), (expected, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_found_no_room_is_made_up_for_when_there_is_some() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    session.change(Setting::Queue("q".parse().unwrap(), QueueSetting::DepthMax(Some(1)))).await;
    session.put(schedule("s", EACH_SECOND)).await;
    let view = loop {
        let view = session.schedule("s", 0).await;
        if view.last_error.is_some() {
            break view;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(view.fired, 1);
    session.change(Setting::Queue("q".parse().unwrap(), QueueSetting::DepthMax(None))).await;
    while session.ticks().await.len() < 4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    session.change(Setting::PauseSchedule(name("s"), true)).await;
    assert_each_second(&session.ticks().await);
    assert_eq!(session.schedule("s", 0).await.last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tick_is_lost_or_doubled_by_a_restart() {
    let mut bench = Bench::start().await;
    bench.session().await.put(schedule("s", EACH_SECOND)).await;
    for round in 1..=2 {
        let mut session = bench.session().await;
        while session.ticks().await.len() < 2 * round {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bench = bench.restart().await;
    }
    let mut session = bench.session().await;
    while session.ticks().await.len() < 6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    session.change(Setting::PauseSchedule(name("s"), true)).await;
    let ticks = session.ticks().await;
    assert_eq!(ticks.iter().collect::<BTreeSet<_>>().len(), ticks.len());
    assert_each_second(&ticks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_waits_for_the_job_before_it_if_its_schedule_says_so() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    session.done(subscription(worker, 100)).await;
    session.put(Schedule { overlap: Overlap::Queue, ..schedule("s", EACH_SECOND) }).await;
    let first = session.leased_push().await.remove(0);
    while session.schedule("s", 0).await.fired < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(session.complete(first.lease(), Completion::default()).await, Ok(()));
    let second = session.leased_push().await.remove(0);
    assert_eq!(second.after.iter().map(|before| before.job).collect::<Vec<_>>(), [first.id]);
}
