//! `jobraft secret reseal`: puts all secrets under the key that comes first.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;

/// Seal all secrets anew under the first key of the nodes' [secrets] key_file
///
/// To change keys: put a new one first in each node's file, the former one below it; restart the nodes, one after the other;
/// reseal; then take the former key out of the files.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  jobraft secret reseal")]
pub(super) struct ResealArgs {}

impl ResealArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        client.reseal_secrets().await.map_err(|error| failed("reseal the secrets", &error))?;
        Output::new().line("all secrets are sealed under the first key")
    }
}
