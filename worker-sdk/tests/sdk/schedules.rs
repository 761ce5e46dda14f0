//! What the client sends for schedules and groups, and what it makes of the answers.

use crate::node::{Authority, Node};
use jobraft_protocol::limits::{GROUP_LIST_MAX, SCHEDULE_LIST_MAX};
use jobraft_protocol::{
    CatchUp, Consistency, EnqueueOutcome, Error, ErrorCode, GroupSettings, GroupView, JobTemplate, LogTime, Overlap,
    Request, Response, Schedule, ScheduleName, ScheduleView, Setting, Task,
};
use jobraft_sdk::{Client, SdkError};

fn schedule(name: &str) -> Schedule {
    Schedule {
        name: name.parse().unwrap(),
        cron: "@hourly".to_owned(),
        time_zone: "UTC".to_owned(),
        job: JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), ""),
        catch_up: CatchUp::One,
        overlap: Overlap::Skip,
    }
}

fn view(name: &str) -> ScheduleView {
    ScheduleView {
        schedule: schedule(name),
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

async fn one_node() -> (Authority, Node, Client, ScheduleName) {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    (authority, node, client, "nightly".parse().unwrap())
}

#[tokio::test]
async fn a_schedule_is_a_setting() {
    let (_authority, mut node, client, name) = one_node().await;
    let calls = tokio::spawn({
        let name = name.clone();
        async move {
            client.put_schedule(schedule("nightly")).await?;
            client.pause_schedule(&name).await?;
            client.resume_schedule(&name).await?;
            client.remove_schedule(&name).await
        }
    });
    let settings = [
        Setting::PutSchedule(Box::new(schedule("nightly"))),
        Setting::PauseSchedule(name.clone(), true),
        Setting::PauseSchedule(name.clone(), false),
        Setting::RemoveSchedule(name),
    ];
    for setting in settings {
        let asked = node.next().await;
        assert_eq!(asked.request, Request::Configure { settings: vec![setting] });
        asked.answer(Ok(Response::Done));
    }
    calls.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_removal_whose_answer_was_lost_is_no_refusal() {
    let (_authority, mut node, client, name) = one_node().await;
    let absent = Error::new(ErrorCode::NotFound, "there is no schedule nightly");
    let remove = tokio::spawn({
        let (client, name) = (client.clone(), name.clone());
        async move { client.remove_schedule(&name).await }
    });
    node.next().await.session.cut();
    node.next().await.answer(Err(absent.clone()));
    remove.await.unwrap().unwrap();
    // One that was not there in the first place.
    let remove = tokio::spawn({
        let (client, name) = (client.clone(), name.clone());
        async move { client.remove_schedule(&name).await }
    });
    node.next().await.answer(Err(absent.clone()));
    assert_eq!(remove.await.unwrap().unwrap_err().code(), Some(ErrorCode::NotFound));
    // Together with others, whether all was done is not known.
    let settings = vec![Setting::CreateQueues(true), Setting::RemoveSchedule(name)];
    let configure = tokio::spawn(async move { client.configure(settings).await });
    node.next().await.session.cut();
    node.next().await.answer(Err(absent));
    let error = configure.await.unwrap().unwrap_err();
    assert!(matches!(error, SdkError::OutcomeUnknown { request: "configure", .. }), "{error}");
}

#[tokio::test]
async fn a_run_that_is_asked_for_again_is_the_same_job() {
    let (_authority, mut node, client, name) = one_node().await;
    let run = tokio::spawn(async move { client.run_schedule(&name).await });
    let first = node.next().await;
    first.session.cut();
    let second = node.next().await;
    assert_eq!(first.request, second.request);
    let Request::RunSchedule { job, .. } = second.request else { panic!("{:?}", second.request) };
    second.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Existing])));
    assert_eq!(run.await.unwrap().unwrap(), job);
}

#[tokio::test]
async fn all_schedules_are_read_page_by_page() {
    let (_authority, mut node, client, _) = one_node().await;
    let all = tokio::spawn(async move { client.schedules(Consistency::Stale).await });
    for (after, names) in [(None, &["a", "b"][..]), (Some("b"), &["c"]), (Some("c"), &[])] {
        let asked = node.next().await;
        let after = after.map(|name| name.parse().unwrap());
        let page = Request::ListSchedules { after, limit: SCHEDULE_LIST_MAX, consistency: Consistency::Stale };
        assert_eq!(asked.request, page);
        asked.answer(Ok(Response::Schedules(names.iter().map(|name| view(name)).collect())));
    }
    let names: Vec<String> = all.await.unwrap().unwrap().iter().map(|view| view.schedule.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn all_groups_are_read_page_by_page() {
    let (_authority, mut node, client, _) = one_node().await;
    let all = tokio::spawn(async move { client.groups(&"q".parse().unwrap(), Consistency::Linearizable).await });
    let group = |key: &str| GroupView {
        group: key.parse().unwrap(),
        ready: 1,
        leased: 0,
        waiting: 0,
        open: 1,
        settings: GroupSettings::default(),
    };
    for (after, keys) in [(None, &["a", "b"][..]), (Some("b"), &[])] {
        let asked = node.next().await;
        let page = Request::ListGroups {
            queue: "q".parse().unwrap(),
            after: after.map(|key| key.parse().unwrap()),
            limit: GROUP_LIST_MAX,
            consistency: Consistency::Linearizable,
        };
        assert_eq!(asked.request, page);
        asked.answer(Ok(Response::Groups(keys.iter().map(|key| group(key)).collect())));
    }
    assert_eq!(all.await.unwrap().unwrap().len(), 2);
}

#[tokio::test]
async fn a_schedule_is_read_with_its_next_ticks() {
    let (_authority, mut node, client, name) = one_node().await;
    let read = tokio::spawn(async move { client.schedule(&name, 3, Consistency::Linearizable).await });
    let asked = node.next().await;
    let name = "nightly".parse().unwrap();
    assert_eq!(asked.request, Request::GetSchedule { name, next: 3, consistency: Consistency::Linearizable });
    let ticks = ScheduleView { next: vec![LogTime::from_ms(1)], ..view("nightly") };
    asked.answer(Ok(Response::Schedule(Box::new(ticks.clone()))));
    assert_eq!(read.await.unwrap().unwrap(), ticks);
}
