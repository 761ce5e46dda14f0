//! `jobraft node`: runs a node of a cluster until it is told to stop.

use super::block_on;
use crate::failure::Failure;
use crate::logging::LogArgs;
use crate::output::Output;
use crate::shutdown::Shutdown;
use clap::Args;
use jobraft_node::Node;
use jobraft_node::config::NodeConfig;
use jobraft_node::tls::Credentials;
use std::convert::Infallible;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run a node of a cluster
///
/// SIGTERM or Ctrl-C stops it in order: it hands leadership over, finishes what is under way and writes a checkpoint.
/// A second one stops it at once; nothing acknowledged is lost either way.
///
/// Certificates that were replaced are used within ten seconds, or at once after SIGHUP; no restart is needed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft node --config config/node-1.toml
  jobraft node --config config/node-1.toml --check
  JOBRAFT_LOG=info,jobraft_node::consensus=debug jobraft node --config config/node-1.toml")]
pub(super) struct NodeArgs {
    /// Its configuration; samples with comments are in `config/` of the repository
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Only check the configuration and the certificates
    #[arg(long)]
    check: bool,
    /// Stop when stdin ends
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl NodeArgs {
    pub(super) fn run(self, log: &LogArgs) -> Result<(), Failure> {
        let config = NodeConfig::load(&self.config).map_err(|error| Failure::usage("load the configuration", error))?;
        if self.check {
            return check(&self, &config);
        }
        log.init(&config.log)?;
        block_on(serve(config, self.exit_with_stdin))
    }
}

fn check(args: &NodeArgs, config: &NodeConfig) -> Result<(), Failure> {
    Credentials::load(&config.tls).map_err(|error| {
        let failure = Failure::from_error("load the certificates", &error);
        failure.exit(crate::failure::Exit::Usage)
    })?;
    let output = Output::new();
    output.line(format!(
        "{} is valid: node {} of cluster {}, at {}, data in {}",
        args.config.display(),
        config.node_id,
        config.cluster,
        config.advertise,
        config.data_dir.display()
    ))
}

async fn serve(config: NodeConfig, exit_with_stdin: bool) -> Result<(), Failure> {
    let mut shutdown = Shutdown::listen()?;
    let hang_up = signal(SignalKind::hangup()).map_err(|error| Failure::new("listen for signals", error))?;
    if exit_with_stdin {
        shutdown = shutdown.with_stdin();
    }
    let id = config.node_id;
    let node = tokio::select! {
        started = Node::start(config) => started.map_err(|error| Failure::from_error(format!("start node {id}"), &error))?,
        // What it has done so far is undone by nobody, and needs not be: a node can stop at any moment.
        _ = shutdown.requested() => return Ok(()),
    };
    tracing::info!(node = %id, listen = %node.listen_addr(), "node is up");
    let reason = tokio::select! {
        ended = node.stopped() => {
            return ended.map_err(|error| Failure::from_error(format!("keep node {id} running"), &error));
        }
        reason = shutdown.requested() => reason,
        never = obey(hang_up, &node) => match never {},
    };
    tracing::info!(node = %id, reason, "stopping; once more to stop at once");
    tokio::select! {
        () = node.shutdown() => tracing::info!(node = %id, "stopped"),
        reason = shutdown.requested() => tracing::warn!(node = %id, reason, "stopped at once"),
    }
    Ok(())
}

/// Has the node look at its certificates at each SIGHUP.
async fn obey(mut hang_up: Signal, node: &Node) -> Infallible {
    while hang_up.recv().await.is_some() {
        node.look_at_certificates();
    }
    // No more will come; the node runs on.
    std::future::pending().await
}
