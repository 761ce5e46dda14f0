//! When which schedule ticks, and what the state machine is told of it. No I/O: given the plans and the time, it says which
//! ticks are due.
//!
//! What must hold: a tick is told only if it is later than what its plan says is dealt with, and not later than now; those of
//! one schedule are told in order, and none is left out between two that are told; an expression that cannot be read stops
//! no other schedule, nor does one that has much to make up for.

use crate::cron::Cron;
use jobraft_core::Plan;
use jobraft_core::command::Command;
use jobraft_protocol::limits::TICKS_MAX;
use jobraft_protocol::{LogTime, ScheduleName};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Ticks that are read from the calendar in one step; the rest falls to the steps that follow.
const WALK_MAX: usize = 100_000;
/// Schedules that tick in one step; the rest falls to the steps that follow.
const DUE_MAX: usize = 1_024;
/// How long a schedule waits whose ticks were not all dealt with: its queue has no room, or nobody leads.
const RETRY_MS: u64 = 1_000;

/// All schedules that are not paused, by when they tick next.
#[derive(Debug, Default)]
pub(super) struct Timetable {
    by_name: HashMap<ScheduleName, Line>,
    /// When each is to be looked at, but for those whose ticks are under way.
    order: BTreeMap<LogTime, BTreeSet<ScheduleName>>,
}

/// One schedule.
#[derive(Debug)]
struct Line {
    plan: Plan,
    /// `None` if it cannot be read here.
    cron: Option<Cron>,
    /// Where it stands in the order, if it does.
    at: Option<LogTime>,
}

/// Ticks of a schedule that are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) name: ScheduleName,
    revision: u64,
    /// Oldest first; one at least.
    ticks: Vec<LogTime>,
    /// How many before them are not told.
    passed_over: u64,
    /// Whether there are more behind them.
    more: bool,
}

impl Due {
    /// Up to where everything is dealt with once the state machine has done what it is told.
    pub(super) fn last(&self) -> Option<LogTime> {
        self.ticks.last().copied()
    }

    pub(super) fn into_command(self) -> Command {
        let Self { name, revision, ticks, passed_over, more } = self;
        Command::Tick { name, revision, ticks, passed_over, more }
    }
}

impl Timetable {
    /// Takes over what the state says: all schedules that are not paused.
    pub(super) fn renew(&mut self, plans: Vec<Plan>) {
        let mut before = std::mem::take(&mut self.by_name);
        self.order.clear();
        for plan in plans {
            let name = plan.name.clone();
            let line = match before.remove(&name) {
                Some(line) if line.plan == plan && line.at.is_some() => line,
                Some(line) if line.is_read(&plan) => Line::new(plan, line.cron),
                _ => {
                    let cron = read(&plan);
                    Line::new(plan, cron)
                }
            };
            let at = line.at;
            self.by_name.insert(name.clone(), line);
            self.put(name, at);
        }
    }

    /// When something is to be looked at next.
    pub(super) fn next(&self) -> Option<LogTime> {
        self.order.first_key_value().map(|(at, _)| *at)
    }

    /// The ticks that are due, of a bounded number of schedules, which are to be settled then. Those that are least behind come
    /// first: one that has much to make up for must not make the others late.
    pub(super) fn due(&mut self, now: LogTime) -> Vec<Due> {
        let mut all = Vec::new();
        let mut walk_left = WALK_MAX;
        while all.len() < DUE_MAX
            && walk_left > 0
            && let Some(name) = self.take_latest(now)
        {
            let Some(line) = self.by_name.get_mut(&name) else { continue };
            line.at = None;
            let Some(cron) = &line.cron else { continue };
            let (due, walked) = due(&line.plan, |after| cron.next_after(after), now, walk_left);
            walk_left -= walked;
            match due {
                Some(due) => all.push(due),
                // It had been put off, and what was due then is dealt with.
                None => {
                    let at = cron.next_after(line.plan.ticked_to);
                    self.put(name, at);
                }
            }
        }
        all
    }

    /// What was told up to `told_to` has been answered at `now`, or refused: everything up to `ticked_to` is dealt with, unless
    /// there is no such schedule any more. Where that is less, it is tried again after a while.
    pub(super) fn settle(
        &mut self,
        name: ScheduleName,
        told_to: Option<LogTime>,
        ticked_to: Option<LogTime>,
        now: LogTime,
    ) {
        let (Some(line), Some(ticked_to)) = (self.by_name.get_mut(&name), ticked_to) else {
            self.by_name.remove(&name);
            return;
        };
        line.plan.ticked_to = ticked_to;
        let next = line.cron.as_ref().and_then(|cron| cron.next_after(ticked_to));
        let is_done = told_to.is_none_or(|told_to| ticked_to >= told_to);
        let at = if is_done { next } else { Some(now.plus_ms(RETRY_MS)) };
        self.put(name, at);
    }

    /// Gives a schedule its place.
    fn put(&mut self, name: ScheduleName, at: Option<LogTime>) {
        if let Some(line) = self.by_name.get_mut(&name) {
            line.at = at;
            if let Some(at) = at {
                self.order.entry(at).or_default().insert(name);
            }
        }
    }

    /// Takes out of the order the last one that is not later than `now`.
    fn take_latest(&mut self, now: LogTime) -> Option<ScheduleName> {
        let (&at, names) = self.order.range_mut(..=now).next_back()?;
        let name = names.pop_first();
        if names.is_empty() {
            self.order.remove(&at);
        }
        name
    }
}

impl Line {
    /// Whether what was read, or could not be, is what the plan says.
    fn is_read(&self, plan: &Plan) -> bool {
        let is_same = self.plan.cron == plan.cron && self.plan.time_zone == plan.time_zone;
        // Each time that it is put, it is said that it does not tick.
        is_same && (self.cron.is_some() || self.plan.revision == plan.revision)
    }

    fn new(plan: Plan, cron: Option<Cron>) -> Self {
        let at = cron.as_ref().and_then(|cron| cron.next_after(plan.ticked_to));
        Self { plan, cron, at }
    }
}

/// Reads the expression of a plan; says so if it cannot be read.
fn read(plan: &Plan) -> Option<Cron> {
    let Plan { name, cron, time_zone, .. } = plan;
    let read = Cron::parse(cron, time_zone);
    let warn = |error: &_| {
        tracing::warn!(schedule = %name, cron, time_zone, %error, "a schedule does not tick while this node leads");
    };
    read.inspect_err(warn).ok()
}

/// What is due of a plan at `now`, and how many ticks were read, at most `walk_max`.
///
/// If each tick counts, the first of them are told. Else the last ones are, since what is behind is passed over or made up for
/// by its last tick alone.
fn due(
    plan: &Plan,
    next_after: impl Fn(LogTime) -> Option<LogTime>,
    now: LogTime,
    walk_max: usize,
) -> (Option<Due>, usize) {
    let mut ticks = VecDeque::new();
    let mut walked = 0;
    let mut next = next_after(plan.ticked_to).filter(|at| *at <= now);
    while let Some(at) = next {
        if walked == walk_max || plan.tells_all && ticks.len() == TICKS_MAX {
            break;
        }
        if ticks.len() == TICKS_MAX {
            ticks.pop_front();
        }
        ticks.push_back(at);
        walked += 1;
        next = next_after(at).filter(|at| *at <= now);
    }
    if ticks.is_empty() {
        return (None, walked);
    }
    let due = Due {
        name: plan.name.clone(),
        revision: plan.revision,
        passed_over: (walked - ticks.len()) as u64,
        ticks: ticks.into(),
        more: next.is_some(),
    };
    (Some(due), walked)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn at(ms: u64) -> LogTime {
        LogTime::from_ms(ms)
    }

    fn plan(name: &str, ticked_to_ms: u64) -> Plan {
        Plan {
            name: name.parse().unwrap(),
            revision: 1,
            cron: "* * * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            tells_all: false,
            ticked_to: at(ticked_to_ms),
        }
    }

    /// A calendar with a tick at each full ten.
    fn each_ten(after: LogTime) -> Option<LogTime> {
        Some(at((after.as_ms() / 10 + 1) * 10))
    }

    /// What is told with ticks each ten, from 0 on: first, last and number of ticks, those passed over, whether there are more.
    fn told(tells_all: bool, now_ms: u64, walk_max: usize) -> Option<(u64, u64, usize, u64, bool)> {
        let plan = Plan { tells_all, ..plan("a", 0) };
        let Due { ticks, passed_over, more, .. } = due(&plan, each_ten, at(now_ms), walk_max).0?;
        assert!(ticks.windows(2).all(|pair| each_ten(pair[0]) == Some(pair[1])));
        Some((ticks[0].as_ms(), ticks.last()?.as_ms(), ticks.len(), passed_over, more))
    }

    #[test]
    fn a_tick_is_told_at_its_time_and_not_before() {
        for tells_all in [true, false] {
            assert_eq!(told(tells_all, 9, 1_000), None);
            assert_eq!(told(tells_all, 10, 1_000), Some((10, 10, 1, 0, false)));
            assert_eq!(told(tells_all, 39, 1_000), Some((10, 30, 3, 0, false)));
        }
    }

    #[test]
    fn of_many_ticks_the_first_are_told_if_each_counts_else_the_last() {
        assert_eq!(told(true, 1_000, 1_000), Some((10, 1_000, 100, 0, false)));
        assert_eq!(told(true, 1_010, 1_000), Some((10, 1_000, 100, 0, true)));
        assert_eq!(told(false, 1_000, 1_000), Some((10, 1_000, 100, 0, false)));
        assert_eq!(told(false, 1_010, 1_000), Some((20, 1_010, 100, 1, false)));
        assert_eq!(told(false, 9_995, 1_000), Some((9_000, 9_990, 100, 899, false)));
    }

    #[test]
    fn a_step_walks_over_no_more_ticks_than_it_may() {
        assert_eq!(told(false, 100_000, 500), Some((4_010, 5_000, 100, 400, true)));
        assert_eq!(told(false, 5_000, 500), Some((4_010, 5_000, 100, 400, false)));
        assert_eq!(told(true, 100_000, 1), Some((10, 10, 1, 0, true)));
    }

    #[test]
    fn a_calendar_that_ends_is_no_tick() {
        let (due, walked) = due(&plan("a", 0), |after| (after < at(10)).then_some(at(10)), at(1_000), 100);
        assert_eq!((due.unwrap().ticks, walked), (vec![at(10)], 1));
    }

    fn names(due: &[Due]) -> Vec<&str> {
        due.iter().map(|due| due.name.as_str()).collect()
    }

    #[test]
    fn each_schedule_ticks_in_its_turn_and_again_once_it_is_settled() {
        let mut table = Timetable::default();
        table.renew(vec![plan("a", 0), plan("b", MINUTE_MS)]);
        assert_eq!(table.next(), Some(at(MINUTE_MS)));
        assert_eq!(table.due(at(MINUTE_MS - 1)), []);
        let due = table.due(at(MINUTE_MS + 5));
        assert_eq!(names(&due), ["a"]);
        let Command::Tick { revision, ticks, passed_over, more, .. } = due[0].clone().into_command() else { panic!() };
        assert_eq!((revision, ticks, passed_over, more), (1, vec![at(MINUTE_MS)], 0, false));
        assert_eq!(table.due(at(MINUTE_MS + 5)), [], "it is under way");
        table.settle(due[0].name.clone(), due[0].last(), Some(at(MINUTE_MS)), at(MINUTE_MS + 10));
        assert_eq!(table.next(), Some(at(2 * MINUTE_MS)));
        assert_eq!(names(&table.due(at(2 * MINUTE_MS))), ["a", "b"]);
    }

    #[test]
    fn what_was_not_dealt_with_is_told_again_after_a_while_and_nothing_twice() {
        let mut table = Timetable::default();
        table.renew(vec![plan("a", 0)]);
        let now = 3 * MINUTE_MS;
        let due = table.due(at(now));
        assert_eq!(due[0].last(), Some(at(now)));
        // The queue had room for one.
        table.settle(due[0].name.clone(), due[0].last(), Some(at(MINUTE_MS)), at(now));
        assert_eq!(table.due(at(now + RETRY_MS - 1)), []);
        let due = table.due(at(now + RETRY_MS));
        assert_eq!(due[0].ticks, [at(2 * MINUTE_MS), at(now)]);
        // Nobody could tell; another leader did it meanwhile.
        table.settle(due[0].name.clone(), due[0].last(), Some(at(MINUTE_MS)), at(now + RETRY_MS));
        table.renew(vec![plan("a", now)]);
        assert_eq!(table.due(at(now + 3 * RETRY_MS)), []);
        assert_eq!(table.next(), Some(at(4 * MINUTE_MS)));
    }

    #[test]
    fn those_least_behind_come_first_and_a_step_is_bounded() {
        let mut table = Timetable::default();
        let year = 365 * 24 * 60 * MINUTE_MS;
        table.renew(vec![plan("behind", 0), plan("in_time", year - MINUTE_MS), plan("later", year)]);
        let due = table.due(at(year));
        assert_eq!(names(&due), ["in_time", "behind"]);
        assert_eq!(due[1].passed_over + due[1].ticks.len() as u64, WALK_MAX as u64 - 1);
        assert!(due[1].more);
        let many = (0..2_000).map(|number| plan(&format!("s{number}"), 0)).collect();
        table.renew(many);
        assert_eq!(table.due(at(MINUTE_MS)).len(), DUE_MAX);
        assert_eq!(table.due(at(MINUTE_MS)).len(), 2_000 - DUE_MAX);
    }

    #[test]
    fn what_the_state_no_longer_says_is_forgotten_and_what_it_says_anew_is_taken_over() {
        let mut table = Timetable::default();
        table.renew(vec![plan("a", 0), plan("b", 0)]);
        let due = table.due(at(MINUTE_MS));
        assert_eq!(names(&due), ["a", "b"]);
        table.renew(vec![Plan { revision: 2, ..plan("b", 5 * MINUTE_MS) }]);
        table.settle("a".parse().unwrap(), None, Some(at(MINUTE_MS)), at(MINUTE_MS));
        assert_eq!(table.by_name.len(), 1);
        assert_eq!(table.next(), Some(at(6 * MINUTE_MS)));
        table.renew(vec![]);
        assert_eq!((table.next(), table.by_name.len(), table.order.len()), (None, 0, 0));
    }

    #[test]
    fn an_expression_that_cannot_be_read_stops_no_other() {
        let mut table = Timetable::default();
        let newer = Plan { cron: "of a newer version".to_owned(), ..plan("a", 0) };
        let elsewhere = Plan { time_zone: "Mars/Olympus".to_owned(), ..plan("b", 0) };
        let plans = || vec![newer.clone(), elsewhere.clone(), plan("c", 0)];
        table.renew(plans());
        assert_eq!(names(&table.due(at(MINUTE_MS))), ["c"]);
        table.renew(plans());
        assert_eq!(names(&table.due(at(MINUTE_MS))), ["c"]);
    }
}
