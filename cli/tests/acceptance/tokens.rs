//! Tokens from the command line, their rotation under load, and those who show one that is not theirs.

use crate::load::Load;
use crate::support::{DEADLINE, TestCluster, eventually, jobraft, leaks};
use jobraft_sdk::protocol::{ClientRole, Consistency, ErrorCode, Grant, QueueName, TokenName, TokenSecret};
use jobraft_sdk::{Client, ClientConfig, Credential, Pem, SdkError};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_used_listed_rotated_and_revoked() {
    let cluster = TestCluster::start(1).await;
    let created =
        cluster.jobraft(&["token", "create", "ci", "--role", "producer", "--queue", "builds/*", "--out", "ci"]);
    let text = created.await.ok();
    assert_eq!(text, "token ci: producer for builds/*; its secret is in ci\n");
    let file = cluster.path("ci");
    let first = read(&file);
    assert!(first.starts_with("jrt_") && first.len() == 69, "{first:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // A context that names it, and one that names nobody.
    let context = read(&cluster.path("client.toml"));
    let nobody: String = context
        .lines()
        .filter(|line| !line.starts_with("cert") && !line.starts_with("key"))
        .map(|l| format!("{l}\n"))
        .collect();
    fs::write(cluster.path("nobody.toml"), &nobody).unwrap();
    fs::write(cluster.path("ci.toml"), format!("{nobody}token_file = \"ci\"\n")).unwrap();
    let enqueue = async |queue: &str, connection: &[&str]| {
        let command = ["job", "enqueue", "--queue", queue, "--task", "build", "x"];
        jobraft(cluster.directory(), &[&command[..], connection].concat()).await
    };
    enqueue("builds/main", &["--context", "ci.toml"]).await.ok();
    enqueue("builds/main", &["--context", "nobody.toml", "--token-file", "ci"]).await.ok();
    enqueue("mail", &["--context", "ci.toml"]).await.fails(1, &["token ci may not touch", "builds/*"]);
    enqueue("builds/main", &["--context", "nobody.toml"]).await.fails(2, &["certificate", "--token-file"]);
    enqueue("builds/main", &["--context", "client.toml", "--cert", "c", "--token-file", "ci"])
        .await
        .fails(2, &["said twice"]);
    fs::write(cluster.path("wrong"), "hunter2\n").unwrap();
    fs::set_permissions(cluster.path("wrong"), fs::Permissions::from_mode(0o600)).unwrap();
    let complaint = enqueue("builds/main", &["--context", "nobody.toml", "--token-file", "wrong"]).await;
    assert!(!complaint.fails(2, &["token", "jrt_"]).contains("hunter2"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    enqueue("builds/main", &["--context", "ci.toml"]).await.fails(2, &["chmod 600", "ci"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

    let listed = eventually("its use is listed", async || {
        let text = cluster.jobraft(&["token", "list", "--json"]).await.ok();
        let tokens: Value = serde_json::from_str(&text).unwrap();
        (!tokens[0]["last_used"].is_null()).then_some(tokens)
    });
    let listed = listed.await;
    assert_eq!(
        (&listed[0]["name"], &listed[0]["state"], &listed[0]["created_by"]),
        (&"ci".into(), &"good".into(), &"test".into())
    );
    let text = cluster.jobraft(&["token", "list"]).await.ok();
    assert!(text.contains("producer for builds/*") && text.contains("in 90 d") || text.contains("in 89 d"), "{text}");

    cluster.jobraft(&["token", "create", "ci", "--role", "admin"]).await.fails(1, &["already"]);
    cluster.jobraft(&["token", "create", "other", "--role", "admin", "--out", "ci"]).await.fails(2, &["--out"]);
    cluster.jobraft(&["token", "create", "other"]).await.fails(2, &["--role"]);
    cluster.jobraft(&["token", "create", "a b", "--role", "admin"]).await.fails(2, &["token name"]);
    cluster.jobraft(&["token", "create", "x", "--role", "admin", "--expires-in", "0s"]).await.fails(2, &["0s"]);
    let other = cluster.jobraft(&["token", "create", "other", "--role", "viewer", "--expires-in", "never", "--json"]);
    let other: Value = serde_json::from_str(&other.await.ok()).unwrap();
    assert!(other["token"].as_str().unwrap().starts_with("jrt_"));

    fs::copy(&file, cluster.path("old")).unwrap();
    cluster.jobraft(&["token", "rotate", "ci", "--grace", "1h", "--out", "ci"]).await.ok();
    assert_ne!(read(&file), first);
    let old = ["--context", "nobody.toml", "--token-file", "old"];
    enqueue("builds/main", &old).await.ok();
    enqueue("builds/main", &["--context", "ci.toml"]).await.ok();
    assert!(cluster.jobraft(&["token", "list"]).await.ok().contains("rotating"));
    cluster.jobraft(&["token", "rotate", "ci", "--grace", "0s", "--out", "ci"]).await.ok();
    enqueue("builds/main", &old).await.fails(1, &["unauthenticated", "jobraft token"]);
    enqueue("builds/main", &["--context", "ci.toml"]).await.ok();

    cluster.jobraft(&["token", "revoke", "ci", "nobody", "other"]).await.fails(3, &["nobody"]);
    enqueue("builds/main", &["--context", "ci.toml"]).await.fails(1, &["unauthenticated"]);
    assert_eq!(cluster.jobraft(&["token", "list", "--json"]).await.ok().trim(), "[]");
}

fn with_token(cluster: &TestCluster, token: Pem) -> ClientConfig {
    let config = ClientConfig { credential: Credential::Token(token), ..cluster.client_config() };
    config.request_timeout(DEADLINE).connect_timeout(DEADLINE)
}

fn name(text: &str) -> TokenName {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_rotated_under_load_and_no_job_notices() {
    let mut cluster = TestCluster::start(3).await;
    for (name, role) in [("app", "producer"), ("work", "worker")] {
        cluster.jobraft(&["token", "create", name, "--role", role, "--out", name]).await.ok();
    }
    let with = |file: &str| with_token(&cluster, cluster.path(file).into());
    let load = Load::start(with("app"), with("work")).await;
    load.progress("work goes on with the first secrets").await;
    for round in 0..3 {
        let old = ["app", "work"].map(|name| {
            fs::copy(cluster.path(name), cluster.path(&format!("old-{name}"))).unwrap();
            format!("old-{name}")
        });
        for name in ["app", "work"] {
            cluster.jobraft(&["token", "rotate", name, "--grace", "2s", "--out", name]).await.ok();
        }
        for file in old {
            eventually("the secret before has ended", async || {
                let config = with(&file).connect_timeout(Duration::from_secs(5));
                Client::connect(config).await.err().filter(|error| error.code() == Some(ErrorCode::Unauthenticated))
            })
            .await;
        }
        load.progress(&format!("work goes on after rotation {round}")).await;
    }
    load.finish(&cluster.client().await).await;
    cluster.leader().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_what_is_not_theirs_gets_nowhere_and_no_secret_is_anywhere() {
    let cluster = TestCluster::start(3).await;
    let admin = cluster.client().await;
    let grant = || Grant::new([ClientRole::Admin]).for_queues(vec!["b/*".parse().unwrap()]).unwrap();
    let secrets = [
        admin.create_token(name("revoked"), grant(), None).await.unwrap(),
        admin.create_token(name("expired"), grant(), Some(Duration::from_secs(1))).await.unwrap(),
        admin.create_token(name("rotated"), grant(), None).await.unwrap(),
        admin.create_token(name("tenant"), grant(), None).await.unwrap(),
    ];
    let connect = async |secret: &TokenSecret| {
        Client::connect(with_token(&cluster, Pem::Bytes(secret.reveal().into_bytes()))).await
    };
    let unauthenticated = |outcome: Result<Client, SdkError>| {
        let error = outcome.expect_err("it is refused");
        assert_eq!(error.code(), Some(ErrorCode::Unauthenticated), "{error}");
    };
    let open = connect(&secrets[0]).await.unwrap();
    admin.revoke_token(name("revoked")).await.unwrap();
    admin.rotate_token(name("rotated"), Duration::ZERO).await.unwrap();
    // Also who was in before is out.
    let error = open.queues(Consistency::Linearizable).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthenticated), "{error}");
    eventually("one has expired", async || connect(&secrets[1]).await.err()).await;
    for secret in &secrets[..3] {
        unauthenticated(connect(secret).await);
    }
    for guess in 0..10 {
        unauthenticated(connect(&TokenSecret::new([guess; 32])).await);
    }
    // Another tenant's is none of theirs, nor is the cluster, nor are tokens.
    let tenant = connect(&secrets[3]).await.unwrap();
    let forbidden = |error: SdkError| assert_eq!(error.code(), Some(ErrorCode::Forbidden), "{error}");
    forbidden(tenant.groups(&QueueName::new("a/x").unwrap(), Consistency::Stale).await.unwrap_err());
    forbidden(tenant.create_token(name("mine"), Grant::admin(), None).await.unwrap_err());
    forbidden(tenant.rotate_token(name("rotated"), Duration::ZERO).await.unwrap_err());
    forbidden(tenant.revoke_token(name("rotated")).await.unwrap_err());
    forbidden(tenant.tokens(Consistency::Stale).await.unwrap_err());

    let audit = |id: u64| fs::read_to_string(cluster.path(&format!("node-{id}/audit.log"))).unwrap();
    let told = ["not one of this cluster", "\"who\":\"token tenant\"", "token revoked revoked", "token tenant created"];
    eventually("the audit logs have all of it", async || {
        let audits: String = (1..=3).map(audit).collect();
        told.iter().all(|words| audits.contains(words)).then_some(())
    })
    .await;
    for canary in secrets.iter().map(TokenSecret::reveal) {
        assert_eq!(leaks(cluster.directory(), &canary), [""; 0]);
    }
}
