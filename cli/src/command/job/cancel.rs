//! `jobraft job cancel`: calls jobs off.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::JobId;

/// Call jobs off, whether they wait or run
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  jobraft job cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --reason 'sent by mistake'")]
pub(super) struct CancelArgs {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    /// Why; kept with the job
    #[arg(long, default_value = "")]
    reason: String,
}

impl CancelArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let output = Output::new();
        for id in self.ids {
            let cancelled = client.cancel(id, &self.reason).await;
            cancelled.map_err(|error| failed(format!("cancel job {id}"), &error))?;
            output.line(format!("{id} cancelled"))?;
        }
        Ok(())
    }
}
