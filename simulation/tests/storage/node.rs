//! A whole node on a disk that fails.

use jobraft_core::command::Command;
use jobraft_node::config::{AuditConfig, LogConfig, NodeConfig};
use jobraft_node::node::Node;
use jobraft_node::tls::{CertificateAuthority, Overwrite, TlsFiles};
use jobraft_protocol::{JobId, LogTime, NewJob, NodeId, Task};
use simulation::disk::{Disk, Fate, Unsynced, scratch};
use simulation::vfs;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("the test hangs")
}

fn configuration(directory: &Path, data: &Path) -> NodeConfig {
    let authority = CertificateAuthority::create(directory, 1).unwrap();
    let pair = authority.issue_node(NodeId(1), &["127.0.0.1".to_owned()], 1).unwrap();
    pair.write(directory, "node-1", Overwrite::Replace).unwrap();
    let advertise: jobraft_protocol::NodeAddress = "127.0.0.1:1".parse().unwrap();
    NodeConfig {
        node_id: NodeId(1),
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: advertise.clone(),
        data_dir: data.to_owned(),
        cluster: "test".to_owned(),
        initial_members: BTreeMap::from([(NodeId(1), advertise)]),
        tls: TlsFiles::in_directory(directory, "node-1"),
        log: LogConfig::default(),
        audit: AuditConfig::off(),
        key_file: None,
        secrets_key_file: None,
        signers: BTreeSet::new(),
    }
}

async fn leader(configuration: &NodeConfig) -> Node {
    let node = Node::start(configuration.clone()).await.unwrap();
    soon(node.consensus().leadership().wait_for(|now| now.is_leader)).await.unwrap();
    node
}

/// A job, and the command that enqueues it.
fn job(number: u8) -> (JobId, Command) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let id = JobId::new(LogTime::from_ms(now), [number; 10]);
    let job = NewJob::new(id, "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "payload");
    (id, Command::Enqueue { jobs: vec![job], all_or_none: false, known: vec![] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_fsync_stops_the_node_and_loses_nothing_acknowledged() {
    vfs::install();
    let directory = scratch().unwrap();
    let disk = Disk::new(&directory.path().join("disk")).unwrap();
    let configuration = configuration(directory.path(), disk.path());
    let node = leader(&configuration).await;
    let (first, command) = job(1);
    soon(node.consensus().propose(command)).await.unwrap();
    disk.fail_next_sync(Some("log.db-wal"));
    let (_, command) = job(2);
    soon(node.consensus().propose(command)).await.unwrap_err();
    soon(node.stopped()).await.unwrap_err();
    soon(node.shutdown()).await;

    disk.crash(&mut |_: &Unsynced<'_>| Fate::Lost).unwrap();
    let node = leader(&configuration).await;
    let there = node.consensus().read(|core| core.view(first).is_some());
    assert!(there, "what was acknowledged is there");
    let (_, command) = job(3);
    soon(node.consensus().propose(command)).await.unwrap();
    soon(node.shutdown()).await;
}
