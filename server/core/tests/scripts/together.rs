//! Words for many jobs together: what comes after what, batches, schedules.

use crate::answer::relative;
use crate::parse::unique;
use crate::script::{EPOCH_MS, Script};
use crate::words::{Words, digest, milliseconds};
use jobraft_core::{Command, RestingJob, Target};
use jobraft_protocol::{
    After, BatchId, BatchView, CatchUp, GroupView, JobId, JobTemplate, JobView, LogTime, NewBatch, NewJob, OnFailure,
    Overlap, Schedule, ScheduleTick, ScheduleView, Setting, Task,
};

fn at(text: &str) -> LogTime {
    LogTime::from_ms((EPOCH_MS as i64 + milliseconds(text)) as u64)
}

impl Script {
    /// What the jobs come after: `after=A/B` for each of them, `edges=B:A,C:A/B` for single ones, `chain`: each after the one
    /// before it. Their batch: `batch=X`. Which of them have the unique key: `keyed=A/B`.
    pub(crate) fn bind(&mut self, words: &Words<'_>, jobs: &mut Vec<NewJob>) {
        let on_failure = match words.get("policy") {
            None => OnFailure::default(),
            Some(policy) => OnFailure::ALL.into_iter().find(|one| one.as_str() == policy).unwrap(),
        };
        let mut edges: Vec<(Option<JobId>, Vec<JobId>)> = Vec::new();
        if let Some(names) = words.get("after") {
            edges.push((None, self.named(words, names)));
        }
        for (name, names) in words
            .get("edges")
            .into_iter()
            .flat_map(|edges| edges.split(','))
            .map(|edge| edge.split_once(':').unwrap_or_else(|| panic!("no edge: {edge}")))
        {
            edges.push((Some(self.ids[name]), self.named(words, names)));
        }
        let batch = words.get("batch").map(|name| self.batch_id(words, name));
        let keyed: Option<Vec<JobId>> = words.get("keyed").map(|names| self.named(words, names));
        let mut before = None;
        for job in jobs {
            job.batch = batch;
            job.unique = job.unique.take().filter(|_| keyed.as_ref().is_none_or(|ids| ids.contains(&job.id)));
            let mut after: Vec<JobId> = edges
                .iter()
                .filter(|(id, _)| id.is_none_or(|id| id == job.id))
                .flat_map(|(_, ids)| ids.clone())
                .collect();
            after.extend(before.filter(|_| words.has("chain")));
            before = Some(job.id);
            let named = words.has("chain") || !after.is_empty();
            job.after = named.then_some(After { jobs: after, on_failure });
        }
    }

    fn named(&mut self, words: &Words<'_>, names: &str) -> Vec<JobId> {
        let minted = self.minted(words);
        let ids = names.split('/').filter(|name| !name.is_empty()).map(|name| self.id(name.to_owned(), minted, None));
        ids.collect()
    }

    /// What a leader reads of the ended jobs that these come after; `known=` gives something else instead.
    pub(crate) fn known(&self, words: &Words<'_>, jobs: &[NewJob]) -> Vec<Target> {
        let mut ids: Vec<JobId> = jobs.iter().flat_map(|job| &job.after).flat_map(|after| after.jobs.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !self.trio.plain.is_live(*id) && jobs.iter().all(|job| job.id != *id));
        let targets = ids.into_iter().map(|job| match words.get("known") {
            None => self.trio.target(job),
            Some("none") => Target { job, row: None },
            Some("noted") => self.noted[&job].clone(),
            Some("bad") => Target { job, row: Some(vec![1, 2, 3].into()) },
            Some(other) => Target { job, row: self.noted[&self.ids[other]].row.clone() },
        });
        targets.filter(|target| target.row.is_some()).collect()
    }

    /// The same name is the same batch, made when the script first mentions it.
    fn batch_id(&mut self, words: &Words<'_>, name: &str) -> BatchId {
        let minted = self.minted(words);
        let mut random = [0xba; 10];
        random.iter_mut().zip(name.bytes()).for_each(|(byte, letter)| *byte = letter);
        *self.batches.entry(name.to_owned()).or_insert_with(|| BatchId(JobId::new(minted, random)))
    }

    pub(crate) fn batch_command(&mut self, words: &Words<'_>) -> Command {
        let batch = self.batch_id(words, words.at(1));
        if words.at(0) == "seal" {
            return Command::SealBatch { batch, cancel: words.has("cancel") };
        }
        let queue = words.get("to").unwrap_or("q");
        let names = match (words.get("jobs"), words.number("count")) {
            (Some(names), _) => names.split(',').map(str::to_owned).collect(),
            (None, count) => vec![String::new(); count.unwrap_or(0) as usize],
        };
        let jobs = self.new_jobs(words, queue, names);
        let plain = Words(words.0.iter().copied().filter(|word| word.starts_with("minted=")).collect());
        let calls = words.get("calls").unwrap_or(queue);
        let mut callback = |key: &str| {
            let name = words.get(key)?.to_owned();
            let words = if words.has("alike") { words } else { &plain };
            self.new_jobs(words, calls, vec![name]).pop().map(Box::new)
        };
        let (on_complete, on_failure) = (callback("complete"), callback("failure"));
        let label = words.get("name").map(|label| label.parse().unwrap());
        let known = self.known(words, &jobs);
        let batch = NewBatch { id: batch, label, on_complete, on_failure, jobs, open: words.has("open") };
        Command::CreateBatch { batch: Box::new(batch), known, namespace: words.namespace() }
    }

    pub(crate) fn schedule_command(&mut self, words: &Words<'_>) -> Command {
        if words.at(0) == "run" {
            let minted = self.minted(words);
            let job = self.id(words.get("job").unwrap().to_owned(), minted, None);
            return Command::RunSchedule { name: words.at(1).parse().unwrap(), job };
        }
        if words.at(0) == "ticks" {
            let name = words.at(1).parse().unwrap();
            let revision =
                self.trio.plain.plans().iter().find(|plan| plan.name == name).map_or(0, |plan| plan.revision);
            return Command::Tick {
                name,
                revision: words.number("revision").unwrap_or(revision),
                ticks: match (words.get("at"), words.number("count")) {
                    (Some(times), _) => times.split(',').map(at).collect(),
                    (None, count) => (0..count.unwrap_or(0)).map(|ms| self.at.plus_ms(ms)).collect(),
                },
                passed_over: words.number("over").unwrap_or(0),
                more: words.has("more"),
            };
        }
        let names = words.at(2).split(',').map(|name| name.parse().unwrap());
        let settings = names.map(|name| match words.at(1) {
            "put" => Setting::PutSchedule(Box::new(schedule(words, name))),
            "pause" => Setting::PauseSchedule(name, true),
            "resume" => Setting::PauseSchedule(name, false),
            "remove" => Setting::RemoveSchedule(name),
            verb => panic!("no such verb for a schedule: {verb}"),
        });
        Command::Configure { settings: settings.collect() }
    }

    /// Names the jobs that ticks enqueued: `SCHEDULE@TICK`.
    pub(crate) fn name_ticks(&mut self) {
        for (id, row) in &self.trio.disk.jobs {
            let job = RestingJob::decode(&row.body).unwrap();
            if let Some(ScheduleTick { schedule, tick }) = &job.view().tick
                && self.ids.values().all(|known| known != id)
            {
                self.ids.insert(format!("{schedule}@{}", relative(*tick)), *id);
            }
        }
    }

    fn short(&self, id: JobId) -> String {
        self.name(id).unwrap_or("unnamed").to_owned()
    }

    pub(crate) fn batch_name(&self, id: BatchId) -> &str {
        self.batches.iter().find(|(_, known)| **known == id).map_or("unnamed", |(name, _)| name)
    }

    /// What a job has to do with others.
    pub(crate) fn show_ties(&self, view: &JobView) -> String {
        let mut text = String::new();
        if let Some(group) = &view.group {
            text += &format!(" group={group}");
        }
        if !view.after.is_empty() {
            let one = |one: &jobraft_protocol::Predecessor| {
                format!("{}:{}", self.short(one.job), one.ended.map_or("-", |state| state.as_str()))
            };
            text += &format!(" after={}", view.after.iter().map(one).collect::<Vec<_>>().join(","));
        }
        if view.on_failure != OnFailure::default() {
            text += &format!(" policy={}", view.on_failure);
        }
        if let Some(batch) = view.batch {
            let what = if view.is_callback { "calls" } else { "batch" };
            text += &format!(" {what}={}", self.batch_name(batch));
        }
        if let Some(label) = &view.label {
            text += &format!(" label={label}");
        }
        if let Some(tick) = &view.tick {
            text += &format!(" tick={}@{}", tick.schedule, relative(tick.tick));
        }
        text
    }

    pub(crate) fn show_groups(&self, queue: &str) -> String {
        let Some(groups) = self.trio.plain.groups(&queue.parse().unwrap(), None, 100) else {
            return "unknown".to_owned();
        };
        let show = |view: &GroupView| {
            let GroupView { group, ready, leased, waiting, open, settings } = view;
            let mut text = format!("{group} {ready}/{leased}/{waiting}");
            if open != ready {
                text += &format!(" open={open}");
            }
            text += &settings.weight.map(|weight| format!(" weight={weight}")).unwrap_or_default();
            text += &settings.concurrency.map(|most| format!(" concurrency={most}")).unwrap_or_default();
            text += &settings
                .rate
                .map(|rate| format!(" rate={}/{}:{}", rate.count, rate.per_ms, rate.burst()))
                .unwrap_or_default();
            text
        };
        listed(groups.iter().map(show).collect())
    }

    pub(crate) fn show_batch(&self, name: &str) -> String {
        let view = self.batches.get(name).and_then(|id| self.trio.plain.batch(*id));
        view.map_or("unknown".to_owned(), |view| show_batch(&view))
    }

    pub(crate) fn show_batches(&self, words: &Words<'_>) -> String {
        listed(
            self.trio
                .plain
                .batches(&words.namespace(), None, 100)
                .iter()
                .map(|view| self.batch_name(view.id).to_owned())
                .collect(),
        )
    }

    pub(crate) fn show_schedule(&self, name: &str) -> String {
        let Some(view) = self.trio.plain.schedule(&name.parse().unwrap()) else { return "unknown".to_owned() };
        let ScheduleView { paused, ticked_to, last_job, fired, missed, skipped, last_error, .. } = view;
        let mut text = format!("ticked_to={}", relative(ticked_to));
        for (name, count) in [("fired", fired), ("missed", missed), ("skipped", skipped)] {
            if count > 0 {
                text += &format!(" {name}={count}");
            }
        }
        text += &last_job.map(|id| format!(" last={}", self.short(id))).unwrap_or_default();
        if paused {
            text += " paused";
        }
        // How it begins.
        let error = last_error.map(|error| error.split(':').next().unwrap_or_default().to_owned());
        text += &error.map(|error| format!(" error={error}")).unwrap_or_default();
        text
    }

    /// The schedules by name; those that the leader reads the calendar for with their revisions.
    pub(crate) fn show_schedules(&self) -> String {
        let plans = self.trio.plain.plans();
        let show = |view: ScheduleView| {
            let name = view.schedule.name;
            match plans.iter().find(|plan| plan.name == name) {
                Some(plan) => format!("{name} revision={}", plan.revision),
                None => format!("{name} paused"),
            }
        };
        listed(self.trio.plain.schedules(None).map(show).collect())
    }
}

fn listed(texts: Vec<String>) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

pub(crate) fn show_batch(view: &BatchView) -> String {
    let mut text = view.state.to_string();
    let BatchView { live, completed, dead, cancelled, expired, .. } = *view;
    let counts =
        [("live", live), ("completed", completed), ("dead", dead), ("cancelled", cancelled), ("expired", expired)];
    for (name, count) in counts {
        if count > 0 {
            text += &format!(" {name}={count}");
        }
    }
    text += &view.ended_at.map(|at| format!(" ended_at={}", relative(at))).unwrap_or_default();
    text += &view.label.as_ref().map(|label| format!(" name={label}")).unwrap_or_default();
    if view.failure_called {
        text += " failure_called";
    }
    text
}

fn schedule(words: &Words<'_>, name: jobraft_protocol::ScheduleName) -> Schedule {
    let task = words.get("module").map_or(Task::Handler("t".parse().unwrap()), |name| Task::Module(digest(name)));
    let text = |key: &str, default: &str| match words.number(&format!("{key}_bytes")) {
        Some(bytes) => "x".repeat(bytes as usize),
        None => words.get(key).unwrap_or(default).to_owned(),
    };
    Schedule {
        name,
        cron: text("cron", "* * * * *"),
        time_zone: text("zone", "UTC"),
        job: JobTemplate {
            payload: words.bytes("payload"),
            priority: words.number("priority").map(|number| number as u8),
            ttl_ms: words.ms("ttl").map(|ms| ms as u64),
            start_deadline_ms: words.ms("deadline").map(|ms| ms as u64),
            unique: words.get("unique").map(unique),
            group: words.get("group").map(|key| key.parse().unwrap()),
            label: words.get("label").map(|label| label.parse().unwrap()),
            ..JobTemplate::new(words.get("to").unwrap_or("q").parse().unwrap(), task, "")
        },
        catch_up: words
            .get("catch_up")
            .map_or(CatchUp::default(), |name| CatchUp::ALL.into_iter().find(|one| one.as_str() == name).unwrap()),
        overlap: words
            .get("overlap")
            .map_or(Overlap::default(), |name| Overlap::ALL.into_iter().find(|one| one.as_str() == name).unwrap()),
    }
}
