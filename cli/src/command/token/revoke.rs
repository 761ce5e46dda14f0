//! `jobraft token revoke`: removes a token.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::TokenName;

/// Remove tokens: their secrets cease to count at once, and connections that showed them are closed
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  jobraft token revoke ci\n  jobraft token revoke ci grafana")]
pub(super) struct RevokeArgs {
    /// Which
    #[arg(required = true, value_name = "NAME")]
    names: Vec<TokenName>,
}

impl RevokeArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let output = Output::new();
        let mut outcomes = Vec::new();
        for name in self.names {
            let revoked = client.revoke_token(name.clone()).await;
            let revoked = revoked.map_err(|error| failed(format!("revoke token {name}"), &error));
            outcomes.push(revoked.and_then(|()| output.line(format!("revoked token {name}"))));
        }
        Failure::of_all(outcomes)
    }
}
