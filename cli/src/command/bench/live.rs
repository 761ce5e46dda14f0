//! What a person sees while it measures, and the series from which plots are made.

use super::course::Course;
use super::figures::Moment;
use crate::failure::Failure;
use crate::output::Progress;
use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often is looked at the beginning; less often in a long measurement.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Moments that are kept at most.
const MOMENTS_MAX: usize = 600;

/// The line on the terminal.
#[derive(Debug)]
pub(super) struct Live {
    progress: Progress,
    what: String,
}

impl Live {
    /// One measurement, as it is called.
    pub(super) fn of(what: String) -> Self {
        let live = Self { progress: Progress::percent("bench"), what };
        live.progress.say(live.what.clone());
        live
    }

    /// Says what it is about.
    pub(super) fn say(&self, what: &str) {
        self.progress.say(format!("{}: {what}", self.what));
    }

    /// Looks now and then until `work` is done.
    pub(super) async fn watching(
        &self,
        course: &Course,
        work: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Vec<Moment>, Failure> {
        let mut work = std::pin::pin!(work);
        let mut series = Series { moments: vec![look(course)], every: LOOK_EVERY };
        loop {
            tokio::select! {
                done = &mut work => {
                    series.moments.push(look(course));
                    return done.map(|()| series.moments);
                }
                () = tokio::time::sleep(series.every) => {
                    let before = series.moments.last().copied();
                    let now = look(course);
                    series.add(now);
                    if let (Some(before), true) = (before, self.progress.is_shown()) {
                        self.show(course, before, now);
                    }
                }
            }
        }
    }

    fn show(&self, course: &Course, before: Moment, now: Moment) {
        let done = course.load.schedule.part_done(course.now(), now.enqueued);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
        self.progress.reach((done * 100.0) as u64);
        let p99 = |name: &str, latencies: &super::latency::Recorder| {
            let found = latencies.merged().percentiles();
            format!("{name} p50 {} p99 {}", super::table::millis(found.p50_us), super::table::millis(found.p99_us))
        };
        let per_second = (now.completed - before.completed) * 1_000 / (now.ms - before.ms).max(1);
        self.progress.say(format!(
            "{} · {per_second} jobs/s · {} · {} under way",
            self.what,
            p99("enqueue", &course.enqueue),
            now.enqueued.saturating_sub(now.completed)
        ));
    }
}

fn look(course: &Course) -> Moment {
    // In this order a job is never completed before it is enqueued.
    let completed = course.tally.completed.load(Relaxed);
    let enqueued = course.tally.enqueued.load(Relaxed).max(completed);
    Moment { ms: u64::try_from(course.now().as_millis()).unwrap_or(u64::MAX), enqueued, completed }
}

#[derive(Debug)]
struct Series {
    moments: Vec<Moment>,
    every: Duration,
}

impl Series {
    /// Adds a moment; of too many every second one goes.
    fn add(&mut self, moment: Moment) {
        self.moments.push(moment);
        if self.moments.len() > MOMENTS_MAX {
            let mut place = 0;
            self.moments.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_long_series_is_thinned_out() {
        let mut series = Series { moments: Vec::new(), every: LOOK_EVERY };
        (0..5_000).for_each(|ms| series.add(Moment { ms, enqueued: ms, completed: ms }));
        assert!(series.moments.len() <= MOMENTS_MAX);
        assert_eq!(series.moments[0].ms, 0);
        assert!(series.moments.is_sorted_by_key(|moment| moment.ms));
        assert!(series.moments.last().unwrap().ms > 4_900 && series.every > LOOK_EVERY);
    }
}
