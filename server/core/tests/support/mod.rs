//! A disk in memory and a cluster of three cores that must never differ, however each of them got to its state.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "shared by several test programs")]

use jobraft_core::{Applied, Changes, Core, Entry, RestoreError, Table};
use jobraft_protocol::{JobId, JobView, LogTime};
use std::collections::BTreeMap;

/// What `state.db` would hold.
#[derive(Clone, Default)]
pub struct Disk {
    pub header: Vec<u8>,
    pub jobs: BTreeMap<JobId, (bool, Option<LogTime>, Vec<u8>)>,
    pub rows: BTreeMap<(Table, String), Vec<u8>>,
}

impl Disk {
    pub fn write(&mut self, changes: Changes) {
        self.header = changes.header.to_vec();
        for row in changes.jobs {
            assert_eq!(row.state.is_terminal(), row.finished_at.is_some());
            self.jobs.insert(row.id, (row.state.is_terminal(), row.finished_at, row.body));
        }
        for row in changes.rows {
            match row.body {
                Some(body) => drop(self.rows.insert((row.table, row.key), body)),
                None => drop(self.rows.remove(&(row.table, row.key))),
            }
        }
    }

    pub fn load(&self) -> Core {
        self.try_load().unwrap()
    }

    pub fn try_load(&self) -> Result<Core, RestoreError> {
        let mut restore = Core::restore(&self.header)?;
        let mut ended = Vec::new();
        for (terminal, finished_at, body) in self.jobs.values() {
            match finished_at {
                Some(at) if *terminal && *at >= restore.remember_since() => ended.push((*at, body)),
                Some(_) => {}
                None => restore.job(body)?,
            }
        }
        for ((table, key), body) in &self.rows {
            restore.row(*table, key, body)?;
        }
        ended.sort_unstable();
        for (_, body) in ended {
            restore.remember(body)?;
        }
        restore.finish()
    }

    pub fn view(&self, id: JobId) -> Option<JobView> {
        self.jobs.get(&id).map(|(_, _, body)| Core::view_row(body).unwrap())
    }
}

/// Three cores under one log: one that never made a checkpoint, one that makes one after each entry, and one that is
/// restored from those rows before each entry.
#[derive(Clone, Default)]
pub struct Trio {
    pub plain: Core,
    checkpointing: Core,
    pub disk: Disk,
}

impl Trio {
    /// Applies the entry to all three; panics where they differ.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        if self.disk.header.is_empty() {
            self.disk.write(self.checkpointing.take_changes());
        }
        let mut restored = self.disk.load();
        let applied = self.plain.apply(entry);
        assert_eq!(self.checkpointing.apply(entry), applied, "a checkpoint changed an answer");
        assert_eq!(restored.apply(entry), applied, "a restart changed an answer");
        self.disk.write(self.checkpointing.take_changes());
        let hash = self.plain.state_hash();
        assert_eq!(self.checkpointing.state_hash(), hash, "a checkpoint changed the state");
        assert_eq!(restored.state_hash(), hash, "checkpoint + tail differs from full replay");
        assert_eq!(self.disk.load().state_hash(), hash, "a restored state differs");
        assert_eq!(restored.next_timer(), self.plain.next_timer());
        applied
    }

    /// The job, from memory or, once it ended, from disk; both must tell the same.
    pub fn view(&self, id: JobId) -> Option<JobView> {
        let view = self.plain.view(id);
        assert_eq!(self.disk.view(id), view, "row and memory differ");
        view
    }
}
