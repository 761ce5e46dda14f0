//! What people get wrong, and what others send: refused by name, with the way out, and nothing is changed.

use crate::support::{Process, Run, TestCluster, count, eventually, free_address, job, jobraft};
use jobraft_node::tls::{CertificateAuthority, Credentials, Overwrite, TlsFiles};
use jobraft_node::transport::{Endpoint, Protocol};
use jobraft_sdk::protocol::limits::PAYLOAD_BYTES_DEFAULT;
use jobraft_sdk::protocol::{
    Completion, Consistency, Digest, EnqueueOutcome, Error, ErrorCode, FencingToken, JobState, LeaseRef,
    ModuleManifest, NewJob, NodeId, QueueName, StreamOpen, Task, TaskName,
};
use jobraft_sdk::{Client, SdkError};
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

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

fn new_job(client: &Client, payload: impl Into<bytes::Bytes>) -> NewJob {
    let task = Task::Handler(TaskName::new("none").unwrap());
    NewJob::new(client.job_id(), QueueName::new("default").unwrap(), task, payload)
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
    let kept = new_job(&client, "kept");
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
    authority.issue_client("mallory", 1).unwrap().write(&foreign, "mallory", Overwrite::Refuse).unwrap();
    list("foreign/mallory", "certs/ca.crt").await.fails(4, &[cluster.address(1).as_str(), "certificate"]);
    list("foreign/mallory", "foreign/ca.crt").await.fails(4, &[cluster.address(1).as_str(), "certificate"]);

    fs::set_permissions(cluster.path("certs/test.key"), Permissions::from_mode(0o640)).unwrap();
    list("certs/test", "certs/ca.crt").await.fails(2, &["certs/test.key", "chmod 600"]);
    fs::set_permissions(cluster.path("certs/test.key"), Permissions::from_mode(0o600)).unwrap();
    list("certs/test", "certs/ca.crt").await.ok();
    assert_eq!(cluster.node_log(1).matches("refused a connection").count(), 1, "{}", cluster.node_log(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_jobraft_is_named() {
    let cluster = TestCluster::prepare(1);
    let nobody = free_address().to_string();
    let silent = ["job", "enqueue", "--task", "t", "x", "--endpoint", &nobody];
    cluster.jobraft(&silent).await.fails(4, &[&nobody, "no answer", "jobraft dev"]);

    let babbler = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = babbler.local_addr().unwrap().to_string();
    babbler.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (done, listen) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), babbler);
    let babbling = std::thread::spawn({
        let done = std::sync::Arc::clone(&done);
        move || {
            let mut buffer = [0; 2_048];
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok((length, from)) = listen.recv_from(&mut buffer) {
                    // What came, the other way round, and plain text: neither is QUIC.
                    buffer[..length].reverse();
                    let _ = listen.send_to(&buffer[..length], from);
                    let _ = listen.send_to(b"220 mail.example ESMTP", from);
                }
            }
        }
    });
    cluster.jobraft(&["queue", "list", "--endpoint", &address]).await.fails(4, &[&address]);
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    babbling.join().unwrap();

    // A name without a port, and no name at all.
    cluster.jobraft(&["queue", "list", "--endpoint", "localhost"]).await.fails(2, &["localhost", "host:port"]);
    let nothing = jobraft(cluster.directory(), &["queue", "list"]).await;
    nothing.fails(2, &["--endpoint", "jobraft dev"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_a_write_fails_in_time_and_is_done_at_most_once() {
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    let before = new_job(&client, "before");
    let before_id = before.id;
    client.enqueue(vec![before]).await.unwrap();
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.running().into_iter().filter(|id| *id != leader).collect();
    cluster.kill_nodes(&others);

    // To a leader that does not know yet that it is alone, and to one that does: the first may be in its log.
    let (one, two) = (new_job(&client, "").id, new_job(&client, "").id);
    let mut unknown = Vec::new();
    for id in [one, two] {
        let run = cluster.jobraft(&["job", "enqueue", "--task", "none", "--id", &id.to_string(), "lonely"]).await;
        let complaint = run.fails(4, &["enqueue", "jobraft cluster status"]);
        if complaint.contains("may or may not") {
            unknown.push(id);
        }
    }
    // What it holds can still be seen, by those who do not mind how old it is.
    let stale = Client::connect(cluster.client_config()).await.unwrap();
    assert_eq!(stale.get_job(before_id, Consistency::Stale).await.unwrap().payload, "before");
    cluster.jobraft(&["cluster", "status"]).await.fails(4, &["majority"]);

    for id in others {
        cluster.start_node(id);
    }
    cluster.leader().await;
    let mut present = 1;
    for id in [one, two] {
        match job(&client, id).await {
            Ok(view) => {
                assert!(unknown.contains(&id), "the command said that nothing was done: {view:?}");
                present += 1;
            }
            Err(error) => assert_eq!(error.code(), Some(ErrorCode::NotFound), "{error}"),
        }
    }
    assert_eq!(count(&client, &["default"], |stats| stats.ready).await.unwrap(), present);
    // Said again under the same id it is one job, whatever came of the first time.
    for id in [one, two] {
        cluster.jobraft(&["job", "enqueue", "--task", "none", "--id", &id.to_string(), "lonely"]).await.ok();
    }
    assert_eq!(count(&client, &["default"], |stats| stats.ready).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_limit_is_refused_before_and_behind_the_wire() {
    let cluster = TestCluster::start(1).await;
    fs::write(cluster.path("large.bin"), vec![0; PAYLOAD_BYTES_DEFAULT + 1]).unwrap();
    let run = cluster.jobraft(&["job", "enqueue", "--task", "none", "--file", "large.bin"]).await;
    run.fails(2, &["large.bin", "256.0 KiB", "store it elsewhere"]);

    // The node does not rely on the client's manners. The others of the same request are not touched by it.
    let client = cluster.client().await;
    let jobs = vec![new_job(&client, "fits"), new_job(&client, vec![0; PAYLOAD_BYTES_DEFAULT + 1])];
    match client.enqueue(jobs).await {
        Ok(outcomes) => match &outcomes[..] {
            [EnqueueOutcome::Created, EnqueueOutcome::Refused(error)] => assert_eq!(error.code, ErrorCode::TooLarge),
            other => panic!("{other:?}"),
        },
        Err(error) => assert_eq!(error.code(), Some(ErrorCode::TooLarge), "{error}"),
    }
    assert!(count(&client, &["default"], |stats| stats.ready).await.unwrap() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_token_changes_nothing() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let new = new_job(&client, "x");
    let id = new.id;
    client.enqueue(vec![new]).await.unwrap();
    let worker = client.register_worker("late").await.unwrap();
    let queues = vec![QueueName::new("default").unwrap()];
    let wait = Duration::from_secs(20);
    let lease = async |lease| {
        let leased = client.lease(worker, queues.clone(), 1, lease, wait).await.unwrap();
        leased.first().map(jobraft_sdk::protocol::LeasedJob::lease)
    };
    let first = lease(Duration::from_secs(1)).await.unwrap();
    // Given out anew once the first lease is over: the same call waits for it.
    let second = lease(Duration::from_secs(60)).await.unwrap();
    assert_eq!((second.job, id), (id, first.job));
    assert!(second.token > first.token);

    let lost = |error: SdkError| assert_eq!(error.code(), Some(ErrorCode::LeaseLost), "{error}");
    let forged = LeaseRef { job: id, token: FencingToken(second.token.0 + 1_000) };
    for stale in [first, forged] {
        lost(client.complete(stale, Completion { result: "late".into(), ..Completion::default() }).await.unwrap_err());
        lost(client.release(stale).await.unwrap_err());
        let extended = client.extend(&[stale], Duration::from_secs(60)).await.unwrap();
        assert_eq!(extended[0].as_ref().unwrap_err().code, ErrorCode::LeaseLost);
    }
    assert_eq!(job(&client, id).await.unwrap().lease.unwrap().token, second.token);
    client.complete(second, Completion { result: "right".into(), ..Completion::default() }).await.unwrap();
    lost(client.complete(first, Completion { result: "late".into(), ..Completion::default() }).await.unwrap_err());
    let done = job(&client, id).await.unwrap();
    assert_eq!((done.state, &done.result[..]), (JobState::Completed, &b"right"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_digest_differs_is_refused() {
    let cluster = TestCluster::start(1).await;
    // The SDK reckons the digest itself, so this speaks the protocol without it.
    let credentials = Credentials::load(&TlsFiles::in_directory(&cluster.path("certs"), "test")).unwrap();
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &credentials).unwrap();
    let connection = endpoint.connect(cluster.address(1), Protocol::Client).await.unwrap();
    let wasm = wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\")))").unwrap();
    let digest = Digest([7; 32]);
    let (mut sender, mut receiver) = connection.open().await.unwrap();
    sender.send(&StreamOpen::Upload { digest, size: wasm.len() as u64, name: None }).await.unwrap();
    sender.send_bytes(wasm.into()).await.unwrap();
    sender.finish().await.unwrap();
    let answer: Result<ModuleManifest, Error> = receiver.recv().await.unwrap().unwrap();
    let error = answer.unwrap_err();
    assert_eq!(error.code, ErrorCode::DigestMismatch, "{error}");
    assert!(error.message.contains(&digest.to_string()), "{error}");
    assert_eq!(cluster.client().await.modules(Consistency::Linearizable).await.unwrap(), []);
    endpoint.close().await;
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
