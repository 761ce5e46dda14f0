//! Jobs that ended, in the order in which they were noted and by id: on a busy cluster there are millions, each for some
//! minutes. They lie in chunks, and the table by id holds numbers instead of ids: nothing is moved as their count grows.

use crate::ended::EndedJob;
use crate::id_table::IdTable;
use crate::namespaces::NamespaceIndex;
use jobraft_protocol::{FencingToken, JobId, JobState, LogTime};
use std::collections::VecDeque;

/// Ends in a chunk: as many bytes as allocators give out without a rest.
const CHUNK: usize = (128 << 10) / size_of::<End>();

/// An [`EndedJob`], packed.
#[derive(Clone, Debug)]
struct End {
    id: JobId,
    /// 0 if there is none: tokens begin with 1.
    token: u64,
    finished_at: LogTime,
    namespace: NamespaceIndex,
    state: JobState,
    /// Whether it is what is known of the job: it was not taken out, nor noted anew.
    is_current: bool,
}

impl End {
    fn job(&self) -> EndedJob {
        EndedJob {
            state: self.state,
            token: (self.token != 0).then_some(FencingToken(self.token)),
            finished_at: self.finished_at,
            namespace: self.namespace,
        }
    }
}

/// Ends of jobs, at most one that counts for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    by_id: IdTable,
    /// All but the last are full.
    chunks: VecDeque<Vec<End>>,
    /// Those of the first chunk that are gone.
    gone: usize,
    /// The number of what the first chunk begins with; they begin anew after the last that there is.
    first: u32,
}

impl Recent {
    fn at(&self, number: u32) -> &End {
        let place = number.wrapping_sub(self.first) as usize;
        &self.chunks[place / CHUNK][place % CHUNK]
    }

    fn find(&self, id: JobId) -> Option<u32> {
        self.by_id.find(id, |number| self.at(number).id)
    }

    /// What was last noted of a job.
    pub(crate) fn get(&self, id: JobId) -> Option<EndedJob> {
        self.find(id).map(|number| self.at(number).job())
    }

    /// Notes the end of a job, in place of any that it had before.
    pub(crate) fn put(&mut self, id: JobId, ended: EndedJob) {
        self.remove(id);
        self.push(id, ended);
    }

    /// Notes the end of a job of which none is noted.
    pub(crate) fn push(&mut self, id: JobId, ended: EndedJob) {
        debug_assert!(self.find(id).is_none(), "{id} would be noted twice");
        let EndedJob { state, token, finished_at, namespace } = ended;
        let token = token.map_or(0, |token| token.0);
        let end = End { id, token, finished_at, namespace, state, is_current: true };
        if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push_back(Vec::with_capacity(CHUNK));
        }
        let full = (self.chunks.len() - 1) * CHUNK;
        let Some(last) = self.chunks.back_mut() else { return };
        let number = self.first.wrapping_add((full + last.len()) as u32);
        last.push(end);
        self.by_id.insert(id, number);
    }

    /// Takes out what is noted of a job.
    pub(crate) fn remove(&mut self, id: JobId) {
        let Some(number) = self.find(id) else { return };
        self.by_id.remove(id, number);
        let place = number.wrapping_sub(self.first) as usize;
        self.chunks[place / CHUNK][place % CHUNK].is_current = false;
    }

    /// Takes out the job that was noted first of all that are there, if it may go.
    pub(crate) fn pop_if(&mut self, may_go: impl Fn(JobId, &EndedJob) -> bool) -> Option<JobId> {
        loop {
            let end = self.chunks.front()?.get(self.gone)?;
            let (id, is_current) = (end.id, end.is_current);
            if is_current && !may_go(id, &end.job()) {
                return None;
            }
            let number = self.first.wrapping_add(self.gone as u32);
            self.gone += 1;
            if self.gone == CHUNK {
                self.chunks.pop_front();
                self.first = self.first.wrapping_add(CHUNK as u32);
                self.gone = 0;
            }
            if is_current {
                self.by_id.remove(id, number);
                return Some(id);
            }
        }
    }

    /// In the order in which they were noted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, EndedJob)> {
        let ends = self.chunks.iter().flatten().skip(self.gone);
        ends.filter(|end| end.is_current).map(|end| (end.id, end.job()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> JobId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        JobId::new(LogTime::ZERO, random)
    }

    fn ended(step: u64) -> EndedJob {
        let token = (!step.is_multiple_of(3)).then_some(FencingToken(step));
        let finished_at = LogTime::from_ms(step);
        EndedJob { state: JobState::Completed, token, finished_at, namespace: NamespaceIndex::default() }
    }

    #[test]
    fn ends_are_found_and_go_in_their_order() {
        let (mut recent, mut model) = (Recent { first: u32::MAX - 5_000, ..Recent::default() }, Vec::new());
        let mut random: u64 = 1;
        for step in 1..40_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (random >> 33) % 9_000;
            let place = model.iter().position(|(id, _)| *id == number);
            match (random >> 20) % 4 {
                0 => {
                    recent.remove(id(number));
                    place.map(|place| model.remove(place));
                }
                1 if step > 20_000 => {
                    // Those of even numbers stay for longer.
                    let may_go = |at: LogTime| at.as_ms() % 2 == 1 || at.as_ms() + 10_000 < step;
                    let gone = recent.pop_if(|_, ended| may_go(ended.finished_at));
                    let first = model.first().filter(|(_, ended): &&(u64, EndedJob)| may_go(ended.finished_at));
                    assert_eq!(gone, first.map(|(number, _)| id(*number)));
                    gone.map(|_| model.remove(0));
                }
                _ => {
                    recent.put(id(number), ended(step));
                    place.map(|place| model.remove(place));
                    model.push((number, ended(step)));
                }
            }
            let known = model.iter().find(|(id, _)| *id == number).map(|(_, ended)| *ended);
            assert_eq!(recent.get(id(number)), known);
        }
        let all: Vec<_> = model.iter().map(|(number, ended)| (id(*number), *ended)).collect();
        assert_eq!(recent.iter().collect::<Vec<_>>(), all);
        while recent.pop_if(|_, _| true).is_some() {}
        assert_eq!((recent.by_id.len(), recent.chunks.len()), (0, usize::from(recent.gone > 0)), "nothing is left");
    }
}
