//! From the words of a step to a command.

use crate::script::{EPOCH_MS, Script, worker_id};
use crate::words::{Words, digest, milliseconds, signatures};
use bytes::Bytes;
use jobraft_core::{Command, SecretCommand};
use jobraft_protocol::{
    Backoff, BackoffCurve, Completion, Failure, FencingToken, GroupSetting, JobAction, JobState, LeaseRef, LogTime,
    ModuleManifest, ModuleRef, NamespaceChange, NamespaceSetting, NewJob, OnConflict, Progress, QueueMode, QueueName,
    QueueSetting, Rate, Retention, SecretGrant, Setting, Start, StateWrite, Task, Unique, UniqueScope, WorkerId,
    WorkerInfo, WorkerOrder,
};

impl Script {
    pub(crate) fn parse(&mut self, words: &Words<'_>, worker: WorkerId) -> Command {
        let lease_ms = words.ms("for").map_or(30_000, |ms| ms as u64);
        match words.at(0) {
            "enqueue" => {
                let names = match words.get("job") {
                    Some(names) => names.split(',').map(str::to_owned).collect(),
                    None => vec![String::new(); words.number("count").unwrap() as usize],
                };
                let jobs = self.new_jobs(words, words.at(1), names);
                Command::Enqueue { known: self.known(words, &jobs), jobs, all_or_none: words.has("all") }
            }
            "create" | "seal" => self.batch_command(words),
            "schedule" | "ticks" | "run" => self.schedule_command(words),
            "group" => Command::Configure { settings: group_settings(words) },
            "register" => Command::RegisterWorker {
                info: WorkerInfo {
                    name: "x".repeat(words.number("name").unwrap_or(1) as usize),
                    agent: "x".repeat(words.number("agent").unwrap_or(1) as usize),
                    queues: vec!["q".parse().unwrap(); words.number("queues").unwrap_or(1) as usize],
                    concurrency: 1,
                    owner: String::new(),
                    namespace: words.namespace(),
                },
            },
            "seen" => Command::WorkersSeen { workers: words.at(1).split(',').map(worker_id).collect() },
            "order" => Command::OrderWorker {
                worker,
                order: match words.at(2) {
                    "run" => WorkerOrder::Run,
                    "quiet" => WorkerOrder::Quiet,
                    "stop" => WorkerOrder::Stop,
                    order => panic!("no such order: {order}"),
                },
            },
            "lease" => Command::Lease {
                worker,
                queues: queues(words.at(1)),
                shares: words
                    .get("shares")
                    .map_or(Vec::new(), |shares| shares.split(',').map(|share| share.parse().unwrap()).collect()),
                max: words.number("max").unwrap_or(1) as u32,
                lease_ms,
            },
            "extend" | "progress" => {
                let lease = self.lease(words);
                let times = words.number("times").unwrap_or(u64::from(words.at(0) == "extend")) as usize;
                let progress = words.number("percent").map(|percent| {
                    let message = "x".repeat(words.number("text").unwrap_or(0) as usize);
                    (lease, Progress { percent: percent as u8, message })
                });
                let progress = vec![progress; words.number("reports").unwrap_or(1) as usize];
                let progress = progress.into_iter().flatten().collect();
                Command::Extend { leases: vec![lease; times], lease_ms, progress }
            }
            "checkpoint" => Command::Checkpoint { lease: self.lease(words), data: words.bytes("bytes") },
            "complete" => {
                let children = words.get("jobs").map_or(Vec::new(), |names| names.split(',').collect());
                let children = children.into_iter().map(str::to_owned).collect();
                let jobs = self.new_jobs(words, words.get("to").unwrap_or("q"), children);
                Command::Complete {
                    lease: self.lease(words),
                    known: self.known(words, &jobs),
                    completion: Completion {
                        result: words.bytes("result"),
                        log: words.bytes("log"),
                        jobs,
                        state: words.get("write").map_or(Vec::new(), |writes| writes.split(',').map(write).collect()),
                    },
                }
            }
            "fail" => Command::Fail {
                lease: self.lease(words),
                failure: Failure {
                    retryable: !words.has("final"),
                    log: words.bytes("log"),
                    ..Failure::retryable("x".repeat(words.number("message").unwrap_or(4) as usize))
                },
            },
            "release" => {
                Command::Release { lease: self.lease(words), delay_ms: words.ms("delay").map_or(0, |ms| ms as u64) }
            }
            "disconnect" => Command::Disconnect { worker },
            "cancel" | "delete" | "retry" | "move" | "prioritize" => Command::Act {
                targets: self.targets(words),
                action: action(words),
                only_in: words.get("in").map_or(Vec::new(), |states| states.split(',').map(state).collect()),
                by: words.get("by").unwrap_or_default().to_owned(),
            },
            "pause" => mode(words, QueueMode::Paused),
            "drain" => mode(words, QueueMode::Draining),
            "resume" => mode(words, QueueMode::Open),
            "set" => Command::Configure { settings: settings(words) },
            "put" => Command::PutModule {
                manifest: ModuleManifest {
                    digest: digest(words.at(1)),
                    size: words.number("size").unwrap_or(1),
                    names: Vec::new(),
                    imports: Vec::new(),
                    owner: words.get("owner").unwrap_or("ops").to_owned(),
                    signatures: words.get("signer").map_or(Vec::new(), signatures),
                },
                name: words.get("name").map(|name| name.parse().unwrap()),
                namespace: words.namespace(),
                only_own: words.has("only_own"),
            },
            "secret" => Command::ChangeSecret { change: secret_change(words), by: "ops".to_owned() },
            "namespace" => Command::ChangeNamespace { change: namespace_change(words), by: "ops".to_owned() },
            verb => panic!("no such verb: {verb}"),
        }
    }

    fn lease(&self, words: &Words<'_>) -> LeaseRef {
        LeaseRef { job: self.ids[words.at(1)], token: FencingToken(words.number("token").unwrap()) }
    }

    pub(crate) fn new_jobs(&mut self, words: &Words<'_>, queue: &str, names: Vec<String>) -> Vec<NewJob> {
        let minted = self.minted(words);
        let task = words.get("module").map_or(Task::Handler("t".parse().unwrap()), |name| Task::Module(digest(name)));
        let id = |name| self.id(name, minted, words.get("uuid"));
        let ids: Vec<_> = names.into_iter().map(id).collect();
        let new = ids.into_iter().map(|id| NewJob {
            payload: words.bytes("payload"),
            priority: words.number("priority").map(|number| number as u8),
            start: match (words.ms("delay"), words.ms("start")) {
                (Some(ms), _) => Start::AfterMs(ms as u64),
                (None, Some(at)) => Start::At(LogTime::from_ms((EPOCH_MS as i64 + at) as u64)),
                (None, None) => Start::Now,
            },
            max_attempts: words.number("attempts").map(|number| number as u32),
            run_timeout_ms: words.ms("timeout").map(|ms| ms as u64),
            ttl_ms: words.ms("ttl").map(|ms| ms as u64),
            start_deadline_ms: words.ms("deadline").map(|ms| ms as u64),
            backoff: words.get("backoff").map(|text| backoff(text, words)),
            max_crashes: words.number("crashes").map(|number| number as u32),
            unique: words.get("unique").map(unique),
            group: words.get("group").map(|key| key.parse().unwrap()),
            label: words.get("label").map(|label| label.parse().unwrap()),
            ..NewJob::new(id, queue.parse().unwrap(), task.clone(), "")
        });
        let mut new = new.collect();
        self.bind(words, &mut new);
        new
    }

    pub(crate) fn minted(&self, words: &Words<'_>) -> LogTime {
        LogTime::from_ms((self.at.as_ms() as i64 + words.ms("minted").unwrap_or(0)) as u64)
    }
}

/// Modules are named, or, behind a `!`, a letter.
fn secret_change(words: &Words<'_>) -> SecretCommand {
    let module = |text: &str| match text.strip_prefix('!') {
        Some(letter) => ModuleRef::Digest(digest(letter)),
        None => ModuleRef::Name(text.parse().unwrap()),
    };
    let list = |key| words.get(key).map(|all| all.split(',').filter(|one| !one.is_empty()));
    let grant = list("to").map(|to| SecretGrant {
        modules: to.map(module).collect(),
        queues: list("queues").into_iter().flatten().map(|queue| queue.parse().unwrap()).collect(),
    });
    let (name, sealed) = (words.at(2).parse().unwrap(), words.bytes("bytes"));
    match words.at(1) {
        "put" => SecretCommand::Put { name, sealed, grant },
        "grant" => SecretCommand::Grant { name, grant: grant.unwrap_or_default() },
        "reseal" => SecretCommand::Reseal { name, former: words.bytes("former"), sealed },
        "delete" => SecretCommand::Delete { name },
        verb => panic!("no such change of a secret: {verb}"),
    }
}

fn namespace_change(words: &Words<'_>) -> NamespaceChange {
    let number = |value: &str| (value != "default").then(|| value.parse::<u64>().unwrap());
    let setting = |(key, value): (&str, &str)| match key {
        "jobs" => NamespaceSetting::Jobs(number(value)),
        "bytes" => NamespaceSetting::Bytes(number(value)),
        "rate" => NamespaceSetting::Rate(rate(value)),
        "queues" => NamespaceSetting::Queues(number(value)),
        "modules" => NamespaceSetting::Modules(number(value)),
        key => panic!("no such part of a quota: {key}"),
    };
    let quota = words.0.iter().filter_map(|word| word.split_once('=')).map(setting).collect();
    let name = words.at(2).parse().unwrap();
    match words.at(1) {
        "create" => NamespaceChange::Create { name, quota },
        "set" => NamespaceChange::Set { name, quota },
        "delete" => NamespaceChange::Delete { name },
        verb => panic!("no such change of a namespace: {verb}"),
    }
}

fn queues(text: &str) -> Vec<QueueName> {
    text.split(',').map(|name| name.parse().unwrap()).collect()
}

fn state(text: &str) -> JobState {
    JobState::ALL.into_iter().find(|state| state.as_str() == text).unwrap_or_else(|| panic!("no such state: {text}"))
}

fn action(words: &Words<'_>) -> JobAction {
    match words.at(0) {
        "cancel" => JobAction::Cancel {
            reason: "x".repeat(words.number("reason").unwrap_or(0) as usize),
            grace_ms: words.ms("grace").map_or(0, |ms| ms as u64),
        },
        "delete" => JobAction::Delete,
        "retry" => JobAction::Retry,
        "move" => JobAction::Move { queue: words.get("to").unwrap().parse().unwrap() },
        _ => JobAction::Prioritize { priority: words.number("to").unwrap() as u8 },
    }
}

/// `KEY:BYTES`, `KEY:BYTES:VERSION`; `-` for the bytes removes.
fn write(text: &str) -> StateWrite {
    let mut parts = text.split(':');
    let key = parts.next().unwrap().parse().unwrap();
    let value = match parts.next().unwrap() {
        "-" => None,
        bytes => Some(Bytes::from(vec![b'x'; bytes.parse().unwrap()])),
    };
    StateWrite { key, value, if_version: parts.next().map(|version| version.parse().unwrap()) }
}

/// `KEY`, `KEY:SCOPE`, `KEY:SCOPE:POLICY`.
pub(crate) fn unique(text: &str) -> Unique {
    let mut parts = text.split(':');
    let key = parts.next().unwrap().parse().unwrap();
    let scope = match parts.next().unwrap_or("done") {
        "waiting" => UniqueScope::Waiting,
        "started" => UniqueScope::UntilStarted,
        "done" => UniqueScope::UntilDone,
        period => UniqueScope::ForMs(milliseconds(period) as u64),
    };
    let replace = |payload, start| OnConflict::Replace { payload, start };
    let on_conflict = match parts.next().unwrap_or("existing") {
        "reject" => OnConflict::Reject,
        "existing" => OnConflict::ReturnExisting,
        "payload" => replace(true, false),
        "start" => replace(false, true),
        "both" => replace(true, true),
        "nothing" => replace(false, false),
        policy => panic!("no such policy: {policy}"),
    };
    Unique { key, scope, on_conflict }
}

/// `standard`, `exponential:FIRST:FACTOR`, `linear:STEP`, `fixed:DELAY`, `list:DELAY/DELAY/…`.
fn backoff(text: &str, words: &Words<'_>) -> Backoff {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let ms = |text: &str| milliseconds(text) as u64;
    let curve = match name {
        "standard" => BackoffCurve::Standard,
        "exponential" => {
            let (first, factor) = rest.split_once(':').unwrap();
            BackoffCurve::Exponential { first_ms: ms(first), factor: factor.parse().unwrap() }
        }
        "linear" => BackoffCurve::Linear { step_ms: ms(rest) },
        "fixed" => BackoffCurve::Fixed { delay_ms: ms(rest) },
        "list" => BackoffCurve::List { delays_ms: rest.split('/').filter(|delay| !delay.is_empty()).map(ms).collect() },
        curve => panic!("no such curve: {curve}"),
    };
    let mut backoff = Backoff::new(curve);
    if let Some(max) = words.ms("ceiling") {
        backoff.max_ms = max as u64;
    }
    backoff.jitter_percent = words.number("jitter").unwrap_or(0) as u8;
    backoff
}

fn mode(words: &Words<'_>, mode: QueueMode) -> Command {
    let one = |queue| Setting::Queue(queue, QueueSetting::Mode(mode));
    Command::Configure { settings: queues(words.at(1)).into_iter().map(one).collect() }
}

/// `COUNT/PERIOD`, `COUNT/PERIOD:BURST`, or `default`.
fn rate(text: &str) -> Option<Rate> {
    let (count, rest) = text.split_once('/')?;
    let (period, burst) = rest.split_once(':').map_or((rest, None), |(period, burst)| (period, Some(burst)));
    let burst = burst.map(|burst| burst.parse().unwrap());
    Some(Rate { count: count.parse().unwrap(), per_ms: milliseconds(period) as u64, burst })
}

/// Every `key=value` is one setting of the group, in the order written.
fn group_settings(words: &Words<'_>) -> Vec<Setting> {
    let number = |value: &str| (value != "default").then(|| value.parse::<u64>().unwrap());
    let setting = |(key, value): (&str, &str)| match key {
        "weight" => GroupSetting::Weight(number(value).map(|weight| weight as u32)),
        "concurrency" => GroupSetting::Concurrency(number(value)),
        "rate" => GroupSetting::Rate(rate(value)),
        key => panic!("no such setting of a group: {key}"),
    };
    let settings = words.0.iter().filter_map(|word| word.split_once('=')).map(setting);
    let (queue, group) = (words.at(1).parse::<QueueName>().unwrap(), words.at(2).parse().unwrap());
    settings.map(|setting| Setting::Group(queue.clone(), jobraft_protocol::GroupKey::clone(&group), setting)).collect()
}

/// Every `key=value` is one setting, in the order written, for each of the queues; `create=` is the cluster's.
fn settings(words: &Words<'_>) -> Vec<Setting> {
    let number = |value: &str| (value != "default").then(|| value.parse::<u64>().unwrap());
    let keep = |value: &str| {
        (value != "default").then(|| {
            let (age, count) = value.split_once('/').map_or((value, None), |(age, count)| (age, Some(count)));
            Retention { age_ms: milliseconds(age) as u64, count: count.map(|count| count.parse().unwrap()) }
        })
    };
    let mut settings = Vec::new();
    for (key, value) in words.0.iter().filter_map(|word| word.split_once('=')) {
        let setting = match key {
            "times" => continue,
            "create" => {
                settings.push(Setting::CreateQueues(value == "yes"));
                continue;
            }
            "mode" => QueueSetting::Mode(match value {
                "open" => QueueMode::Open,
                "paused" => QueueMode::Paused,
                _ => QueueMode::Draining,
            }),
            "depth" => QueueSetting::DepthMax(number(value)),
            "bytes" => QueueSetting::BytesMax(number(value)),
            "completed" => QueueSetting::KeepCompleted(keep(value)),
            "dead" => QueueSetting::KeepDead(keep(value)),
            "cancelled" => QueueSetting::KeepCancelled(keep(value)),
            "expired" => QueueSetting::KeepExpired(keep(value)),
            "concurrency" => QueueSetting::Concurrency(number(value)),
            "rate" => QueueSetting::Rate(rate(value)),
            "group_concurrency" => QueueSetting::GroupConcurrency(number(value)),
            "group_rate" => QueueSetting::GroupRate(rate(value)),
            key => panic!("no such setting: {key}"),
        };
        for queue in queues(words.at(1)) {
            settings.push(Setting::Queue(queue, setting));
        }
    }
    let times = words.number("times").unwrap_or(1) as usize;
    std::iter::repeat_n(settings, times).flatten().collect()
}
