//! Modules that must be signed: where they are pushed, and where they run.

use crate::support::{TestCluster, eventually, job};
use jobraft_sdk::SigningKey;
use jobraft_sdk::protocol::{ErrorCode, FailureKind, JobId, JobState};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const WORDCOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wasm/wordcount/wordcount.wasm");

/// The signer that `module keygen` prints.
async fn keygen(cluster: &TestCluster, file: &str) -> String {
    let text = cluster.jobraft(&["module", "keygen", "--out", file]).await.ok();
    let mode = fs::metadata(cluster.path(file)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    text.lines().find_map(|line| line.strip_prefix("signer ")).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_only_modules_that_are_signed_by_whom_it_names() {
    let mut cluster = TestCluster::prepare(1);
    let trusted = keygen(&cluster, "release.key").await;
    keygen(&cluster, "other.key").await;
    cluster.jobraft(&["module", "keygen", "--out", "release.key"]).await.fails(2, &["release.key", "exists"]);
    let config = cluster.path("node-1.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[modules]\nsigners = [\"{trusted}\"]\n")).unwrap();
    cluster.start_node(1);
    cluster.leader().await;
    fs::copy(WORDCOUNT, cluster.path("m.wasm")).unwrap();

    let push = async |arguments: &[&str]| cluster.jobraft(&[&["module", "push", "m.wasm"], arguments].concat()).await;
    push(&["--name", "m"]).await.fails(1, &["(forbidden)", &trusted, "--sign"]);
    push(&["--name", "m", "--sign", "other.key"]).await.fails(1, &["(forbidden)"]);
    assert_eq!(cluster.jobraft(&["module", "list", "--json"]).await.ok().trim(), "[]");
    push(&["--name", "m", "--sign", "release.key"]).await.ok();
    // It is signed by then, whoever pushes it again.
    push(&["--name", "m2", "--sign", "other.key"]).await.ok();
    let list = cluster.jobraft(&["module", "list"]).await.ok();
    // Signatures that nobody asked for are not kept.
    assert!(list.contains(&trusted[..20]) && list.matches("ed25519:").count() == 1, "{list}");
    push(&["--sign", "m.wasm"]).await.fails(2, &["m.wasm", "chmod 600"]);

    // A signature of something else is none.
    let client = cluster.client().await;
    let key = SigningKey::load(&cluster.path("release.key")).unwrap();
    let other = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    let stolen = key.sign(&fs::read(WORDCOUNT).unwrap());
    let error = client.upload_signed_module(other.into(), None, vec![stolen], |_, _| {}).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument), "{error}");
    assert!(error.to_string().contains(&trusted), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_only_modules_that_are_signed_by_whom_it_trusts() {
    let mut cluster = TestCluster::start(1).await;
    let trusted = keygen(&cluster, "release.key").await;
    let client = cluster.client().await;
    fs::copy(WORDCOUNT, cluster.path("signed.wasm")).unwrap();
    fs::write(cluster.path("plain.wasm"), wat::parse_str("(module (func (export \"_start\")))").unwrap()).unwrap();
    cluster.jobraft(&["module", "push", "signed.wasm", "--name", "signed", "--sign", "release.key"]).await.ok();
    cluster.jobraft(&["module", "push", "plain.wasm", "--name", "plain"]).await.ok();
    cluster.start_worker("careful", &["--queue", "default", "--signer", &trusted]).await;
    let enqueue = async |module: &str| {
        let text = cluster.jobraft(&["job", "enqueue", "--module", module, "one two"]).await.ok();
        text.trim().parse::<JobId>().unwrap()
    };
    let ended = async |id: JobId| {
        eventually("the job has ended", async || job(&client, id).await.ok().filter(|view| view.state.is_terminal()))
            .await
    };
    let plain = ended(enqueue("plain").await).await;
    assert_eq!((plain.state, plain.errors[0].kind), (JobState::Dead, FailureKind::InvalidModule), "{plain:?}");
    assert!(plain.errors[0].message.contains("nobody whom this worker trusts has signed"), "{plain:?}");
    assert_eq!(ended(enqueue("signed").await).await.state, JobState::Completed);
    // Signed later, it runs.
    cluster.jobraft(&["module", "push", "plain.wasm", "--sign", "release.key"]).await.ok();
    assert_eq!(ended(enqueue("plain").await).await.state, JobState::Completed);
}
