//! What is known of the modules that were used last.

use jobraft_protocol::Digest;
use std::collections::BTreeMap;

/// At most `max` entries; the one not used for longest makes room.
#[derive(Debug)]
pub(super) struct Recent<T> {
    max: usize,
    uses: u64,
    entries: BTreeMap<Digest, (u64, T)>,
}

impl<T: Clone + Default> Recent<T> {
    /// Nothing yet.
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), uses: 0, entries: BTreeMap::new() }
    }

    /// What is known of the module; marks it as used.
    pub(super) fn get(&mut self, digest: Digest) -> Option<T> {
        self.uses += 1;
        let (used, value) = self.entries.get_mut(&digest)?;
        *used = self.uses;
        Some(value.clone())
    }

    /// The same; one that is not known is from now on, by the default.
    pub(super) fn get_or_default(&mut self, digest: Digest) -> T {
        self.get(digest).unwrap_or_else(|| {
            let value = T::default();
            self.insert(digest, value.clone());
            value
        })
    }

    /// Knows this of the module from now on.
    pub(super) fn insert(&mut self, digest: Digest, value: T) {
        self.uses += 1;
        if self.entries.len() >= self.max
            && !self.entries.contains_key(&digest)
            && let Some((&oldest, _)) = self.entries.iter().min_by_key(|(_, (used, _))| *used)
        {
            self.entries.remove(&oldest);
        }
        self.entries.insert(digest, (self.uses, value));
    }

    /// Knows nothing of the module any more.
    pub(super) fn forget(&mut self, digest: Digest) {
        self.entries.remove(&digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_used_for_longest_makes_room() {
        let mut recent = Recent::<u8>::new(2);
        let [a, b, c] = [1, 2, 3].map(|byte| Digest([byte; 32]));
        recent.insert(a, 1);
        recent.insert(b, 2);
        recent.get(a);
        recent.insert(c, 3);
        assert_eq!((recent.get(a), recent.get(b), recent.get(c)), (Some(1), None, Some(3)));
    }
}
