//! `jobraft secret delete`: removes secrets.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::SecretName;

/// Remove secrets; jobs that run already keep what they were given
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  jobraft secret delete STRIPE_KEY\n  jobraft secret delete STRIPE_KEY DB_PASSWORD")]
pub(super) struct DeleteArgs {
    /// Which
    #[arg(required = true, value_name = "NAME")]
    names: Vec<SecretName>,
}

impl DeleteArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let output = Output::new();
        let mut outcomes = Vec::new();
        for name in self.names {
            let deleted = client.delete_secret(name.clone()).await;
            let deleted = deleted.map_err(|error| failed(format!("delete secret {name}"), &error));
            outcomes.push(deleted.and_then(|()| output.line(format!("deleted secret {name}"))));
        }
        Failure::of_all(outcomes)
    }
}
