//! `jobraft queue set`: limits and retention of one queue.

use super::find;
use crate::command::confirm::confirm;
use crate::command::settings::{self, Change, changes, forgotten};
use crate::command::value::{self, OrDefault};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Output, human};
use clap::Args;
use jobraft_protocol::{QueueName, QueueSetting, Retention};

/// Set how many jobs may wait in a queue and how long jobs are kept after their end
///
/// What is not named stays as it is; `default` goes back to the default. A queue that is not there is made.
/// Jobs that a shorter retention forgets are gone for ever: that is asked about.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue set emails --max-jobs 100000 --max-bytes 256MiB
  jobraft queue set emails --keep-completed 1h,10000 --keep-dead 90d --yes
  jobraft queue set emails --max-jobs default")]
pub(super) struct SetArgs {
    /// The queue
    name: QueueName,
    #[command(flatten)]
    wishes: Wishes,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Wishes {
    /// How many jobs may wait
    #[arg(long, value_name = "N|default", value_parser = value::count_or_default)]
    max_jobs: Option<OrDefault<u64>>,
    /// How many bytes waiting jobs may hold (payloads, and what earlier attempts left), such as 256MiB
    #[arg(long, value_name = "SIZE|default", value_parser = value::size_or_default)]
    max_bytes: Option<OrDefault<u64>>,
    /// How long completed jobs are kept, such as 1h, and how many at most: 1h,1000
    #[arg(long, value_name = "DURATION[,COUNT]|default", value_parser = value::retention_or_default)]
    keep_completed: Option<OrDefault<Retention>>,
    /// How long dead jobs are kept
    #[arg(long, value_name = "DURATION[,COUNT]|default", value_parser = value::retention_or_default)]
    keep_dead: Option<OrDefault<Retention>>,
    /// How long cancelled jobs are kept
    #[arg(long, value_name = "DURATION[,COUNT]|default", value_parser = value::retention_or_default)]
    keep_cancelled: Option<OrDefault<Retention>>,
    /// How long expired jobs are kept
    #[arg(long, value_name = "DURATION[,COUNT]|default", value_parser = value::retention_or_default)]
    keep_expired: Option<OrDefault<Retention>>,
}

impl Wishes {
    /// As settings, each within its domain.
    fn settings(&self) -> Result<Vec<QueueSetting>, Failure> {
        let Self { max_jobs, max_bytes, keep_completed, keep_dead, keep_cancelled, keep_expired } = self;
        let settings = [
            max_jobs.map(|wish| QueueSetting::DepthMax(wish.0)),
            max_bytes.map(|wish| QueueSetting::BytesMax(wish.0)),
            keep_completed.map(|wish| QueueSetting::KeepCompleted(wish.0)),
            keep_dead.map(|wish| QueueSetting::KeepDead(wish.0)),
            keep_cancelled.map(|wish| QueueSetting::KeepCancelled(wish.0)),
            keep_expired.map(|wish| QueueSetting::KeepExpired(wish.0)),
        ];
        let settings: Vec<QueueSetting> = settings.into_iter().flatten().collect();
        for setting in &settings {
            setting.check().map_err(|error| Failure::usage("read what to set", error))?;
        }
        Ok(settings)
    }
}

impl SetArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let wishes = self.wishes.settings()?;
        let client = connection.client().await?;
        let now = find(&client, &self.name).await?;
        let changes = changes(&self.name, now.as_ref(), &wishes);
        let output = Output::new();
        let gone = now.as_ref().map_or(0, |queue| forgotten(queue, &wishes));
        if gone > 0 {
            let jobs = human::count(usize::try_from(gone).unwrap_or(usize::MAX), "ended job");
            confirm(&format!("forget up to {jobs} of queue {} for ever", self.name), self.yes)?;
        }
        if !changes.is_empty() {
            let settings = settings::wishes(&changes)?;
            client.configure(settings).await.map_err(|error| failed(format!("set queue {}", self.name), &error))?;
        }
        if self.json {
            return output.json(&changes);
        }
        if changes.is_empty() {
            return output.line("nothing to change");
        }
        changes.iter().map(Change::told).try_for_each(|line| output.line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_outside_its_domain_is_refused_by_name() {
        let wishes = Wishes {
            max_jobs: Some(OrDefault(Some(0))),
            max_bytes: None,
            keep_completed: None,
            keep_dead: None,
            keep_cancelled: None,
            keep_expired: None,
        };
        let failure = wishes.settings().expect_err("no queue can be without room");
        assert!(failure.to_string().contains("depth_max 0 is not in 1..="), "{failure}");
    }
}
