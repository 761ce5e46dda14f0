//! What a state should hold, and scripts of what is done to one.

use jobraft_core::command::{Changes, Horizon, JobRow, Row, Table};
use jobraft_node::storage::{CheckpointMeta, Due, StateDb, StorageError};
use jobraft_protocol::{JobFilter, JobId, JobState, LogTime};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Something done to a state.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Jobs by number, with their states; items by key, present or not; jobs removed.
    Checkpoint(Vec<(u64, JobState)>, Vec<(Table, &'static str, bool)>, Vec<u64>),
    /// Ended jobs of a state, up to a number, go.
    Sweep(JobState, u64),
    GiveBack,
    /// The snapshot takes the place of all.
    Install,
}

/// What it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) index: Option<u64>,
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) jobs: BTreeMap<JobId, (JobState, Option<u64>, Vec<u8>)>,
    pub(crate) items: BTreeMap<(String, String), Vec<u8>>,
}

fn job_id(number: u64) -> JobId {
    JobId::new(LogTime::from_ms(1_700_000_000_000 + number), [7; 10])
}

/// It may have a row before this one.
fn job(number: u64, state: JobState, index: u64, rests: bool) -> JobRow {
    let ended = state.is_terminal().then_some(number);
    let length = if number.is_multiple_of(5) { 9_000 } else { 150 };
    JobRow {
        id: job_id(number),
        queue: if number.is_multiple_of(2) { "mail" } else { "video" }.parse().unwrap(),
        state,
        enqueued_at: LogTime::from_ms(number),
        finished_at: ended.map(LogTime::from_ms),
        ended_seq: ended,
        task: "send".to_owned(),
        key: number.is_multiple_of(3).then(|| format!("key {number}").parse().unwrap()),
        batch: None,
        error: (state == JobState::Dead).then(|| "it failed".to_owned()),
        rests,
        body: format!("{state} {number} {index} ").repeat(length / 20).into_bytes().into(),
    }
}

impl State {
    fn step(&mut self, op: &Op, installed: &Self) {
        match op {
            Op::Checkpoint(..) => {
                let (meta, changes) = self.changes(op);
                self.index = Some(meta.index);
                self.header = Some(changes.header.to_vec());
                for row in changes.jobs {
                    self.jobs.insert(row.id, (row.state, row.ended_seq, row.body.to_vec()));
                }
                changes.deleted.iter().for_each(|id| drop(self.jobs.remove(id)));
                for row in changes.rows {
                    let key = (row.table.as_str().to_owned(), row.key);
                    match row.body {
                        Some(body) => drop(self.items.insert(key, body)),
                        None => drop(self.items.remove(&key)),
                    }
                }
            }
            Op::Sweep(state, above) => {
                self.jobs.retain(|_, (its, number, _)| its != state || number.is_some_and(|number| number > *above));
            }
            Op::GiveBack => {}
            Op::Install => *self = installed.clone(),
        }
    }

    fn changes(&self, op: &Op) -> (CheckpointMeta, Changes) {
        let Op::Checkpoint(jobs, items, deleted) = op else { panic!("no checkpoint") };
        let index = self.index.unwrap_or(0) + 10;
        let item = |(table, key, there): &(Table, &str, bool)| Row {
            table: *table,
            key: (*key).to_owned(),
            body: there.then(|| format!("{key} at {index}").into_bytes()),
        };
        let changes = Changes {
            header: format!("header {index}").into_bytes().into(),
            jobs: jobs
                .iter()
                .map(|(number, state)| job(*number, *state, index, self.jobs.contains_key(&job_id(*number))))
                .collect(),
            deleted: deleted.iter().copied().map(job_id).collect(),
            rows: items.iter().map(item).collect(),
        };
        (CheckpointMeta { index, term: 2, membership: b"members".to_vec() }, changes)
    }

    /// All that can be read of an open state, by every way to read it: they must agree.
    pub(crate) fn read(db: &StateDb) -> Result<Self, StorageError> {
        let mut state = Self { index: db.meta()?.map(|meta| meta.index), header: db.header()?, ..Self::default() };
        let mut add = |body: &[u8]| {
            let text = std::str::from_utf8(body).unwrap();
            let mut words = text.split(' ');
            let word = words.next().unwrap();
            let its = *JobState::ALL.iter().find(|state| state.as_str() == word).unwrap();
            let number: u64 = words.next().unwrap().parse().unwrap();
            let row = (its, its.is_terminal().then_some(number), body.to_vec());
            assert_eq!(state.jobs.insert(job_id(number), row), None, "a job is listed once");
        };
        let all = |body: &[u8]| {
            add(body);
            Ok::<_, StorageError>(false)
        };
        db.list_jobs(&JobFilter::default(), None, true, usize::MAX, all)?;
        for table in Table::ALL {
            db.each_row(table, |key, body| {
                state.items.insert((table.as_str().to_owned(), key.to_owned()), body.to_vec());
                Ok::<_, StorageError>(())
            })?;
        }
        let (mut live, mut dead, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        db.each_live_job(
            |body| Ok(body.to_vec()),
            |body| {
                live.push(body);
                Ok::<_, StorageError>(())
            },
        )?;
        db.each_dead(|body| {
            dead.push(body.to_vec());
            Ok::<_, StorageError>(())
        })?;
        db.each_ended_since(LogTime::ZERO, |body| {
            ended.push(body.to_vec());
            Ok::<_, StorageError>(())
        })?;
        let of = |wanted: &dyn Fn(JobState) -> bool| -> Vec<Vec<u8>> {
            state.jobs.values().filter(|(its, ..)| wanted(*its)).map(|(.., body)| body.clone()).collect()
        };
        live.sort_unstable();
        let mut expected = of(&|its| !its.is_terminal());
        expected.sort_unstable();
        assert_eq!(live, expected, "live jobs");
        assert_eq!(dead, of(&|its| its == JobState::Dead), "dead jobs");
        ended.sort_unstable();
        let mut expected = of(&JobState::is_terminal);
        expected.sort_unstable();
        assert_eq!(ended, expected, "ended jobs");
        for (id, (.., body)) in &state.jobs {
            assert_eq!(db.job(*id)?.as_ref(), Some(body), "a job by its id");
        }
        Ok(state)
    }
}

/// What happened of a script.
pub(crate) struct Run {
    /// The state after each step, the first before any.
    pub(crate) states: Vec<State>,
    /// Steps acknowledged.
    pub(crate) acknowledged: usize,
}

/// Runs a script until something fails. `snapshot` holds what [`snapshot_script`] makes.
pub(crate) fn run(db: &StateDb, script: &[Op], snapshot: Option<(&Path, &State)>) -> Run {
    let mut run = Run { states: vec![State::default()], acknowledged: 0 };
    let nothing = State::default();
    for op in script {
        let model = run.states.last().unwrap();
        let mut next = model.clone();
        next.step(op, snapshot.map_or(&nothing, |(_, state)| state));
        let result = match op {
            Op::Checkpoint(..) => {
                let (meta, changes) = model.changes(op);
                db.checkpoint(&meta, &changes)
            }
            Op::Sweep(state, above) => sweep(db, *state, *above),
            Op::GiveBack => db.give_back(1_000).map(drop),
            Op::Install => db.install(snapshot.unwrap().0).map(drop),
        };
        run.states.push(next);
        if result.is_err() {
            break;
        }
        run.acknowledged += 1;
    }
    run
}

fn sweep(db: &StateDb, state: JobState, above: u64) -> Result<(), StorageError> {
    let horizon = |queue: &str| Horizon { queue: queue.parse().unwrap(), state, from: LogTime::ZERO, above };
    let mut due = [Due::from(horizon("mail")), Due::from(horizon("video"))];
    db.sweep(&mut due, &HashSet::new(), LogTime::from_ms(u64::MAX), 1_000).map(drop)
}

/// Everything that is done to a state.
pub(crate) fn script() -> Vec<Op> {
    use JobState::{Completed, Dead, Leased, Ready, Scheduled};
    vec![
        Op::Checkpoint((1..=6).map(|number| (number, Ready)).collect(), vec![(Table::Queue, "mail", true)], vec![]),
        Op::Checkpoint(vec![(1, Leased), (5, Completed), (7, Scheduled)], vec![(Table::Worker, "w", true)], vec![]),
        Op::Checkpoint(vec![(2, Dead), (6, Completed), (15, Completed)], vec![(Table::Worker, "w", false)], vec![3]),
        Op::Sweep(Completed, 6),
        Op::GiveBack,
        Op::Install,
        Op::Checkpoint(vec![(1, Leased), (40, Ready)], vec![(Table::Queue, "video", true)], vec![30]),
        Op::Sweep(Dead, 25),
    ]
}

/// What the snapshot is made of.
pub(crate) fn snapshot_script() -> Vec<Op> {
    use JobState::{Completed, Dead, Ready};
    let jobs = (20..=30).map(|number| (number, [Ready, Completed, Dead][number as usize % 3])).collect();
    vec![Op::Checkpoint(jobs, vec![(Table::Queue, "mail", true), (Table::State, "s", true)], vec![])]
}

/// A snapshot in `directory`, and what it holds.
pub(crate) fn snapshot(directory: &Path) -> (std::path::PathBuf, State) {
    std::fs::create_dir(directory).unwrap();
    let db = StateDb::open(directory).unwrap();
    let made = run(&db, &snapshot_script(), None);
    let path = directory.join("snapshot");
    db.snapshot_to(&path).unwrap();
    (path, made.states.last().unwrap().clone())
}
