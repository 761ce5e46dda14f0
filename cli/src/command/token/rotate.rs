//! `jobraft token rotate`: gives a token another secret.

use super::secret::{SecretArgs, failed};
use crate::command::value;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::human;
use clap::Args;
use jobraft_protocol::TokenName;
use std::time::Duration;

/// Give a token another secret, which counts as long as the first one did from its making
///
/// The secret that it has counts for a while more: replace it meanwhile wherever it is used. Programs that read it from a
/// file pick up the new one when they next connect.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft token rotate ci --out ci.token
  jobraft token rotate ci --grace 7d
  jobraft token rotate ci --grace 0s    (the old one is known to others)")]
pub(super) struct RotateArgs {
    /// Which
    name: TokenName,
    /// How long the secret that it has counts as well; the one before that ends at once
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = value::rotation_grace)]
    grace: Duration,
    #[command(flatten)]
    secret: SecretArgs,
}

impl RotateArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let place = self.secret.prepare(true)?;
        let client = connection.client().await?;
        let rotated = client.rotate_token(self.name.clone(), self.grace).await;
        let secret =
            rotated.map_err(|error| failed(format!("rotate token {}", self.name), &error, "rotate it again"))?;
        let until = match self.grace.is_zero() {
            true => "the old secret has ended".to_owned(),
            false => format!("the old secret ends within {}", human::duration(self.grace)),
        };
        place.take(&self.name, &secret, &format!("token {} is rotated, {until}", self.name))
    }
}
