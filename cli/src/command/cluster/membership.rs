//! `jobraft cluster add`, `remove` and `transfer-leader`: changes that a majority agrees on.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{NodeAddress, NodeId};

fn node_id() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// Add a node that runs with an empty data directory and without initial members
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft cluster add 4 127.0.0.1:7404
  jobraft cluster add 5 node5.example:7400 --learner")]
pub(super) struct AddArgs {
    /// Its id, never used before in this cluster
    #[arg(value_parser = node_id())]
    id: u64,
    /// Where it is reached
    address: NodeAddress,
    /// It shall receive everything but have no vote
    #[arg(long)]
    learner: bool,
}

impl AddArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let (id, address) = (self.id, self.address);
        let added = client.add_node(NodeId(id), address.clone(), self.learner).await;
        added.map_err(|error| failed(format!("add node {id} at {address}"), &error))?;
        let output = Output::new();
        let role = if self.learner { "a learner" } else { "a voter" };
        output.line(format!("{} node {id} at {address}: it is {role} now", output.paint().good("added")))
    }
}

/// Remove a node; do not use its id again
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  jobraft cluster remove 1")]
pub(super) struct RemoveArgs {
    /// Its id
    #[arg(value_parser = node_id())]
    id: u64,
}

impl RemoveArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let id = self.id;
        client.remove_node(NodeId(id)).await.map_err(|error| failed(format!("remove node {id}"), &error))?;
        let output = Output::new();
        output.line(format!("{} node {id}: stop it and delete its data directory", output.paint().good("removed")))
    }
}

/// Hand leadership over to another node
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft cluster transfer-leader
  jobraft cluster transfer-leader 2")]
pub(super) struct TransferLeaderArgs {
    /// To whom [default: the voter that is furthest]
    #[arg(value_parser = node_id())]
    id: Option<u64>,
}

impl TransferLeaderArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let leader = client.transfer_leader(self.id.map(NodeId)).await;
        let leader = leader.map_err(|error| failed("hand leadership over", &error))?;
        let output = Output::new();
        output.line(format!("node {} leads now", output.paint().strong(leader)))
    }
}
