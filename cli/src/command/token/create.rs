//! `jobraft token create`: makes a token.

use super::secret::{SecretArgs, failed};
use crate::command::grant::{GrantArgs, roles_help};
use crate::command::value::{self, Lifetime};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::TokenName;

/// Make a token, and show its secret: this once, for the cluster keeps only its hash
#[derive(Args, Debug)]
#[command(after_help = concat!(roles_help!(), "
Examples:
  jobraft token create ci --role producer --queue 'builds/*' --out ci.token
  jobraft token create grafana --role viewer --expires-in 365d
  jobraft token create app --role producer --role worker --expires-in never --json"))]
pub(super) struct CreateArgs {
    /// Its name: whatever it owns or does is under token/NAME
    name: TokenName,
    #[command(flatten)]
    grant: GrantArgs,
    /// How long its secret counts, and each that takes its place: such as 12h or 90d, or never to end
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = value::lifetime)]
    expires_in: Lifetime,
    #[command(flatten)]
    secret: SecretArgs,
}

impl CreateArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let grant = self.grant.grant()?;
        let place = self.secret.prepare(false)?;
        let client = connection.client().await?;
        let what = format!("token {}: {grant}", self.name);
        let created = client.create_token(self.name.clone(), grant, self.expires_in.0).await;
        let again = format!("revoke {name} and create it again", name = self.name);
        let secret = created.map_err(|error| failed(format!("create token {}", self.name), &error, &again))?;
        place.take(&self.name, &secret, &what)
    }
}
