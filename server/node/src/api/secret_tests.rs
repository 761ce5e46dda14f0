//! Who is given a secret, and that nobody else is.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, Session, code, fetch, leased};
use crate::seal::tests::{key_file, seal_of};
use crate::transport::Connection;
use bytes::Bytes;
use jobraft_protocol::{
    ClientRole, Completion, Consistency, Digest, EnqueueOutcome, Error, ErrorCode, Grant, LeasedJob, LogTime,
    ModuleManifest, NewJob, Request, Response, SecretChange, SecretGrant, SecretName, SecretValue, SecretView, Start,
    StreamOpen, Task, limits,
};
use sha2::{Digest as _, Sha256};

/// (module (func (export "_start"))), and one more export.
const MODULES: [&[u8]; 2] = [
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b",
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0e\x02\x06_start\0\0\x01a\0\0\x0a\x04\x01\x02\0\x0b",
];
const CANARY: &str = "canary-secret-91b7d2";

/// A node that has the key of this number, if any, and below it, that of the other.
async fn bench(keys: &[u8]) -> Bench {
    Bench::start_as(|config| {
        if !keys.is_empty() {
            let directory = config.data_dir.parent().unwrap();
            config.secrets_key_file = Some(key_file(directory, keys));
        }
    })
    .await
}

async fn push(connection: &Connection, bytes: &'static [u8], name: Option<&str>) -> Digest {
    let (digest, name) = (Digest(Sha256::digest(bytes).into()), name.map(|name| name.parse().unwrap()));
    let (mut sender, mut receiver) = connection.open().await.unwrap();
    let open = StreamOpen::Upload { digest, size: bytes.len() as u64, name, signatures: vec![], namespace: None };
    sender.send(&open).await.unwrap();
    sender.send_bytes(Bytes::from_static(bytes)).await.unwrap();
    sender.finish().await.unwrap();
    receiver.recv::<Result<ModuleManifest, Error>>().await.unwrap().unwrap().unwrap();
    digest
}

fn put(name: &str, value: &str, modules: &[&str]) -> Request {
    let grant = Some(SecretGrant::to(modules.iter().map(|module| module.parse().unwrap()).collect()));
    let change = SecretChange::Put { name: name.parse().unwrap(), value: value.parse().unwrap(), grant };
    Request::ChangeSecret { change }
}

impl Session {
    /// Enqueues a job of a module and leases it.
    async fn hold_module(&mut self, digest: Digest) -> LeasedJob {
        let Ok(Response::Registered(worker)) = self.ask(Request::RegisterWorker { info: Default::default() }).await
        else {
            panic!()
        };
        let new = NewJob { task: Task::Module(digest), ..self.job(Start::Now) };
        let answer = self.ask(Request::Enqueue { jobs: vec![new], all_or_none: false }).await;
        assert_eq!(answer, Ok(Response::Enqueued(vec![EnqueueOutcome::Created])));
        leased(self.ask(fetch(worker, 0)).await).remove(0)
    }

    async fn secrets(&mut self, job: &LeasedJob) -> Result<Vec<(String, String)>, ErrorCode> {
        let told = |(name, value): (SecretName, SecretValue)| (name.to_string(), value.reveal().to_owned());
        match self.ask(Request::GetSecrets { lease: job.lease() }).await {
            Ok(Response::JobSecrets(secrets)) => Ok(secrets.into_iter().map(told).collect()),
            Err(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_given_the_secrets_of_the_job_that_it_holds_as_long_as_it_does() {
    let bench = bench(&[1]).await;
    let mut ops = bench.session_as("ops", Grant::new([ClientRole::Admin]), 0).await;
    let bill = push(&ops.connection, MODULES[0], Some("bill")).await;
    let other = push(&ops.connection, MODULES[1], Some("other")).await;
    ops.done(put("KEY", CANARY, &["bill"])).await;
    ops.done(put("SECOND", "s", &[&format!("sha256:{bill}")])).await;
    let job = ops.hold_module(bill).await;
    assert!(job.has_secrets);
    let both = vec![("KEY".to_owned(), CANARY.to_owned()), ("SECOND".to_owned(), "s".to_owned())];
    assert_eq!(ops.secrets(&job).await, Ok(both));
    let without = ops.hold_module(other).await;
    assert!(!without.has_secrets);
    assert_eq!(ops.secrets(&without).await, Ok(vec![]));
    // Somebody else does not hold it, whatever they may do otherwise.
    let mut mallory = bench.session_as("mallory", Grant::new([ClientRole::Admin, ClientRole::Worker]), 50).await;
    assert_eq!(mallory.secrets(&job).await, Err(ErrorCode::Forbidden));
    let mut producer = bench.session_as("producer", Grant::new([ClientRole::Producer]), 60).await;
    assert_eq!(producer.secrets(&job).await, Err(ErrorCode::Forbidden));
    ops.complete(job.lease(), Completion::default()).await.unwrap();
    assert_eq!(ops.secrets(&job).await, Err(ErrorCode::LeaseLost));

    // Nothing but that shows it.
    let Ok(Response::Secrets(listed)) = ops.ask(Request::ListSecrets { consistency: Consistency::Stale }).await else {
        panic!()
    };
    assert_eq!(listed.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["KEY", "SECOND"]);
    assert!(!format!("{listed:?}{:?}", put("KEY", CANARY, &[])).contains(CANARY));
    ops.ask(Request::ListJobs {
        filter: Default::default(),
        after: None,
        oldest_first: true,
        limit: 1,
        consistency: Consistency::Linearizable,
    })
    .await
    .unwrap();
    let files =
        ["log.db", "log.db-wal", "state.db", "state.db-wal"].map(|name| bench.data_dir().join("group-0").join(name));
    let read: Vec<_> = files.iter().filter_map(|file| std::fs::read(file).ok()).collect();
    assert!(read.len() >= 2, "{:?}", std::fs::read_dir(bench.data_dir()).unwrap().collect::<Vec<_>>());
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(read.iter().any(|bytes| has(bytes, "SECOND")) && !read.iter().any(|bytes| has(bytes, CANARY)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_are_no_secrets_and_with_another_one_they_are_not_read() {
    let keyless = bench(&[]).await;
    let mut ops = keyless.session().await;
    let refused = ops.ask(put("KEY", CANARY, &[])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::WrongState);
    assert!(refused.message.contains("[secrets] key_file") && !refused.message.contains(CANARY), "{refused}");

    let bench = bench(&[1]).await;
    let mut ops = bench.session().await;
    let bill = push(&ops.connection, MODULES[0], Some("bill")).await;
    ops.done(put("KEY", CANARY, &["bill"])).await;
    let bench = bench.restart_as(|config| drop(key_file(config.data_dir.parent().unwrap(), &[2]))).await;
    let mut ops = bench.session().await;
    let job = ops.hold_module(bill).await;
    assert_eq!(ops.secrets(&job).await, Err(ErrorCode::WrongState));
    let reseal = || Request::ChangeSecret { change: SecretChange::Reseal };
    assert_eq!(code(ops.ask(reseal()).await), ErrorCode::WrongState);
    // Both keys read it; once it is sealed anew the former one is not needed.
    let bench = bench.restart_as(|config| drop(key_file(config.data_dir.parent().unwrap(), &[2, 1]))).await;
    let first = seal_of(&[2]).key_id().unwrap();
    assert_eq!(bench.session().await.ask(reseal()).await, Ok(Response::Resealed(first)));
    let bench = bench.restart_as(|config| drop(key_file(config.data_dir.parent().unwrap(), &[2]))).await;
    let mut ops = bench.session().await;
    assert_eq!(ops.secrets(&job).await, Ok(vec![("KEY".to_owned(), CANARY.to_owned())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_other_queues_is_not_given_it_by_a_job_of_its_own() {
    let bench = bench(&[1]).await;
    let mut ops = bench.session_as("ops", Grant::admin(), 0).await;
    let bill = push(&ops.connection, MODULES[0], Some("bill")).await;
    let queues = vec!["pay/*".parse().unwrap()];
    let grant = Some(SecretGrant { queues, ..SecretGrant::to(vec!["bill".parse().unwrap()]) });
    let change = SecretChange::Put { name: "KEY".parse().unwrap(), value: CANARY.parse().unwrap(), grant };
    ops.done(Request::ChangeSecret { change }).await;
    let both = Grant::new([ClientRole::Producer, ClientRole::Worker]);
    let mut theirs = bench.session_as("theirs", both.for_queues(vec!["q".parse().unwrap()]).unwrap(), 10).await;
    let job = theirs.hold_module(bill).await;
    assert!(!job.has_secrets);
    assert_eq!(theirs.secrets(&job).await, Ok(vec![]));
}

#[test]
fn answers_with_secrets_take_room_until_they_are_read() {
    let answer = Response::JobSecrets(vec![("KEY".parse().unwrap(), "x".repeat(10_000).parse().unwrap())]);
    assert!((10_000..11_000).contains(&super::room::bytes(&answer)), "{}", super::room::bytes(&answer));
    let view = SecretView {
        name: "KEY".parse().unwrap(),
        grant: SecretGrant::to(vec!["m".repeat(100).parse().unwrap(); 30]),
        version: 1,
        created_at: LogTime::ZERO,
        changed_at: LogTime::ZERO,
        changed_by: String::new(),
    };
    assert!(super::room::bytes(&Response::Secrets(vec![view; 10])) > 30_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_secret_wrongly_is_refused_and_changes_nothing() {
    let bench = bench(&[1]).await;
    let mut ops = bench.session().await;
    assert_eq!(code(ops.ask(put("KEY", CANARY, &["nobodys"])).await), ErrorCode::ModuleUnknown);
    let grant = |name: &str| SecretChange::Grant { name: name.parse().unwrap(), grant: SecretGrant::default() };
    assert_eq!(code(ops.ask(Request::ChangeSecret { change: grant("KEY") }).await), ErrorCode::NotFound);
    let many = put("KEY", CANARY, &["m"; limits::SECRET_MODULES_MAX + 1]);
    assert_eq!(code(ops.ask(many).await), ErrorCode::TooMany);
    let delete = SecretChange::Delete { name: "KEY".parse().unwrap() };
    assert_eq!(code(ops.ask(Request::ChangeSecret { change: delete }).await), ErrorCode::NotFound);
    let Ok(Response::Secrets(listed)) = ops.ask(Request::ListSecrets { consistency: Consistency::Linearizable }).await
    else {
        panic!()
    };
    assert_eq!(listed, []);
}
