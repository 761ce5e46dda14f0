//! `jobraft batch seal`: no more jobs from outside.

use super::refused;
use super::view::{BatchJson, counts};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::BatchId;

/// Let an open batch take no more jobs, but those that its own jobs enqueue: it ends when none lives
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft batch seal 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft batch seal 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --json | jq -r .state")]
pub(super) struct SealArgs {
    /// The batch
    id: BatchId,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl SealArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let sealed = client.seal_batch(self.id).await;
        let batch = sealed.map_err(|error| refused(format!("seal batch {}", self.id), &error))?;
        let output = Output::new();
        if self.json {
            return output.json(&BatchJson::from(&batch));
        }
        output.line(format!("batch {} is sealed and {}; its jobs: {}", batch.id, batch.state, counts(&batch)))
    }
}
