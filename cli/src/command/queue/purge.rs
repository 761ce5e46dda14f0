//! `jobraft queue purge`: deletes a queue's jobs.

use super::existing;
use crate::command::bulk::Deed;
use crate::command::value;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::{JobAction, JobFilter, JobState, QueueName};

/// What waits for a worker or for its time.
const DEFAULT_STATES: [JobState; 2] = [JobState::Scheduled, JobState::Ready];

/// Delete a queue's jobs: those that wait, unless told otherwise
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue purge reports
  jobraft queue purge reports --state dead,expired --yes")]
pub(super) struct PurgeArgs {
    /// The queue
    name: QueueName,
    /// Jobs in this state; repeat it, or separate several by commas [default: scheduled,ready]
    #[arg(long = "state", short, value_delimiter = ',', value_name = "STATE", value_parser = value::state())]
    states: Vec<JobState>,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl PurgeArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let states = if self.states.is_empty() { DEFAULT_STATES.to_vec() } else { self.states };
        let deed = Deed { action: JobAction::Delete, yes: self.yes, json: self.json };
        deed.check(&states)?;
        let client = connection.client().await?;
        existing(&client, &self.name).await?;
        let filter = JobFilter { queues: vec![self.name], states, ..JobFilter::default() };
        deed.to_matching(&client, filter).await
    }
}
