//! A disk in memory and a cluster of three cores that must never differ, however each of them got to its state.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "shared by several test programs")]

use bytes::Bytes;
use jobraft_core::{
    Applied, Changes, Core, Entry, Horizon, JobRow, Leased, LiveRecord, Outcome, RestingJob, RestoreError, Table,
    Target,
};
use jobraft_protocol::{JobId, JobState, JobView};
use std::collections::BTreeMap;

/// What `state.db` would hold.
#[derive(Clone, Default)]
pub struct Disk {
    pub header: Bytes,
    pub jobs: BTreeMap<JobId, JobRow>,
    pub rows: BTreeMap<(Table, String), Bytes>,
}

impl Disk {
    /// Makes a checkpoint: what may leave memory then does.
    pub fn checkpoint(&mut self, core: &mut Core) {
        let taken = core.take_changes();
        self.write(taken.encode(|id| self.payload(id).ok_or(id)).unwrap());
        core.let_payloads_rest(&taken.waiting());
    }

    /// The payload of a job that has a row.
    pub fn payload(&self, id: JobId) -> Option<Bytes> {
        self.jobs.get(&id).map(|row| jobraft_core::payload(&row.body).unwrap())
    }

    /// The same with payloads that rest here.
    pub fn complete(&self, mut applied: Applied) -> Applied {
        for outcome in applied.outcomes.iter_mut().flatten() {
            if let Outcome::Leased(leased) = outcome {
                let jobs = std::mem::take(leased).complete(|id| self.payload(id).map(Some).ok_or(id)).unwrap();
                *leased = Leased { jobs, at_rest: Vec::new() };
            }
        }
        applied
    }

    /// The hash of a state whose payloads rest here.
    pub fn state_hash(&self, core: &Core) -> [u8; 32] {
        core.state_hash_with(|id| self.payload(id).ok_or(id)).unwrap()
    }

    fn write(&mut self, changes: Changes) {
        self.header = changes.header;
        for row in changes.jobs {
            assert_eq!(row.state.is_terminal(), row.finished_at.is_some());
            assert_eq!(row.state.is_terminal(), row.ended_seq.is_some());
            self.jobs.insert(row.id, row);
        }
        for id in changes.deleted {
            self.jobs.remove(&id);
        }
        for row in changes.rows {
            match row.body {
                Some(body) => drop(self.rows.insert((row.table, row.key), body.into())),
                None => drop(self.rows.remove(&(row.table, row.key))),
            }
        }
    }

    /// Removes the rows that are neither kept nor needed to remember an id: as late as storage may, as early as it can.
    pub fn sweep(&mut self, core: &Core) {
        let (horizons, before, pinned) = (horizons(core), core.sweep_before(), core.pinned());
        self.jobs.retain(|id, row| {
            let Some(finished_at) = row.finished_at else { return true };
            is_kept(&horizons, row) || pinned.contains(id) || finished_at >= before || id.minted_at() >= before
        });
    }

    pub fn load(&self) -> Core {
        self.try_load().unwrap()
    }

    pub fn try_load(&self) -> Result<Core, RestoreError> {
        let mut restore = Core::restore(&self.header)?;
        let mut ended: Vec<&JobRow> = Vec::new();
        for row in self.jobs.values() {
            match row.finished_at {
                Some(at) if at >= restore.remember_since() => ended.push(row),
                Some(_) => {}
                None => restore.job(LiveRecord::decode(&row.body)?)?,
            }
            if row.state == JobState::Dead {
                restore.dead(&row.body)?;
            }
        }
        for ((table, key), body) in &self.rows {
            restore.row(*table, key, body)?;
        }
        // In any order: here, that of the ids.
        for row in ended {
            restore.remember(&row.body)?;
        }
        restore.finish()
    }
}

/// All horizons, page by page.
pub fn horizons(core: &Core) -> Vec<Horizon> {
    let mut all: Vec<Horizon> = Vec::new();
    loop {
        let after = all.last().map(|last| (last.queue.clone(), last.state));
        let page = core.horizons(after.as_ref().map(|(queue, state)| (queue, *state)), 3);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn is_kept(horizons: &[Horizon], row: &JobRow) -> bool {
    let horizon = horizons.iter().find(|horizon| horizon.queue == row.queue && horizon.state == row.state);
    let horizon = horizon.expect("a queue in which a job ended has a horizon");
    row.finished_at.is_some_and(|at| at >= horizon.from) && row.ended_seq.is_some_and(|seq| seq > horizon.above)
}

/// Three cores under one log: one that never made a checkpoint, one that makes one after each entry, and one that is
/// restored from those rows before each entry. And a fourth, of which nobody wants an answer, with a checkpoint now and then.
#[derive(Clone, Default)]
pub struct Trio {
    pub plain: Core,
    checkpointing: Core,
    following: Core,
    /// Of the fourth, written only now and then.
    late: Disk,
    entries: u64,
    pub disk: Disk,
}

impl Trio {
    /// Applies the entry to all; panics where they differ.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        if self.disk.header.is_empty() {
            self.disk.checkpoint(&mut self.checkpointing);
        }
        let mut restored = self.disk.load();
        let applied = self.plain.apply(entry);
        let completed = self.disk.complete(self.checkpointing.apply(entry));
        assert_eq!(completed, applied, "a checkpoint changed an answer");
        assert_eq!(self.disk.complete(restored.apply(entry)), applied, "a restart changed an answer");
        let hash = self.plain.state_hash();
        assert_eq!(self.following.follow(entry), applied.events, "who does not answer saw something else");
        assert_eq!(self.late.state_hash(&self.following), hash, "who does not answer came elsewhere");
        self.entries += 1;
        if self.entries.is_multiple_of(3) {
            self.late.checkpoint(&mut self.following);
            assert_eq!(self.late.state_hash(&self.late.load()), hash, "a checkpoint after three entries differs");
        }
        assert_eq!(self.disk.state_hash(&restored), hash, "checkpoint + tail differs from full replay");
        self.disk.checkpoint(&mut self.checkpointing);
        self.disk.sweep(&self.plain);
        assert_eq!(self.disk.state_hash(&self.checkpointing), hash, "a checkpoint changed the state");
        assert_eq!(self.disk.state_hash(&self.disk.load()), hash, "a restored state differs");
        assert_eq!(restored.next_timer(), self.plain.next_timer());
        assert_eq!(restored.pinned(), self.plain.pinned());
        for queue in self.plain.queues() {
            let seen = |core: &Core| (core.groups(&queue.queue, None, usize::MAX), core.ready_count(&queue.queue) > 0);
            assert_eq!(seen(&restored), seen(&self.plain), "groups of {} after a restart", queue.queue);
        }
        applied
    }

    /// The job, from memory or, once it ended, from disk; both must tell the same.
    pub fn view(&self, id: JobId) -> Option<JobView> {
        let view = self.plain.view(id);
        let row = self.disk.jobs.get(&id);
        let from_row = row.map(|row| RestingJob::decode(&row.body).unwrap()).filter(|job| self.plain.keeps(job));
        assert_eq!(from_row.as_ref().map(RestingJob::view), view.as_ref(), "row and memory differ");
        if let Some(row) = row {
            let summary = from_row.map(RestingJob::into_summary);
            if let (Some(view), Some(summary)) = (&view, summary) {
                let columns = (row.id, row.state, row.enqueued_at, row.finished_at);
                assert_eq!(columns, (view.id, view.state, view.enqueued_at, view.finished_at));
                assert_eq!(row.key, view.unique.as_ref().map(|unique| unique.key.clone()));
                assert_eq!(row.error, view.errors.last().map(|error| error.message.clone()));
                assert_eq!((summary.id, summary.state, &summary.queue), (view.id, view.state, &view.queue));
            }
            if row.state.is_terminal() {
                let is_kept = is_kept(&horizons(&self.plain), row) || self.plain.pinned().contains(&id);
                assert_eq!(is_kept, view.is_some(), "horizon and view differ");
            }
        }
        assert_eq!(self.plain.is_live(id), view.as_ref().is_some_and(|view| !view.state.is_terminal()));
        view
    }

    /// What the leader would put into an entry for this job: its row, if it has ended and is kept.
    pub fn target(&self, job: JobId) -> Target {
        let row = self.view(job).filter(|view| view.state.is_terminal()).map(|_| {
            let row = &self.disk.jobs[&job].body;
            let unwritten = self.plain.row(job).and_then(|row| row.body::<()>(|| Ok(None)).unwrap());
            assert_eq!(unwritten.as_deref(), Some(&row[..]), "memory gives another row than the disk");
            row.clone()
        });
        Target { job, row }
    }
}
