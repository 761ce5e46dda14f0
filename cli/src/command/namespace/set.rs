//! `jobraft namespace set`: changes the quota of a namespace.

use super::quota::{QuotaArgs, told};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{Consistency, Namespace};

/// Change how much a namespace may have
///
/// What it has beyond a lower quota it keeps; nothing is added until there is room.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft namespace set acme --max-jobs 500000 --rate default
  jobraft namespace set default --max-jobs 1000000")]
pub(super) struct SetArgs {
    /// Which
    name: Namespace,
    #[command(flatten)]
    quota: QuotaArgs,
}

impl SetArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let (name, quota) = (self.name, self.quota.settings()?);
        if quota.is_empty() {
            return Err(Failure::usage(format!("set namespace {name}"), "nothing says what to set")
                .hint("name a part of the quota, such as --max-jobs 100000"));
        }
        let client = connection.client().await?;
        let set = client.set_namespace(name.clone(), quota).await;
        set.map_err(|error| failed(format!("set namespace {name}"), &error))?;
        let read = client.namespaces(Consistency::Linearizable).await;
        let namespaces = read.map_err(|error| failed("list namespaces", &error))?;
        let now = namespaces.iter().find(|namespace| namespace.name == name);
        let quota = now.map_or_else(String::new, |namespace| format!(": {}", told(&namespace.quota)));
        Output::new().line(format!("namespace {name}{quota}"))
    }
}
