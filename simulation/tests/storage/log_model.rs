//! What a log should hold, and scripts of what is done to one.

use bytes::Bytes;
use jobraft_node::storage::{Done, LogDb, LogPosition, LogRecord, LogRecovered};
use std::io;
use std::sync::mpsc::{self, Receiver};

/// Something done to a log.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(u64, u64, usize),
    Vote(u64),
    Committed(u64),
    Truncate(Option<u64>),
    Purge(u64),
    /// All in one transaction, after the first.
    Group(Vec<Self>),
}

/// What it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) vote: Option<Vec<u8>>,
    pub(crate) purged: Option<LogPosition>,
    pub(crate) records: Vec<LogRecord>,
}

pub(crate) fn record(index: u64, term: u64, bytes: usize) -> LogRecord {
    let byte = |at: usize| (at as u64 * 7 + index * 31 + term) as u8;
    LogRecord { index, term, body: Bytes::from((0..bytes).map(byte).collect::<Vec<_>>()) }
}

impl Log {
    fn next(&self) -> u64 {
        let purged = self.purged.map_or(1, |purged| purged.index + 1);
        self.records.last().map_or(purged, |last| last.index + 1)
    }

    /// The records that an append of `count` adds.
    fn appended(&self, count: u64, term: u64, bytes: usize) -> Vec<LogRecord> {
        (self.next()..self.next() + count).map(|index| record(index, term, bytes)).collect()
    }

    fn position(&self, index: u64) -> LogPosition {
        let term = self.records.iter().find(|record| record.index == index).map_or(9, |record| record.term);
        LogPosition { index, term }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Append(count, term, bytes) => self.records.extend(self.appended(*count, *term, *bytes)),
            Op::Vote(vote) => self.vote = Some(vote.to_be_bytes().to_vec()),
            Op::Committed(_) => {}
            Op::Truncate(after) => self.records.retain(|record| after.is_some_and(|after| record.index <= after)),
            Op::Purge(upto) => {
                self.purged = Some(self.position(*upto));
                self.records.retain(|record| record.index > *upto);
            }
            Op::Group(ops) => ops.iter().for_each(|op| self.step(op)),
        }
    }

    /// What an open log holds.
    pub(crate) fn read(log: &LogDb, recovered: &LogRecovered) -> Result<Self, String> {
        let records = log.read(0, u64::MAX, usize::MAX).map_err(|error| error.to_string())?;
        let last = records.last().map(|last| LogPosition { index: last.index, term: last.term }).or(recovered.purged);
        assert_eq!(recovered.last, last, "what was recovered is what is read");
        Ok(Self { vote: recovered.vote.clone(), purged: recovered.purged, records })
    }
}

/// What happened of a script.
pub(crate) struct Run {
    /// The log after each step, the first before any.
    pub(crate) states: Vec<Log>,
    /// Steps acknowledged.
    pub(crate) acknowledged: usize,
    /// The commit indexes given.
    pub(crate) committed: Vec<Vec<u8>>,
}

impl Run {
    /// Whether the log may hold this after a crash: all that was acknowledged, and of the rest the first steps, whole.
    pub(crate) fn allows(&self, found: &Log) -> bool {
        self.states[self.acknowledged..].contains(found)
    }
}

pub(crate) fn done() -> (Done, Receiver<io::Result<()>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

fn start(log: &LogDb, model: &Log, op: &Op, done: Done) {
    match op {
        Op::Append(count, term, bytes) => log.append(model.appended(*count, *term, *bytes), done),
        Op::Vote(vote) => log.save_vote(vote.to_be_bytes().to_vec(), done),
        Op::Truncate(after) => log.truncate_after(*after, done),
        Op::Purge(upto) => log.purge(model.position(*upto), done),
        Op::Committed(_) | Op::Group(_) => panic!("nobody waits for one of these alone"),
    }
}

/// Runs a script until something fails.
pub(crate) fn run(log: &LogDb, script: &[Op]) -> Run {
    let mut run = Run { states: vec![Log::default()], acknowledged: 0, committed: Vec::new() };
    for op in script {
        let ops = match op {
            Op::Group(ops) => ops.clone(),
            op => vec![op.clone()],
        };
        // The writer is held in the first one's `done` until all the others wait.
        let (release, released) = mpsc::channel::<()>();
        let mut released = Some(released);
        let mut results = Vec::new();
        for op in &ops {
            let model = run.states.last().unwrap().clone();
            let mut next = model.clone();
            next.step(op);
            run.states.push(next);
            if let Op::Committed(index) = op {
                run.committed.push(index.to_be_bytes().to_vec());
                log.save_committed(index.to_be_bytes().to_vec());
                run.acknowledged += 1;
                continue;
            }
            let (done, result) = done();
            let done: Done = match released.take() {
                Some(released) => Box::new(move |result| {
                    done(result);
                    let _ = released.recv();
                }),
                None => done,
            };
            start(log, &model, op, done);
            results.push(result);
        }
        drop(release);
        for result in results {
            if !matches!(result.recv(), Ok(Ok(()))) {
                return run;
            }
            run.acknowledged += 1;
        }
    }
    run
}

/// Everything that is done to a log, with bodies on pages of their own, and a tail that is overwritten in a later term.
pub(crate) fn script() -> Vec<Op> {
    vec![
        Op::Vote(1),
        Op::Append(3, 1, 200),
        Op::Committed(2),
        Op::Group(vec![Op::Append(1, 1, 50), Op::Append(4, 1, 900), Op::Vote(2), Op::Append(2, 2, 6000)]),
        Op::Truncate(Some(6)),
        Op::Append(2, 3, 300),
        Op::Vote(3),
        Op::Committed(7),
        Op::Purge(4),
        Op::Append(3, 3, 2500),
        Op::Group(vec![Op::Vote(4), Op::Truncate(Some(8)), Op::Append(1, 4, 100), Op::Purge(6)]),
        Op::Purge(20),
        Op::Append(2, 9, 100),
        Op::Truncate(None),
        Op::Append(1, 9, 10),
        Op::Vote(5),
        // More than is gathered into one write.
        Op::Append(3, 9, 50_000),
        Op::Committed(22),
        Op::Truncate(Some(23)),
        Op::Group(vec![Op::Vote(6), Op::Append(2, 10, 9_000), Op::Purge(22)]),
        Op::Append(1, 10, 1),
        Op::Vote(7),
        Op::Purge(24),
    ]
}
