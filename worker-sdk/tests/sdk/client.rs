//! The client against nodes that misbehave.

use crate::node::{Asked, Authority, Node, PATIENCE, WORKER, now};
use bytes::Bytes;
use jobraft_protocol::limits::WORKER_LIST_MAX;
use jobraft_protocol::{
    ALPN_CLIENT, ALPN_PEER, ClusterSettings, ClusterStatus, Consistency, EnqueueOutcome, Error, ErrorCode, LogTime,
    ModuleName, ModuleRef, NewJob, NodeId, QueueName, Request, Response, Role, Task, TaskName, TokenSecret, WorkerId,
    WorkerInfo, WorkerOrder, WorkerView,
};
use jobraft_sdk::{Client, ClientConfig, ConnectFailure, Credential, Pem, SdkError, TlsError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn job(client: &Client) -> NewJob {
    NewJob::new(
        client.job_id(),
        QueueName::new("q").unwrap(),
        Task::Handler(TaskName::new("t").unwrap()),
        b"1".as_slice(),
    )
}

/// What a node says that takes `leader` for the leader.
fn status(node: &Node, leader: Option<NodeId>) -> ClusterStatus {
    ClusterStatus {
        cluster: "test".to_owned(),
        node: node.id,
        role: if leader == Some(node.id) { Role::Leader } else { Role::Follower },
        leader,
        term: 1,
        last_index: 1,
        applied_index: 1,
        checkpoint_index: 0,
        time: now(),
        version: "0".to_owned(),
        log_commits: None,
        certificate_ends_at: None,
        members: Vec::new(),
    }
}

#[tokio::test]
async fn a_refusal_by_a_follower_is_followed_to_the_leader() {
    let authority = Authority::new();
    let (mut old, mut new) = (Node::start(&authority, 1), Node::start(&authority, 2));
    // The client knows only the node that led.
    let client = authority.client(&[&old]).await;
    let job = job(&client);
    let enqueue = tokio::spawn({
        let client = client.clone();
        let job = job.clone();
        async move { client.enqueue(vec![job]).await }
    });
    let mut refusal = Error::new(ErrorCode::NotLeader, "another node leads");
    refusal.leader = Some(new.hint());
    old.next().await.answer(Err(refusal));
    let asked = new.next().await;
    assert_eq!(asked.request, Request::Enqueue { jobs: vec![job], all_or_none: false });
    asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Created])));
    assert_eq!(enqueue.await.unwrap().unwrap(), [EnqueueOutcome::Created]);
    // Remembered.
    let queues = tokio::spawn(async move { client.queues(Consistency::Linearizable).await });
    new.next().await.answer(Ok(Response::Queues(Vec::new())));
    assert_eq!(queues.await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn a_follower_asked_first_names_the_leader() {
    let authority = Authority::new();
    let (follower, mut leader) = (Node::start(&authority, 1), Node::start(&authority, 2));
    follower.follows(&leader);
    let client = authority.client(&[&follower]).await;
    let queues = tokio::spawn(async move { client.queues(Consistency::Linearizable).await });
    leader.next().await.answer(Ok(Response::Queues(Vec::new())));
    queues.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_left_for_another_before_its_connection_is_given_up() {
    let authority = Arc::new(Authority::new());
    let mut next = Node::start(&authority, 2);
    let (hint, hinted) = std::sync::mpsc::channel();
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    // On a thread of its own, which will take part in nothing, not even in QUIC.
    let silent = std::thread::spawn({
        let authority = Arc::clone(&authority);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut node = Node::start(&authority, 1);
                hint.send(node.hint()).unwrap();
                let asked = node.next().await;
                asked.answer(Ok(Response::Queues(Vec::new())));
                // Answered, but nobody hears of it any more.
                let session = node.next().await.session;
                blocked.recv().unwrap();
                session.ended().await
            })
        }
    });
    let hinted = hinted.recv().unwrap();
    let old = hinted.node;
    *next.leader.lock().unwrap() = Some(hinted);
    let client = authority.client(&[&next]).await;
    client.queues(Consistency::Linearizable).await.unwrap();
    let queues = tokio::spawn(async move { client.queues(Consistency::Linearizable).await });
    // One node is asked until it knows a new leader, and then not again.
    for known in [Some(old), None, Some(next.id)] {
        if known == Some(next.id) {
            *next.leader.lock().unwrap() = Some(next.hint());
        }
        let asked = next.next().await;
        assert_eq!(asked.request, Request::ClusterStatus);
        asked.answer(Ok(Response::Cluster(status(&next, known))));
    }
    let asked = next.next().await;
    assert_eq!(asked.request, Request::ListQueues { consistency: Consistency::Linearizable });
    asked.answer(Ok(Response::Queues(Vec::new())));
    queues.await.unwrap().unwrap();
    unblock.send(()).unwrap();
    // The client said goodbye: it had not waited for QUIC to give the connection up.
    let ended = silent.join().unwrap();
    assert!(matches!(ended, quinn::ConnectionError::ApplicationClosed(_)), "{ended:?}");
}

#[tokio::test]
async fn workers_are_read_page_by_page_until_one_is_empty_and_one_of_them_alone() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let worker = |id| WorkerView {
        id: WorkerId(id),
        info: WorkerInfo::default(),
        registered_at: LogTime::ZERO,
        last_seen: LogTime::ZERO,
        order: WorkerOrder::Run,
        held: 0,
        jobs: Vec::new(),
    };
    let consistency = Consistency::Stale;
    let ask = |after: Option<u64>, limit| Request::ListWorkers { after: after.map(WorkerId), limit, consistency };
    let listing = tokio::spawn({
        let client = client.clone();
        async move { client.workers(consistency).await }
    });
    for (after, page) in [(None, vec![worker(3), worker(4)]), (Some(4), vec![worker(9)]), (Some(9), vec![])] {
        let asked = node.next().await;
        assert_eq!(asked.request, ask(after, WORKER_LIST_MAX));
        asked.answer(Ok(Response::Workers(page)));
    }
    assert_eq!(listing.await.unwrap().unwrap(), [worker(3), worker(4), worker(9)]);

    for (wanted, found) in [(4, Some(4)), (5, None), (0, None)] {
        let client = client.clone();
        let finding = tokio::spawn(async move { client.worker(WorkerId(wanted), consistency).await });
        let asked = node.next().await;
        assert_eq!(asked.request, ask(wanted.checked_sub(1), 1));
        asked.answer(Ok(Response::Workers(vec![worker(if wanted == 4 { 4 } else { 9 })])));
        assert_eq!(finding.await.unwrap().unwrap(), found.map(worker));
    }
}

/// Found with real nodes: when a leader's clock leapt ahead, everything that connected clients enqueued was refused.
#[tokio::test]
async fn ids_are_of_the_clusters_time_also_after_it_leapt_ahead() {
    const HOUR_MS: u64 = 3_600_000;
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let refused = job(&client);
    let enqueue = tokio::spawn({
        let (client, job) = (client.clone(), refused.clone());
        async move { client.enqueue(vec![job]).await }
    });
    let outcome = EnqueueOutcome::Refused(Error::new(ErrorCode::IdOutsideWindow, "the id is too old"));
    node.next().await.answer(Ok(Response::Enqueued(vec![outcome.clone()])));
    let asked = node.next().await;
    assert_eq!(asked.request, Request::ClusterStatus);
    let leapt = now().plus_ms(HOUR_MS);
    asked.answer(Ok(Response::Cluster(ClusterStatus { time: leapt, ..status(&node, Some(node.id)) })));
    assert_eq!(enqueue.await.unwrap().unwrap(), [outcome]);
    assert!(client.job_id().minted_at() >= leapt, "{:?} {leapt:?}", client.job_id().minted_at());
}

#[tokio::test]
async fn an_enqueue_cut_off_is_repeated_with_the_same_ids() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let jobs: Vec<NewJob> = (0..3).map(|_| job(&client)).collect();
    let enqueue = tokio::spawn({
        let jobs = jobs.clone();
        async move { client.enqueue(jobs).await }
    });
    let first = node.next().await;
    first.session.cut();
    let second = node.next().await;
    assert_eq!(first.request, second.request);
    assert_eq!(second.request, Request::Enqueue { jobs, all_or_none: false });
    second.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Existing; 3])));
    assert_eq!(enqueue.await.unwrap().unwrap(), vec![EnqueueOutcome::Existing; 3]);
}

#[tokio::test]
async fn a_lease_cut_off_is_not_repeated() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let lease = tokio::spawn({
        let client = client.clone();
        async move { client.lease(WORKER, Vec::new(), 1, Duration::from_secs(30), Duration::ZERO).await }
    });
    node.next().await.session.cut();
    let error = lease.await.unwrap().unwrap_err();
    assert!(matches!(error, SdkError::OutcomeUnknown { request: "lease", .. }), "{error}");
    // The next request is the next call's, not a repetition.
    let queues = tokio::spawn(async move { client.queues(Consistency::Stale).await });
    let asked = node.next().await;
    assert!(matches!(asked.request, Request::ListQueues { .. }));
    asked.answer(Ok(Response::Queues(Vec::new())));
    queues.await.unwrap().unwrap();
}

#[tokio::test]
async fn silence_is_a_timeout_that_says_what_is_unknown() {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let config = authority.config(&[&node]).request_timeout(Duration::from_millis(200));
    let client = Client::connect(config).await.unwrap();
    let error = client.enqueue(vec![job(&client)]).await.unwrap_err();
    assert!(error.outcome_unknown() && error.retryable());
    assert_eq!(error.to_string(), "enqueue was not answered within 200ms; it may or may not have been done");
    let error = client.queues(Consistency::Stale).await.unwrap_err();
    assert!(!error.outcome_unknown(), "a read changes nothing");
}

#[tokio::test]
async fn an_oversized_frame_ends_the_session_and_harms_nothing() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let register = tokio::spawn({
        let client = client.clone();
        async move { client.register_worker(WorkerInfo::default()).await }
    });
    node.next().await.session.send_raw(vec![0xff; 8]);
    let error = register.await.unwrap().unwrap_err();
    assert!(matches!(error, SdkError::OutcomeUnknown { .. }), "{error}");
    assert!(error.to_string().contains("exceeds the limit"), "{error}");
    let queues = tokio::spawn(async move { client.queues(Consistency::Stale).await });
    node.next().await.answer(Ok(Response::Queues(Vec::new())));
    queues.await.unwrap().unwrap();
}

async fn refusal(config: ClientConfig) -> ConnectFailure {
    match Client::connect(config).await.unwrap_err() {
        SdkError::Unreachable(mut tried) => tried.pop().unwrap().failure,
        other => panic!("unexpected error {other}"),
    }
}

#[tokio::test]
async fn who_is_not_a_node_of_the_cluster_is_refused() {
    let authority = Authority::new();
    let foreign = Authority::new();
    let peer = authority.issue("jobraft://node/1", |_| {});
    let other_protocol = Node::with_certificate(&authority, 1, peer, ALPN_PEER);
    let failure = refusal(authority.config(&[&other_protocol])).await;
    assert!(matches!(failure, ConnectFailure::NotJobraft(_)), "{failure}");

    let client = authority.issue("jobraft://client/mallory", |_| {});
    let not_a_node = Node::with_certificate(&authority, 1, client, ALPN_CLIENT);
    let failure = refusal(authority.config(&[&not_a_node])).await;
    assert!(matches!(failure, ConnectFailure::NodeCertificate(_)), "{failure}");

    let other_node = authority.issue("jobraft://node/2", |_| {});
    let impostor = Node::with_certificate(&authority, 1, other_node, ALPN_CLIENT);
    let failure = refusal(authority.config(&[&impostor])).await;
    assert!(matches!(failure, ConnectFailure::NodeCertificate(_)), "{failure}");

    let foreign_node = Node::start(&foreign, 1);
    let failure = refusal(authority.config(&[&foreign_node])).await;
    assert!(matches!(failure, ConnectFailure::NodeCertificate(_)), "{failure}");
}

#[tokio::test]
async fn a_foreign_client_learns_that_the_node_refuses_it() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let node = Node::start(&authority, 1);
    let mut config = foreign.config(&[&node]);
    config.ca = Pem::Bytes(authority.pem());
    let failure = refusal(config).await;
    assert!(matches!(failure, ConnectFailure::ClientCertificate(_)), "{failure}");
}

#[tokio::test]
async fn nobody_there_names_every_endpoint() {
    let authority = Authority::new();
    // Bound, and silent.
    let sockets = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut config = authority.config(&[]).connect_timeout(Duration::from_millis(100));
    config.endpoints = sockets.iter().map(|socket| socket.local_addr().unwrap().into()).collect();
    let text = Client::connect(config.clone()).await.unwrap_err().to_string();
    for endpoint in &config.endpoints {
        assert!(text.contains(&format!("{endpoint}: no answer")), "{text}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_named_before_anything_is_sent() {
    let authority = Authority::new();
    let mut config = authority.config(&[]);
    config.endpoints = vec!["127.0.0.1:9".parse().unwrap()];
    let (cert, key) = authority.issue("jobraft://client/old", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    config.credential = Credential::Certificate { cert: Pem::Bytes(cert), key: Pem::Bytes(key) };
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, SdkError::Tls(TlsError::Expired { .. })), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.key");
    let mut config = authority.config(&[]);
    config.endpoints = vec!["127.0.0.1:9".parse().unwrap()];
    let Credential::Certificate { cert, key: Pem::Bytes(key) } = &config.credential else { unreachable!() };
    std::fs::write(&path, key).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    config.credential = Credential::Certificate { cert: cert.clone(), key: path.clone().into() };
    let text = Client::connect(config).await.unwrap_err().to_string();
    assert!(text.contains("mode 640") && text.ends_with(&format!("chmod 600 {}", path.display())), "{text}");
}

/// A file that only its owner reads.
fn private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_token_is_shown_first_and_its_file_is_read_anew_for_each_connection() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ci.token");
    let [old, new] = [1, 2].map(|number| TokenSecret::new([number; 32]));
    private(&file, &format!("{}\n", old.reveal()));
    node.tokens.lock().unwrap().good = Some(old.hash());
    let base = authority.config(&[&node]);
    let config = ClientConfig { credential: Credential::Token(file.clone().into()), ..base };
    let client = Client::connect(config).await.unwrap();
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.settings(Consistency::Stale).await }
    });
    let request = node.next().await;
    request.answer(Ok(Response::Settings(ClusterSettings::default())));
    asked.await.unwrap().unwrap();

    private(&file, &new.reveal());
    node.tokens.lock().unwrap().good = Some(new.hash());
    request.session.cut();
    let asked = tokio::spawn(async move { client.settings(Consistency::Stale).await });
    node.next().await.answer(Ok(Response::Settings(ClusterSettings::default())));
    asked.await.unwrap().unwrap();
    assert_eq!(node.tokens.lock().unwrap().shown, [old, new]);
}

#[tokio::test]
async fn a_token_that_does_not_count_is_told_at_once_and_not_tried_again() {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let secret = TokenSecret::new([1; 32]);
    let base = authority.config(&[&node]);
    let credential = Credential::Token(Pem::Bytes(secret.reveal().into()));
    let error = Client::connect(ClientConfig { credential, ..base }).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthenticated), "{error}");
    assert!(!error.retryable() && error.to_string().contains("not one of ours"), "{error}");
    assert!(!error.to_string().contains(&secret.reveal()) && !format!("{error:?}").contains(&secret.reveal()));
    assert_eq!(node.tokens.lock().unwrap().shown.len(), 1);
}

#[tokio::test]
async fn a_token_in_a_file_that_has_ended_is_read_again_until_it_counts() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ci.token");
    let [old, new] = [1, 2].map(|number| TokenSecret::new([number; 32]));
    private(&file, &old.reveal());
    node.tokens.lock().unwrap().good = Some(old.hash());
    let credential = Credential::Token(file.clone().into());
    let client = Client::connect(ClientConfig { credential, ..authority.config(&[&node]) }).await.unwrap();
    node.tokens.lock().unwrap().good = Some(new.hash());
    let asked = tokio::spawn(async move { client.settings(Consistency::Stale).await });
    node.next().await.answer(Err(Error::new(ErrorCode::Unauthenticated, "it has ended")));
    // It comes back with what is still in the file, more than once.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while node.tokens.lock().unwrap().shown.len() < 4 {
        assert!(tokio::time::Instant::now() < deadline, "it is not tried again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    private(&file, &new.reveal());
    node.next().await.answer(Ok(Response::Settings(ClusterSettings::default())));
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_token_is_shown_to_nodes_of_the_cluster_alone() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let foreign = Node::start(&theirs, 1);
    let client = Node::with_certificate(&ours, 2, ours.issue("jobraft://client/thief", |_| {}), ALPN_CLIENT);
    for node in [&foreign, &client] {
        let credential = Credential::Token(Pem::Bytes(TokenSecret::new([1; 32]).reveal().into()));
        Client::connect(ClientConfig { credential, ..ours.config(&[node]) }).await.unwrap_err();
        assert!(node.tokens.lock().unwrap().shown.is_empty());
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_before_anything_is_sent_and_not_repeated() {
    let authority = Authority::new();
    let mut config = authority.config(&[]);
    config.endpoints = vec!["127.0.0.1:9".parse().unwrap()];
    config.credential = Credential::Token(Pem::Bytes(b"hunter2".to_vec()));
    let text = Client::connect(config).await.unwrap_err().to_string();
    assert!(text.contains("no usable token") && text.contains("jrt_") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_module_comes_back_as_it_went_and_not_otherwise() {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let module: Bytes = (0..600_000u32).flat_map(u32::to_be_bytes).collect();
    let mut seen = Vec::new();
    let name = ModuleName::new("m@1").unwrap();
    let sent =
        client.upload_module(module.clone(), Some(name.clone()), |sent, of| seen.push((sent, of))).await.unwrap();
    assert_eq!(sent.names, [name]);
    let size = module.len() as u64;
    assert_eq!((seen.first(), seen.last()), (Some(&(0, size)), Some(&(size, size))));
    let wanted = ModuleRef::Digest(sent.digest);
    assert_eq!(client.download_module(wanted.clone()).await.unwrap().1, module);
    node.modules.lock().unwrap().get_mut(&sent.digest).unwrap()[7] ^= 1;
    let error = client.download_module(wanted).await.unwrap_err();
    assert!(matches!(error, SdkError::DigestMismatch { expected, .. } if expected == sent.digest), "{error}");
}

#[tokio::test]
async fn a_new_connection_is_made_with_the_files_as_they_are_or_else_as_they_last_fitted() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let write_key = |key: &[u8]| {
        std::fs::write(file("key"), key).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(file("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    let [old, new] = [(); 2].map(|()| authority.issue("jobraft://client/test", |_| {}));
    std::fs::write(file("ca"), authority.pem()).unwrap();
    std::fs::write(file("cert"), &old.0).unwrap();
    write_key(&old.1);
    let config = ClientConfig::new([node.address.clone()], file("ca"), file("cert"), file("key"));
    let client = Client::connect(config).await.unwrap();
    let certificate = |pem: &[u8]| CertificateDer::from_pem_slice(pem).unwrap();

    assert_eq!(certificate_of_a_connection(&client, &mut node).await, certificate(&old.0));
    // Half of a renewal, which nobody can use.
    std::fs::write(file("cert"), &new.0).unwrap();
    assert_eq!(certificate_of_a_connection(&client, &mut node).await, certificate(&old.0));
    write_key(&new.1);
    assert_eq!(certificate_of_a_connection(&client, &mut node).await, certificate(&new.0));
}

/// The certificate that the client shows on its connection, which is cut then.
async fn certificate_of_a_connection(client: &Client, node: &mut Node) -> CertificateDer<'static> {
    let asking = {
        let client = client.clone();
        tokio::spawn(async move { client.cluster_status(None).await })
    };
    let Asked { session, .. } = node.next().await;
    asking.abort();
    session.cut();
    session.ended().await;
    session.certificate()
}

#[tokio::test]
async fn a_node_whose_certificate_is_revoked_is_not_spoken_to() {
    let authority = Authority::new();
    let one = Node::start(&authority, 1);
    let certificate = authority.issue("jobraft://node/2", |_| {});
    let list = |authority: &Authority| authority.revoke(&certificate.0);
    let two = Node::with_certificate(&authority, 2, certificate.clone(), ALPN_CLIENT);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    let config = |node: &Node| {
        let mut config = authority.config(&[node]);
        config.ca = ca.clone().into();
        config
    };
    Client::connect(config(&two)).await.unwrap();
    // Beside the CA, where it is looked for.
    std::fs::write(directory.path().join("ca.crl"), list(&authority)).unwrap();
    let failure = refusal(config(&two)).await;
    assert!(matches!(failure, ConnectFailure::NodeCertificate(_)), "{failure}");
    Client::connect(config(&one)).await.unwrap();
    // A list that another has signed under the CA's name is none.
    std::fs::write(directory.path().join("ca.crl"), list(&Authority::new())).unwrap();
    let error = Client::connect(config(&one)).await.unwrap_err();
    assert!(matches!(error, SdkError::Tls(TlsError::Malformed { .. })), "{error}");
}
