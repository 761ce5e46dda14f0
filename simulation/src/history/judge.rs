//! The judgement of a history: each job, then each key; what is wrong first, then whether there was enough.

use super::checks::check;
use super::claim::{Claim, Step};
use super::life::Facts;
use super::operation::{Call, Operation, Outcome};
use super::record::History;
use super::search::{Found, Interval, STATES_MAX, search};
use super::verdict::{Demands, Figures, Verdict, Violation};
use super::window::{Window, windows};
use jobraft_protocol::{JobId, NewJob, QueueName, Task, TaskName, UniqueKey, limits};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Judges a history. Fails on nothing: whatever is wrong with it is the verdict.
#[must_use]
pub fn judge(history: &History, demands: &Demands) -> Verdict {
    let windows = match windows(history) {
        Ok(windows) => windows,
        Err(violation) => return Verdict::Violated(Box::new(violation)),
    };
    if let Err(violation) = check(&history.operations, &windows) {
        return Verdict::Violated(Box::new(violation));
    }
    let parts = Parts::of(history);
    let mut figures = figures(history, &parts);
    let mut too_large = None;
    let jobs = parts.jobs.iter().map(|(job, places)| (format!("job {job}"), vec![*job], places.clone()));
    let keys = parts.keys.iter().map(|(key, jobs)| {
        let mut places: Vec<usize> = jobs.iter().flat_map(|job| parts.jobs.get(job)).flatten().copied().collect();
        places.sort_unstable();
        (format!("unique key {key}"), jobs.iter().copied().collect(), places)
    });
    for (of_what, jobs, places) in jobs.chain(keys) {
        figures.largest = figures.largest.max(places.len());
        let has_key = of_what.starts_with("unique");
        match look(history, &parts, &windows, &jobs, &places, has_key) {
            Found::Order { states } => figures.states += states,
            Found::TooLarge => {
                too_large.get_or_insert_with(|| {
                    format!("the history of {of_what} is too large: {} operations", places.len())
                });
            }
            Found::None { .. } => {
                let (places, explained) = shortest(history, &parts, &windows, &jobs, &places, has_key);
                let what = format!("the operations of {of_what} are in no order that could be");
                let operations = places.iter().map(|&place| history.operations[place].clone()).collect();
                return Verdict::Violated(Box::new(Violation { what, operations, explained }));
            }
        }
    }
    match too_large.or_else(|| demands.missing(&figures)) {
        Some(why) => Verdict::Insufficient { why, figures },
        None => Verdict::Passed(figures),
    }
}

/// The operations by job and by key.
struct Parts<'a> {
    jobs: BTreeMap<JobId, Vec<usize>>,
    keys: BTreeMap<&'a UniqueKey, BTreeSet<JobId>>,
    news: HashMap<JobId, &'a NewJob>,
    kept_ms: u64,
}

impl<'a> Parts<'a> {
    fn of(history: &'a History) -> Self {
        let kept_ms = history.kept_ms.unwrap_or(limits::RETENTION_COMPLETED_MS_DEFAULT);
        let mut parts = Self { jobs: BTreeMap::new(), keys: BTreeMap::new(), news: HashMap::new(), kept_ms };
        for (place, operation) in history.operations.iter().enumerate() {
            let of_job = parts.jobs.entry(operation.job).or_default();
            // What was never looked at changes nothing and tells nothing, and so does a read that nobody heard of.
            let is_void = matches!(operation.outcome, Some(Outcome::Untold(_)))
                || (operation.outcome.is_none() && matches!(operation.call, Call::Get));
            if !is_void {
                of_job.push(place);
            }
            if let Call::Enqueue(new) = &operation.call {
                parts.news.entry(operation.job).or_insert(new);
                if let Some(unique) = &new.unique {
                    parts.keys.entry(&unique.key).or_default().insert(operation.job);
                }
            }
        }
        parts
    }

    fn facts(&self, job: JobId) -> Facts {
        match self.news.get(&job) {
            Some(new) => {
                let mut facts = Facts::of(new, self.kept_ms);
                let others = new.unique.as_ref().and_then(|unique| self.keys.get(&unique.key));
                let mut others = others.into_iter().flatten().filter_map(|job| self.news.get(job));
                facts.replaceable = others.any(|new| Facts::of(new, self.kept_ms).replaceable);
                facts
            }
            // Nobody asked for it by name: it may be anything.
            None => {
                let queue = QueueName::new("unknown").expect("it is a name");
                let task = Task::Handler(TaskName::new("unknown").expect("it is a name"));
                let facts = Facts::of(&NewJob::new(job, queue, task, ""), self.kept_ms);
                Facts { max_attempts: u32::MAX, comes_after: true, queue: None, replaceable: true, ..facts }
            }
        }
    }
}

/// Looks for an order of these operations.
fn look(
    history: &History,
    parts: &Parts<'_>,
    windows: &[Window],
    jobs: &[JobId],
    places: &[usize],
    has_key: bool,
) -> Found {
    look_until(history, parts, windows, (jobs, has_key), places, u64::MAX)
}

/// The same, as if whatever was answered after that had still been under way: it may have happened, as it did, or not yet.
fn look_until(
    history: &History,
    parts: &Parts<'_>,
    windows: &[Window],
    (jobs, has_key): (&[JobId], bool),
    places: &[usize],
    end: u64,
) -> Found {
    let by_place: HashMap<JobId, usize> = jobs.iter().enumerate().map(|(place, job)| (*job, place)).collect();
    let mut steps = Vec::new();
    let mut intervals = Vec::new();
    // A job that nobody enqueued by name came to be by itself.
    static SPAWN: Call = Call::Spawn;
    let always = Window { from: 0, until: u64::MAX, unseen: false };
    for (place, _) in jobs.iter().enumerate().filter(|(_, job)| !parts.news.contains_key(job)) {
        let is_told = places.iter().any(|&place| matches!(history.operations[place].call, Call::Spawn));
        if !is_told {
            steps.push(Step { job: place, call: &SPAWN, outcome: None, window: always });
            intervals.push(Interval { called: 0, returned: None });
        }
    }
    for &place in places {
        let Operation { job, called, returned, call, outcome, .. } = &history.operations[place];
        let is_over = returned.is_some_and(|returned| returned <= end);
        let job = by_place[job];
        steps.push(Step { job, call, outcome: outcome.as_ref(), window: windows[place] });
        intervals.push(Interval { called: *called, returned: returned.filter(|_| is_over) });
    }
    let facts = jobs.iter().map(|&job| parts.facts(job)).collect();
    let claim = Claim { facts, places: by_place, steps, has_key };
    search(&claim, &intervals, STATES_MAX)
}

/// The shortest beginning of these operations that no order explains, and what of it one does.
fn shortest(
    history: &History,
    parts: &Parts<'_>,
    windows: &[Window],
    jobs: &[JobId],
    places: &[usize],
    has_key: bool,
) -> (Vec<usize>, Vec<usize>) {
    let mut ends: Vec<u64> = places.iter().filter_map(|&place| history.operations[place].returned).collect();
    ends.sort_unstable();
    let until = |end: u64| -> Vec<usize> {
        places.iter().copied().filter(|&place| history.operations[place].called <= end).collect()
    };
    let found = |end: u64| look_until(history, parts, windows, (jobs, has_key), &until(end), end);
    let first = ends.partition_point(|&end| !matches!(found(end), Found::None { .. }));
    let end = ends.get(first).copied().unwrap_or(u64::MAX);
    let places = until(end);
    let spawned = jobs.iter().filter(|job| !parts.news.contains_key(job)).count();
    let explained = match found(end) {
        Found::None { longest, .. } => longest.into_iter().filter_map(|place| place.checked_sub(spawned)).collect(),
        Found::Order { .. } | Found::TooLarge => Vec::new(),
    };
    (places, explained)
}

fn figures(history: &History, parts: &Parts<'_>) -> Figures {
    let operations = &history.operations;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| !matches!(operation.outcome, None | Some(Outcome::Untold(_))))
    {
        *kinds.entry(kind(&operation.call).to_owned()).or_default() += 1;
    }
    Figures {
        operations: operations.len(),
        unknown: operations.iter().filter(|operation| operation.outcome.is_none()).count(),
        turned_away: operations.iter().filter(|one| matches!(one.outcome, Some(Outcome::Untold(_)))).count(),
        jobs: parts.jobs.len(),
        keys: parts.keys.len(),
        kinds,
        faults: history.faults.clone(),
        states: 0,
        largest: 0,
    }
}

fn kind(call: &Call) -> &'static str {
    match call {
        Call::Enqueue(_) => "enqueue",
        Call::Spawn => "spawn",
        Call::Lease { .. } => "lease",
        Call::Extend { .. } => "extend",
        Call::Checkpoint { .. } => "checkpoint",
        Call::Complete { .. } => "complete",
        Call::Fail { .. } => "fail",
        Call::Release { .. } => "release",
        Call::Disconnect { .. } => "disconnect",
        Call::Cancel { .. } => "cancel",
        Call::Retry { .. } => "retry",
        Call::Delete { .. } => "delete",
        Call::Amend { .. } => "amend",
        Call::Get => "get",
    }
}
