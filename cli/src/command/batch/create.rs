//! `jobraft batch create`: a batch of jobs, from a file or from flags.

use super::view::BatchJson;
use super::wait;
use super::workflow::{Called, Step, Workflow};
use crate::command::job::payload;
use crate::command::work::{JobSpec, OptionArgs, Options, What, WhatArgs};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::{ArgGroup, Args};
use jobraft_protocol::{BatchId, Label, ModuleRef, OnFailure, QueueName, TaskName};
use std::path::{Path, PathBuf};

/// Create a batch: jobs that are looked at together. Prints its id
///
/// A workflow file says which jobs there are and which come after which; flags make one job for each payload. All of them are
/// enqueued, or none.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").args(["module", "task"]), after_help = "\
Examples:
  jobraft batch create -f config/workflow.toml
  jobraft batch create -f config/workflow.toml --wait
  jobraft batch create --module wordcount --file a.md --file b.md --on-complete-task notify
  jobraft batch create --open --label import

An open batch takes more jobs with `jobraft job enqueue --batch ID`, until `jobraft batch seal ID`.")]
pub(super) struct CreateArgs {
    /// A file that describes a workflow
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with_all = [
        "what", "queue", "payload", "files", "label", "HowArgs", "UniqueArgs", "CallArgs",
    ])]
    workflow: Option<PathBuf>,
    #[command(flatten)]
    what: WhatArgs,
    /// The payload; `-` reads it from stdin [default: empty]
    #[arg(requires = "what")]
    payload: Option<String>,
    /// A file to read a payload from; repeat it for more jobs, which are called like their files
    #[arg(long = "file", value_name = "FILE", conflicts_with = "payload", requires = "what")]
    files: Vec<PathBuf>,
    /// What the batch is called
    #[arg(long, value_name = "NAME")]
    label: Option<Label>,
    /// Let it take more jobs, until it is sealed
    #[arg(long, conflicts_with = "wait")]
    open: bool,
    /// The batch's id, to make a creation that can be repeated: a UUIDv7 of the last few minutes
    #[arg(long)]
    id: Option<BatchId>,
    /// Wait until it has ended
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    // With headings of their own: what follows such a part would stand under its heading.
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    calls: CallArgs,
}

/// What is enqueued when something becomes of it.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Callbacks")]
struct CallArgs {
    /// The task to run once all jobs have completed
    #[arg(long, value_name = "NAME")]
    on_complete_task: Option<TaskName>,
    /// The module to run once all jobs have completed
    #[arg(long, value_name = "NAME|sha256:…", conflicts_with = "on_complete_task")]
    on_complete_module: Option<ModuleRef>,
    /// The task to run, once, when the first job ends otherwise
    #[arg(long, value_name = "NAME")]
    on_failure_task: Option<TaskName>,
    /// The module to run, once, when the first job ends otherwise
    #[arg(long, value_name = "NAME|sha256:…", conflicts_with = "on_failure_task")]
    on_failure_module: Option<ModuleRef>,
    /// The queue of these [default: that of the jobs]
    #[arg(long, value_name = "QUEUE")]
    callback_queue: Option<QueueName>,
}

impl CreateArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let workflow = self.workflow()?;
        let client = connection.client().await?;
        let id = self.id.unwrap_or_else(|| client.batch_id());
        let batch = workflow.batch(&client, id, self.open).await?;
        let created = client.create_batch(batch).await.map_err(|error| failed(format!("create batch {id}"), &error))?;
        let output = Output::new();
        match (self.wait, self.json) {
            (true, json) => {
                if !json {
                    output.line(id)?;
                }
                wait::until_ended(&client, id, None, json).await
            }
            (false, true) => output.json(&BatchJson::from(&created)),
            (false, false) => output.line(id),
        }
    }

    fn workflow(&self) -> Result<Workflow, Failure> {
        if let Some(file) = &self.workflow {
            return Workflow::read(file).map_err(|error| Failure::usage("read the workflow", error));
        }
        let doing = "create a batch";
        let steps = match self.what.what() {
            Some(what) => self.steps(&what)?,
            None if self.open => Vec::new(),
            None => {
                let cause = "neither -f nor --module nor --task says which jobs are in it";
                return Err(
                    Failure::usage(doing, cause).hint("--open creates one without jobs, which takes some later")
                );
            }
        };
        let workflow = Workflow {
            label: self.label.clone(),
            on_complete: self.called(&self.calls.on_complete_module, &self.calls.on_complete_task),
            on_failure: self.called(&self.calls.on_failure_module, &self.calls.on_failure_task),
            steps,
        };
        workflow.check_size().map_err(|fault| {
            Failure::usage(doing, fault)
                .hint("create it with --open, enqueue with `job enqueue --batch ID`, then `batch seal ID`")
        })?;
        Ok(workflow)
    }

    /// A job for each payload.
    fn steps(&self, what: &What) -> Result<Vec<Step>, Failure> {
        let payloads = payload::each(self.payload.as_deref(), &self.files)?;
        let steps = payloads.into_iter().enumerate().map(|(place, payload)| {
            let label = self.files.get(place).and_then(|file| called_like(file));
            let options = Options { label, ..self.options.options() };
            let job = JobSpec { queue: self.what.queue.clone(), what: what.clone(), payload, options };
            Step { job, delay: None, after: Vec::new(), on_failure: OnFailure::Wait }
        });
        Ok(steps.collect())
    }

    fn called(&self, module: &Option<ModuleRef>, task: &Option<TaskName>) -> Option<Called> {
        let what = What::of(module.as_ref(), task.as_ref())?;
        let queue = self.calls.callback_queue.as_ref().unwrap_or(&self.what.queue).clone();
        let job = JobSpec { queue, what, payload: Default::default(), options: Options::default() };
        Some(Called { job, delay: None })
    }
}

/// The label of the job of a file, if its name can be one.
fn called_like(file: &Path) -> Option<Label> {
    Label::new(file.file_name()?.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_called_like_its_file_where_that_is_a_label() {
        let label = |file: &str| called_like(Path::new(file)).map(|label| label.to_string());
        assert_eq!(label("dir/a.md"), Some("a.md".to_owned()));
        assert_eq!(label("dir/my file.md"), None);
        assert_eq!(label(".."), None);
    }
}
