//! Numbers of things by the ids of jobs, in 9 bytes each: the ids stand where the things are.

use hashbrown::HashTable;
use jobraft_protocol::JobId;
use std::hash::BuildHasher as _;

/// How what clients choose is hashed: with a key, and quickly, for each step of a job does so several times.
pub(crate) type KeyedHasher = foldhash::quality::RandomState;

/// A number, with a part of its id's hash, so that the table grows without a look at the things.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    number: u32,
}

impl Entry {
    /// The table goes by the lowest bits and by the highest.
    const fn spread(self) -> u64 {
        spread(self.hash)
    }
}

const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

/// A table. Whoever asks it knows which id a number has.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdTable {
    entries: HashTable<Entry>,
    hasher: KeyedHasher,
}

impl IdTable {
    fn hash(&self, id: JobId) -> u32 {
        (self.hasher.hash_one(id) >> 32) as u32
    }

    /// The number of an id.
    pub(crate) fn find(&self, id: JobId, id_of: impl Fn(u32) -> JobId) -> Option<u32> {
        let hash = self.hash(id);
        let is_it = |entry: &Entry| entry.hash == hash && id_of(entry.number) == id;
        self.entries.find(spread(hash), is_it).map(|entry| entry.number)
    }

    /// Takes in a number under an id that has none.
    pub(crate) fn insert(&mut self, id: JobId, number: u32) {
        let hash = self.hash(id);
        self.entries.insert_unique(spread(hash), Entry { hash, number }, |entry| entry.spread());
    }

    /// Takes out the number of an id.
    pub(crate) fn remove(&mut self, id: JobId, number: u32) {
        let found = self.entries.find_entry(spread(self.hash(id)), |entry| entry.number == number);
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.entries.reserve(more, |entry| entry.spread());
    }
}
