//! The search for an order of operations that a specification permits.
//!
//! Depth first: of the operations that could come next, because none that is not yet taken had been answered before they
//! were asked, the one that was answered first is tried first; those that were never answered come last, for they need not
//! have happened at all. Where the same operations led to the same state before, nothing new can follow.

use std::collections::HashSet;
use std::hash::Hash;

/// States that one search may visit; what needs more is too large to be judged.
pub(super) const STATES_MAX: usize = 100_000;

/// What an object does, one operation after the other.
pub(super) trait Specification {
    /// All that matters of what was before.
    type State: Clone + Eq + Hash;

    /// Before the first operation.
    fn initial(&self) -> Self::State;

    /// What may follow when the operation of that number comes next, the likeliest first; nothing if it cannot.
    fn step(&self, state: &Self::State, operation: usize) -> Vec<Self::State>;
}

/// When an operation was asked and answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) called: u64,
    /// Absent: it may happen at any time, or never.
    pub(super) returned: Option<u64>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An order, after visiting so many states.
    Order {
        /// States visited.
        states: usize,
    },
    /// There is none.
    None {
        /// The longest part that there is an order for.
        longest: Vec<usize>,
        /// States visited.
        states: usize,
    },
    /// Too much to look at.
    TooLarge,
}

/// One operation that was taken, and what else could have come of it.
struct Taken<S> {
    operation: usize,
    /// The state before.
    before: S,
    /// Other states to which it leads.
    others: Vec<S>,
    /// What could have been taken instead.
    candidates: Vec<usize>,
}

/// Looks for an order of all operations that were answered, and of as many others as it takes.
pub(super) fn search<S: Specification>(specification: &S, intervals: &[Interval], states_max: usize) -> Found {
    let mut taken_set = vec![0_u64; intervals.len().div_ceil(64)];
    let mut taken: Vec<Taken<S::State>> = Vec::new();
    let mut seen: HashSet<(Vec<u64>, S::State)> = HashSet::new();
    let mut state = specification.initial();
    let mut longest: Vec<usize> = Vec::new();
    let Some(mut candidates) = candidates(intervals, &taken_set) else { return Found::Order { states: 0 } };
    loop {
        let next = candidates.pop().map(|operation| {
            let mut states = specification.step(&state, operation);
            states.reverse();
            (operation, states)
        });
        let (operation, mut states, before) = match next {
            Some((operation, states)) => (operation, states, state.clone()),
            // All was tried here: back to the last one that was taken.
            None => match taken.pop() {
                None => return Found::None { longest, states: seen.len() },
                Some(last) => {
                    taken_set[last.operation / 64] &= !(1 << (last.operation % 64));
                    candidates = last.candidates;
                    (last.operation, last.others, last.before)
                }
            },
        };
        state = before;
        taken_set[operation / 64] |= 1 << (operation % 64);
        let fresh = loop {
            match states.pop() {
                Some(after) if seen.insert((taken_set.clone(), after.clone())) => break Some(after),
                Some(_) => {}
                None => break None,
            }
        };
        if seen.len() > states_max {
            return Found::TooLarge;
        }
        let Some(after) = fresh else {
            taken_set[operation / 64] &= !(1 << (operation % 64));
            continue;
        };
        let before = std::mem::replace(&mut state, after);
        taken.push(Taken { operation, before, others: states, candidates: std::mem::take(&mut candidates) });
        if taken.len() > longest.len() {
            longest = taken.iter().map(|taken| taken.operation).collect();
        }
        match self::candidates(intervals, &taken_set) {
            Some(next) => candidates = next,
            None => return Found::Order { states: seen.len() },
        }
    }
}

/// What could come next, the likeliest last; `None` if all that was answered has been taken.
fn candidates(intervals: &[Interval], taken: &[u64]) -> Option<Vec<usize>> {
    let left = || (0..intervals.len()).filter(|place| taken[place / 64] & (1 << (place % 64)) == 0);
    let first_answer = left().filter_map(|place| intervals[place].returned).min()?;
    let mut next: Vec<usize> = left().filter(|&place| intervals[place].called < first_answer).collect();
    next.sort_by_key(|&place| {
        let Interval { called, returned } = intervals[place];
        std::cmp::Reverse((returned.unwrap_or(u64::MAX), called))
    });
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register: writes of a number, reads that saw one.
    struct Register(Vec<(bool, u8)>);

    impl Specification for Register {
        type State = u8;

        fn initial(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, operation: usize) -> Vec<u8> {
            match self.0[operation] {
                (true, written) => vec![written],
                (false, read) => (read == *state).then_some(*state).into_iter().collect(),
            }
        }
    }

    fn found(operations: &[(bool, u8, u64, Option<u64>)]) -> Found {
        let register = Register(operations.iter().map(|&(writes, value, ..)| (writes, value)).collect());
        let intervals = operations.iter().map(|&(_, _, called, returned)| Interval { called, returned });
        search(&register, &intervals.collect::<Vec<_>>(), 1_000)
    }

    #[test]
    fn overlapping_operations_may_come_in_any_order() {
        let operations = [(true, 1, 1, Some(10)), (false, 0, 2, Some(3)), (false, 1, 4, Some(5))];
        assert!(matches!(found(&operations), Found::Order { .. }));
        let operations = [(true, 1, 1, Some(10)), (false, 1, 2, Some(3)), (false, 0, 4, Some(5))];
        assert!(matches!(found(&operations), Found::None { .. }), "the value was seen and then was not");
    }

    #[test]
    fn what_was_answered_comes_before_what_was_asked_later() {
        let operations = [(true, 1, 1, Some(2)), (false, 0, 3, Some(4))];
        assert_eq!(found(&operations), Found::None { longest: vec![0], states: 1 });
    }

    #[test]
    fn what_nobody_knows_of_may_have_happened_at_any_time_or_never() {
        let open = (true, 1, 1, None);
        assert!(matches!(found(&[open, (false, 0, 2, Some(3))]), Found::Order { .. }));
        assert!(matches!(found(&[open, (false, 0, 2, Some(3)), (false, 1, 4, Some(5))]), Found::Order { .. }));
        let back = [open, (false, 1, 2, Some(3)), (false, 0, 4, Some(5))];
        assert!(matches!(found(&back), Found::None { .. }), "it happened once only");
    }

    #[test]
    fn a_search_that_grows_too_large_says_so() {
        let writes = (0..20).map(|value| (true, value, 1, Some(100)));
        let operations: Vec<_> = writes.chain([(false, 99, 1, Some(100))]).collect();
        assert_eq!(found(&operations), Found::TooLarge);
    }
}
