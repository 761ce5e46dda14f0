//! A workflow: jobs that come after each other, as a file describes them or as flags do.
//!
//! All that can be wrong with the file alone is found before anything is sent, and named by line and key: jobs that come after
//! one that is not there, or after themselves.

use crate::command::value;
use crate::command::work::keys::{job_table, named};
use crate::command::work::{JobSpec, Modules, Options};
use crate::failure::Failure;
use crate::output::human;
use jobraft_node::config::{ConfigError, Source, nearest};
use jobraft_protocol::limits::{BULK_BYTES_MAX, BULK_JOBS_MAX};
use jobraft_protocol::{After, BatchId, JobId, Label, NewBatch, NewJob, OnFailure, Start};
use jobraft_sdk::Client;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// A workflow, with names resolved to places.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Workflow {
    /// What it is called.
    pub(super) label: Option<Label>,
    /// What is enqueued once all have completed.
    pub(super) on_complete: Option<Called>,
    /// What is enqueued at the first that does not.
    pub(super) on_failure: Option<Called>,
    /// Its jobs.
    pub(super) steps: Vec<Step>,
}

/// A job of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The job; its label is its name.
    pub(super) job: JobSpec,
    /// When it may first run.
    pub(super) delay: Option<Duration>,
    /// The steps that it comes after, by place.
    pub(super) after: Vec<usize>,
    /// What becomes of it if one of these fails.
    pub(super) on_failure: OnFailure,
}

/// A job that is enqueued when something becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) job: JobSpec,
    pub(super) delay: Option<Duration>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    label: Option<Label>,
    on_complete: Option<WrittenCall>,
    on_failure: Option<WrittenCall>,
    #[serde(default)]
    jobs: BTreeMap<Spanned<String>, WrittenStep>,
}

job_table! {
    /// A job that is called.
    WrittenCall {
        #[serde(default, deserialize_with = "crate::command::work::keys::delay")]
        delay: Option<Duration>,
        label: Option<Label>,
    }
}

job_table! {
    /// A job of the workflow.
    WrittenStep {
        #[serde(default, deserialize_with = "crate::command::work::keys::delay")]
        delay: Option<Duration>,
        #[serde(default)]
        after: Vec<String>,
        #[serde(default, deserialize_with = "on_failure")]
        on_failure: Option<OnFailure>,
    }
}

fn on_failure<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OnFailure>, D::Error> {
    named(deserializer, &OnFailure::ALL, OnFailure::as_str).map(Some)
}

impl Workflow {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Source::read(file)?)
    }

    fn parse(source: &Source) -> Result<Self, ConfigError> {
        let written: Written = source.parse()?;
        let call = |name: &str, call: Option<WrittenCall>| call.map(|call| call.called(source, &[name])).transpose();
        let (on_complete, on_failure) =
            (call("on_complete", written.on_complete)?, call("on_failure", written.on_failure)?);
        // In the order of the file: so they are made, and so they are shown.
        let mut jobs: Vec<(Spanned<String>, WrittenStep)> = written.jobs.into_iter().collect();
        jobs.sort_by_key(|(name, _)| name.span().start);
        let names: Vec<String> = jobs.iter().map(|(name, _)| name.get_ref().clone()).collect();
        let places: HashMap<&str, usize> =
            names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut steps = Vec::new();
        for (name, job) in jobs {
            steps.push(job.step(source, name.get_ref(), &places)?);
        }
        let workflow = Self { label: written.label, on_complete, on_failure, steps };
        if let Some(cycle) = workflow.cycle() {
            let told: Vec<String> = cycle
                .iter()
                .zip(cycle.iter().cycle().skip(1))
                .map(|(step, before)| format!("`{}` comes after `{}`", names[*step], names[*before]))
                .collect();
            let path = ["jobs", &names[cycle[0]], "after"];
            return Err(source.invalid(&path, format!("this is a cycle: {}", told.join(", "))));
        }
        workflow.check_size().map_err(|fault| source.invalid(&["jobs"], fault))?;
        Ok(workflow)
    }

    /// Refuses what does not fit into one request.
    pub(super) fn check_size(&self) -> Result<(), String> {
        if self.steps.len() > BULK_JOBS_MAX {
            return Err(format!(
                "{} jobs are more than the {BULK_JOBS_MAX} with which a batch can begin",
                self.steps.len()
            ));
        }
        let bytes: usize = self.steps.iter().map(|step| step.job.payload.len()).sum();
        if bytes > BULK_BYTES_MAX {
            let (bytes, most) = (human::bytes(bytes as u64), human::bytes(BULK_BYTES_MAX as u64));
            return Err(format!("payloads of {bytes} are more than the {most} with which a batch can begin"));
        }
        Ok(())
    }

    /// Steps each of which comes after the next, and the last after the first; none if every step can run some time.
    fn cycle(&self) -> Option<Vec<usize>> {
        let mut waits_for: Vec<usize> = self.steps.iter().map(|step| step.after.len()).collect();
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); self.steps.len()];
        for (place, step) in self.steps.iter().enumerate() {
            step.after.iter().for_each(|before| dependents[*before].push(place));
        }
        let mut free: Vec<usize> = (0..self.steps.len()).filter(|place| waits_for[*place] == 0).collect();
        while let Some(place) = free.pop() {
            for dependent in &dependents[place] {
                waits_for[*dependent] -= 1;
                if waits_for[*dependent] == 0 {
                    free.push(*dependent);
                }
            }
        }
        // Whoever is left waits for one that is left: going from one to the next comes back sooner or later.
        let mut path: Vec<usize> = vec![(0..self.steps.len()).find(|place| waits_for[*place] > 0)?];
        loop {
            let last = *path.last()?;
            let before = *self.steps[last].after.iter().find(|before| waits_for[**before] > 0)?;
            if let Some(begin) = path.iter().position(|place| *place == before) {
                return Some(path.split_off(begin));
            }
            path.push(before);
        }
    }

    /// The batch, with every module's name resolved and all ids made.
    pub(super) async fn batch(&self, client: &Client, id: BatchId, open: bool) -> Result<NewBatch, Failure> {
        let mut modules = Modules::default();
        let ids: Vec<JobId> = self.steps.iter().map(|_| client.job_id()).collect();
        let mut jobs = Vec::new();
        for (step, id) in self.steps.iter().zip(&ids) {
            let task = modules.task(client, &step.job.what).await?;
            let after = step.after.iter().map(|place| ids[*place]).collect::<Vec<_>>();
            let after = (!after.is_empty()).then_some(After { jobs: after, on_failure: step.on_failure });
            jobs.push(NewJob { start: start(step.delay), after, ..step.job.job(*id, task) });
        }
        let mut calls = Vec::new();
        for called in [&self.on_complete, &self.on_failure] {
            calls.push(match called {
                None => None,
                Some(called) => {
                    let task = modules.task(client, &called.job.what).await?;
                    let job = NewJob { start: start(called.delay), ..called.job.job(client.job_id(), task) };
                    Some(Box::new(job))
                }
            });
        }
        let on_failure = calls.pop().flatten();
        let on_complete = calls.pop().flatten();
        Ok(NewBatch { label: self.label.clone(), on_complete, on_failure, open, ..NewBatch::new(id, jobs) })
    }
}

fn start(delay: Option<Duration>) -> Start {
    delay.map_or(Start::Now, |delay| Start::AfterMs(value::milliseconds(delay)))
}

impl WrittenCall {
    fn called(mut self, source: &Source, path: &[&str]) -> Result<Called, ConfigError> {
        let mut job = self.take_job().spec(source, path)?;
        if job.options.unique.is_some() {
            let message = "a job that is called has no unique key: it is enqueued once anyway";
            return Err(source.invalid(&[path, &["unique"]].concat(), message));
        }
        job.options = Options { label: self.label, ..job.options };
        Ok(Called { job, delay: self.delay })
    }
}

impl WrittenStep {
    fn step(mut self, source: &Source, name: &str, places: &HashMap<&str, usize>) -> Result<Step, ConfigError> {
        let path = ["jobs", name];
        let label = Label::new(name).map_err(|error| source.invalid(&path, format!("{name:?}: {error}")))?;
        let mut job = self.take_job().spec(source, &path)?;
        job.options = Options { label: Some(label), ..job.options };
        let invalid = |key: &str, message: String| source.invalid(&["jobs", name, key], message);
        let mut after = Vec::new();
        for before in &self.after {
            let Some(place) = places.get(before.as_str()) else {
                let meant = nearest(before, places.keys().copied()).map(|meant| format!("; did you mean `{meant}`?"));
                return Err(invalid("after", format!("no job here is called `{before}`{}", meant.unwrap_or_default())));
            };
            if after.contains(place) {
                return Err(invalid("after", format!("`{before}` is named twice")));
            }
            after.push(*place);
        }
        if after.is_empty() && self.on_failure.is_some() {
            return Err(invalid("on_failure", "it comes after no job that could fail: `after` is missing".to_owned()));
        }
        Ok(Step { job, delay: self.delay, after, on_failure: self.on_failure.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::command::work::What;

    fn parse(text: &str) -> Result<Workflow, ConfigError> {
        Workflow::parse(&Source::from_text("corpus.toml", text))
    }

    fn label(step: &Step) -> &str {
        step.job.options.label.as_ref().unwrap().as_str()
    }

    #[test]
    fn jobs_are_in_the_order_of_the_file_and_know_what_they_come_after() {
        let workflow = parse(
            "label = \"corpus\"\n[on_complete]\ntask = \"notify\"\nqueue = \"mail\"\ndelay = \"5s\"\nlabel = \"done\"\n\
             [jobs.split]\nmodule = \"split\"\npayload = \"text\"\n\
             [jobs.part-10]\ntask = \"count\"\nafter = [\"split\"]\non_failure = \"run\"\ndelay = \"1m\"\npriority = 2\n\
             [jobs.part-2]\ntask = \"count\"\nafter = [\"split\", \"part-10\"]\n\
             [on_failure]\ntask = \"alarm\"\n",
        )
        .unwrap();
        assert_eq!(workflow.label, Some("corpus".parse().unwrap()));
        assert_eq!(workflow.steps.iter().map(label).collect::<Vec<_>>(), ["split", "part-10", "part-2"]);
        assert_eq!(
            workflow.steps.iter().map(|step| step.after.clone()).collect::<Vec<_>>(),
            [vec![], vec![0], vec![0, 1]]
        );
        let step = &workflow.steps[1];
        assert_eq!((step.on_failure, step.delay), (OnFailure::Run, Some(Duration::from_secs(60))));
        assert_eq!(step.job.options.priority, Some(2));
        assert_eq!(workflow.steps[0].job.what, What::Module("split".parse().unwrap()));
        let called = workflow.on_complete.unwrap();
        assert_eq!((called.job.queue.as_str(), called.delay), ("mail", Some(Duration::from_secs(5))));
        assert_eq!(called.job.options.label, Some("done".parse().unwrap()));
        assert_eq!(workflow.on_failure.unwrap().job.what, What::Task("alarm".parse().unwrap()));
        assert_eq!(parse("").unwrap(), Workflow::default());
    }

    #[test]
    fn every_error_names_file_line_key_and_what_was_meant() {
        let jobs = |rest: &str| format!("[jobs.split]\ntask = \"t\"\n[jobs.count]\ntask = \"t\"\n{rest}");
        for (text, words) in [
            (jobs("after = [\"splt\"]\n"), &["line 5", "jobs.count.after", "`splt`", "did you mean `split`?"][..]),
            (jobs("after = [\"zebra\"]\n"), &["line 5", "jobs.count.after", "no job here is called `zebra`"]),
            (jobs("after = [\"split\", \"split\"]\n"), &["line 5", "jobs.count.after", "`split` is named twice"]),
            (jobs("after = \"split\"\n"), &["line 5", "jobs.count.after", "split"]),
            (jobs("afetr = [\"split\"]\n"), &["line 5", "jobs.count.afetr", "did you mean `after`?"]),
            (jobs("on_failure = \"run\"\n"), &["line 5", "jobs.count.on_failure", "`after` is missing"]),
            (
                jobs("after = [\"split\"]\non_failure = \"wiat\"\n"),
                &["line 6", "jobs.count.on_failure", "did you mean \"wait\"?"],
            ),
            (jobs("after = [\"count\"]\n"), &["line 5", "jobs.count.after", "`count` comes after `count`"]),
            (jobs("delay = \"400days\"\n"), &["line 5", "jobs.count.delay", "366 d"]),
            (jobs("[jobs.\"a b\"]\ntask = \"t\"\n"), &["line 5", "jobs.a b", "letters, digits"]),
            (jobs("[jobs.empty]\n"), &["line 5", "jobs.empty", "`module` or `task` is missing"]),
            (jobs("[job.x]\ntask = \"t\"\n"), &["line 5", "`job`", "did you mean `jobs`?"]),
            (jobs("[on_complete]\ntask = \"t\"\nafter = []\n"), &["line 7", "on_complete.after", "unknown field"]),
            (jobs("[on_complete]\ntask = \"t\"\nunique = \"k\"\n"), &["line 7", "on_complete.unique", "no unique key"]),
            (jobs("[on_complet]\ntask = \"t\"\n"), &["line 5", "on_complet", "did you mean `on_complete`?"]),
            ("label = \"a b\"\n".to_owned(), &["line 1", "`label`", "letters, digits"]),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            for word in words.iter().chain(&["corpus.toml"]) {
                assert!(error.contains(word), "{word:?} is not in {error:?} for {text:?}");
            }
        }
    }

    #[test]
    fn a_cycle_is_told_step_by_step() {
        let error = parse(
            "[jobs.a]\ntask = \"t\"\n[jobs.b]\ntask = \"t\"\nafter = [\"a\", \"d\"]\n[jobs.c]\ntask = \"t\"\n\
             after = [\"b\"]\n[jobs.d]\ntask = \"t\"\nafter = [\"c\"]\n[jobs.e]\ntask = \"t\"\nafter = [\"d\"]\n",
        )
        .unwrap_err()
        .to_string();
        let told = "key `jobs.b.after`: this is a cycle: `b` comes after `d`, `d` comes after `c`, `c` comes after `b`";
        assert!(error.contains("line 5") && error.ends_with(told), "{error}");
    }

    #[test]
    fn more_than_one_request_takes_is_refused() {
        let jobs = |count: usize| (0..count).map(|n| format!("[jobs.j{n}]\ntask = \"t\"\n")).collect::<String>();
        assert_eq!(parse(&jobs(BULK_JOBS_MAX)).unwrap().steps.len(), BULK_JOBS_MAX);
        let error = parse(&jobs(BULK_JOBS_MAX + 1)).unwrap_err().to_string();
        assert!(error.contains("`jobs`") && error.contains("1001 jobs are more than the 1000"), "{error}");
    }

    #[test]
    fn the_sample_is_right_and_holds_every_key_of_its_own() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/workflow.toml");
        let workflow = Workflow::read(&sample).unwrap();
        assert!(workflow.label.is_some() && workflow.on_complete.is_some() && workflow.on_failure.is_some());
        assert!(workflow.steps.iter().any(|step| step.after.len() > 1));
        assert!(workflow.steps.iter().any(|step| step.delay.is_some()));
        assert!(workflow.steps.iter().any(|step| step.on_failure != OnFailure::Wait));
    }
}
