//! A node's certificate runs out while it runs.
//!
//! It is issued by `jobraft certs issue` under a clock that is almost a day slow, so that it is valid for a moment only.
//! Connections that are there go on; new ones are refused, and so is a new start, which names the file. Renewed, all is well.

use crate::real::Cluster;
use crate::real::clock::Clock;
use crate::real::process;
use crate::real::verdict::Trouble;
use jobraft_sdk::{Client, ConnectFailure, SdkError};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Enough for a node to start and catch up on a busy machine.
const VALID_MS: i64 = 15_000;
const TIMEOUT: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(500);

/// Makes the authority, two days ago by its clock: certificates can then be issued that run out soon.
///
/// # Errors
/// If the tool fails.
pub(super) fn found_authority(jobraft: &Path, certs: &Path, past: &Clock) -> Result<(), Trouble> {
    let mut command = Command::new(jobraft);
    command.args(["certs", "init", "--dir"]).arg(certs);
    past.shift(-2 * DAY_MS)?;
    past.give(&mut command);
    finish(command, "make a certificate authority")
}

/// Lets the certificate of a node run out, and renews it.
///
/// # Errors
/// A violation if a connection or a start is not refused, or the node does not come back.
pub(super) async fn run_out(cluster: &mut Cluster, node: u64, client: &Client) -> Result<(), Trouble> {
    cluster.kill(&[node])?;
    issue(cluster, node, VALID_MS - DAY_MS)?;
    let issued = Instant::now();
    cluster.start(node)?;
    cluster.caught_up(&[node], client, TIMEOUT).await?;
    let left = Duration::from_millis(VALID_MS.unsigned_abs() + 2_000).saturating_sub(issued.elapsed());
    tokio::time::sleep(left).await;
    refused_to_clients(cluster, node).await?;

    cluster.kill(&[node])?;
    let told_before = std::fs::metadata(cluster.log_file(node)).map_or(0, |log| log.len());
    cluster.start(node)?;
    let status = cluster.end_of(node, TIMEOUT, "its certificate has run out").await?;
    let log = std::fs::read(cluster.log_file(node)).unwrap_or_default();
    let told = String::from_utf8_lossy(log.get(usize::try_from(told_before).unwrap_or(0)..).unwrap_or_default());
    if status.success() || !told.contains("expired") || !told.contains(&format!("node-{node}.crt")) {
        let last = process::tail(&cluster.log_file(node), 3);
        return Err(Trouble::Violation(format!(
            "node {node} ended ({status}) and does not name its certificate: {last}"
        )));
    }
    issue(cluster, node, 0)?;
    cluster.start(node)?;
    cluster.caught_up(&[node], client, TIMEOUT).await
}

/// A client that comes anew is not let believe that this is the node.
async fn refused_to_clients(cluster: &Cluster, node: u64) -> Result<(), Trouble> {
    let mut config = cluster.client_config().connect_timeout(Duration::from_secs(2));
    config.endpoints = vec![cluster.address(node)];
    let begun = Instant::now();
    loop {
        let said = match Client::connect(config.clone()).await {
            Ok(client) => {
                client.close().await;
                let why = format!("node {node} serves new connections with a certificate that has run out");
                return Err(Trouble::Violation(why));
            }
            Err(SdkError::Unreachable(tried))
                if tried.iter().any(|one| matches!(one.failure, ConnectFailure::NodeCertificate(_))) =>
            {
                return Ok(());
            }
            Err(error) => error,
        };
        if begun.elapsed() > TIMEOUT {
            let why = format!("node {node} has a certificate that has run out, and clients are told otherwise: {said}");
            return Err(Trouble::Violation(why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Issues a certificate for one day, as if now were so much later.
fn issue(cluster: &Cluster, node: u64, later_ms: i64) -> Result<(), Trouble> {
    let clock = cluster.clock(node).ok_or_else(|| Trouble::Machine(format!("node {node} has no clock of its own")))?;
    let host = cluster.host(node).to_string();
    let mut command = Command::new(cluster.jobraft());
    command.args(["certs", "issue", "node", &node.to_string(), "--host", &host, "--days", "1", "--replace", "--dir"]);
    command.arg(cluster.certs());
    clock.shift(later_ms)?;
    clock.give(&mut command);
    let issued = finish(command, "issue a certificate");
    clock.shift(0)?;
    issued
}

fn finish(mut command: Command, doing: &str) -> Result<(), Trouble> {
    let output = command.output().map_err(|error| Trouble::machine(doing, error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Trouble::machine(doing, String::from_utf8_lossy(&output.stderr).trim()))
}
