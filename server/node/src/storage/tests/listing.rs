use super::{checkpoint_at, job, job_id, list, tamper};
use crate::storage::listing::Walk;
use crate::storage::state_db::STATE;
use crate::storage::{StateDb, StorageError};
use jobraft_core::command::{Changes, JobRow};
use jobraft_protocol::{BatchId, JobFilter, JobId, JobState, LogTime, UniqueKey};
use std::path::Path;
use tempfile::TempDir;

const STATES: [JobState; 5] =
    [JobState::Ready, JobState::Leased, JobState::Completed, JobState::Dead, JobState::Cancelled];

/// Queues of the default namespace and of another.
const QUEUES: [&str; 3] = ["mail", "video", "acme\u{1f}mail"];

/// Job `number` of those of [`with_jobs`]; each differs from the next in each column.
fn row(number: u64) -> JobRow {
    let place = number as usize;
    let state = STATES[place % STATES.len()];
    JobRow {
        queue: QUEUES[place % 3].parse().unwrap(),
        task: ["send", "encode", "send_all"][place / 2 % 3].to_owned(),
        key: place.is_multiple_of(7).then(|| UniqueKey::new(&format!("key {}", number % 2)).unwrap()),
        batch: place.is_multiple_of(3).then(|| BatchId(job_id(number % 2))),
        error: place.is_multiple_of(4).then(|| format!("Attempt {number} FAILED: 100%_of Größe")),
        enqueued_at: LogTime::from_ms(1_700_000_000_000 + number),
        // Of those that wait some have rows of their own.
        rests: place.is_multiple_of(2),
        ..job(number, state)
    }
}

fn with_jobs(count: u64) -> (TempDir, StateDb) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state
        .checkpoint(&checkpoint_at(1), &Changes { jobs: (0..count).map(row).collect(), ..Changes::default() })
        .unwrap();
    (dir, state)
}

fn at(number: u64) -> Option<LogTime> {
    Some(LogTime::from_ms(1_700_000_000_000 + number))
}

/// Whether a filter wants a job.
type Wanted = fn(&JobRow) -> bool;

/// Filters of every kind, and what they mean.
fn filters() -> Vec<(JobFilter, Wanted)> {
    let all = JobFilter::default;
    let queue = |name: &str| vec![name.parse().unwrap()];
    let space = |name: &str| Some(name.parse().unwrap());
    let text = |text: &str| Some(text.to_owned());
    let key = || Some(UniqueKey::new("key 1").unwrap());
    let batch = || Some(BatchId(job_id(1)));
    use JobState::{Cancelled, Completed, Dead, Expired, Leased, Ready};
    vec![
        (all(), |_| true),
        (JobFilter { queues: queue("mail"), ..all() }, |job| job.queue.as_str() == "mail"),
        (JobFilter { queues: [queue("mail"), queue("video")].concat(), ..all() }, |job| {
            job.queue.as_str() != QUEUES[2]
        }),
        (JobFilter { queues: queue(QUEUES[2]), ..all() }, |job| job.queue.as_str() == QUEUES[2]),
        (JobFilter { namespace: space("acme"), ..all() }, |job| job.queue.as_str() == QUEUES[2]),
        (JobFilter { namespace: space("acme"), states: vec![Completed], ..all() }, |job| {
            job.queue.as_str() == QUEUES[2] && job.state == Completed
        }),
        (JobFilter { namespace: space("acme"), states: vec![Ready, Dead], ..all() }, |job| {
            job.queue.as_str() == QUEUES[2] && matches!(job.state, Ready | Dead)
        }),
        (JobFilter { namespace: space("default"), ..all() }, |job| job.queue.as_str() != QUEUES[2]),
        (JobFilter { namespace: space("acm"), ..all() }, |_| false),
        (JobFilter { queues: queue("nowhere"), ..all() }, |_| false),
        (JobFilter { states: vec![Ready], ..all() }, |job| job.state == Ready),
        (JobFilter { states: vec![Ready, Leased], ..all() }, |job| !job.state.is_terminal()),
        (JobFilter { states: vec![Completed], ..all() }, |job| job.state == Completed),
        (JobFilter { states: vec![Dead], ..all() }, |job| job.state == Dead),
        (JobFilter { states: vec![Dead, Cancelled, Expired], ..all() }, |job| matches!(job.state, Dead | Cancelled)),
        (JobFilter { states: vec![Dead, Leased], ..all() }, |job| matches!(job.state, Dead | Leased)),
        (JobFilter { states: vec![Dead, Completed], ..all() }, |job| matches!(job.state, Dead | Completed)),
        (JobFilter { states: vec![Expired], ..all() }, |_| false),
        (JobFilter { states: JobState::ALL.to_vec(), ..all() }, |_| true),
        (JobFilter { task: text("send"), ..all() }, |job| job.task == "send"),
        (JobFilter { key: key(), ..all() }, |job| job.key.as_ref().is_some_and(|key| key.as_str() == "key 1")),
        (JobFilter { key: key(), states: vec![Dead], ..all() }, |job| {
            job.state == Dead && job.key.as_ref().is_some_and(|key| key.as_str() == "key 1")
        }),
        (JobFilter { batch: batch(), ..all() }, |job| job.batch == Some(BatchId(job_id(1)))),
        (JobFilter { batch: batch(), states: vec![Dead, Ready], ..all() }, |job| {
            job.batch == Some(BatchId(job_id(1))) && matches!(job.state, Dead | Ready)
        }),
        (JobFilter { batch: batch(), key: key(), ..all() }, |job| {
            job.batch == Some(BatchId(job_id(1))) && job.key.as_ref().is_some_and(|key| key.as_str() == "key 1")
        }),
        (JobFilter { batch: Some(BatchId(job_id(7))), ..all() }, |_| false),
        (JobFilter { enqueued_from: at(30), ..all() }, |job| job.enqueued_at >= at(30).unwrap()),
        (JobFilter { enqueued_before: at(30), ..all() }, |job| job.enqueued_at < at(30).unwrap()),
        (JobFilter { enqueued_from: at(30), enqueued_before: at(31), ..all() }, |job| {
            job.enqueued_at == at(30).unwrap()
        }),
        (JobFilter { error: text("failed: 100%_OF GRö"), ..all() }, |job| job.error.is_some()),
        (JobFilter { error: text("attempt 1"), ..all() }, |job| job.error.as_ref().is_some_and(|e| e.contains("t 1"))),
        // Signs that mean something to LIKE, and what they would have meant.
        (JobFilter { error: text("1__%"), ..all() }, |_| false),
        (JobFilter { error: text("%failed"), ..all() }, |_| false),
        // Another case of a letter that is not ASCII is another letter.
        (JobFilter { error: text("GRÖSSE"), ..all() }, |_| false),
        (
            JobFilter { queues: queue("mail"), states: vec![Dead], task: text("send"), error: text("FAIL"), ..all() },
            |job| job.queue.as_str() == "mail" && job.state == Dead && job.task == "send" && job.error.is_some(),
        ),
    ]
}

/// All pages, and how many there were.
fn pages(
    state: &StateDb,
    filter: &JobFilter,
    oldest_first: bool,
    rows_max: usize,
    jobs_max: usize,
) -> (Vec<String>, usize) {
    let (mut found, mut after, mut count) = (Vec::new(), None, 0);
    loop {
        let mut page = 0;
        let add = |body: &[u8]| {
            page += 1;
            found.push(String::from_utf8(body.to_vec()).unwrap());
            Ok::<_, StorageError>(page >= jobs_max)
        };
        after = state.list_jobs(filter, after, oldest_first, rows_max, add).unwrap();
        count += 1;
        assert!(page <= jobs_max && count < 10_000);
        if after.is_none() {
            return (found, count);
        }
    }
}

#[test]
fn each_filter_finds_what_it_says_in_both_orders_page_by_page() {
    let (_dir, state) = with_jobs(100);
    for (filter, is_wanted) in filters() {
        let mut expected: Vec<_> =
            (0..100).map(row).filter(is_wanted).map(|row| String::from_utf8(row.body.into()).unwrap()).collect();
        assert_eq!(list(&state, &filter), expected, "{filter:?}");
        assert_eq!(pages(&state, &filter, true, 13, usize::MAX).0, expected, "{filter:?}");
        assert_eq!(pages(&state, &filter, true, usize::MAX, 3).0, expected, "{filter:?}");
        expected.reverse();
        assert_eq!(pages(&state, &filter, false, 1, 1).0, expected, "{filter:?}");
        assert_eq!(pages(&state, &filter, false, 7, 2).0, expected, "{filter:?}");
    }
}

#[test]
fn a_page_looks_at_no_more_rows_than_it_may() {
    let (_dir, state) = with_jobs(100);
    let nothing = JobFilter { task: Some("nothing".to_owned()), ..JobFilter::default() };
    assert_eq!(pages(&state, &nothing, true, 10, 10), (vec![], 10));
    assert_eq!(pages(&state, &nothing, true, 100, 10), (vec![], 1));
    let next = state.list_jobs(&nothing, None, false, 10, |_| Ok::<_, StorageError>(false)).unwrap();
    assert_eq!(next, Some(job_id(90)));
}

#[test]
fn a_page_that_ends_with_the_last_job_says_that_it_is_the_last() {
    let (_dir, state) = with_jobs(10);
    assert_eq!(pages(&state, &JobFilter::default(), true, usize::MAX, 10).1, 1);
    assert_eq!(pages(&state, &JobFilter::default(), true, usize::MAX, 9).1, 2);
    assert_eq!(pages(&state, &JobFilter::default(), true, 10, 100).1, 1);
}

#[test]
fn no_job_is_shown_twice_or_passed_over_while_jobs_move_on() {
    let (_dir, state) = with_jobs(100);
    let ended_or_live = JobFilter { states: STATES.to_vec(), ..JobFilter::default() };
    let some = JobFilter { states: vec![JobState::Ready, JobState::Leased, JobState::Dead], ..JobFilter::default() };
    for (round, filter) in (1..).zip([JobFilter::default(), ended_or_live, some]) {
        let (mut found, mut after, mut step): (Vec<u64>, Option<JobId>, u64) = (Vec::new(), None, 0);
        loop {
            let mut page = 0;
            let add = |body: &[u8]| {
                page += 1;
                found.push(std::str::from_utf8(body).unwrap().split(' ').nth(1).unwrap().parse().unwrap());
                Ok::<_, StorageError>(page == 5)
            };
            after = state.list_jobs(&filter, after, true, 40, add).unwrap();
            if after.is_none() {
                break;
            }
            // Each tenth job changes its state all the time, new ones come, and some of those go again.
            step += 1;
            let is_even = step.is_multiple_of(2);
            let moving = if is_even { JobState::Leased } else { JobState::Dead };
            let moving = (0..10).map(|ten| job(ten * 10 + 3, moving));
            let new = 1_000 * round + step;
            let jobs = moving.chain([job(new, JobState::Ready)]).collect();
            let deleted = if is_even { vec![job_id(new - 1)] } else { Vec::new() };
            state
                .checkpoint(&checkpoint_at(1_000 * round + step), &Changes { jobs, deleted, ..Changes::default() })
                .unwrap();
        }
        assert!(found.is_sorted() && step > 10);
        let old = |number: &u64| {
            *number < 100
                && (filter.states.is_empty() || number % 10 == 3 || filter.states.contains(&row(*number).state))
        };
        let (was_there, expected): (Vec<_>, Vec<_>) =
            (found.iter().copied().filter(|number| *number < 100).collect(), (0..100).filter(old).collect());
        assert_eq!(was_there, expected, "{filter:?}");
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

#[test]
fn jobs_of_another_age_are_not_even_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let jobs = (0..100).map(|day| JobRow {
        id: JobId::new(LogTime::from_ms(DAY_MS * (1_000 + day)), [7; 10]),
        enqueued_at: LogTime::from_ms(DAY_MS * (1_000 + day)),
        ..job(day, JobState::Ready)
    });
    state.checkpoint(&checkpoint_at(1), &Changes { jobs: jobs.collect(), ..Changes::default() }).unwrap();
    let day = |day: u64| Some(LogTime::from_ms(DAY_MS * (1_000 + day)));
    let filter = JobFilter { enqueued_from: day(50), enqueued_before: day(52), ..JobFilter::default() };
    for oldest_first in [true, false] {
        let (found, count) = pages(&state, &filter, oldest_first, 4, 10);
        assert_eq!((found.len(), count), (2, 1));
    }
    let all = JobFilter { enqueued_before: Some(LogTime::from_ms(u64::MAX)), ..JobFilter::default() };
    assert_eq!(list(&state, &all).len(), 100);
    let none = JobFilter { enqueued_from: Some(LogTime::from_ms(u64::MAX)), ..JobFilter::default() };
    assert_eq!(list(&state, &none).len(), 0);
}

#[test]
fn damaged_row_ends_a_list() {
    let (dir, state) = with_jobs(10);
    tamper(&dir.path().join("state.db"), "UPDATE jobs SET error = 'other' WHERE task = 'encode'");
    let error = state.list_jobs(&JobFilter::default(), None, true, 100, |_| Ok::<_, StorageError>(false)).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

/// SQLite's plan for a statement, one line a step.
fn plan(dir: &Path, sql: &str, values: Vec<rusqlite::types::Value>) -> Vec<String> {
    let connection = rusqlite::Connection::open(dir.join(STATE.file)).unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap();
    steps.map(Result::unwrap).collect()
}

#[test]
fn each_list_walks_in_the_order_of_ids_and_sorts_nothing() {
    let (dir, _state) = with_jobs(10);
    for (filter, _) in filters() {
        for (after, oldest_first) in [(None, true), (None, false), (Some(job_id(5)), true), (Some(job_id(5)), false)] {
            let walk = Walk::new(&filter, after, oldest_first);
            let steps = plan(dir.path(), &walk.sql, walk.values);
            // Whether the rows are needed too does not matter here, nor how the ways are merged.
            let searches =
                steps.iter().map(|step| step.replace("COVERING ", "").replace("PRIMARY KEY", "INDEX of ids"));
            let searches: Vec<_> = searches.filter(|step| !step.contains("UNION") && step.len() > 5).collect();
            let jobs =
                |index: &str, range: &str| format!("SEARCH jobs USING INDEX jobs_{index} ({range}id>? AND id<?)");
            let completed = |index: &str, range: &str| {
                let index =
                    if index.is_empty() { "INDEX of ids".to_owned() } else { format!("INDEX completed_{index}") };
                format!("SEARCH completed USING {index} ({range}id>? AND id<?)")
            };
            let waiting = |index: &str, range: &str| completed(index, range).replace("completed", "waiting");
            let states = &filter.states;
            let wants = |state: JobState| states.is_empty() || states.contains(&state);
            let mut expected = match &filter.key {
                Some(_) => vec![jobs("key", "key=? AND "), completed("key", "key=? AND ")],
                None if filter.batch.is_some() => {
                    vec![jobs("batch", "batch=? AND "), completed("batch", "batch=? AND ")]
                }
                None if filter.namespace.as_ref().is_some_and(|namespace| !namespace.is_default()) => {
                    let range = "space=? AND ";
                    vec![jobs("space", range), completed("space", range), waiting("space", range)]
                }
                None if states.is_empty() => vec![jobs("id", ""), completed("", ""), waiting("", "")],
                None => {
                    let is_rare = |state: &&JobState| state.is_terminal() && **state != JobState::Completed;
                    let rare = states.iter().filter(is_rare).map(|_| jobs("rare", "state=? AND "));
                    let live = states.iter().any(|state| !state.is_terminal()).then(|| jobs("live", ""));
                    live.into_iter().chain(rare).chain([completed("", ""), waiting("", "")]).collect()
                }
            };
            expected.retain(|search| wants(JobState::Completed) || !search.contains("completed"));
            expected.retain(|search| wants(JobState::Ready) || !search.contains("waiting"));
            let mut searches: Vec<_> = searches.iter().map(String::as_str).collect();
            searches.sort_unstable();
            expected.sort_unstable();
            assert_eq!(searches, expected, "{filter:?}: {steps:?}");
        }
    }
}

#[test]
fn loading_and_sweeping_walk_indexes_and_sort_nothing() {
    use crate::storage::{ended_rows, sweep};
    let (dir, _state) = with_jobs(10);
    let statements = [
        (
            format!("SELECT body FROM {}", ended_rows::LATEST_OF_PAIR),
            "SEARCH jobs USING INDEX jobs_ended (queue=? AND state=?)",
        ),
        (format!("SELECT body FROM {}", ended_rows::LATEST_RUNS), "SEARCH runs USING INDEX runs_ended (queue=?)"),
        (
            format!("SELECT body FROM {}", sweep::EARLIEST_RUNS),
            "SEARCH runs USING INDEX runs_ended (queue=? AND ended_seq>?)",
        ),
        (ended_rows::NEXT_QUEUE.to_owned(), "SEARCH runs USING COVERING INDEX runs_ended (queue>?)"),
        (ended_rows::NEXT_PAIR.to_owned(), "SEARCH jobs USING COVERING INDEX jobs_ended ((queue,state)>(?,?))"),
        (format!("SELECT body FROM jobs {}", ended_rows::EACH_DEAD), "SEARCH jobs USING INDEX jobs_rare (state=?)"),
        (sweep::EARLIEST_OF_PAIR.to_owned(), "SEARCH jobs USING INDEX jobs_ended (queue=? AND state=?)"),
        (sweep::NEXT_OF_PAIR.to_owned(), "SEARCH jobs USING INDEX jobs_ended (queue=? AND state=? AND ended_seq>?)"),
    ];
    for (sql, expected) in statements {
        let parameters = sql.matches('?').count();
        let values = vec!["x".to_owned().into(); parameters];
        assert_eq!(plan(dir.path(), &sql, values), [expected], "{sql}");
    }
}
