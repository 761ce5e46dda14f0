//! The cluster of a demo or a measurement: nodes and a worker, each a process, in a directory that goes away with them.
//!
//! The children hold one end of a pipe on stdin and stop when it closes: however this process ends, none outlives it.

use crate::connection::{Connection, Context, TOKEN, TOKEN_FILE};
use crate::failure::Failure;
use jobraft_node::tls::{CertificateAuthority, Overwrite, TlsError, TlsFiles};
use jobraft_protocol::{Grant, NodeAddress, NodeId};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The ids of the demo's nodes.
pub(super) const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// The client that the demo itself and its worker are.
const CLIENT: &str = "demo";
/// The certificates live as long as the demo; a day is the least.
const DAYS: u32 = 1;
/// Short, so that a job which was on its way to the worker when the leader died is given out again soon.
const LEASE: &str = "2s";
/// Lines of a child's log that are told when it ends too early.
const LOG_LINES: usize = 5;

/// The processes and their directory.
#[derive(Debug)]
pub(in crate::command) struct Processes {
    directory: TempDir,
    addresses: BTreeMap<NodeId, NodeAddress>,
    nodes: BTreeMap<NodeId, Child>,
    worker: Option<Child>,
}

impl Processes {
    /// Makes certificates and configurations for so many nodes, in a new directory in `parent` or where temporary files go;
    /// starts nothing yet.
    pub(in crate::command) fn prepare(nodes: usize, parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let directory = tempfile::Builder::new()
            .prefix("jobraft-demo-")
            .tempdir_in(&parent)
            .map_err(|error| Failure::new(format!("make a directory in {}", parent.display()), error))?;
        let addresses = free_addresses(nodes)?;
        let demo = Self { directory, addresses, nodes: BTreeMap::new(), worker: None };
        demo.make_certificates().map_err(|error| Failure::from_error("make certificates", &error))?;
        for &id in demo.addresses.keys() {
            let text = demo.node_toml(id);
            write(&demo.node_file(id), &text)?;
        }
        let context = Context::of(demo.endpoints(), demo.files());
        context.write(&demo.path("client.toml"))?;
        Ok(demo)
    }

    fn make_certificates(&self) -> Result<(), TlsError> {
        let directory = self.path("certs");
        let authority = CertificateAuthority::create(&directory, DAYS)?;
        for &id in self.addresses.keys() {
            let pair = authority.issue_node(id, &["127.0.0.1".to_owned()], DAYS)?;
            pair.write(&directory, &format!("node-{id}"), Overwrite::Refuse)?;
        }
        authority.issue_client(CLIENT, Grant::admin(), DAYS)?.write(&directory, CLIENT, Overwrite::Refuse)?;
        Ok(())
    }

    fn node_toml(&self, id: NodeId) -> String {
        let member = |(id, address): (&NodeId, &NodeAddress)| format!("{id} = \"{address}\"");
        let members: Vec<String> = self.addresses.iter().map(member).collect();
        format!(
            "[node]\nid = {id}\nlisten = \"{}\"\ndata_dir = \"node-{id}\"\n\
             [cluster]\nname = \"demo\"\ninitial_members = {{ {} }}\n\
             [tls]\nca = \"certs/ca.crt\"\ncert = \"certs/node-{id}.crt\"\nkey = \"certs/node-{id}.key\"\n",
            self.addresses[&id],
            members.join(", ")
        )
    }

    /// How clients reach the cluster.
    pub(in crate::command) fn connection(&self) -> Connection {
        Connection::of(self.endpoints(), self.files())
    }

    fn endpoints(&self) -> Vec<NodeAddress> {
        self.addresses.values().cloned().collect()
    }

    /// Who clients are.
    fn files(&self) -> TlsFiles {
        TlsFiles::in_directory(&self.path("certs"), CLIENT)
    }

    /// The address of a node.
    pub(in crate::command) fn address(&self, id: NodeId) -> &NodeAddress {
        &self.addresses[&id]
    }

    /// Where everything is.
    pub(in crate::command) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The nodes that run, and their processes.
    pub(in crate::command) fn nodes(&self) -> Vec<(NodeId, u32)> {
        self.nodes.iter().filter_map(|(id, child)| Some((*id, child.id()?))).collect()
    }

    /// Starts all nodes.
    pub(in crate::command) fn start_nodes(&mut self) -> Result<(), Failure> {
        let ids: Vec<NodeId> = self.addresses.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.start_node(id))
    }

    /// Starts a node that does not run.
    pub(in crate::command) fn start_node(&mut self, id: NodeId) -> Result<(), Failure> {
        let file = self.node_file(id);
        let child = self.spawn(&format!("node-{id}"), |command| command.arg("node").arg("--config").arg(file))?;
        self.nodes.insert(id, child);
        Ok(())
    }

    /// Starts the worker.
    pub(in crate::command) fn start_worker(&mut self, queues: &[&str], concurrency: usize) -> Result<(), Failure> {
        let (context, cache) = (self.path("client.toml"), self.path("cache"));
        self.worker = Some(self.spawn("worker", |command| {
            let command = command.arg("worker").arg("--context").arg(context).arg("--cache-dir").arg(cache);
            let command = command.args(["--queue", &queues.join(","), "--concurrency", &concurrency.to_string()]);
            command.args(["--name", "demo", "--lease", LEASE])
        })?);
        Ok(())
    }

    fn spawn(&self, name: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<Child, Failure> {
        let doing = || format!("start {name}");
        let program = std::env::current_exe().map_err(|error| Failure::new(doing(), error))?;
        let log = File::create(self.log_file(name)).map_err(|error| Failure::new(doing(), error))?;
        let mut command = Command::new(program);
        arguments(&mut command);
        // A group of its own: Ctrl-C at the terminal is for the demo, which then stops its children itself.
        command.arg("--exit-with-stdin").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0);
        for variable in ["JOBRAFT_LOG_FORMAT", TOKEN, TOKEN_FILE] {
            command.env_remove(variable);
        }
        command.kill_on_drop(true);
        command.spawn().map_err(|error| Failure::new(doing(), error))
    }

    /// Fails if a process has ended that should not, with the end of its log.
    pub(in crate::command) fn check(&mut self) -> Result<(), Failure> {
        let nodes = self.nodes.iter_mut().map(|(id, child)| (format!("node-{id}"), child));
        let worker = self.worker.iter_mut().map(|child| ("worker".to_owned(), child));
        let ended =
            nodes.chain(worker).find_map(|(name, child)| child.try_wait().ok().flatten().map(|status| (name, status)));
        match ended {
            None => Ok(()),
            Some((name, status)) => {
                let log = std::fs::read(self.log_file(&name)).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
                let last: Vec<&str> = lines.into_iter().rev().collect();
                Err(Failure::new(format!("keep {name} running"), format!("{status}\n{}", last.join("\n"))))
            }
        }
    }

    /// Kills a node with SIGKILL: no goodbye, no checkpoint.
    pub(in crate::command) async fn kill_node(&mut self, id: NodeId) -> Result<(), Failure> {
        let Some(mut child) = self.nodes.remove(&id) else {
            return Err(Failure::new(format!("kill node {id}"), "it does not run"));
        };
        child.kill().await.map_err(|error| Failure::new(format!("kill node {id}"), error))
    }

    /// Kills whatever runs and removes the directory.
    pub(in crate::command) async fn clear(mut self) -> Result<(), Failure> {
        for child in self.worker.iter_mut().chain(self.nodes.values_mut()) {
            // One that has ended already is what is wanted.
            let _ = child.kill().await;
        }
        let place = self.directory.path().to_owned();
        self.directory.close().map_err(|error| Failure::new(format!("remove {}", place.display()), error))
    }

    fn node_file(&self, id: NodeId) -> PathBuf {
        self.path(&format!("node-{id}.toml"))
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Ports that are free now. All are held until the last is found, so that they differ.
fn free_addresses(nodes: usize) -> Result<BTreeMap<NodeId, NodeAddress>, Failure> {
    let bind = || UdpSocket::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
    let bound: Result<Vec<_>, _> = (1..=nodes as u64).map(|id| bind().map(|bound| (NodeId(id), bound))).collect();
    let bound = bound.map_err(|error| Failure::new("find free ports on 127.0.0.1", error))?;
    Ok(bound.iter().map(|(id, (address, _))| (*id, NodeAddress::from(*address))).collect())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| Failure::new(format!("write {}", file.display()), error))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_node::config::NodeConfig;

    #[test]
    fn generated_configurations_are_valid() {
        let demo = Processes::prepare(NODES.len(), None).unwrap();
        for id in NODES {
            let config = NodeConfig::load(&demo.node_file(id)).unwrap();
            assert_eq!((config.node_id, &config.advertise), (id, demo.address(id)));
            assert_eq!(config.initial_members, demo.addresses);
            jobraft_node::tls::Credentials::load(&config.tls).unwrap();
        }
        let context = Context::load(&demo.path("client.toml")).unwrap();
        assert_eq!(context.endpoints, demo.connection().endpoints);
    }

    #[tokio::test]
    async fn nothing_is_left_behind() {
        let demo = Processes::prepare(NODES.len(), None).unwrap();
        let place = demo.directory.path().to_owned();
        assert!(place.exists());
        demo.clear().await.unwrap();
        assert!(!place.exists());
    }
}
