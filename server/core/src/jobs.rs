//! The live jobs, by id: nearly all of a node's memory when many wait. Those that ended stay where they are until their rows
//! are taken, seen only by who asks for them.
//!
//! They lie side by side in chunks, which a backlog fills and gives back as it goes; nothing moves when it grows. Tables and
//! indexes name a job by its *slot*, in 4 bytes instead of 16.

use crate::id_table::IdTable;
use crate::job::Job;
use jobraft_protocol::JobId;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

/// As much as allocators give out without a rest, and not so much that an almost empty one matters.
const CHUNK_BYTES: usize = 128 << 10;
/// Jobs in a chunk.
const CHUNK_JOBS: u32 = (CHUNK_BYTES / size_of::<Place>()) as u32;

/// A job's place in memory, for as long as it is there. Slots differ between nodes: nothing may go by their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    const fn chunk(self) -> u32 {
        self.0 / CHUNK_JOBS
    }

    const fn place(self) -> usize {
        (self.0 % CHUNK_JOBS) as usize
    }

    pub(crate) const fn to_be_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    pub(crate) const fn from_be_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }
}

#[derive(Clone, Debug)]
enum Place {
    Taken(JobId, Job),
    /// With the next free one of its chunk.
    Free(Option<u16>),
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    /// None, until a job comes.
    places: Box<[Place]>,
    free: Option<u16>,
    taken: u32,
}

/// The slot that was found last: a command asks for its job again and again.
#[derive(Debug, Default)]
struct Last(AtomicU32);

impl Clone for Last {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Jobs by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    by_id: IdTable,
    last: Last,
    /// How many of them have ended.
    ended: usize,
    chunks: Vec<Chunk>,
    /// Chunks with room. The first is filled first, so that others become empty.
    open: BTreeSet<u32>,
}

impl Jobs {
    /// Whatever is in a slot, if the slot exists.
    fn place(&self, slot: Slot) -> Option<&Place> {
        self.chunks.get(slot.chunk() as usize)?.places.get(slot.place())
    }

    /// A job, whether or not it has ended.
    pub(crate) fn find(&self, id: JobId) -> Option<(Slot, &Job)> {
        let last = Slot(self.last.0.load(Ordering::Relaxed));
        if let Some(Place::Taken(there, job)) = self.place(last)
            && *there == id
        {
            return Some((last, job));
        }
        let slot = self.by_id.find(id, |slot| self.at(Slot(slot)).0)?;
        self.last.0.store(slot, Ordering::Relaxed);
        Some((Slot(slot), self.at(Slot(slot)).1))
    }

    /// The job in a slot.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn at(&self, slot: Slot) -> (JobId, &Job) {
        match self.place(slot) {
            Some(Place::Taken(id, job)) => (*id, job),
            _ => unreachable!("slots are named only while a job is there"),
        }
    }

    fn at_mut(&mut self, slot: Slot) -> &mut Job {
        match &mut self.chunks[slot.chunk() as usize].places[slot.place()] {
            Place::Taken(_, job) => job,
            Place::Free(_) => unreachable!("slots are named only while a job is there"),
        }
    }

    pub(crate) fn get(&self, id: &JobId) -> Option<&Job> {
        self.find(*id).map(|(_, job)| job).filter(|job| !job.state.is_terminal())
    }

    pub(crate) fn get_mut(&mut self, id: &JobId) -> Option<&mut Job> {
        let (slot, _) = self.find(*id).filter(|(_, job)| !job.state.is_terminal())?;
        Some(self.at_mut(slot))
    }

    /// How many live.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len() - self.ended
    }

    pub(crate) fn contains_key(&self, id: &JobId) -> bool {
        self.get(id).is_some()
    }

    /// A job that ended and is still here.
    pub(crate) fn ended(&self, id: JobId) -> Option<&Job> {
        self.find(id).map(|(_, job)| job).filter(|job| job.state.is_terminal())
    }

    /// A live job has come to a terminal state: it lives no longer.
    pub(crate) fn end(&mut self, id: JobId) -> Option<&mut Job> {
        let (slot, _) = self.find(id).filter(|(_, job)| job.state.is_terminal())?;
        self.ended += 1;
        Some(self.at_mut(slot))
    }

    /// The job that changed, if it is still where it was then.
    pub(crate) fn changed(&mut self, id: JobId, slot: Slot) -> Option<&mut Job> {
        match self.chunks.get_mut(slot.chunk() as usize)?.places.get_mut(slot.place())? {
            Place::Taken(there, job) if *there == id && job.dirty => Some(job),
            _ => None,
        }
    }

    /// Takes in a job, unless there is one of this id.
    pub(crate) fn insert(&mut self, id: JobId, mut job: Job) -> Option<&mut Job> {
        if self.find(id).is_some() {
            return None;
        }
        let number = self.open.first().copied().unwrap_or_else(|| self.add_chunk());
        let chunk = &mut self.chunks[number as usize];
        if chunk.places.is_empty() {
            chunk.places =
                (1..=CHUNK_JOBS).map(|next| Place::Free((next < CHUNK_JOBS).then_some(next as u16))).collect();
            chunk.free = Some(0);
        }
        let place = chunk.free.expect("open chunks have room");
        let slot = Slot(number * CHUNK_JOBS + u32::from(place));
        job.slot = slot;
        let Place::Free(next) = std::mem::replace(&mut chunk.places[usize::from(place)], Place::Taken(id, job)) else {
            unreachable!("what is free is not taken")
        };
        chunk.free = next;
        chunk.taken += 1;
        if next.is_none() {
            self.open.remove(&number);
        }
        self.by_id.insert(id, slot.0);
        match &mut self.chunks[number as usize].places[usize::from(place)] {
            Place::Taken(_, job) => Some(job),
            Place::Free(_) => None,
        }
    }

    fn add_chunk(&mut self) -> u32 {
        let number = u32::try_from(self.chunks.len()).expect("memory ends before");
        assert!(number < u32::MAX / CHUNK_JOBS, "memory ends before");
        self.chunks.push(Chunk::default());
        self.open.insert(number);
        number
    }

    /// Takes out a job that ended.
    pub(crate) fn remove_ended(&mut self, id: JobId) -> Option<Job> {
        let (slot, _) = self.find(id).filter(|(_, job)| job.state.is_terminal())?;
        self.by_id.remove(id, slot.0);
        self.ended -= 1;
        let chunk = &mut self.chunks[slot.chunk() as usize];
        let place = Place::Free(chunk.free.replace(slot.place() as u16));
        let Place::Taken(_, job) = std::mem::replace(&mut chunk.places[slot.place()], place) else {
            unreachable!("a job is where the table says")
        };
        chunk.taken -= 1;
        self.open.insert(slot.chunk());
        self.tidy(slot.chunk());
        Some(job)
    }

    /// Gives back a chunk that has become empty, unless it is the first with room: the next job goes there. One that was the first
    /// until now goes in its place.
    fn tidy(&mut self, number: u32) {
        let is_first = self.open.first() == Some(&number);
        let other = if is_first { self.open.range(number + 1..).next().copied() } else { Some(number) };
        if let Some(other) = other
            && let Some(chunk) = self.chunks.get_mut(other as usize)
            && chunk.taken == 0
        {
            *chunk = Chunk::default();
        }
    }

    /// Those that live, in no order that matters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        let places = self.chunks.iter().flat_map(|chunk| &chunk.places);
        places.filter_map(|place| match place {
            Place::Taken(id, job) => (!job.state.is_terminal()).then_some((*id, job)),
            Place::Free(_) => None,
        })
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.by_id.reserve(more);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Core, Entry as LogEntry};
    use jobraft_protocol::{JobState, LogTime, NewJob, Task};
    use std::collections::BTreeMap;

    fn id(number: u32) -> JobId {
        let mut random = [0; 10];
        random[6..].copy_from_slice(&number.to_be_bytes());
        JobId::new(LogTime::ZERO, random)
    }

    /// Some job, told from others by its priority.
    fn some_job() -> Job {
        let mut core = Core::new();
        let new = NewJob::new(id(0), "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        core.apply(&LogEntry { commands: vec![Command::enqueue(vec![new])], ..LogEntry::default() });
        core.job(id(0)).clone()
    }

    /// Ends a live job.
    fn end(jobs: &mut Jobs, id: JobId) {
        jobs.get_mut(&id).unwrap().state = JobState::Completed;
        jobs.end(id).unwrap();
    }

    #[test]
    fn jobs_are_found_whatever_came_ended_and_went() {
        let (job, mut jobs, mut model, mut ended) = (some_job(), Jobs::default(), BTreeMap::new(), BTreeSet::new());
        let mut random: u32 = 1;
        for step in 0..60_000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Waves: until a few chunks are full, until most are empty.
            let number = (random >> 8) % 9_000;
            let priority = (random % 10) as u8;
            if (step / 15_000).is_multiple_of(2) == (random >> 28 < 13) {
                let inserted = jobs.insert(id(number), Job { priority, ..job.clone() }).map(|job| job.slot);
                assert_eq!(inserted.is_some(), !model.contains_key(&number));
                if let Some(slot) = inserted {
                    assert_eq!((jobs.at(slot).0, jobs.at(slot).1.slot), (id(number), slot));
                    model.insert(number, priority);
                }
            } else if ended.contains(&number) || !model.contains_key(&number) {
                let removed = jobs.remove_ended(id(number)).map(|job| job.priority);
                assert_eq!(removed, model.remove(&number));
                ended.remove(&number);
            } else {
                assert!(jobs.remove_ended(id(number)).is_none(), "it lives");
                end(&mut jobs, id(number));
                ended.insert(number);
            }
            let (is_over, known) = (ended.contains(&number), model.get(&number).copied());
            assert_eq!(jobs.get(&id(number)).map(|job| job.priority), known.filter(|_| !is_over));
            assert_eq!(jobs.ended(id(number)).map(|job| job.priority), known.filter(|_| is_over));
            assert_eq!(jobs.len(), model.len() - ended.len());
        }
        let all: BTreeMap<_, _> = jobs.iter().map(|(id, job)| (id, job.priority)).collect();
        let live = model.iter().filter(|(number, _)| !ended.contains(number));
        assert_eq!(all, live.map(|(number, priority)| (id(*number), *priority)).collect());
        let taken = |jobs: &Jobs| jobs.chunks.iter().filter(|chunk| !chunk.places.is_empty()).count();
        assert!(taken(&jobs) > 1);
        let empty =
            |jobs: &Jobs| jobs.chunks.iter().filter(|chunk| !chunk.places.is_empty() && chunk.taken == 0).count();
        for &number in model.keys() {
            if !ended.contains(&number) {
                end(&mut jobs, id(number));
            }
            jobs.remove_ended(id(number)).unwrap();
            assert!(empty(&jobs) <= 1, "the one for the next job");
        }
        // One that comes and goes alone takes no memory and gives none.
        let first = |jobs: &Jobs| jobs.chunks.iter().find(|chunk| !chunk.places.is_empty()).unwrap().places.as_ptr();
        let before = first(&jobs);
        jobs.insert(id(1), job.clone()).unwrap();
        end(&mut jobs, id(1));
        jobs.remove_ended(id(1)).unwrap();
        assert_eq!(first(&jobs), before);
        assert_eq!((taken(&jobs), jobs.by_id.len()), (1, 0), "a backlog gives back its memory");
    }
}
