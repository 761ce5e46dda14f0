//! A file's ledger: what it held when it was last synced, and what was done to it since.

use super::{Change, Chooser, Fate, Unsynced};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file that is open, or that a crash would change.
pub(super) struct Ledger {
    /// Held so that no other file gets its number.
    file: File,
    pub(super) handles: usize,
    /// What is certainly on the disk, once the file was written at all.
    synced: Option<Vec<u8>>,
    /// In their order, from the first on that may be lost.
    entries: Vec<Entry>,
    /// Whether its name may be lost.
    is_new: bool,
}

struct Entry {
    change: Change,
    data: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next sync makes it durable.
    Unsynced,
    /// A sync failed: no other makes it durable any more.
    Abandoned,
    /// Durable, behind one that is not.
    Synced,
}

impl Ledger {
    pub(super) fn new(file: File, is_new: bool) -> Self {
        Self { file, handles: 0, synced: None, entries: Vec::new(), is_new }
    }

    /// Whether a crash would leave it as it is.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.is_empty() && !self.is_new
    }

    pub(super) fn was_written(&self) -> bool {
        self.synced.is_some() || self.is_new
    }

    /// How long the file is now.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Must be called before the first change is carried out.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        if self.synced.is_none() {
            let mut content = vec![0; usize::try_from(self.bytes()?).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut content, 0)?;
            self.synced = Some(content);
        }
        Ok(())
    }

    pub(super) fn note(&mut self, change: Change, data: &[u8]) {
        self.entries.push(Entry { change, data: data.to_vec(), state: State::Unsynced });
    }

    pub(super) fn sync(&mut self) {
        self.is_new = false;
        for entry in &mut self.entries {
            if entry.state == State::Unsynced {
                entry.state = State::Synced;
            }
        }
        let durable = self.entries.iter().take_while(|entry| entry.state == State::Synced).count();
        for entry in self.entries.drain(..durable) {
            entry.apply(self.synced.get_or_insert_default(), Fate::Whole);
        }
    }

    pub(super) fn fail_sync(&mut self) {
        for entry in &mut self.entries {
            if entry.state == State::Unsynced {
                entry.state = State::Abandoned;
            }
        }
    }

    /// What a crash leaves, or `None` if there is no such file then.
    pub(super) fn survivor(&mut self, file: &Path, chooser: &mut Chooser<'_>) -> Option<Vec<u8>> {
        let uncertain = self.entries.iter().filter(|entry| entry.state != State::Synced).count();
        let count = uncertain + usize::from(self.is_new);
        let mut number = 0;
        let mut ask = |change| {
            number += 1;
            chooser(&Unsynced { file, number: number - 1, count, change })
        };
        if self.is_new && ask(Change::Made) == Fate::Lost {
            return None;
        }
        let mut content = self.synced.clone().unwrap_or_default();
        for entry in &self.entries {
            let fate = if entry.state == State::Synced { Fate::Whole } else { ask(entry.change) };
            entry.apply(&mut content, fate);
        }
        Some(content)
    }

    pub(super) fn flip(&mut self, at: usize, mask: u8) {
        if let Some(byte) = self.synced.as_mut().and_then(|synced| synced.get_mut(at)) {
            *byte ^= mask;
        }
        for Entry { change, data, .. } in &mut self.entries {
            if let Change::Written { at: start, .. } = change
                && let Some(byte) = at.checked_sub(offset(*start)).and_then(|within| data.get_mut(within))
            {
                *byte ^= mask;
            }
        }
    }
}

impl Entry {
    fn apply(&self, content: &mut Vec<u8>, fate: Fate) {
        match self.change {
            _ if fate == Fate::Lost => {}
            Change::Made => {}
            Change::Truncated { to } => content.resize(offset(to), 0),
            Change::Written { at, .. } => {
                let (at, end) = (offset(at), self.data.len());
                let kept = match fate {
                    Fate::Head(bytes) => 0..bytes.min(end),
                    Fate::Tail(bytes) => bytes.min(end)..end,
                    Fate::Zeros => end..end,
                    Fate::Lost | Fate::Whole => 0..end,
                };
                let reach = if fate == Fate::Zeros { end } else { kept.end };
                if content.len() < at + reach {
                    content.resize(at + reach, 0);
                }
                content[at + kept.start..at + kept.end].copy_from_slice(&self.data[kept]);
            }
        }
    }
}

fn offset(at: u64) -> usize {
    usize::try_from(at).expect("a file that is held in memory")
}
