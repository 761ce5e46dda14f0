//! `jobraft secret reseal`: puts all secrets under the key that comes first.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;

/// Seal all secrets anew under the first key of the leader's [secrets] key_file, and say which that is
///
/// To change keys: add a new one as a further line of each node's file and restart the nodes, so that all can open what it
/// seals; make it the first line on each, and restart them again; reseal, and see that it names the new one, as `jobraft storage
/// keygen` did; then take the former one out of the files.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  jobraft secret reseal")]
pub(super) struct ResealArgs {}

impl ResealArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let key = client.reseal_secrets().await.map_err(|error| failed("reseal the secrets", &error))?;
        Output::new().line(format!("all secrets are sealed under key {key}"))
    }
}
