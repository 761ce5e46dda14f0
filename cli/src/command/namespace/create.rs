//! `jobraft namespace create`: makes a namespace.

use super::quota::QuotaArgs;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::Namespace;

/// Make a namespace, with a quota
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft namespace create acme
  jobraft namespace create acme --max-jobs 100000 --max-bytes 1GiB --max-queues 20 --max-modules 50 --rate 1000/1s")]
pub(super) struct CreateArgs {
    /// Its name, which no other has or had
    name: Namespace,
    #[command(flatten)]
    quota: QuotaArgs,
}

impl CreateArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let quota = self.quota.settings()?;
        let client = connection.client().await?;
        let name = self.name;
        let created = client.create_namespace(name.clone(), quota).await;
        created.map_err(|error| failed(format!("create namespace {name}"), &error))?;
        Output::new().line(format!("created namespace {name}"))
    }
}
