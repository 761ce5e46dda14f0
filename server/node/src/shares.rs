//! Shares: what each holder of a name may have of something at once, so that none takes all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The shares of those that hold something now; who holds nothing takes no memory.
#[derive(Debug)]
pub(crate) struct Shares {
    each: usize,
    held: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Shares {
    /// `each` for everybody.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, held: Mutex::default() }
    }

    /// The share of whoever has proved to be `holder`; permits are to be acquired as owned ones.
    pub(crate) fn of(&self, holder: String) -> Arc<Semaphore> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit that is held, and whoever waits for one, holds the semaphore as well.
        held.retain(|_, share| Arc::strong_count(share) > 1);
        let share = held.entry(holder).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Arc::clone(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_a_share_and_who_holds_nothing_is_forgotten() {
        let shares = Shares::new(2);
        let take = |who: &str| shares.of(who.to_owned()).try_acquire_owned();
        let held = [take("alice"), take("alice")];
        assert!(held.iter().all(Result::is_ok) && take("alice").is_err());
        assert!(take("bob").is_ok(), "another one has a share of its own");
        drop(held);
        assert!(take("alice").is_ok());
        for n in 0..1_000 {
            drop(take(&format!("c{n}")));
        }
        assert!(shares.held.lock().expect("nobody panicked").len() <= 1);
    }
}
