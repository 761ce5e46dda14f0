//! A workflow as a tree: each job under the one that it waits for last.
//!
//! A job that waits for several is drawn once, under the one that is furthest along, and names the others. Jobs side by side
//! that look the same, with all that waits behind them, are counted rather than drawn, unless all are asked for.

use crate::output::{Mood, Paint, human};
use jobraft_protocol::{EndReason, JobId, JobState, JobSummary, LogTime};
use std::collections::{HashMap, VecDeque};
use termtree::Tree;

/// Of jobs side by side that look the same, so many are drawn.
const SAME_SHOWN: usize = 5;
/// Of those that failed, so many: they are what one looks for.
const FAILED_SHOWN: usize = 20;
/// So many jobs that wait for each other in a row are drawn; behind them they are counted.
const DEPTH_SHOWN: usize = 16;
/// The same when all are asked for: no terminal is wider than this.
const DEPTH_MAX: usize = 250;
/// Of other jobs that one waits for, so many are named.
const OTHERS_NAMED: usize = 3;
/// Characters of an error, or of a progress message, that are shown.
const NOTE_CHARS: usize = 60;
/// Where the part of a UUIDv7 begins that two of the same moment do not share.
const ID_TAIL: usize = 24;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether to draw every job.
    pub(super) all: bool,
    /// How to color.
    pub(super) paint: Paint,
    /// What times are reckoned from.
    pub(super) now: LogTime,
}

/// Jobs, and how they hang together.
struct Graph<'a> {
    jobs: &'a [JobSummary],
    nodes: Vec<Node>,
    places: HashMap<JobId, usize>,
    style: Style,
}

/// A job's place in the tree.
#[derive(Debug, Default)]
struct Node {
    /// Under which it is drawn.
    parent: Option<usize>,
    /// What is drawn under it.
    children: Vec<usize>,
    /// What it waits for besides.
    others: Vec<JobId>,
    /// How many more it waits for that are not known by name.
    unnamed: usize,
    /// How many there are with all that is drawn under it.
    size: usize,
    /// The same number for those that look the same with all that is drawn under them.
    shape: usize,
}

/// Draws the jobs, which are in the order of their ids. `after` has what each waits for, where that is more than its summary
/// says.
pub(super) fn draw(jobs: &[JobSummary], after: &HashMap<JobId, Vec<JobId>>, style: Style) -> String {
    let graph = Graph::new(jobs, after, style);
    let roots: Vec<usize> = (0..jobs.len()).filter(|place| graph.nodes[*place].parent.is_none()).collect();
    let tree = Tree::new(style.paint.faint("jobs")).with_leaves(graph.level(&roots, 1));
    tree.to_string().trim_end().to_owned()
}

impl<'a> Graph<'a> {
    fn new(jobs: &'a [JobSummary], after: &HashMap<JobId, Vec<JobId>>, style: Style) -> Self {
        let places: HashMap<JobId, usize> = jobs.iter().enumerate().map(|(place, job)| (job.id, place)).collect();
        let known = |job: &'a JobSummary| after.get(&job.id).map_or(&job.after[..], |all| &all[..]).to_vec();
        let waits_for: Vec<Vec<JobId>> = jobs.iter().map(known).collect();
        let inside = |place: usize| waits_for[place].iter().filter_map(|id| places.get(id).copied());
        let order = in_order(jobs.len(), inside);
        let mut depths = vec![0; jobs.len()];
        let mut nodes: Vec<Node> = jobs.iter().map(|_| Node::default()).collect();
        for &place in &order {
            depths[place] = inside(place).map(|before| depths[before] + 1).max().unwrap_or(0);
            nodes[place].parent = inside(place).max_by_key(|before| (depths[*before], *before));
        }
        for place in 0..jobs.len() {
            let parent = nodes[place].parent;
            if let Some(parent) = parent {
                nodes[parent].children.push(place);
            }
            let parent_id = parent.map(|parent| jobs[parent].id);
            nodes[place].others = waits_for[place].iter().copied().filter(|id| Some(*id) != parent_id).collect();
            nodes[place].unnamed = (jobs[place].after_count as usize).saturating_sub(waits_for[place].len());
        }
        let mut shapes: HashMap<(JobState, Vec<usize>), usize> = HashMap::new();
        // What is drawn under a job comes after it.
        for &place in order.iter().rev() {
            let children = std::mem::take(&mut nodes[place].children);
            nodes[place].size = 1 + children.iter().map(|child| nodes[*child].size).sum::<usize>();
            let shape = (jobs[place].state, children.iter().map(|child| nodes[*child].shape).collect());
            let next = shapes.len();
            nodes[place].shape = *shapes.entry(shape).or_insert(next);
            nodes[place].children = children;
        }
        Self { jobs, nodes, places, style }
    }

    /// Jobs that are side by side.
    fn level(&self, places: &[usize], depth: usize) -> Vec<Tree<String>> {
        let mut same: HashMap<usize, usize> = HashMap::new();
        for place in places {
            *same.entry(self.nodes[*place].shape).or_default() += 1;
        }
        let mut seen: HashMap<usize, usize> = HashMap::new();
        let mut level = Vec::new();
        for &place in places {
            let shape = self.nodes[place].shape;
            let (count, shown) = (same[&shape], seen.entry(shape).or_default());
            *shown += 1;
            let limit = self.drawn_of(place, count);
            if *shown <= limit {
                level.push(self.tree(place, depth));
            } else if *shown == limit + 1 {
                level.push(Tree::new(self.folded(place, count - limit)));
            }
        }
        level
    }

    /// How many of `count` jobs like this are drawn. A single one is not worth a line that counts it.
    fn drawn_of(&self, place: usize, count: usize) -> usize {
        let failed = human::mood(self.jobs[place].state) == Mood::Bad;
        let limit = if failed { FAILED_SHOWN } else { SAME_SHOWN };
        if self.style.all || count <= limit + 1 { count } else { limit }
    }

    fn folded(&self, place: usize, count: usize) -> String {
        let behind = (self.nodes[place].size - 1) * count;
        let text = format!("… {count} more {}", self.jobs[place].state);
        self.style.paint.faint(if behind > 0 { format!("{text}, and {behind} behind them") } else { text })
    }

    fn tree(&self, place: usize, depth: usize) -> Tree<String> {
        let node = &self.nodes[place];
        let deepest = if self.style.all { DEPTH_MAX } else { DEPTH_SHOWN };
        let tree = Tree::new(self.line(place));
        if node.children.is_empty() {
            tree
        } else if depth >= deepest {
            tree.with_leaves([self.style.paint.faint(format!("… {} more behind it", node.size - 1))])
        } else {
            tree.with_leaves(self.level(&node.children, depth + 1))
        }
    }

    /// A job on one line.
    fn line(&self, place: usize) -> String {
        let (job, paint) = (&self.jobs[place], self.style.paint);
        let mut line = format!(
            "{}  {}  {}",
            paint.strong(self.name(job.id)),
            human::task(&job.task),
            human::painted(paint, job.state)
        );
        if let Some(note) = note(job, self.style.now) {
            line.push_str(&format!(" {note}"));
        }
        if let Some(others) = self.others(place) {
            line.push_str(&format!("  {}", paint.faint(others)));
        }
        line
    }

    /// Its label, or the end of its id.
    fn name(&self, id: JobId) -> String {
        let label = self.places.get(&id).and_then(|place| self.jobs[*place].label.as_ref());
        label.map_or_else(|| format!("…{}", &id.to_string()[ID_TAIL..]), ToString::to_string)
    }

    /// What it waits for besides the one under which it stands.
    fn others(&self, place: usize) -> Option<String> {
        let Node { parent, others, unnamed, .. } = &self.nodes[place];
        let named = others.iter().take(OTHERS_NAMED).map(|id| self.name(*id));
        let mut named = named.collect::<Vec<_>>().join(", ");
        let more = others.len().saturating_sub(OTHERS_NAMED) + unnamed;
        if named.is_empty() && more == 0 {
            return None;
        }
        if more > 0 {
            named.push_str(&format!("{}{more} more", if named.is_empty() { "" } else { " and " }));
        }
        Some(format!("({}after {named})", if parent.is_some() { "also " } else { "" }))
    }
}

/// All places, each behind those that it waits for. The cluster lets no job wait for itself; were there such, they would come
/// last.
fn in_order<I: Iterator<Item = usize>>(count: usize, waits_for: impl Fn(usize) -> I) -> Vec<usize> {
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut left = vec![0_usize; count];
    for (place, left) in left.iter_mut().enumerate() {
        for before in waits_for(place) {
            dependents[before].push(place);
            *left += 1;
        }
    }
    let mut free: VecDeque<usize> = (0..count).filter(|place| left[*place] == 0).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(place) = free.pop_front() {
        order.push(place);
        for &dependent in &dependents[place] {
            left[dependent] -= 1;
            if left[dependent] == 0 {
                free.push_back(dependent);
            }
        }
    }
    order
}

/// How far it is, what it waits for, or why it ended as it did. Of one that failed its id too, to look it up by.
fn note(job: &JobSummary, now: LogTime) -> Option<String> {
    let attempt = || format!("attempt {} of {}", job.attempt, job.max_attempts);
    let mut parts: Vec<String> = Vec::new();
    match job.state {
        JobState::Leased => {
            parts.extend((job.attempt > 1).then(attempt));
            parts.extend(
                job.progress.as_ref().map(|progress| {
                    human::one_line(&format!("{}% {}", progress.percent, progress.message), NOTE_CHARS)
                }),
            );
        }
        JobState::Scheduled => {
            parts.push(human::relative(job.run_at, now));
            parts.extend((job.attempt > 0).then(attempt));
            parts.extend(job.error.as_deref().map(|error| human::one_line(error, NOTE_CHARS)));
        }
        JobState::Dead | JobState::Expired | JobState::Cancelled => {
            parts.extend((job.state == JobState::Dead).then(attempt));
            // The state says as much.
            let reason =
                job.end_reason.filter(|reason| !matches!(reason, EndReason::Cancelled | EndReason::AttemptsExhausted));
            parts.extend(reason.map(|reason| reason.to_string()));
            parts.extend(job.error.as_deref().map(|error| human::one_line(error, NOTE_CHARS)));
            parts.extend((job.state != JobState::Cancelled).then(|| format!("job {}", job.id)));
        }
        _ => {}
    }
    (!parts.is_empty()).then(|| format!("({})", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::command::job::list::tests::job as listed;
    use jobraft_protocol::Progress;

    const NOW: LogTime = LogTime::from_ms(1_000_000);

    fn id(number: usize) -> JobId {
        JobId::new(LogTime::from_ms(number as u64), [0; 10])
    }

    /// A job called `j` and its number.
    fn job(number: usize, state: JobState, after: &[usize]) -> JobSummary {
        JobSummary {
            id: id(number),
            state,
            max_attempts: 3,
            enqueued_at: NOW,
            run_at: NOW,
            label: Some(format!("j{number}").parse().unwrap()),
            after: after.iter().map(|number| id(*number)).collect(),
            after_count: u32::try_from(after.len()).unwrap(),
            ..listed()
        }
    }

    fn drawn(jobs: &[JobSummary], all: bool) -> String {
        draw(jobs, &HashMap::new(), Style { all, paint: Paint::never(), now: NOW })
    }

    use JobState::{Blocked, Completed, Dead, Leased, Ready};

    #[test]
    fn a_job_stands_under_the_one_that_it_waits_for_last() {
        let jobs = [
            job(0, Completed, &[]),
            job(1, Leased, &[0]),
            job(2, Completed, &[0]),
            job(3, Blocked, &[0, 1, 2]),
            job(4, Blocked, &[3, 1]),
            job(5, Ready, &[]),
        ];
        let expected = "\
jobs
├── j0  t  completed
│   ├── j1  t  leased
│   └── j2  t  completed
│       └── j3  t  blocked  (also after j0, j1)
│           └── j4  t  blocked  (also after j1)
└── j5  t  ready";
        assert_eq!(drawn(&jobs, false), expected);
    }

    #[test]
    fn many_that_look_the_same_are_counted() {
        let mut jobs = vec![job(0, Completed, &[])];
        jobs.extend((1..=20).map(|number| job(number, Completed, &[0])));
        jobs.extend((21..=26).map(|number| job(number, Ready, &[0])));
        let after: Vec<usize> = (1..=16).collect();
        jobs.push(JobSummary { after_count: 26, ..job(27, Blocked, &after) });
        let expected = "\
jobs
└── j0  t  completed
    ├── j1  t  completed
    ├── j2  t  completed
    ├── j3  t  completed
    ├── j4  t  completed
    ├── j5  t  completed
    ├── … 14 more completed
    ├── j16  t  completed
    │   └── j27  t  blocked  (also after j1, j2, j3 and 22 more)
    ├── j21  t  ready
    ├── j22  t  ready
    ├── j23  t  ready
    ├── j24  t  ready
    ├── j25  t  ready
    └── j26  t  ready";
        assert_eq!(drawn(&jobs, false), expected);
        assert_eq!(drawn(&jobs, true).lines().count(), 1 + jobs.len());
        // With all that it waits for it stands under the last of them.
        let all = HashMap::from([(id(27), (1..=26).map(id).collect())]);
        let full = draw(&jobs, &all, Style { all: false, paint: Paint::never(), now: NOW });
        assert!(
            full.ends_with("j26  t  ready\n        └── j27  t  blocked  (also after j1, j2, j3 and 22 more)"),
            "{full}"
        );
    }

    #[test]
    fn what_waits_behind_them_is_counted_too() {
        let jobs: Vec<JobSummary> =
            (0..10).flat_map(|n| [job(2 * n, Completed, &[]), job(2 * n + 1, Ready, &[2 * n])]).collect();
        let text = drawn(&jobs, false);
        assert!(text.ends_with("└── … 5 more completed, and 5 behind them"), "{text}");
        assert_eq!(text.lines().count(), 1 + 10 + 1);
    }

    #[test]
    fn a_long_row_is_drawn_as_far_as_it_can_be_read() {
        let row = |count: usize| -> Vec<JobSummary> {
            (0..count).map(|n| job(n, Blocked, &n.checked_sub(1).map_or(vec![], |n| vec![n]))).collect()
        };
        let text = drawn(&row(100), false);
        assert_eq!(text.lines().count(), 1 + DEPTH_SHOWN + 1);
        assert!(text.ends_with("… 84 more behind it"), "{text}");
        // However long it is: nothing here calls itself for each of them.
        let text = drawn(&row(50_000), true);
        assert_eq!(text.lines().count(), 1 + DEPTH_MAX + 1);
    }

    #[test]
    fn jobs_that_are_not_shown_are_named_all_the_same() {
        let mut lonely = job(5, Blocked, &[4]);
        lonely.label = None;
        let text = drawn(&[lonely], false);
        assert_eq!(text, "jobs\n└── …000000000000  t  blocked  (after …000000000000)");
    }

    #[test]
    fn jobs_in_a_circle_end_nothing() {
        let text = drawn(&[job(0, Blocked, &[1]), job(1, Blocked, &[0])], false);
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn a_job_says_how_far_it_is_and_why_it_failed() {
        let progress = Some(Progress { percent: 40, message: "page 4".to_owned() });
        let running = JobSummary { progress, attempt: 2, ..job(0, Leased, &[]) };
        assert_eq!(note(&running, NOW).unwrap(), "(attempt 2 of 3, 40% page 4)");
        let error = Some("one\n\x1b[2Jtwo".to_owned());
        let later = JobSummary { error: error.clone(), run_at: NOW.plus_ms(5_000), ..job(0, JobState::Scheduled, &[]) };
        assert_eq!(note(&later, NOW).unwrap(), "(in 5.0 s, attempt 1 of 3, one \u{fffd}[2Jtwo)");
        let reason = Some(EndReason::CrashBudget);
        let dead = JobSummary { error, end_reason: reason, attempt: 3, ..job(0, Dead, &[]) };
        let id = id(0);
        assert_eq!(note(&dead, NOW).unwrap(), format!("(attempt 3 of 3, crash_budget, one \u{fffd}[2Jtwo, job {id})"));
        assert_eq!(note(&job(0, Ready, &[]), NOW), None);
    }
}
