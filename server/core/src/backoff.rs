//! How long a failed job waits for its next attempt.
//!
//! The jitter comes from a hash of the job's id and the attempt, so that every node computes the same one and jobs that
//! failed together do not come back together.

use jobraft_protocol::{Backoff, BackoffCurve, JobId, limits};

const SECOND_MS: u64 = 1_000;
/// Of the standard curve, for each attempt and one more.
const STANDARD_JITTER_MS: u64 = 30 * SECOND_MS;

/// Milliseconds to wait after the given attempt, counted from 1; without a policy, by the standard curve.
pub(crate) fn backoff_ms(policy: Option<&Backoff>, id: JobId, attempt: u32) -> u64 {
    let n = u64::from(attempt);
    let Some(Backoff { curve, max_ms, jitter_percent }) = policy else {
        return standard_ms(id, n).min(limits::BACKOFF_MS_MAX);
    };
    let delay_ms = match curve {
        BackoffCurve::Standard => standard_ms(id, n),
        BackoffCurve::Exponential { first_ms, factor } => {
            first_ms.saturating_mul(u64::from(*factor).saturating_pow(attempt.saturating_sub(1)))
        }
        BackoffCurve::Linear { step_ms } => step_ms.saturating_mul(n),
        BackoffCurve::Fixed { delay_ms } => *delay_ms,
        BackoffCurve::List { delays_ms } => {
            let place = (attempt as usize).saturating_sub(1).min(delays_ms.len().saturating_sub(1));
            delays_ms.get(place).copied().unwrap_or(0)
        }
    };
    let delay_ms = delay_ms.min(*max_ms).min(limits::BACKOFF_MS_MAX);
    let spread_ms = delay_ms * u64::from(*jitter_percent) / 100;
    delay_ms + hash(id, n) % (spread_ms + 1)
}

fn standard_ms(id: JobId, n: u64) -> u64 {
    let jitter_ms = hash(id, n) % STANDARD_JITTER_MS;
    n.saturating_pow(4)
        .saturating_add(15)
        .saturating_mul(SECOND_MS)
        .saturating_add(jitter_ms.saturating_mul(n.saturating_add(1)))
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

    fn delays(curve: BackoffCurve, attempts: std::ops::RangeInclusive<u32>) -> Vec<u64> {
        let policy = Backoff::new(curve);
        policy.check().expect("a policy within its domain");
        attempts.map(|n| backoff_ms(Some(&policy), id(1), n)).collect()
    }

    #[test]
    fn the_standard_curve_stays_between_its_floor_and_its_jitter() {
        for seed in 0..=255 {
            for n in 1..=10_u32 {
                let floor = (u64::from(n).pow(4) + 15) * 1_000;
                let ms = backoff_ms(None, id(seed), n);
                assert!((floor..floor + 30_000 * u64::from(n + 1)).contains(&ms), "{ms} after attempt {n}");
            }
        }
    }

    #[test]
    fn each_curve_is_what_its_name_says() {
        assert_eq!(delays(BackoffCurve::Exponential { first_ms: 100, factor: 3 }, 1..=4), [100, 300, 900, 2_700]);
        assert_eq!(delays(BackoffCurve::Linear { step_ms: 50 }, 1..=3), [50, 100, 150]);
        assert_eq!(delays(BackoffCurve::Fixed { delay_ms: 0 }, 1..=2), [0, 0]);
        assert_eq!(delays(BackoffCurve::List { delays_ms: vec![5, 70] }, 1..=4), [5, 70, 70, 70]);
    }

    #[test]
    fn backoff_is_capped_and_never_overflows() {
        for n in [18, 100, 1_000, u32::MAX] {
            assert_eq!(backoff_ms(None, id(1), n), limits::BACKOFF_MS_MAX);
            let steep = Backoff {
                max_ms: 1_000,
                jitter_percent: 50,
                ..Backoff::new(BackoffCurve::Exponential { first_ms: 1, factor: 10 })
            };
            assert!((1_000..=1_500).contains(&backoff_ms(Some(&steep), id(1), n)));
        }
    }

    #[test]
    fn jobs_that_failed_together_come_back_apart() {
        let spread = Backoff { jitter_percent: 100, ..Backoff::new(BackoffCurve::Fixed { delay_ms: 1_000_000 }) };
        for policy in [None, Some(&spread)] {
            let distinct: std::collections::BTreeSet<u64> =
                (0..=255).map(|seed| backoff_ms(policy, id(seed), 1)).collect();
            assert!(distinct.len() > 250, "only {} distinct delays", distinct.len());
        }
    }
}
