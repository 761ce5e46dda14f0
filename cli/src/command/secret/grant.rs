//! `jobraft secret grant`: says to whose jobs a secret is given.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{ModuleRef, SecretName};

/// Say to the jobs of which modules a secret is given, instead of what was said before
///
/// A name stands for what it points to, and for what it pointed to when a job was enqueued: who may move the name decides what
/// gets the secret. Without a module nothing gets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft secret grant STRIPE_KEY --module billing --module refunds
  jobraft secret grant STRIPE_KEY")]
pub(super) struct GrantArgs {
    /// Which
    name: SecretName,
    /// A module, by name or by sha256: and its digest; repeat it for each
    #[arg(long = "module", value_name = "MODULE")]
    modules: Vec<ModuleRef>,
}

impl GrantArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let Self { name, modules } = self;
        let to = match modules.as_slice() {
            [] => "nothing".to_owned(),
            modules => modules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let client = connection.client().await?;
        let granted = client.grant_secret(name.clone(), modules).await;
        granted.map_err(|error| failed(format!("grant secret {name}"), &error))?;
        Output::new().line(format!("secret {name} is given to {to}"))
    }
}
