//! Runs every script below `scripts/`: scenarios as text, with the expected answers beside the commands.
//!
//! The language is described in `scripts/README.md`. After each step the state is also checkpointed, restored and
//! compared (see [`support::Trio`]). A failing script is shown as a diff against what really happened.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "shows diffs of failing scripts")]

mod support;

use jobraft_core::{Command, Core, Entry, Event, Outcome};
use jobraft_protocol::{
    Completion, Digest, EnqueueOutcome, Error, Failure, FencingToken, JobId, JobState, LeaseRef, LogTime,
    ModuleManifest, NewJob, Start, Task, WorkerId,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::Trio;

/// Time 0 of every script, so that ids minted before it are possible.
const EPOCH_MS: u64 = 1_000_000_000;

#[test]
fn every_script_answers_as_written() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"), &mut files);
    assert!(!files.is_empty(), "no scripts found");
    let mut failed = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        if let Some(diff) = run(&text) {
            failed += 1;
            println!("--- {}\n{diff}", file.display());
        }
    }
    assert_eq!(failed, 0, "{failed} of {} scripts failed, see above", files.len());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
}

/// Runs a script; a diff if an answer is not the written one.
fn run(text: &str) -> Option<String> {
    let mut script = Script::default();
    let (mut diff, mut failed) = (String::new(), false);
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if code.is_empty() {
            continue;
        }
        let (step, expected) = match code.split_once("->") {
            Some((step, expected)) => (step.trim(), Some(expected.trim())),
            None => (code, None),
        };
        let actual = script.step(step);
        let refused = actual.contains("error") || actual.contains("refused");
        if expected.map_or(!refused, |expected| expected == actual) {
            diff += &format!("  {line}\n");
        } else {
            failed = true;
            diff += &format!("- {line}\n+ {step} -> {actual}\n");
        }
    }
    assert!(script.steps > 0, "a script without steps");
    failed.then_some(diff)
}

#[derive(Default)]
struct Script {
    trio: Trio,
    at: LogTime,
    workers: u64,
    steps: usize,
    ids: BTreeMap<String, JobId>,
    unnamed: u64,
    events: Vec<Event>,
    states: BTreeMap<JobId, JobState>,
}

/// The words of a step: a verb, positional ones, and `key=value`.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn at(&self, index: usize) -> &'a str {
        let plain: Vec<_> = self.0.iter().filter(|word| !word.contains('=')).collect();
        plain.get(index).unwrap_or_else(|| panic!("a word is missing in {:?}", self.0))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.get(key).map(|text| text.parse().unwrap_or_else(|_| panic!("{key}={text} is no number")))
    }

    fn ms(&self, key: &str) -> Option<i64> {
        self.get(key).map(milliseconds)
    }

    fn bytes(&self, key: &str) -> bytes::Bytes {
        vec![b'x'; self.number(key).unwrap_or(0) as usize].into()
    }
}

fn milliseconds(text: &str) -> i64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        unit => panic!("no unit of time: {unit}"),
    };
    digits.parse::<i64>().unwrap() * unit
}

fn relative(at: LogTime) -> String {
    (at.as_ms() as i64 - EPOCH_MS as i64).to_string()
}

fn refusal(error: &Error) -> String {
    let retry = error.retry_after_ms.map(|ms| format!(" retry_after={ms}")).unwrap_or_default();
    format!("error {}{retry}", error.code)
}

impl Script {
    fn step(&mut self, step: &str) -> String {
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

    fn name(&self, id: JobId) -> Option<&str> {
        self.ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str())
    }

    fn outcome(&self, outcome: Outcome, asked: &[JobId]) -> String {
        let listed = |answers: Vec<Option<String>>| {
            let count = answers.len();
            match answers.into_iter().collect::<Option<Vec<_>>>() {
                Some(answers) if answers.is_empty() => "none".to_owned(),
                Some(answers) => answers.join(", "),
                None => format!("{count} jobs"),
            }
        };
        match outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Registered(worker) => worker.to_string(),
            Outcome::Enqueued(outcomes) => listed(
                asked
                    .iter()
                    .zip(outcomes)
                    .map(|(id, outcome)| {
                        let text = match outcome {
                            EnqueueOutcome::Created => "created".to_owned(),
                            EnqueueOutcome::Existing => "existing".to_owned(),
                            EnqueueOutcome::Refused(error) => refusal(&error).replace("error", "refused"),
                        };
                        Some(format!("{} {text}", self.name(*id)?))
                    })
                    .collect(),
            ),
            Outcome::Leased(jobs) => listed(
                jobs.iter()
                    .map(|job| {
                        let (name, token, attempt) = (self.name(job.id)?, job.token, job.attempt);
                        Some(format!("{name} token={token} attempt={attempt} until={}", relative(job.expires_at)))
                    })
                    .collect(),
            ),
            Outcome::Extended(results) => {
                let mut texts: Vec<_> = results
                    .iter()
                    .map(|result| result.as_ref().map_or_else(refusal, |at| format!("until={}", relative(*at))))
                    .collect();
                texts.dedup();
                texts.join(", ")
            }
            Outcome::Failed { state, retry_at } => {
                state.to_string() + &retry_at.map(|at| format!(" retry_at={}", relative(at))).unwrap_or_default()
            }
        }
    }

    fn show(&self, id: JobId) -> String {
        let Some(view) = self.trio.view(id) else { return "unknown".to_owned() };
        let mut text = format!("{} attempt={}/{}", view.state, view.attempt, view.max_attempts);
        if let Some(lease) = &view.lease {
            text += &format!(" {} token={} until={}", lease.worker, lease.token, relative(lease.expires_at));
        }
        if view.state == JobState::Scheduled {
            text += &format!(" run_at={}", relative(view.run_at));
        }
        if let Some(at) = view.finished_at {
            text += &format!(" finished_at={}", relative(at));
        }
        for (name, size) in [("result", view.result.len()), ("log", view.log.len())] {
            if size > 0 {
                text += &format!(" {name}={size}");
            }
        }
        if let Some(reason) = &view.cancel_reason {
            text += &format!(" reason={}", reason.len());
        }
        match &*view.errors {
            [] => {}
            errors if errors.len() > 3 => text += &format!(" errors={}..{}", errors[0].attempt, errors.len()),
            errors => {
                for error in errors {
                    text += &format!(" [{} {} {}]", error.attempt, error.kind, relative(error.at));
                }
            }
        }
        if let Some(error) = view.errors.iter().find(|error| error.message.len() > 100) {
            text += &format!(" message={}", error.message.len());
        }
        text
    }

    fn queue(&self, name: &str) -> String {
        let ready = self.trio.plain.ready_count(&name.parse().unwrap());
        let Some(stats) = self.trio.plain.queues().into_iter().find(|stats| stats.queue.as_str() == name) else {
            return "unknown".to_owned();
        };
        assert_eq!(ready as u64, stats.ready);
        let counts = [
            ("scheduled", stats.scheduled),
            ("ready", stats.ready),
            ("leased", stats.leased),
            ("completed", stats.completed),
            ("dead", stats.dead),
            ("cancelled", stats.cancelled),
        ];
        let texts: Vec<_> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name}={count}")).collect();
        if texts.is_empty() { "empty".to_owned() } else { texts.join(" ") }
    }

    fn show_events(&self) -> String {
        let name = |id: &JobId| self.name(*id).unwrap_or("unnamed").to_owned();
        let texts: Vec<_> = self
            .events
            .iter()
            .map(|event| match event {
                Event::Ready(queue) => format!("ready {queue}"),
                Event::Ended(id) => format!("ended {}", name(id)),
                Event::Revoked { worker, lease } => format!("revoked {worker} {} {}", name(&lease.job), lease.token),
                Event::ModuleReady(digest) => format!("module {}", char::from(digest.0[0])),
            })
            .collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    }

    fn modules(&self) -> String {
        let show = |manifest: &ModuleManifest| {
            let names: Vec<_> = manifest.names.iter().map(ToString::to_string).collect();
            for name in &manifest.names {
                let named = self.trio.plain.resolve(&jobraft_protocol::ModuleRef::Name(name.clone()));
                assert_eq!(named.as_ref(), Some(manifest));
            }
            format!("{}:{}[{}]", char::from(manifest.digest.0[0]), manifest.owner, names.join(" "))
        };
        self.trio.plain.modules().iter().map(show).collect::<Vec<_>>().join(", ")
    }
}

fn digest(name: &str) -> Digest {
    Digest([name.as_bytes()[0]; 32])
}

fn cbor(uuid: uuid::Uuid) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&uuid, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_wrong_expectation_is_noticed() {
    assert!(run("at 0 enqueue q job=A -> A existing").unwrap().contains("+ at 0 enqueue q job=A -> A created"));
    assert_eq!(Core::new().queues(), []);
}
