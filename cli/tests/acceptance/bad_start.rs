//! What keeps a node or a client from starting: named, with the way out, and nothing is changed.

use crate::support::{Process, Run, TestCluster, eventually, free_address, job, jobraft};
use jobraft_node::tls::{CertificateAuthority, Overwrite};
use jobraft_sdk::protocol::{Grant, NewJob, NodeId, QueueName, Task, TaskName};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;

/// Runs node 1 of a cluster whose node 1 does not run yet, and expects that it does not come up.
async fn node(cluster: &TestCluster) -> Run {
    jobraft(cluster.directory(), &["node", "--config", "node-1.toml"]).await
}

/// Replaces a text in a configuration.
fn edit(cluster: &TestCluster, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(cluster.path(file)).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    fs::write(cluster.path(file), text.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_serves_one_process_of_one_node_of_one_cluster() {
    let mut cluster = TestCluster::start(1).await;
    // Another process, elsewhere in all but the data.
    let text = fs::read_to_string(cluster.path("node-1.toml")).unwrap();
    let elsewhere = text.replace(cluster.address(1).as_str(), &free_address().to_string());
    fs::write(cluster.path("second.toml"), &elsewhere).unwrap();
    let second = jobraft(cluster.directory(), &["node", "--config", "second.toml"]).await;
    second.fails(1, &["node-1 is in use by process", "choose another directory"]);

    assert!(cluster.terminate_node(1).success());
    edit(&cluster, "node-1.toml", "name = \"acceptance\"", "name = \"other\"");
    node(&cluster).await.fails(1, &["node-1", "\"acceptance\"", "\"other\"", "choose another directory"]);
    edit(&cluster, "node-1.toml", "name = \"other\"", "name = \"acceptance\"");

    let certs = cluster.path("certs");
    let pair = CertificateAuthority::load(&certs).unwrap().issue_node(NodeId(2), &["127.0.0.1".to_owned()], 1).unwrap();
    pair.write(&certs, "node-2", Overwrite::Refuse).unwrap();
    let other = text.replace("id = 1", "id = 2").replace("1 = \"", "2 = \"").replace("certs/node-1.", "certs/node-2.");
    fs::write(cluster.path("other.toml"), other).unwrap();
    let other = jobraft(cluster.directory(), &["node", "--config", "other.toml"]).await;
    other.fails(1, &["data of node 1, not of node 2", "choose another directory"]);

    edit(&cluster, "node-1/identity", "format = 1", "format = 2");
    node(&cluster).await.fails(1, &["node-1/identity", "format 2", "run the version that wrote it"]);
    fs::write(cluster.path("node-1/identity"), "rubbish").unwrap();
    node(&cluster).await.fails(1, &["node-1/identity", "cannot be understood", "restore it from a backup"]);
    fs::remove_file(cluster.path("node-1/identity")).unwrap();
    node(&cluster).await.fails(1, &["node-1/identity", "is missing", "restore it from a backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_a_start_has_lost_nothing() {
    let mut cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let task = Task::Handler(TaskName::new("none").unwrap());
    let kept = NewJob::new(client.job_id(), QueueName::new("default").unwrap(), task, "kept");
    let id = kept.id;
    client.enqueue(vec![kept]).await.unwrap();
    cluster.kill_nodes(&[1]);
    edit(&cluster, "node-1/identity", "format = 1", "format = 2");
    node(&cluster).await.fails(1, &["format 2"]);
    edit(&cluster, "node-1/identity", "format = 2", "format = 1");
    cluster.start_node(1);
    cluster.leader().await;
    assert_eq!(job(&client, id).await.unwrap().payload, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_refused_by_key_and_line() {
    let cluster = TestCluster::prepare(1);
    for (from, to, words) in [
        ("data_dir =", "data_dri =", &["node-1.toml, line 4", "data_dri", "data_dir"][..]),
        ("id = 1", "id = \"one\"", &["node-1.toml, line 2", "node.id"]),
        ("id = 1", "id = 0", &["node-1.toml, line 2", "node.id"]),
        ("[cluster]", "[cluster", &["node-1.toml, line 6", "not valid TOML"]),
        ("[tls]", "[tsl]", &["node-1.toml", "tsl"]),
    ] {
        let before = fs::read_to_string(cluster.path("node-1.toml")).unwrap();
        edit(&cluster, "node-1.toml", from, to);
        node(&cluster).await.fails(2, words);
        fs::write(cluster.path("node-1.toml"), before).unwrap();
    }
    let absent = jobraft(cluster.directory(), &["node", "--config", "absent.toml"]).await;
    absent.fails(2, &["absent.toml"]);
    assert!(!cluster.path("node-1").exists(), "a refused start has left a data directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_no_directory_made() {
    let cluster = TestCluster::prepare(1);
    let _taken = UdpSocket::bind(cluster.address(1).as_str()).unwrap();
    node(&cluster).await.fails(1, &[cluster.address(1).as_str(), "in use", "another port"]);
    assert!(!cluster.path("node-1").exists());
}

/// A certificate that the cluster's authority signed and that is over.
fn expired(cluster: &TestCluster, stem: &str, uri: &str) {
    let certs = cluster.path("certs");
    let read = |name: &str| fs::read_to_string(certs.join(name)).unwrap();
    let issuer = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), issuer).unwrap();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    fs::write(certs.join(format!("{stem}.crt")), certificate.pem()).unwrap();
    fs::write(certs.join(format!("{stem}.key")), key.serialize_pem()).unwrap();
    fs::set_permissions(certs.join(format!("{stem}.key")), Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_keys_of_no_use_are_named_at_the_start() {
    let cluster = TestCluster::prepare(2);
    let key = cluster.path("certs/node-1.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    node(&cluster).await.fails(1, &["certs/node-1.key", "0644", "chmod 600"]);
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    edit(&cluster, "node-1.toml", "certs/node-1.", "certs/node-2.");
    node(&cluster).await.fails(1, &["that of node 2", "jobraft certs issue node 1"]);
    edit(&cluster, "node-1.toml", "cert = \"certs/node-2.", "cert = \"certs/node-1.");
    node(&cluster).await.fails(1, &["node-2.key", "does not belong to", "node-1.crt"]);
    edit(&cluster, "node-1.toml", "key = \"certs/node-2.", "key = \"certs/node-1.");

    let foreign = cluster.path("foreign");
    CertificateAuthority::create(&foreign, 1).unwrap();
    edit(&cluster, "node-1.toml", "ca = \"certs/", "ca = \"foreign/");
    node(&cluster).await.fails(1, &["node-1.crt", "not signed by", "foreign/ca.crt"]);
    edit(&cluster, "node-1.toml", "ca = \"foreign/", "ca = \"certs/");

    expired(&cluster, "node-1", "jobraft://node/1");
    node(&cluster).await.fails(1, &["node-1.crt expired on 2021-01-01", "jobraft certs issue"]);
    let check = jobraft(cluster.directory(), &["node", "--config", "node-1.toml", "--check"]).await;
    check.fails(2, &["node-1.crt expired on 2021-01-01"]);
    assert!(!cluster.path("node-1").exists(), "a refused start has left a data directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_what_is_wrong_with_their_certificates() {
    let cluster = TestCluster::start(1).await;
    let list = async |cert: &str, ca: &str| {
        let (cert, key) = (format!("{cert}.crt"), format!("{cert}.key"));
        let connection = ["--endpoint", cluster.address(1).as_str(), "--ca", ca, "--cert", &cert, "--key", &key];
        jobraft(cluster.directory(), &[&["queue", "list"], &connection[..]].concat()).await
    };
    expired(&cluster, "old", "jobraft://client/old");
    list("certs/old", "certs/ca.crt").await.fails(2, &["certs/old.crt", "expired"]);

    // Of another authority: refused by the node, and the node is none the worse for it.
    let foreign = cluster.path("foreign");
    let authority = CertificateAuthority::create(&foreign, 1).unwrap();
    authority
        .issue_client("mallory", Grant::admin(), 1)
        .unwrap()
        .write(&foreign, "mallory", Overwrite::Refuse)
        .unwrap();
    list("foreign/mallory", "certs/ca.crt").await.fails(4, &[cluster.address(1).as_str(), "certificate"]);
    list("foreign/mallory", "foreign/ca.crt").await.fails(4, &[cluster.address(1).as_str(), "certificate"]);

    fs::set_permissions(cluster.path("certs/test.key"), Permissions::from_mode(0o640)).unwrap();
    list("certs/test", "certs/ca.crt").await.fails(2, &["certs/test.key", "chmod 600"]);
    fs::set_permissions(cluster.path("certs/test.key"), Permissions::from_mode(0o600)).unwrap();
    list("certs/test", "certs/ca.crt").await.ok();
    assert_eq!(cluster.node_log(1).matches("refused a connection").count(), 1, "{}", cluster.node_log(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_dev_in_the_same_place_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address().to_string();
    let arguments = ["dev", "--listen", &address, "--exit-with-stdin"];
    let dev = Process::start("dev", directory.path(), &arguments);
    eventually("it is ready", async || dev.printed().contains("is ready").then_some(())).await;
    jobraft(directory.path(), &["dev", "--listen", &address]).await.fails(1, &[&address, "in use"]);
    let elsewhere = free_address().to_string();
    let run = jobraft(directory.path(), &["dev", "--listen", &elsewhere]).await;
    run.fails(2, &[&elsewhere, &address, "--data DIR"]);
}
