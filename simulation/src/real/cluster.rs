//! A cluster of `jobraft node` processes, with certificates and configurations of its own.

use super::clock::Clock;
use super::process::{self, Process};
use super::verdict::Trouble;
use jobraft_node::tls::{CertificateAuthority, Overwrite, TlsError};
use jobraft_sdk::protocol::{ClusterStatus, Grant, NodeAddress, NodeId, Role};
use jobraft_sdk::{Client, ClientConfig};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

const NAME: &str = "simulation";
const DAYS: u32 = 30;
const LOG_LINES: usize = 25;
const PAUSE: Duration = Duration::from_millis(100);
/// How long one node may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call of the load may take before its outcome is left open.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a node lives.
#[derive(Debug)]
pub struct Place {
    /// Its address.
    pub host: IpAddr,
    /// Its UDP port.
    pub port: u16,
    /// Its network namespace, if not that of this process.
    pub namespace: Option<File>,
    /// Where its data lie.
    pub data_dir: PathBuf,
    /// Its wall clock, if it has one of its own.
    pub clock: Option<Clock>,
}

#[derive(Debug)]
struct Member {
    place: Place,
    process: Option<Process>,
}

/// A cluster. Its processes end when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    jobraft: PathBuf,
    directory: PathBuf,
    members: BTreeMap<u64, Member>,
}

impl Cluster {
    /// Writes certificates and configurations into `directory`; nothing runs yet. Nodes are numbered from 1. An authority
    /// that is in `certs` there already issues the certificates.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn prepare(jobraft: PathBuf, directory: PathBuf, places: Vec<Place>) -> Result<Self, Trouble> {
        let members = (1..).zip(places).map(|(id, place)| (id, Member { place, process: None })).collect();
        let cluster = Self { jobraft, directory, members };
        let failed = |error: TlsError| Trouble::machine("make certificates", error);
        let certs = cluster.certs();
        let is_there = certs.join("ca.key").exists();
        let authority =
            if is_there { CertificateAuthority::load(&certs) } else { CertificateAuthority::create(&certs, DAYS) };
        let authority = authority.map_err(failed)?;
        let client = authority.issue_client("load", Grant::admin(), DAYS).map_err(failed)?;
        client.write(&certs, "load", Overwrite::Refuse).map_err(failed)?;
        let members: Vec<String> =
            cluster.ids().into_iter().map(|id| format!("{id} = \"{}\"", cluster.address(id))).collect();
        for (id, member) in &cluster.members {
            let pair = authority.issue_node(NodeId(*id), &[member.place.host.to_string()], DAYS).map_err(failed)?;
            pair.write(&certs, &format!("node-{id}"), Overwrite::Refuse).map_err(failed)?;
            let text = format!(
                "[node]\nid = {id}\nlisten = \"{}\"\ndata_dir = \"{}\"\n\n[cluster]\nname = \"{NAME}\"\n\
                 initial_members = {{ {} }}\n\n\
                 [tls]\nca = \"certs/ca.crt\"\ncert = \"certs/node-{id}.crt\"\nkey = \"certs/node-{id}.key\"\n",
                cluster.address(*id),
                member.place.data_dir.display(),
                members.join(", "),
            );
            std::fs::write(cluster.config_file(*id), text)
                .map_err(|error| Trouble::machine("write a configuration", error))?;
        }
        Ok(cluster)
    }

    /// All nodes.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    /// Those whose process runs, as far as anybody has looked.
    #[must_use]
    pub fn running(&self) -> Vec<u64> {
        self.members.iter().filter(|(_, member)| member.process.is_some()).map(|(id, _)| *id).collect()
    }

    /// Where the certificates are.
    #[must_use]
    pub fn certs(&self) -> PathBuf {
        self.directory.join("certs")
    }

    /// Where a node is reached.
    #[must_use]
    pub fn address(&self, id: u64) -> NodeAddress {
        let place = &self.members[&id].place;
        std::net::SocketAddr::from((place.host, place.port)).into()
    }

    /// A node's host, as its certificate names it.
    #[must_use]
    pub fn host(&self, id: u64) -> IpAddr {
        self.members[&id].place.host
    }

    /// A node's wall clock.
    #[must_use]
    pub fn clock(&self, id: u64) -> Option<&Clock> {
        self.members[&id].place.clock.as_ref()
    }

    /// A node's process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn process(&mut self, id: u64) -> Result<&mut Process, Trouble> {
        let process = self.members.get_mut(&id).and_then(|member| member.process.as_mut());
        process.ok_or_else(|| Trouble::Machine(format!("node {id} does not run")))
    }

    /// Starts a node that does not run. To be called on the main thread: see [`Process::start`].
    ///
    /// # Errors
    /// If there is no starting it.
    pub fn start(&mut self, id: u64) -> Result<(), Trouble> {
        let (config, log) = (self.config_file(id), self.log_file(id));
        let mut command = Command::new(&self.jobraft);
        command.current_dir(&self.directory).arg("node").arg("--config").arg(config);
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        if let Some(clock) = &member.place.clock {
            clock.give(&mut command);
        }
        let process = Process::start(&format!("node {id}"), command, &log, member.place.namespace.as_ref())?;
        member.process = Some(process);
        Ok(())
    }

    /// Starts all nodes that do not run.
    ///
    /// # Errors
    /// If there is no starting one.
    pub fn start_all(&mut self) -> Result<(), Trouble> {
        for id in self.ids() {
            if self.members[&id].process.is_none() {
                self.start(id)?;
            }
        }
        Ok(())
    }

    /// SIGKILL for these nodes, for all before any is waited for.
    ///
    /// # Errors
    /// If one does not end.
    pub fn kill(&mut self, ids: &[u64]) -> Result<(), Trouble> {
        let mut shot = Vec::new();
        for id in ids {
            shot.extend(self.members.get_mut(id).and_then(|member| member.process.take()));
        }
        shot.iter().for_each(Process::shoot);
        shot.into_iter().try_for_each(Process::kill)
    }

    /// Waits until a node has ended by itself.
    ///
    /// # Errors
    /// A violation if it does not: `why` says why it must.
    pub async fn end_of(&mut self, id: u64, timeout: Duration, why: &str) -> Result<ExitStatus, Trouble> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process(id)?.ended() {
                self.members.entry(id).and_modify(|member| member.process = None);
                return Ok(status);
            }
            if begun.elapsed() > timeout {
                return Err(Trouble::Violation(format!("node {id} still runs after {timeout:?}, but {why}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// No node has ended that should run.
    ///
    /// # Errors
    /// A violation that names the node and how it ended.
    pub fn check_alive(&mut self) -> Result<(), Trouble> {
        for (id, member) in &mut self.members {
            if let Some(status) = member.process.as_mut().and_then(Process::ended) {
                let last = process::tail(&self.directory.join(format!("node-{id}.log")), 1);
                return Err(Trouble::Violation(format!("node {id} ended by itself ({status}): {last}")));
            }
        }
        Ok(())
    }

    /// What a node says of itself.
    pub async fn status(&self, client: &Client, id: u64) -> Option<ClusterStatus> {
        let address = self.address(id);
        tokio::time::timeout(STATUS_TIMEOUT, client.cluster_status(Some(&address))).await.ok()?.ok()
    }

    /// Waits until a majority agrees on a running leader that is one of these nodes; who that is.
    ///
    /// # Errors
    /// A violation if that takes too long, or a node has ended.
    pub async fn leader_among(&mut self, ids: &[u64], client: &Client, timeout: Duration) -> Result<u64, Trouble> {
        let begun = Instant::now();
        loop {
            self.check_alive()?;
            let asked = ids.iter().map(|id| self.status(client, *id));
            let told = futures_util::future::join_all(asked).await;
            let leading = told.iter().flatten().find(|status| status.role == Role::Leader).map(|status| status.node);
            let agree = told.iter().flatten().filter(|status| status.leader.is_some() && status.leader == leading);
            if let Some(leader) = leading
                && agree.count() > self.members.len() / 2
            {
                return Ok(leader.0);
            }
            if begun.elapsed() > timeout {
                let told: Vec<String> = ids.iter().zip(&told).map(|(id, status)| view(*id, status.as_ref())).collect();
                let told = told.join("; ");
                return Err(Trouble::Violation(format!("no majority has a leader after {timeout:?}: {told}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until each of these nodes has applied what the others had when this was called.
    ///
    /// # Errors
    /// A violation if that takes too long, or a node has ended.
    pub async fn caught_up(&mut self, ids: &[u64], client: &Client, timeout: Duration) -> Result<(), Trouble> {
        let begun = Instant::now();
        let mut goal = 0;
        for id in self.running() {
            goal = goal.max(self.status(client, id).await.map_or(0, |status| status.applied_index));
        }
        for id in ids {
            loop {
                self.check_alive()?;
                let status = self.status(client, *id).await;
                if status.as_ref().is_some_and(|status| status.applied_index >= goal) {
                    break;
                }
                if begun.elapsed() > timeout {
                    let view = view(*id, status.as_ref());
                    return Err(Trouble::Violation(format!("index {goal} is not applied after {timeout:?}: {view}")));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// How programs reach it.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let file = |name| self.certs().join(name);
        let endpoints: Vec<NodeAddress> = self.ids().into_iter().map(|id| self.address(id)).collect();
        ClientConfig::new(endpoints, file("ca.crt"), file("load.crt"), file("load.key"))
            .agent("simulation")
            .request_timeout(REQUEST_TIMEOUT)
    }

    /// A client of the whole cluster.
    ///
    /// # Errors
    /// A violation if no node answers in time.
    pub async fn client(&self, timeout: Duration) -> Result<Client, Trouble> {
        let connecting = Client::connect(self.client_config().connect_timeout(timeout));
        connecting.await.map_err(|error| Trouble::Violation(format!("no node answers within {timeout:?}: {error}")))
    }

    /// Starts all nodes, waits until one leads, and connects clients: one to ask with, `workers` to load with.
    ///
    /// # Errors
    /// As [`Cluster::leader_among`] and [`Cluster::client`].
    pub async fn begin(&mut self, workers: usize, timeout: Duration) -> Result<(Client, Vec<Client>), Trouble> {
        self.start_all()?;
        let client = self.client(timeout).await?;
        self.leader_among(&self.ids(), &client, timeout).await?;
        let mut clients = Vec::new();
        for _ in 0..workers {
            clients.push(self.client(timeout).await?);
        }
        Ok((client, clients))
    }

    /// A node's file of log lines.
    #[must_use]
    pub fn log_file(&self, id: u64) -> PathBuf {
        self.directory.join(format!("node-{id}.log"))
    }

    /// The end of each node's log.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        let log = |id| format!("--- the end of node {id}'s log\n{}", process::tail(&self.log_file(id), LOG_LINES));
        self.ids().into_iter().map(log).collect()
    }

    /// Where all its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The binary that it runs.
    #[must_use]
    pub fn jobraft(&self) -> &Path {
        &self.jobraft
    }

    fn config_file(&self, id: u64) -> PathBuf {
        self.directory.join(format!("node-{id}.toml"))
    }
}

fn view(id: u64, status: Option<&ClusterStatus>) -> String {
    let Some(status) = status else { return format!("node {id} does not answer") };
    let leader = status.leader.map_or_else(|| "nobody".to_owned(), |leader| format!("node {leader}"));
    format!("node {id} in term {} follows {leader} and has applied {}", status.term, status.applied_index)
}
