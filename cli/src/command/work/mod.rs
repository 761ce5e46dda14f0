//! A job before it is one: what it runs, with what, and how, as flags ([`args`]) and files ([`keys`]) describe it.
//!
//! Both come to the same [`JobSpec`]. Nothing here asks the cluster but [`Modules`], which finds out once what a module's
//! name stands for, so that all jobs of one command run the same bytes.

mod args;
pub(super) mod keys;

pub(super) use args::{OptionArgs, WhatArgs};
pub(super) use keys::JobKeys;

use crate::connection::failed;
use crate::failure::Failure;
use bytes::Bytes;
use jobraft_protocol::{
    Backoff, Digest, GroupKey, JobId, JobTemplate, Label, LogTime, ModuleName, ModuleRef, NewJob, QueueName, Start,
    Task, TaskName, Unique,
};
use jobraft_sdk::Client;
use std::collections::HashMap;

/// What a job runs, as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A module, by a name that may come to stand for another one.
    Module(ModuleRef),
    /// A task of a worker's program.
    Task(TaskName),
}

impl What {
    /// What two flags name of which one may be given; `None` if neither is.
    pub(super) fn of(module: Option<&ModuleRef>, task: Option<&TaskName>) -> Option<Self> {
        module.cloned().map(Self::Module).or_else(|| task.cloned().map(Self::Task))
    }
}

/// A job as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobSpec {
    /// Where it waits.
    pub(super) queue: QueueName,
    /// What it runs.
    pub(super) what: What,
    /// Its input.
    pub(super) payload: Bytes,
    /// All that has a default.
    pub(super) options: Options,
}

/// What of a job has a default, each within its domain. Each field means what it does in `NewJob`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) priority: Option<u8>,
    pub(super) max_attempts: Option<u32>,
    pub(super) run_timeout_ms: Option<u64>,
    pub(super) ttl_ms: Option<u64>,
    pub(super) start_deadline_ms: Option<u64>,
    pub(super) backoff: Option<Backoff>,
    pub(super) max_crashes: Option<u32>,
    pub(super) unique: Option<Unique>,
    pub(super) group: Option<GroupKey>,
    pub(super) label: Option<Label>,
}

impl JobSpec {
    /// The job without what belongs to one time.
    pub(super) fn template(&self, task: Task) -> JobTemplate {
        let options = self.options.clone();
        let Options { priority, max_attempts, run_timeout_ms, ttl_ms, start_deadline_ms, .. } = options;
        let Options { backoff, max_crashes, unique, group, label, .. } = options;
        JobTemplate {
            priority,
            max_attempts,
            run_timeout_ms,
            ttl_ms,
            start_deadline_ms,
            backoff,
            max_crashes,
            unique,
            group,
            label,
            ..JobTemplate::new(self.queue.clone(), task, self.payload.clone())
        }
    }

    /// The job, to be run at once.
    pub(super) fn job(&self, id: JobId, task: Task) -> NewJob {
        NewJob { start: Start::Now, ..self.template(task).job(id, LogTime::ZERO) }
    }
}

/// What modules' names stand for, asked once for each.
#[derive(Debug, Default)]
pub(super) struct Modules {
    found: HashMap<ModuleName, Digest>,
}

impl Modules {
    /// The task; of a module its digest as it is now.
    pub(super) async fn task(&mut self, client: &Client, what: &What) -> Result<Task, Failure> {
        let name = match what {
            What::Task(task) => return Ok(Task::Handler(task.clone())),
            What::Module(ModuleRef::Digest(digest)) => return Ok(Task::Module(*digest)),
            What::Module(ModuleRef::Name(name)) => name,
        };
        if let Some(digest) = self.found.get(name) {
            return Ok(Task::Module(*digest));
        }
        let manifest = client.resolve_module(ModuleRef::Name(name.clone())).await;
        let digest = manifest.map_err(|error| failed(format!("find module {name}"), &error))?.digest;
        self.found.insert(name.clone(), digest);
        Ok(Task::Module(digest))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn nothing_that_was_asked_for_is_lost_on_the_way_to_a_job() {
        let options = Options {
            priority: Some(1),
            max_attempts: Some(2),
            run_timeout_ms: Some(3),
            ttl_ms: Some(4),
            start_deadline_ms: Some(5),
            backoff: Some(jobraft_sdk::parse_backoff("fixed:6s").unwrap()),
            max_crashes: Some(7),
            unique: Some(Unique {
                key: "k".parse().unwrap(),
                scope: Default::default(),
                on_conflict: Default::default(),
            }),
            group: Some("g".parse().unwrap()),
            label: Some("l".parse().unwrap()),
        };
        let what = What::Task("t".parse().unwrap());
        let spec = JobSpec { queue: "q".parse().unwrap(), what, payload: "p".into(), options: options.clone() };
        let id = JobId::new(LogTime::from_ms(9), [0; 10]);
        let job = spec.job(id, Task::Handler("t".parse().unwrap()));
        assert_eq!((job.id, job.queue.as_str(), &job.payload[..], job.start), (id, "q", &b"p"[..], Start::Now));
        let back = Options {
            priority: job.priority,
            max_attempts: job.max_attempts,
            run_timeout_ms: job.run_timeout_ms,
            ttl_ms: job.ttl_ms,
            start_deadline_ms: job.start_deadline_ms,
            backoff: job.backoff,
            max_crashes: job.max_crashes,
            unique: job.unique,
            group: job.group,
            label: job.label,
        };
        assert_eq!(back, options);
    }
}
