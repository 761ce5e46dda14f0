//! `jobraft namespace delete`: removes a namespace with all that is in it.

use crate::command::confirm::confirm;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::Namespace;

/// Remove a namespace with all that is in it, for ever
///
/// Its tokens cease to count, its schedules, batches, values, secrets and modules are gone, and so is what there was to read of
/// jobs that have ended. It is refused while a job of it lives: cancel those first. The name is not given again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job cancel --namespace acme --state ready --state scheduled --state blocked --state leased --yes
  jobraft namespace delete acme")]
pub(super) struct DeleteArgs {
    /// Which
    name: Namespace,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
}

impl DeleteArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let name = self.name;
        let doing = format!("delete namespace {name} with all that is in it, for ever");
        confirm(&doing, self.yes)?;
        let client = connection.client().await?;
        let deleted = client.delete_namespace(name.clone()).await;
        deleted.map_err(|error| failed(format!("delete namespace {name}"), &error))?;
        Output::new().line(format!("deleted namespace {name}"))
    }
}
