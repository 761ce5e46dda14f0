//! Who gets a line, of those who could have as many as they like.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of one key, one event in this time is mentioned.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);
/// Keys that are remembered; events of further ones go unmentioned until some of them are forgotten.
pub(crate) const KEYS_MAX: usize = 1_024;

/// What was last mentioned of each key.
pub(crate) struct Mentions<K>(Mutex<HashMap<K, Mention>>);

struct Mention {
    at: Instant,
    /// Events since then.
    unmentioned: u64,
}

impl<K> Default for Mentions<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Mentions<K> {
    /// How many went unmentioned before, if this one is to be mentioned.
    pub(crate) fn news(&self, key: K, now: Instant) -> Option<u64> {
        let mut mentions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lapsed = |at: Instant| now.saturating_duration_since(at) >= INTERVAL;
        if let Some(before) = mentions.get_mut(&key) {
            if lapsed(before.at) {
                before.at = now;
                return Some(std::mem::take(&mut before.unmentioned));
            }
            before.unmentioned += 1;
            return None;
        }
        if mentions.len() >= KEYS_MAX {
            mentions.retain(|_, before| !lapsed(before.at));
        }
        let room = mentions.len() < KEYS_MAX;
        if room {
            mentions.insert(key, Mention { at: now, unmentioned: 0 });
        }
        room.then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_key_is_mentioned_in_a_minute_with_how_many_were_not() {
        let (mentions, start) = (Mentions::default(), Instant::now());
        assert_eq!(mentions.news("a", start), Some(0));
        assert_eq!(mentions.news("a", start + Duration::from_secs(59)), None);
        assert_eq!(mentions.news("b", start), Some(0));
        assert_eq!(mentions.news("a", start + INTERVAL), Some(1), "one went unmentioned");
        assert_eq!(mentions.news("a", start + 2 * INTERVAL), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mentions, start) = (Mentions::default(), Instant::now());
        let mentioned = (0..5_000).filter(|n| mentions.news(*n, start).is_some()).count();
        assert_eq!(mentioned, KEYS_MAX);
        assert!(mentions.news(5_000, start + INTERVAL).is_some(), "room comes back");
    }
}
