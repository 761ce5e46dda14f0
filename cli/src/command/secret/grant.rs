//! `jobraft secret grant`: says to whose jobs a secret is given.

use super::granted::GrantedArgs;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::SecretName;

/// Say to the jobs of which modules, in which queues, a secret is given, instead of what was said before
///
/// A name stands for what it points to, and for what it pointed to when a job was enqueued: who may move the name decides what
/// gets the secret. Who may both enqueue and work in one of the queues can have it, too. Without a module nothing gets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft secret grant STRIPE_KEY --module billing --module refunds --queue 'payments/*'
  jobraft secret grant STRIPE_KEY")]
pub(super) struct GrantArgs {
    /// Which
    name: SecretName,
    #[command(flatten)]
    granted: GrantedArgs,
}

impl GrantArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let Self { name, granted } = self;
        let grant = granted.grant();
        let to = grant.to_string();
        let client = connection.client().await?;
        let granted = client.grant_secret(name.clone(), grant).await;
        granted.map_err(|error| failed(format!("grant secret {name}"), &error))?;
        Output::new().line(format!("secret {name} is given to {to}"))
    }
}
