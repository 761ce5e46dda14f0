//! A script under way: each line becomes an entry, each entry an answer.

use crate::answer::{refusal, relative};
use crate::support::Trio;
use crate::words::{Words, milliseconds};
use jobraft_core::{Command, Entry, Event, Outcome, Target};
use jobraft_protocol::namespace;
use jobraft_protocol::{BatchId, EnqueueOutcome, Error, JobId, JobState, LogTime, WorkerId, WorkerInfo};
use std::collections::BTreeMap;

/// Time 0 of every script, so that ids minted before it are possible.
pub(crate) const EPOCH_MS: u64 = 1_000_000_000;

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) trio: Trio,
    pub(crate) at: LogTime,
    workers: u64,
    pub(crate) steps: usize,
    pub(crate) ids: BTreeMap<String, JobId>,
    unnamed: u64,
    pub(crate) events: Vec<Event>,
    states: BTreeMap<JobId, JobState>,
    /// Rows as a leader read them at an earlier step.
    pub(crate) noted: BTreeMap<JobId, Target>,
    pub(crate) batches: BTreeMap<String, BatchId>,
    /// The message of the last refusal.
    why: String,
}

impl Script {
    pub(crate) fn step(&mut self, step: &str) -> String {
        self.steps += 1;
        // As full names are shown, so they are written.
        let step = step.replace(namespace::SEPARATOR_SHOWN, &namespace::SEPARATOR.to_string());
        let mut words: Vec<&str> = step.split_whitespace().collect();
        if words[0] == "at" {
            self.at = LogTime::from_ms((EPOCH_MS as i64 + milliseconds(words[1])) as u64);
            words.drain(..2);
        }
        let words = Words(words);
        match words.at(0) {
            "tick" => self.advance(false),
            "leader" => self.advance(true),
            "note" => {
                let id = self.ids[words.at(1)];
                self.noted.insert(id, self.trio.target(id));
                "noted".to_owned()
            }
            "show" => self.show(self.ids[words.at(1)]),
            "kept" => self.trio.target(self.ids[words.at(1)]).row.is_some().to_string(),
            "queue" => self.queue(words.at(1)),
            "horizons" => self.horizons(),
            "events" => self.show_events(),
            "now" => relative(self.trio.plain.now()),
            "timer" => self.trio.plain.next_timer().map_or("none".to_owned(), relative),
            "modules" => self.modules(&words),
            "namespaces" => self.show_namespaces(),
            "secrets" => self.show_secrets(),
            "given" => self.show_given(self.ids[words.at(1)]),
            "settings" => format!("create_queues={}", self.trio.plain.settings().create_queues),
            "workers" => self.show_workers(),
            "state" => self.state_value(words.at(1)),
            "states" => self.state_values(&words),
            "groups" => self.show_groups(words.at(1)),
            "batch" => self.show_batch(words.at(1)),
            "batches" => self.show_batches(&words),
            "schedule" if words.at(1) == "show" => self.show_schedule(words.at(2)),
            "schedules" => self.show_schedules(),
            "why" => self.why.clone(),
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
        let worker = self.worker(words);
        let command = self.parse(words, worker);
        let asked: Vec<JobId> = match &command {
            Command::Enqueue { jobs, .. } => jobs.iter().map(|job| job.id).collect(),
            Command::RunSchedule { job, .. } => vec![*job],
            Command::Act { targets, .. } => targets.iter().map(|target| target.job).collect(),
            _ => Vec::new(),
        };
        let mut outcomes = self.apply(false, vec![command]);
        assert_eq!(outcomes.len(), 1);
        if matches!(words.at(0), "ticks" | "run") {
            self.name_ticks();
        }
        self.note_states();
        self.note_refusal(&outcomes[0]);
        match outcomes.remove(0) {
            Err(error) => refusal(&error),
            Ok(Outcome::Leased(leased)) if words.has("brief") => {
                let names: Vec<_> = leased.jobs.iter().map(|job| self.name(job.id).unwrap_or("unnamed")).collect();
                if names.is_empty() { "none".to_owned() } else { names.join(" ") }
            }
            Ok(outcome) => {
                if let Outcome::Registered(worker) = &outcome {
                    self.workers = worker.0;
                }
                self.outcome(outcome, &asked)
            }
        }
    }

    /// For `why`: what was said, with names for ids.
    fn note_refusal(&mut self, outcome: &Result<Outcome, Error>) {
        let mut message = match outcome {
            Err(error) => error.message.clone(),
            Ok(Outcome::Enqueued(outcomes)) => {
                let refused = outcomes.iter().find_map(|outcome| match outcome {
                    EnqueueOutcome::Refused(error) => Some(error.message.clone()),
                    _ => None,
                });
                let Some(message) = refused else { return };
                message
            }
            Ok(Outcome::Acted(results)) => match results.iter().find_map(|result| result.as_ref().err()) {
                Some(error) => error.message.clone(),
                None => return,
            },
            Ok(_) => return,
        };
        for (name, id) in
            self.ids.iter().map(|(name, id)| (name, *id)).chain(self.batches.iter().map(|(n, id)| (n, id.0)))
        {
            message = message.replace(&id.to_string(), name);
        }
        self.why = message;
    }

    /// The worker of a step. It registers when a script first names it, in an entry of its own.
    fn worker(&mut self, words: &Words<'_>) -> WorkerId {
        let named = matches!(words.at(0), "disconnect" | "order").then(|| words.at(1));
        let worker = words.get("worker").or(named).map_or(WorkerId(0), worker_id);
        while self.workers < worker.0 && worker.0 != u64::MAX {
            let info = WorkerInfo { name: "script".to_owned(), ..WorkerInfo::default() };
            self.apply(false, vec![Command::RegisterWorker { info }]);
            self.workers += 1;
        }
        worker
    }

    /// What a leader would read of these jobs, as of this step or as `note` read it.
    pub(crate) fn targets(&self, words: &Words<'_>) -> Vec<Target> {
        if let Some(count) = words.number("count") {
            let id = JobId::new(self.at, [0xff; 10]);
            return vec![Target { job: id, row: None }; count as usize];
        }
        let ids = words.at(1).split(',').map(|name| self.ids[name]);
        ids.map(|job| match words.get("row") {
            Some("noted") => self.noted[&job].clone(),
            Some("none") => Target { job, row: None },
            Some("bad") => Target { job, row: Some(vec![1, 2, 3].into()) },
            Some(other) => Target { job, row: self.noted[&self.ids[other]].row.clone() },
            None => self.trio.target(job),
        })
        .collect()
    }

    /// The same name is the same id, made when the script first mentions it. Jobs without a name get a number.
    pub(crate) fn id(&mut self, name: String, minted: LogTime, version: Option<&str>) -> JobId {
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

/// `w1` is the first worker that registered; any other name is one that never did.
pub(crate) fn worker_id(name: &str) -> WorkerId {
    name.parse().unwrap_or(WorkerId(u64::MAX))
}

fn cbor(uuid: uuid::Uuid) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&uuid, &mut bytes).unwrap();
    bytes
}
