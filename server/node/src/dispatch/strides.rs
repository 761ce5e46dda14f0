//! Queues by weight, for one worker: stride scheduling (Waldspurger and Weihl, MIT/LCS/TM-528, 1995).
//!
//! Each job taken moves its queue on by a stride, the shorter the greater the queue's weight; the queue that is least far
//! is next. So that proportions hold over any number of leases, however small, the places are kept from one to the next.
//! A queue that had nothing loses its turn: it is put where those are that had something, so that it neither holds the
//! others back nor makes up for the time when it was empty.

/// The stride of a queue of weight 1. Weights divide it to within a millionth.
const STRIDE: u64 = 1 << 32;

/// How far each queue is, as of the last lease.
#[derive(Clone, Debug)]
pub(crate) struct Strides {
    strides: Vec<u64>,
    /// Relative to the least of those that had jobs: see [`Strides::charge`].
    passes: Vec<u64>,
    /// Which had jobs at the last [`Strides::pick`].
    offered: Vec<bool>,
}

impl Strides {
    /// Queues of these weights, all at the start.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let strides: Vec<u64> = weights.iter().map(|&weight| STRIDE / u64::from(weight.max(1))).collect();
        Self { passes: vec![0; strides.len()], offered: vec![false; strides.len()], strides }
    }

    /// The same, for somebody who comes but once: each queue may be the first, in proportion to its weight.
    pub(crate) fn at_random(weights: &[u32]) -> Self {
        let mut strides = Self::new(weights);
        for (pass, &stride) in strides.passes.iter_mut().zip(&strides.strides) {
            // Of exponential variables each is the least with a chance in proportion to its rate.
            let chance: f64 = rand::random_range(f64::MIN_POSITIVE..1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a place to start from need not be exact; it is neither negative nor near the type's limits"
            )]
            let start = (-chance.ln() * stride as f64) as u64;
            *pass = start;
        }
        strides
    }

    /// Picks up to `wanted` jobs, given how many each queue offers: places of queues with how many of each, the queue whose
    /// turn is first in front. Nothing moves on before [`Strides::charge`].
    pub(crate) fn pick(&mut self, offers: &[usize], wanted: usize) -> Vec<(usize, usize)> {
        self.offered = offers.iter().map(|&offer| offer > 0).collect();
        let mut passes = self.passes.clone();
        let mut counts = vec![0; offers.len()];
        for _ in 0..wanted {
            let open = (0..offers.len()).filter(|&place| counts[place] < offers[place]);
            let Some(next) = open.min_by_key(|&place| passes[place]) else { break };
            counts[next] += 1;
            passes[next] += self.strides[next];
        }
        let mut picked: Vec<_> = counts.into_iter().enumerate().filter(|&(_, count)| count > 0).collect();
        picked.sort_by_key(|&(place, _)| self.passes[place]);
        picked
    }

    /// So many jobs were taken of each queue after the last pick, which may be fewer than were picked.
    pub(crate) fn charge(&mut self, taken: &[usize]) {
        for ((pass, &stride), &count) in self.passes.iter_mut().zip(&self.strides).zip(taken) {
            *pass = pass.saturating_add(stride.saturating_mul(count as u64));
        }
        let offered = self.passes.iter().zip(&self.offered).filter(|&(_, &offered)| offered);
        let least = offered.map(|(&pass, _)| pass).min().unwrap_or(0);
        for pass in &mut self.passes {
            *pass = pass.saturating_sub(least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes jobs by ones and fives until there are 10,000, with so many offered of each queue; returns how many of each.
    fn take(strides: &mut Strides, offers: &[usize]) -> Vec<usize> {
        let mut taken = vec![0; offers.len()];
        while taken.iter().sum::<usize>() < 10_000 {
            for wanted in [1, 5] {
                lease(strides, offers, wanted, usize::MAX, &mut taken);
            }
        }
        taken
    }

    /// One lease, which stops after `max` jobs as the state machine does: queue by queue.
    fn lease(strides: &mut Strides, offers: &[usize], wanted: usize, max: usize, taken: &mut [usize]) {
        let mut now = vec![0; offers.len()];
        let mut left = max;
        for (place, count) in strides.pick(offers, wanted) {
            now[place] = count.min(left);
            left -= now[place];
        }
        strides.charge(&now);
        taken.iter_mut().zip(now).for_each(|(all, now)| *all += now);
    }

    fn assert_shares(taken: &[usize], weights: &[u32]) {
        let (all, sum) = (taken.iter().sum::<usize>(), weights.iter().sum::<u32>());
        for (&taken, &weight) in taken.iter().zip(weights) {
            let expected = all as f64 * f64::from(weight) / f64::from(sum);
            assert!((taken as f64 - expected).abs() <= expected * 0.02, "{taken} is not {expected} of {all}");
        }
    }

    #[test]
    fn queues_are_served_in_proportion_to_their_weights() {
        for weights in [vec![1, 1], vec![3, 1], vec![6, 3, 1], vec![1, 7, 2, 90]] {
            let taken = take(&mut Strides::new(&weights), &vec![1_000; weights.len()]);
            assert_shares(&taken, &weights);
        }
    }

    #[test]
    fn an_empty_queue_does_not_hold_back_the_others() {
        let taken = take(&mut Strides::new(&[6, 3, 1]), &[0, 50, 50]);
        assert_eq!(taken[0], 0);
        assert_shares(&taken[1..], &[3, 1]);
    }

    #[test]
    fn a_queue_does_not_make_up_for_the_time_when_it_was_empty() {
        let mut strides = Strides::new(&[1, 1]);
        take(&mut strides, &[100, 0]);
        let mut taken = vec![0, 0];
        for _ in 0..10 {
            lease(&mut strides, &[100, 100], 1, 1, &mut taken);
        }
        assert_eq!(taken, [5, 5]);
    }

    #[test]
    fn what_was_picked_and_not_taken_is_not_charged() {
        let mut strides = Strides::new(&[3, 1]);
        let mut taken = vec![0, 0];
        // Large jobs: each lease is full after three of them, all of the queue in front.
        for _ in 0..4_000 {
            lease(&mut strides, &[1_000, 1_000], 256, 3, &mut taken);
        }
        assert_shares(&taken, &[3, 1]);
    }

    #[test]
    fn who_comes_but_once_is_served_in_proportion_too() {
        let mut taken = vec![0, 0];
        for _ in 0..40_000 {
            lease(&mut Strides::at_random(&[3, 1]), &[1, 1], 1, 1, &mut taken);
        }
        // Five standard deviations of the share of a quarter are 1.1 % of all.
        assert!(taken[1].abs_diff(10_000) < 440, "{taken:?}");
    }
}
