//! What the audit log says of what clients ask for.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, Session, code, soon};
use crate::config::{AuditConfig, AuditScope};
use crate::tls::{CertificateAuthority, Credentials, Overwrite, TlsFiles};
use crate::transport::{Endpoint, Protocol};
use bytes::Bytes;
use jobraft_protocol::{
    ClientRole, Consistency, Digest, Error, ErrorCode, Grant, JobAction, JobTemplate, ModuleManifest, ModuleRef,
    QueueMode, QueueSetting, Request, Schedule, Setting, Start, StreamOpen, Task,
};
use std::net::SocketAddr;

/// What no line may have.
const CANARY: &str = "canary-of-a-payload";

async fn start(record: AuditScope) -> Bench {
    Bench::start_as(|config| config.audit = AuditConfig { record, ..AuditConfig::in_directory(&config.data_dir) }).await
}

/// The lines, once everything is written.
async fn lines(bench: &Bench) -> Vec<serde_json::Value> {
    soon(bench.node.audit().flush()).await;
    let text = std::fs::read_to_string(bench.data_dir().join(AuditConfig::FILE)).unwrap();
    assert!(!text.contains(CANARY), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `who did what: outcome` of each line that is about a request.
async fn asked(bench: &Bench) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let asked = lines(bench).await.into_iter().filter(|line| line["event"] == "asked");
    asked.map(|line| format!("{} {}: {}", text(&line["who"]), text(&line["request"]), text(&line["outcome"]))).collect()
}

fn pause(queue: &str) -> Request {
    let setting = Setting::Queue(queue.parse().unwrap(), QueueSetting::Mode(QueueMode::Paused));
    let job = JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), CANARY);
    let schedule = Setting::PutSchedule(Box::new(Schedule::new("s".parse().unwrap(), "0 0 1 1 *", job)));
    Request::Configure { settings: vec![setting, schedule] }
}

async fn course_of_a_job(session: &mut Session) {
    let mut job = session.job(Start::Now);
    job.payload = CANARY.into();
    let id = job.id;
    session.ask(Request::Enqueue { jobs: vec![job], all_or_none: false }).await.unwrap();
    session.view(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_refusals_have_a_line_and_the_course_of_jobs_has_none() {
    let bench = start(AuditScope::Changes).await;
    let mut admin = bench.session().await;
    let mut viewer = bench.session_as("viewer", Grant::new([ClientRole::Viewer]), 100).await;
    course_of_a_job(&mut admin).await;
    admin.ask(pause("other")).await.unwrap();
    let live = admin.enqueue(Start::Now).await;
    let nobody = admin.job(Start::Now).id;
    let cancel = JobAction::Cancel { reason: CANARY.to_owned(), grace_ms: 0 };
    admin.act(&[live, nobody], cancel).await;
    assert_eq!(code(viewer.ask(pause("other")).await), ErrorCode::Forbidden);
    let job = viewer.job(Start::Now);
    let enqueue = Request::Enqueue { jobs: vec![job], all_or_none: false };
    assert_eq!(code(viewer.ask(enqueue).await), ErrorCode::Forbidden);
    let credits = Request::AddCredits { worker: jobraft_protocol::WorkerId(1), credits: 1 };
    assert_eq!(code(viewer.ask(credits).await), ErrorCode::Forbidden);
    viewer.ask(Request::ListQueues { consistency: Consistency::Stale }).await.unwrap();

    let worker = admin.register().await;
    let mut other = bench.session_as("other", Grant::new([ClientRole::Worker]), 0).await;
    assert_eq!(code(other.ask(Request::Heartbeat { worker }).await), ErrorCode::Forbidden);
    let read = Request::GetJob { job: live, consistency: Consistency::Stale, wait_ms: 0 };
    assert_eq!(code(other.ask(read).await), ErrorCode::Forbidden);

    assert_eq!(
        asked(&bench).await,
        [
            "client tester configure: done",
            "client tester act: done",
            "client viewer configure: forbidden",
            "client viewer enqueue: forbidden",
            "client viewer add_credits: forbidden",
            "client other heartbeat: forbidden",
            "client other get_job: forbidden",
        ]
    );
    let lines = lines(&bench).await;
    let of = |request: &str| lines.iter().find(|line| line["request"] == request).unwrap();
    let configured = "setting queue other: Mode(Paused)";
    assert_eq!(of("configure")["on"], serde_json::json!([configured, "setting schedule s put, into queue q"]));
    let (live, nobody) = (format!("job {live}"), format!("job {nobody}"));
    assert_eq!(of("act")["on"], serde_json::json!(["action cancel", live, nobody]));
    assert_eq!(of("act")["refused"], 1);
    assert!(of("enqueue")["reason"].as_str().unwrap().contains("its role is viewer"));
    assert_eq!(of("get_job")["on"], serde_json::json!([live]));
    assert!(of("configure")["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    let connected: Vec<_> = lines.iter().filter(|line| line["event"] == "connected").map(|line| &line["who"]).collect();
    assert_eq!(connected, ["client tester: admin", "client viewer: viewer", "client other: worker"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_has_a_line_where_that_is_wanted() {
    let bench = start(AuditScope::All).await;
    course_of_a_job(&mut bench.session().await).await;
    assert_eq!(asked(&bench).await, ["client tester enqueue: done", "client tester get_job: done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moves_modules_that_it_may_not_has_one_line_however_often() {
    let bench = start(AuditScope::Changes).await;
    let nobody = bench.session_as("nobody", Grant::new([]), 0).await;
    let producer = bench.session_as("producer", Grant::new([ClientRole::Producer]), 0).await;
    let digest = Digest([1; 32]);
    let upload = StreamOpen::Upload { digest, size: 1, name: None, signatures: vec![], namespace: None };
    for _ in 0..3 {
        open(&nobody, &upload, ErrorCode::Forbidden).await;
        open(
            &nobody,
            &StreamOpen::Download { module: ModuleRef::Digest(digest), namespace: None },
            ErrorCode::Forbidden,
        )
        .await;
        // It may, but not this: one byte is not what has that digest.
        open(&producer, &upload, ErrorCode::DigestMismatch).await;
    }
    let mut lines = asked(&bench).await;
    lines.sort();
    let expected = [
        "client nobody download: forbidden",
        "client nobody upload: forbidden",
        "client producer upload: digest_mismatch",
    ];
    assert_eq!(lines, expected);
}

/// Opens a stream of a module on the client's connection, which is answered with `code`.
async fn open(client: &Session, opening: &StreamOpen, code: ErrorCode) {
    let (mut sender, mut receiver) = client.connection.open().await.unwrap();
    sender.send(opening).await.unwrap();
    // Unless it was refused before.
    let _ = sender.send_bytes(Bytes::from_static(b"x")).await;
    let _ = sender.finish().await;
    let answer = soon(receiver.recv::<Result<ModuleManifest, Error>>()).await.unwrap().expect("an answer");
    assert_eq!(answer.unwrap_err().code, code);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_turned_away_has_a_line() {
    let bench = start(AuditScope::Changes).await;
    let directory = tempfile::tempdir().unwrap();
    let foreign = CertificateAuthority::create(directory.path(), 1).unwrap();
    let pair = foreign.issue_client("mallory", Grant::admin(), 1).unwrap();
    pair.write(directory.path(), "mallory", Overwrite::Refuse).unwrap();
    // Whose authority trusts the node: only the node turns it away.
    let trusted = bench.data_dir().parent().unwrap().join("ca.crt");
    let both = [std::fs::read(directory.path().join("ca.crt")).unwrap(), std::fs::read(trusted).unwrap()].concat();
    std::fs::write(directory.path().join("ca.crt"), both).unwrap();
    let credentials = Credentials::load(&TlsFiles::in_directory(directory.path(), "mallory")).unwrap();
    let endpoint = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &credentials).unwrap();
    let address = bench.node.listen_addr().to_string().parse().unwrap();
    let refused = async {
        let connection = endpoint.connect(&address, Protocol::Client).await?;
        connection.open().await?.1.recv::<()>().await
    };
    assert!(soon(refused).await.is_err());
    let turned = soon(async {
        loop {
            if let Some(line) = lines(&bench).await.into_iter().find(|line| line["event"] == "refused") {
                return line;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let turned = turned.await;
    assert_eq!(turned["outcome"], "refused");
    assert!(turned["reason"].as_str().unwrap().contains("handshake"), "{turned}");
}
