//! When jobs became ready and when they began, by their numbers: two writes that meet in one place.
//!
//! A producer hears that a job is enqueued, a worker begins it, on threads of their own and in either order. Each leaves its
//! moment in the job's place and finds what was there; the second of the two knows the time between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Jobs that can be under way at once; of more, some are not measured.
const PLACES: u64 = 1 << 20;
/// A moment has this unit, so that it fits beside a tag.
const UNIT_NS: u64 = 100;
const TIME_BITS: u32 = 42;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const BEGAN: u64 = 1 << TIME_BITS;
const TAG_SHIFT: u32 = TIME_BITS + 1;

/// The moments of one run.
#[derive(Debug)]
pub(super) struct Moments {
    places: Box<[AtomicU64]>,
}

/// What stood in a job's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    at: Duration,
    began: bool,
}

impl Moments {
    pub(super) fn new() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The job is known to be enqueued `at` this moment. How long it then waited, if it has begun: not at all.
    pub(super) fn confirmed(&self, job: u64, at: Duration) -> Option<Duration> {
        self.leave(job, at, 0)?.began.then_some(Duration::ZERO)
    }

    /// The job begins. How long it waited since it was confirmed, if it was.
    pub(super) fn began(&self, job: u64, at: Duration) -> Option<Duration> {
        let before = self.leave(job, at, BEGAN)?;
        (!before.began).then(|| at.saturating_sub(before.at))
    }

    fn leave(&self, job: u64, at: Duration, flags: u64) -> Option<Found> {
        // The first round has tag 1: an empty place has tag 0.
        let tag = (job / PLACES + 1) << TAG_SHIFT >> TAG_SHIFT;
        let time = u64::try_from(at.as_nanos() / u128::from(UNIT_NS)).unwrap_or(u64::MAX) & TIME_MASK;
        let place = &self.places[usize::try_from(job % PLACES).expect("there are so many places")];
        let before = place.swap(tag << TAG_SHIFT | flags | time, Ordering::Relaxed);
        (before >> TAG_SHIFT == tag)
            .then(|| Found { at: Duration::from_nanos((before & TIME_MASK) * UNIT_NS), began: before & BEGAN != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_second_of_two_moments_knows_the_time_between() {
        let moments = Moments::new();
        assert_eq!(moments.confirmed(7, ms(10)), None);
        assert_eq!(moments.began(7, ms(35)), Some(ms(25)));
        assert_eq!(moments.began(7, ms(90)), None, "a second attempt is no dispatch of the first");
    }

    #[test]
    fn a_job_that_begins_before_its_producer_hears_of_it_did_not_wait() {
        let moments = Moments::new();
        assert_eq!(moments.began(3, ms(5)), None);
        assert_eq!(moments.confirmed(3, ms(6)), Some(Duration::ZERO));
    }

    #[test]
    fn a_place_taken_by_a_later_job_is_not_taken_for_the_earlier_one() {
        let moments = Moments::new();
        moments.confirmed(5, ms(1));
        moments.confirmed(5 + PLACES, ms(2));
        assert_eq!(moments.began(5, ms(3)), None);
        moments.confirmed(9 + 3 * PLACES, ms(100_000));
        assert_eq!(moments.began(9 + 3 * PLACES, ms(100_001)), Some(ms(1)));
    }
}
