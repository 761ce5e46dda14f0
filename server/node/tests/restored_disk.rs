//! A node whose disk was restored from an older copy is filled up again by the leader.

#![expect(clippy::unwrap_used, reason = "tests")]

use jobraft_core::command::Command;
use jobraft_node::config::{AuditConfig, LogConfig, NodeConfig};
use jobraft_node::node::Node;
use jobraft_node::tls::{CertificateAuthority, Overwrite, TlsFiles};
use jobraft_protocol::{JobId, LogTime, NewJob, NodeAddress, NodeId, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("the test hangs")
}

fn configurations(directory: &Path) -> Vec<NodeConfig> {
    let authority = CertificateAuthority::create(directory, 1).unwrap();
    // Held until all are known, so that no two are the same.
    let sockets: Vec<_> = (0..3).map(|_| UdpSocket::bind(("127.0.0.1", 0)).unwrap()).collect();
    let addresses: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let members: BTreeMap<NodeId, NodeAddress> =
        (1..).map(NodeId).zip(addresses.iter().map(|address| address.to_string().parse().unwrap())).collect();
    let configuration = |(id, listen): (NodeId, SocketAddr)| {
        let name = format!("node-{id}");
        let pair = authority.issue_node(id, &["127.0.0.1".to_owned()], 1).unwrap();
        pair.write(directory, &name, Overwrite::Replace).unwrap();
        NodeConfig {
            node_id: id,
            listen,
            advertise: members[&id].clone(),
            data_dir: directory.join(format!("data-{id}")),
            cluster: "test".to_owned(),
            initial_members: members.clone(),
            tls: TlsFiles::in_directory(directory, &name),
            log: LogConfig::default(),
            audit: AuditConfig::off(),
            key_file: None,
            secrets_key_file: None,
            signers: BTreeSet::new(),
        }
    };
    members.keys().copied().zip(addresses).map(configuration).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Enqueues a job on the leader.
async fn enqueue(leader: &Node, number: u8) -> JobId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let id = JobId::new(LogTime::from_ms(now), [number; 10]);
    let job = NewJob::new(id, "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "payload");
    let command = Command::Enqueue { jobs: vec![job], all_or_none: false, known: vec![] };
    // A leader may have to hear from a majority first. A repeated enqueue is the same job.
    let accepted = async {
        while let Err(_not_yet) = leader.consensus().propose(command.clone()).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(accepted).await;
    id
}

/// Waits until the node has applied the enqueue of the job.
async fn has(node: &Node, job: JobId) {
    let there = async {
        while node.consensus().read(|core| core.view(job).is_none()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_whose_disk_is_older_than_what_it_acknowledged_is_filled_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let configurations = configurations(directory.path());
    let mut nodes = Vec::new();
    for configuration in &configurations {
        nodes.push(Some(Node::start(configuration.clone()).await.unwrap()));
    }
    let mut leadership = nodes[0].as_ref().unwrap().consensus().leadership();
    let leader = soon(leadership.wait_for(|now| now.leader.is_some())).await.unwrap().leader.clone().unwrap().0;
    let leader = usize::try_from(leader.0 - 1).unwrap();
    let behind = (leader + 1) % 3;
    let first = enqueue(nodes[leader].as_ref().unwrap(), 1).await;
    has(nodes[behind].as_ref().unwrap(), first).await;
    soon(nodes[behind].take().unwrap().shutdown()).await;
    let data = &configurations[behind].data_dir;
    let backup = directory.path().join("backup");
    copy(data, &backup);

    nodes[behind] = Some(Node::start(configurations[behind].clone()).await.unwrap());
    let second = enqueue(nodes[leader].as_ref().unwrap(), 2).await;
    has(nodes[behind].as_ref().unwrap(), second).await;
    soon(nodes[behind].take().unwrap().shutdown()).await;
    fs::remove_dir_all(data).unwrap();
    fs::rename(&backup, data).unwrap();

    nodes[behind] = Some(Node::start(configurations[behind].clone()).await.unwrap());
    has(nodes[behind].as_ref().unwrap(), second).await;
    let third = enqueue(nodes[leader].as_ref().unwrap(), 3).await;
    for node in nodes.iter().flatten() {
        has(node, third).await;
    }
    // The restored node counts towards a majority again.
    let other = (leader + 2) % 3;
    soon(nodes[other].take().unwrap().shutdown()).await;
    let fourth = enqueue(nodes[leader].as_ref().unwrap(), 4).await;
    has(nodes[behind].as_ref().unwrap(), fourth).await;
}
