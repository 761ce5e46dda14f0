//! A script under way: each line becomes an entry, each entry an answer.

use crate::answer::{refusal, relative};
use crate::support::Trio;
use crate::words::{Words, digest, milliseconds};
use jobraft_core::{Command, Entry, Event, Outcome};
use jobraft_protocol::{
    Completion, Error, Failure, FencingToken, JobId, JobState, LeaseRef, LogTime, ModuleManifest, NewJob, Start, Task,
    WorkerId,
};
use std::collections::BTreeMap;

/// Time 0 of every script, so that ids minted before it are possible.
pub(crate) const EPOCH_MS: u64 = 1_000_000_000;

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) trio: Trio,
    at: LogTime,
    workers: u64,
    pub(crate) steps: usize,
    pub(crate) ids: BTreeMap<String, JobId>,
    unnamed: u64,
    pub(crate) events: Vec<Event>,
    states: BTreeMap<JobId, JobState>,
}

impl Script {
    pub(crate) fn step(&mut self, step: &str) -> String {
        self.steps += 1;
        let mut words: Vec<&str> = step.split_whitespace().collect();
        if words[0] == "at" {
            self.at = LogTime::from_ms((EPOCH_MS as i64 + milliseconds(words[1])) as u64);
            words.drain(..2);
        }
        let words = Words(words);
        match words.at(0) {
            "tick" => self.advance(false),
            "leader" => self.advance(true),
            "show" => self.show(self.ids[words.at(1)]),
            "queue" => self.queue(words.at(1)),
            "events" => self.show_events(),
            "now" => relative(self.trio.plain.now()),
            "timer" => self.trio.plain.next_timer().map_or("none".to_owned(), relative),
            "modules" => self.modules(),
            "remembers" => self.trio.plain.remembers(self.ids[words.at(1)]).to_string(),
            _ => self.command(&words),
        }
    }

    /// An entry without commands; tells which jobs changed their state.
    fn advance(&mut self, leader_change: bool) -> String {
        self.apply(leader_change, Vec::new());
        let mut changed = Vec::new();
        for (name, id) in &self.ids {
            let Some(view) = self.trio.view(*id) else { continue };
            if self.states.get(id) != Some(&view.state) {
                changed.push(format!("{name} {}", view.state));
            }
        }
        self.note_states();
        if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") }
    }

    fn note_states(&mut self) {
        for id in self.ids.values() {
            if let Some(view) = self.trio.view(*id) {
                self.states.insert(*id, view.state);
            }
        }
    }

    fn apply(&mut self, leader_change: bool, commands: Vec<Command>) -> Vec<Result<Outcome, Error>> {
        let applied = self.trio.apply(&Entry { at: self.at, leader_change, commands });
        self.events = applied.events;
        applied.outcomes
    }

    fn command(&mut self, words: &Words<'_>) -> String {
        // A worker registers when a script first names it, in an entry of its own.
        let worker = words.get("worker").or((words.at(0) == "disconnect").then(|| words.at(1)));
        let worker = WorkerId(worker.map_or(0, |name| match name.strip_prefix('w').map(str::parse) {
            Some(Ok(number)) => number,
            _ => u64::MAX,
        }));
        while self.workers < worker.0 && worker.0 != u64::MAX {
            self.apply(false, vec![Command::RegisterWorker { name: "script".to_owned() }]);
            self.workers += 1;
        }
        let command = self.parse(words, worker);
        let asked: Vec<JobId> = match &command {
            Command::Enqueue { jobs } => jobs.iter().map(|job| job.id).collect(),
            Command::Extend { leases, .. } => leases.iter().map(|lease| lease.job).collect(),
            _ => Vec::new(),
        };
        let mut outcomes = self.apply(false, vec![command]);
        assert_eq!(outcomes.len(), 1);
        self.note_states();
        match outcomes.remove(0) {
            Err(error) => refusal(&error),
            Ok(outcome) => self.outcome(outcome, &asked),
        }
    }

    fn parse(&mut self, words: &Words<'_>, worker: WorkerId) -> Command {
        let lease_ms = words.ms("for").map_or(30_000, |ms| ms as u64);
        match words.at(0) {
            "enqueue" => Command::Enqueue { jobs: self.new_jobs(words) },
            "lease" => Command::Lease {
                worker,
                queues: words.at(1).split(',').map(|name| name.parse().unwrap()).collect(),
                max: words.number("max").unwrap_or(1) as u32,
                lease_ms,
            },
            "extend" => {
                let first = self.lease(words);
                let times = words.number("times").unwrap_or(1) as usize;
                Command::Extend { leases: vec![first; times], lease_ms }
            }
            "complete" => Command::Complete {
                lease: self.lease(words),
                completion: Completion { result: words.bytes("result"), log: words.bytes("log") },
            },
            "fail" => Command::Fail {
                lease: self.lease(words),
                failure: Failure {
                    retryable: !words.0.contains(&"final"),
                    log: words.bytes("log"),
                    ..Failure::retryable("x".repeat(words.number("message").unwrap_or(4) as usize))
                },
            },
            "release" => Command::Release { lease: self.lease(words) },
            "disconnect" => Command::Disconnect { worker },
            "cancel" => Command::Cancel {
                job: self.ids[words.at(1)],
                reason: "x".repeat(words.number("reason").unwrap_or(0) as usize),
            },
            "put" => Command::PutModule {
                manifest: ModuleManifest {
                    digest: digest(words.at(1)),
                    size: words.number("size").unwrap_or(1),
                    names: Vec::new(),
                    imports: Vec::new(),
                    owner: words.get("owner").unwrap_or("ops").to_owned(),
                },
                name: words.get("name").map(|name| name.parse().unwrap()),
            },
            verb => panic!("no such verb: {verb}"),
        }
    }

    fn lease(&self, words: &Words<'_>) -> LeaseRef {
        LeaseRef { job: self.ids[words.at(1)], token: FencingToken(words.number("token").unwrap()) }
    }

    fn new_jobs(&mut self, words: &Words<'_>) -> Vec<NewJob> {
        let names: Vec<String> = match words.get("job") {
            Some(names) => names.split(',').map(str::to_owned).collect(),
            None => vec![String::new(); words.number("count").unwrap() as usize],
        };
        let minted = LogTime::from_ms((self.at.as_ms() as i64 + words.ms("minted").unwrap_or(0)) as u64);
        names
            .into_iter()
            .map(|name| NewJob {
                payload: words.bytes("payload"),
                priority: words.number("priority").map(|number| number as u8),
                start: match (words.ms("delay"), words.ms("start")) {
                    (Some(ms), _) => Start::AfterMs(ms as u64),
                    (None, Some(at)) => Start::At(LogTime::from_ms((EPOCH_MS as i64 + at) as u64)),
                    (None, None) => Start::Now,
                },
                max_attempts: words.number("attempts").map(|number| number as u32),
                run_timeout_ms: words.ms("timeout").map(|ms| ms as u64),
                ..NewJob::new(
                    self.id(name, minted, words.get("uuid")),
                    words.at(1).parse().unwrap(),
                    words.get("module").map_or(Task::Handler("t".parse().unwrap()), |name| Task::Module(digest(name))),
                    "",
                )
            })
            .collect()
    }

    /// The same name is the same id, made when the script first mentions it. Jobs without a name get a number.
    fn id(&mut self, name: String, minted: LogTime, version: Option<&str>) -> JobId {
        let mut random = [0; 10];
        if name.is_empty() {
            self.unnamed += 1;
            random[2..].copy_from_slice(&self.unnamed.to_be_bytes());
            return JobId::new(minted, random);
        }
        let letters = name.as_bytes();
        random.iter_mut().zip(letters.iter().cycle()).for_each(|(byte, letter)| *byte = *letter);
        *self.ids.entry(name).or_insert_with(|| match version {
            // The checked constructor would refuse it; the wire does not.
            Some("v4") => ciborium::from_reader(&*cbor(uuid::Builder::from_random_bytes([7; 16]).into_uuid())).unwrap(),
            _ => JobId::new(minted, random),
        })
    }
}

fn cbor(uuid: uuid::Uuid) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&uuid, &mut bytes).unwrap();
    bytes
}
