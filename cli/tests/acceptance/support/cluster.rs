//! A cluster of `jobraft node` processes and what belongs to it: certificates, configurations, workers, logs.

use super::place::Place;
use super::process::Process;
use super::run::{Run, jobraft};
use super::{eventually, free_address};
use jobraft_node::tls::{CertificateAuthority, Overwrite};
use jobraft_sdk::protocol::{ClusterStatus, Grant, NodeAddress, NodeId, Role};
use jobraft_sdk::{Client, ClientConfig};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;

/// The cluster's name.
pub(crate) const NAME: &str = "acceptance";
/// How much of each log is shown when a test fails.
const LOG_LINES: usize = 40;
const DAYS: u32 = 2;

/// A cluster; all of it is gone when this is.
pub(crate) struct TestCluster {
    addresses: BTreeMap<u64, NodeAddress>,
    nodes: BTreeMap<u64, Process>,
    workers: BTreeMap<String, Process>,
    // After the processes: they are dropped in this order.
    directory: TempDir,
    _place: Place,
}

impl TestCluster {
    /// Certificates and configurations for nodes 1 to `size`; nothing runs yet.
    pub(crate) fn prepare(size: u64) -> Self {
        let place = Place::take();
        let directory = tempfile::Builder::new().prefix("jobraft-test-").tempdir().unwrap();
        let certs = directory.path().join("certs");
        let authority = CertificateAuthority::create(&certs, DAYS).unwrap();
        authority.issue_client("test", Grant::admin(), DAYS).unwrap().write(&certs, "test", Overwrite::Refuse).unwrap();
        let addresses = (1..=size).map(|id| (id, free_address().into())).collect();
        let cluster = Self { addresses, nodes: BTreeMap::new(), workers: BTreeMap::new(), directory, _place: place };
        let members: Vec<String> = cluster.addresses.iter().map(|(id, at)| format!("{id} = \"{at}\"")).collect();
        for id in cluster.addresses.keys() {
            cluster.configure(*id, &format!("initial_members = {{ {} }}", members.join(", ")));
        }
        cluster.write_context();
        cluster
    }

    /// A running cluster that has a leader.
    pub(crate) async fn start(size: u64) -> Self {
        let mut cluster = Self::prepare(size);
        for id in 1..=size {
            cluster.start_node(id);
        }
        cluster.leader().await;
        cluster
    }

    /// Certificate and configuration of a node that joins later.
    pub(crate) fn prepare_joiner(&mut self, id: u64) {
        self.addresses.insert(id, free_address().into());
        self.configure(id, "");
        self.write_context();
    }

    fn configure(&self, id: u64, members: &str) {
        let certs = self.path("certs");
        let authority = CertificateAuthority::load(&certs).unwrap();
        let pair = authority.issue_node(NodeId(id), &["127.0.0.1".to_owned()], DAYS).unwrap();
        pair.write(&certs, &format!("node-{id}"), Overwrite::Refuse).unwrap();
        let text = format!(
            "[node]\nid = {id}\nlisten = \"{}\"\ndata_dir = \"node-{id}\"\n\n[cluster]\nname = \"{NAME}\"\n{members}\n\n\
             [tls]\nca = \"certs/ca.crt\"\ncert = \"certs/node-{id}.crt\"\nkey = \"certs/node-{id}.key\"\n",
            self.addresses[&id],
        );
        std::fs::write(self.path(&format!("node-{id}.toml")), text).unwrap();
    }

    fn write_context(&self) {
        let endpoints: Vec<String> = self.addresses.values().map(|address| format!("\"{address}\"")).collect();
        let text = format!(
            "endpoints = [{}]\nca = \"certs/ca.crt\"\ncert = \"certs/test.crt\"\nkey = \"certs/test.key\"\n",
            endpoints.join(", ")
        );
        std::fs::write(self.path("client.toml"), text).unwrap();
    }

    /// The directory of everything.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets the key file of a section of a node's configuration, which is its last, or takes it out.
    pub(crate) fn set_key_file(&self, id: u64, section: &str, file: Option<&str>) {
        let path = self.path(&format!("node-{id}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let others = text.split(&format!("\n[{section}]")).next().unwrap();
        let set = file.map_or_else(String::new, |file| format!("\n[{section}]\nkey_file = \"{file}\"\n"));
        std::fs::write(&path, others.to_owned() + &set).unwrap();
    }

    /// Where a node is.
    pub(crate) fn address(&self, id: u64) -> &NodeAddress {
        &self.addresses[&id]
    }

    /// Which nodes run.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// Starts a node.
    pub(crate) fn start_node(&mut self, id: u64) {
        let config = format!("node-{id}.toml");
        let arguments = ["node", "--config", &config, "--exit-with-stdin"];
        let node = Process::start(&format!("node-{id}"), self.directory(), &arguments);
        assert!(self.nodes.insert(id, node).is_none(), "node {id} runs already");
    }

    /// SIGKILL for these nodes, for all before any is waited for.
    pub(crate) fn kill_nodes(&mut self, ids: &[u64]) {
        let mut nodes: Vec<Process> = ids.iter().map(|id| self.nodes.remove(id).unwrap()).collect();
        nodes.iter_mut().for_each(Process::shoot);
        nodes.into_iter().for_each(Process::kill);
    }

    /// Any signal that does not end it.
    pub(crate) fn signal_node(&self, id: u64, signal: Signal) {
        self.nodes[&id].signal(signal);
    }

    /// SIGTERM, and the wait for its end.
    pub(crate) fn terminate_node(&mut self, id: u64) -> ExitStatus {
        self.nodes.remove(&id).unwrap().signal_and_wait(Signal::TERM)
    }

    /// Waits until a node has ended by itself.
    pub(crate) fn await_end_of_node(&mut self, id: u64) -> ExitStatus {
        self.nodes.remove(&id).unwrap().wait()
    }

    /// What a node has logged in all its lives.
    pub(crate) fn node_log(&self, id: u64) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(&format!("node-{id}.log"))).unwrap_or_default()).into_owned()
    }

    /// Starts a worker of WebAssembly jobs and waits until it takes some.
    pub(crate) async fn start_worker(&mut self, name: &str, arguments: &[&str]) {
        let cache = format!("cache-{name}");
        let fixed = ["worker", "--context", "client.toml", "--name", name, "--cache-dir", &cache, "--exit-with-stdin"];
        let worker = Process::start(name, self.directory(), &[&fixed[..], arguments].concat());
        self.workers.insert(name.to_owned(), worker);
        let worker = &self.workers[name];
        eventually(&format!("{name} is up"), async || worker.log().contains("worker is up").then_some(())).await;
    }

    /// SIGTERM, and the wait for its end; what it logged.
    pub(crate) fn terminate_worker(&mut self, name: &str) -> (ExitStatus, String) {
        let status = self.workers.remove(name).unwrap().signal_and_wait(Signal::TERM);
        (status, std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap())
    }

    /// SIGKILL: no goodbye.
    pub(crate) fn kill_worker(&mut self, name: &str) {
        self.workers.remove(name).unwrap().kill();
    }

    /// Waits until a worker has ended by itself.
    pub(crate) fn await_end_of_worker(&mut self, name: &str) -> ExitStatus {
        self.workers.remove(name).unwrap().wait()
    }

    /// Runs a client command against this cluster.
    pub(crate) async fn jobraft(&self, arguments: &[&str]) -> Run {
        jobraft(self.directory(), &[arguments, &["--context", "client.toml"]].concat()).await
    }

    /// How programs reach it.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let file = |name| self.path("certs").join(name);
        let endpoints = self.addresses.values().cloned();
        ClientConfig::new(endpoints, file("ca.crt"), file("test.crt"), file("test.key"))
    }

    /// A client that waits out an election, and a machine that is busy.
    pub(crate) async fn client(&self) -> Client {
        let config = self.client_config().request_timeout(super::DEADLINE).connect_timeout(super::DEADLINE);
        Client::connect(config).await.unwrap()
    }

    /// What a node says of itself.
    pub(crate) async fn status_of(&self, client: &Client, id: u64) -> Option<ClusterStatus> {
        let asked = client.cluster_status(Some(self.address(id)));
        tokio::time::timeout(Duration::from_secs(5), asked).await.ok()?.ok()
    }

    /// Waits until a running node leads and all running members agree that it does; who that is.
    pub(crate) async fn leader(&mut self) -> u64 {
        let client = self.client().await;
        let leader = eventually("one node leads, and all others know it", async || {
            self.check_nodes();
            let mut leaders = Vec::new();
            for id in self.running() {
                let status = self.status_of(&client, id).await?;
                if status.role != Role::Outside {
                    leaders.push(status.leader?.0);
                }
            }
            let first = *leaders.first()?;
            (self.nodes.contains_key(&first) && leaders.iter().all(|leader| *leader == first)).then_some(first)
        })
        .await;
        client.close().await;
        leader
    }

    /// Waits until a node has applied what the others had when this was called.
    pub(crate) async fn caught_up(&self, client: &Client, id: u64) {
        let mut goal = 0;
        for other in self.running() {
            goal = goal.max(self.status_of(client, other).await.map_or(0, |status| status.applied_index));
        }
        eventually(&format!("node {id} has caught up with {goal}"), async || {
            (self.status_of(client, id).await?.applied_index >= goal).then_some(())
        })
        .await;
    }

    /// No node has ended that should run.
    fn check_nodes(&mut self) {
        for (id, node) in &mut self.nodes {
            if let Some(status) = node.ended() {
                panic!("node {id} has ended: {status}");
            }
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let files = std::fs::read_dir(self.directory()).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "log")) {
            let text = std::fs::read(&file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("--- the end of {}\n{}", file.display(), tail.join("\n"));
        }
    }
}
