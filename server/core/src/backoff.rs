//! How long a failed job waits for its next attempt.
//!
//! `n⁴ + 15 + jitter·(n+1)` seconds after attempt `n` (Sidekiq's curve), at most [`limits::BACKOFF_MS_MAX`]. The jitter,
//! up to 30 s in whole milliseconds, comes from a hash of the job's id and the attempt, so that every node computes the same one and jobs that
//! failed together do not come back together.

use jobraft_protocol::{JobId, limits};

const SECOND_MS: u64 = 1_000;
const JITTER_MS: u64 = 30 * SECOND_MS;

/// Milliseconds to wait after the given attempt, counted from 1.
pub(crate) fn backoff_ms(id: JobId, attempt: u32) -> u64 {
    let n = u64::from(attempt);
    let jitter_ms = hash(id, n) % JITTER_MS;
    n.saturating_pow(4)
        .saturating_add(15)
        .saturating_mul(SECOND_MS)
        .saturating_add(jitter_ms.saturating_mul(n.saturating_add(1)))
        .min(limits::BACKOFF_MS_MAX)
}

/// A hash that will never change: half of the id, then the other, then the attempt, each stirred in by SplitMix64.
fn hash(id: JobId, attempt: u64) -> u64 {
    let (high, low) = id.as_uuid().as_u64_pair();
    split_mix(split_mix(split_mix(high) ^ low) ^ attempt)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
const fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_protocol::LogTime;

    fn id(seed: u8) -> JobId {
        JobId::new(LogTime::from_ms(1_000), [seed; 10])
    }

    #[test]
    fn backoff_stays_between_its_curve_and_its_jitter() {
        for seed in 0..=255 {
            for n in 1..=10_u32 {
                let floor = (u64::from(n).pow(4) + 15) * 1_000;
                let ms = backoff_ms(id(seed), n);
                assert!((floor..floor + 30_000 * u64::from(n + 1)).contains(&ms), "{ms} after attempt {n}");
            }
        }
    }

    #[test]
    fn backoff_is_capped_and_never_overflows() {
        for n in [18, 100, 1_000, u32::MAX] {
            assert_eq!(backoff_ms(id(1), n), limits::BACKOFF_MS_MAX);
        }
    }

    #[test]
    fn jobs_that_failed_together_come_back_apart() {
        let distinct: std::collections::BTreeSet<u64> = (0..=255).map(|seed| backoff_ms(id(seed), 1)).collect();
        assert!(distinct.len() > 250, "only {} distinct delays", distinct.len());
    }
}
