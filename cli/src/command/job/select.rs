//! Which jobs a command acts on: those that are named, or those that match. Never both, and never all by oversight.

use crate::command::bulk::Deed;
use crate::command::filter::FilterArgs;
use crate::command::value;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::{JobAction, JobId};

/// Ids, or a filter.
#[derive(Args, Debug)]
pub(super) struct SelectArgs {
    /// The jobs; or say by a filter which
    #[arg(value_name = "ID", conflicts_with_all = ["matching", "all"])]
    ids: Vec<JobId>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All jobs with which it can be done
    #[arg(long, conflicts_with = "matching", help_heading = "Filter")]
    all: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl SelectArgs {
    /// Does it to them.
    pub(super) async fn act(self, connection: &ConnectionArgs, action: JobAction) -> Result<(), Failure> {
        let named = !self.ids.is_empty();
        if !named && !self.all && !self.filter.is_given() {
            return Err(Failure::usage("tell which jobs are meant", "neither ids nor a filter nor --all was given")
                .hint("such as an ID, `--queue emails --state dead`, or --all for every one of them"));
        }
        if action == JobAction::Delete && !named && !self.all && self.filter.states.is_empty() {
            return Err(Failure::usage("tell which jobs to delete", "the filter does not say in which state")
                .hint("such as --state dead, or --state scheduled,ready; each can be repeated"));
        }
        let deed = Deed { action, yes: self.yes, json: self.json };
        // Before connecting: what is wrong with these is wrong anywhere.
        deed.check(&self.filter.states)?;
        self.filter.filter(value::far_future())?;
        let client = connection.client().await?;
        if named {
            return deed.to_named(&client, &self.ids).await;
        }
        let filter = self.filter.filter(client.log_time())?;
        deed.to_matching(&client, filter).await
    }
}
