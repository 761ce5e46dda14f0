//! Latencies: recorded without a lock that all jobs share, merged when somebody asks.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads beyond these share a histogram with another.
const SHARDS: usize = 8;
/// What is told apart: a microsecond at the lower end, three digits everywhere.
const LOWEST_NS: u64 = 1_000;
/// What takes longer counts as this.
const HIGHEST_NS: u64 = 3_600 * 1_000_000_000;
const DIGITS: u8 = 3;
/// Points of a curve for each nine.
const POINTS_PER_NINE: u32 = 8;

/// Takes latencies from many threads.
#[derive(Debug)]
pub(super) struct Recorder {
    shards: [Mutex<Histogram<u64>>; SHARDS],
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(empty())) }
    }

    pub(super) fn record(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        lock(&self.shards[own_shard()]).saturating_record(nanos);
    }

    /// All that was recorded so far.
    pub(super) fn merged(&self) -> Latencies {
        let mut all = Latencies::default();
        self.shards.iter().for_each(|shard| all.add_histogram(&lock(shard)));
        all
    }
}

/// Which histogram this thread writes to.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    SHARD.with(|shard| *shard)
}

fn lock(shard: &Mutex<Histogram<u64>>) -> MutexGuard<'_, Histogram<u64>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("these bounds are valid")
}

/// Latencies that were recorded.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { histogram: empty() }
    }
}

/// What is told of latencies, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p99_9_us: u64,
    pub(super) max_us: u64,
}

impl Latencies {
    /// Adds what was recorded elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        self.add_histogram(&other.histogram);
    }

    fn add_histogram(&mut self, other: &Histogram<u64>) {
        self.histogram.add(other).expect("all have the same bounds");
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |quantile: f64| self.histogram.value_at_quantile(quantile) / 1_000;
        Percentiles {
            count: self.histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: self.histogram.max() / 1_000,
        }
    }

    /// Points `(nines, latency in ms)`: 1 nine is the 90th percentile, 2 nines are the 99th. As far as there are latencies
    /// that tell one nine from the next.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        if self.histogram.is_empty() {
            return Vec::new();
        }
        #[expect(clippy::cast_precision_loss, reason = "a plot")]
        let (nines_max, millis) = ((self.histogram.len() as f64).log10(), |nanos: u64| nanos as f64 / 1e6);
        let nines = (0..).map(|point| f64::from(point) / f64::from(POINTS_PER_NINE));
        let shown = nines.take_while(|nines| *nines < nines_max).chain([nines_max]);
        shown.map(|nines| (nines, millis(self.histogram.value_at_quantile(1.0 - 10_f64.powf(-nines))))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn near(found: u64, meant: u64) -> bool {
        found.abs_diff(meant) * 500 <= meant
    }

    #[test]
    fn what_threads_record_is_merged() {
        let recorder = Recorder::new();
        std::thread::scope(|scope| {
            for thread in 0..10_u64 {
                let recorder = &recorder;
                scope.spawn(move || {
                    (1..=1_000).for_each(|step| recorder.record(Duration::from_micros(thread * 1_000 + step)));
                });
            }
        });
        let found = recorder.merged().percentiles();
        assert_eq!(found.count, 10_000);
        for (percentile, meant) in [
            (found.p50_us, 5_000),
            (found.p90_us, 9_000),
            (found.p99_us, 9_900),
            (found.p99_9_us, 9_990),
            (found.max_us, 10_000),
        ] {
            assert!(near(percentile, meant), "{found:?}");
        }
    }

    #[test]
    fn repetitions_add_up() {
        let of = |micros: u64| {
            let recorder = Recorder::new();
            recorder.record(Duration::from_micros(micros));
            recorder.merged()
        };
        let mut all = of(100);
        all.add(&of(300));
        all.add(&of(200));
        let found = all.percentiles();
        assert_eq!(found.count, 3);
        assert!(near(found.p50_us, 200) && near(found.max_us, 300), "{found:?}");
    }

    #[test]
    fn a_curve_rises_to_the_longest() {
        let recorder = Recorder::new();
        (1..=1_000).for_each(|millis| recorder.record(Duration::from_millis(millis)));
        let curve = recorder.merged().curve();
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{curve:?}");
        let last = curve.last().unwrap();
        assert!((last.0 - 3.0).abs() < 1e-9 && last.1 > 998.0, "{last:?}");
        assert!(Latencies::default().curve().is_empty());
    }

    #[test]
    fn what_takes_too_long_to_be_told_counts_as_the_longest() {
        let recorder = Recorder::new();
        recorder.record(Duration::MAX);
        recorder.record(Duration::ZERO);
        let found = recorder.merged().percentiles();
        assert_eq!((found.count, found.p50_us), (2, 0));
        assert!(near(found.max_us, HIGHEST_NS / 1_000), "{found:?}");
    }
}
