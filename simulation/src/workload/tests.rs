//! The clients against a real node.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::requests::{Made, made};
use super::*;
use crate::history::{Call, Demands, Operation, Outcome, Recorder, Verdict, judge};
use jobraft_node::Node;
use jobraft_node::config::{AuditConfig, LogConfig, NodeConfig};
use jobraft_node::tls::{CertificateAuthority, Credentials, Overwrite, TlsFiles};
use jobraft_protocol::{ALPN_CLIENT, Grant, JobId, LogTime, NodeId, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A node that leads, and the way to it.
async fn node() -> (Node, Site, TempDir) {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let ca = CertificateAuthority::create(path, 1).unwrap();
    ca.issue_node(NodeId(1), &["127.0.0.1".to_owned()], 1).unwrap().write(path, "node-1", Overwrite::Replace).unwrap();
    ca.issue_client("tester", Grant::admin(), 1).unwrap().write(path, "tester", Overwrite::Replace).unwrap();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let advertise: jobraft_protocol::NodeAddress = "127.0.0.1:1".parse().unwrap();
    let config = NodeConfig {
        node_id: NodeId(1),
        listen: loopback,
        advertise: advertise.clone(),
        data_dir: path.join("data"),
        cluster: "test".to_owned(),
        initial_members: BTreeMap::from([(NodeId(1), advertise)]),
        tls: TlsFiles::in_directory(path, "node-1"),
        log: LogConfig::default(),
        audit: AuditConfig::off(),
        key_file: None,
        secrets_key_file: None,
        signers: BTreeSet::new(),
    };
    let node = Node::start(config).await.unwrap();
    node.consensus().leadership().wait_for(|now| now.is_leader).await.unwrap();
    let credentials = Credentials::load(&TlsFiles::in_directory(path, "tester")).unwrap();
    let tls = credentials.client_config(ALPN_CLIENT).unwrap();
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = quinn::Endpoint::client(loopback).unwrap();
    let addresses = vec![(node.listen_addr(), "127.0.0.1".to_owned())];
    (node, Site { endpoint, config, addresses, recorder: Recorder::new() }, directory)
}

#[tokio::test]
async fn a_busy_node_passes_and_what_is_planted_is_caught() {
    let (node, site, _directory) = node().await;
    let plan = Plan { steps: 40, pause_ms_max: 20, lease_ms_max: 1_500, ..Plan::default() };
    let clients: Vec<_> = clients(&site, &plan, 1).into_iter().map(tokio::spawn).collect();
    for client in clients {
        client.await.unwrap();
    }
    finish(&site, 1, Duration::from_secs(180)).await.unwrap();
    node.shutdown().await;
    let history = site.recorder.history().clone();
    let demands = Demands { operations: 200, jobs: 30, ..Demands::default() };
    let verdict = judge(&history, &demands);
    assert!(verdict.is_passed(), "{verdict}");
    // A job is said to be gone between two reads of it. Before the first it may not have been there yet.
    let mut planted = history.clone();
    let is_read =
        |operation: &Operation| matches!((&operation.call, &operation.outcome), (Call::Get, Some(Outcome::View(_))));
    let is_between = |read: &Operation| {
        let others = || history.operations.iter().filter(|other| other.job == read.job && is_read(other));
        others().any(|other| other.returned < Some(read.called))
            && others().any(|other| read.returned < Some(other.called))
    };
    let read = planted.operations.iter_mut().find(|operation| is_read(operation) && is_between(operation));
    read.unwrap().outcome = Some(Outcome::Refused(jobraft_protocol::ErrorCode::NotFound));
    assert!(matches!(judge(&planted, &demands), Verdict::Violated(_)));
    // A lease is given twice.
    let mut planted = history;
    let lease =
        planted.operations.iter().find(|operation| matches!(operation.call, Call::Lease { .. })).unwrap().clone();
    planted.operations.push(lease);
    assert!(matches!(judge(&planted, &demands), Verdict::Violated(_)));
}

#[test]
fn every_request_has_its_place() {
    assert_eq!(made(&Request::ClusterStatus), Made::Here);
    assert_eq!(made(&Request::RemoveNode { node: NodeId(1) }), Made::ByFaults);
    let run = Request::RunSchedule { name: "s".parse().unwrap(), job: JobId::new(LogTime::ZERO, [0; 10]) };
    assert_eq!(made(&run), Made::Here);
}
