//! Token buckets in log time, in whole numbers: what a rate gives in a period it gives exactly, on every node alike.
//!
//! A bucket counts what is missing of it, in parts of a token: a token has as many parts as its rate's period has
//! milliseconds, so that each millisecond gives back as many parts as the period gives tokens.

use jobraft_protocol::{LogTime, Rate};
use serde::{Deserialize, Serialize};

/// A bucket; full at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Parts that were missing then.
    missing: u64,
    at: LogTime,
}

impl Bucket {
    fn missing(&self, rate: &Rate, now: LogTime) -> u64 {
        self.missing.saturating_sub(now.ms_since(self.at).saturating_mul(rate.count))
    }

    /// How many whole tokens it holds.
    pub(crate) fn tokens(&self, rate: &Rate, now: LogTime) -> u64 {
        let all = rate.burst().saturating_mul(rate.per_ms);
        all.saturating_sub(self.missing(rate, now)) / rate.per_ms
    }

    /// Takes a token that is there.
    pub(crate) fn take(&mut self, rate: &Rate, now: LogTime) {
        *self = Self { missing: self.missing(rate, now).saturating_add(rate.per_ms), at: now };
    }

    /// When it holds a whole token.
    pub(crate) fn next_token(&self, rate: &Rate) -> LogTime {
        self.when_holding(rate, 1)
    }

    /// When it holds so many tokens; as many as it can hold at most.
    pub(crate) fn when_holding(&self, rate: &Rate, tokens: u64) -> LogTime {
        self.when_missing(rate, rate.burst().saturating_sub(tokens).saturating_mul(rate.per_ms))
    }

    /// When it is full.
    pub(crate) fn full(&self, rate: &Rate) -> LogTime {
        self.when_missing(rate, 0)
    }

    fn when_missing(&self, rate: &Rate, most: u64) -> LogTime {
        self.at.plus_ms(self.missing.saturating_sub(most).div_ceil(rate.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LogTime {
        LogTime::from_ms(ms)
    }

    #[test]
    fn a_period_gives_exactly_its_count_however_it_is_taken() {
        for (count, per_ms) in [(1_u64, 1_000_u64), (3, 1_000), (7, 10), (999, 1), (1_000_000, 86_400_000)] {
            // Room for what comes in a millisecond, and the part of a token that was left of the one before.
            let rate = Rate { burst: Some(count.div_ceil(per_ms) + 1), ..Rate::new(count, per_ms) };
            let (mut bucket, mut taken) = (Bucket::default(), 0);
            let periods = 2_000_u64.div_ceil(per_ms);
            // An hour at most.
            let end = (periods * per_ms).min(3_600_000);
            for now in 0..=end {
                while bucket.tokens(&rate, at(now)) > 0 {
                    bucket.take(&rate, at(now));
                    taken += 1;
                }
            }
            assert_eq!(taken, rate.burst() + end * count / per_ms, "at {count} per {per_ms} ms");
        }
    }

    #[test]
    fn a_burst_is_what_a_full_bucket_holds() {
        let rate = Rate { burst: Some(5), ..Rate::new(2, 1_000) };
        let mut bucket = Bucket::default();
        for left in (0..5).rev() {
            bucket.take(&rate, at(100));
            assert_eq!(bucket.tokens(&rate, at(100)), left);
        }
        assert_eq!((bucket.next_token(&rate), bucket.full(&rate)), (at(600), at(2_600)));
        assert_eq!([599, 600, 1_100, 9_999].map(|ms| bucket.tokens(&rate, at(ms))), [0, 1, 2, 5]);
    }
}
