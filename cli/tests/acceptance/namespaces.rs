//! Tenants: made, bounded, kept apart and removed from the command line.

use crate::support::{Process, TestCluster, eventually, jobraft};
use serde_json::Value;
use std::fs;

/// What a job of one tenant carries, and the other must not find.
const CANARY: &str = "canary-tenant-7c1d9e";

/// What a command prints with `--json`, asked by who runs the cluster or by whoever has the context that is named.
async fn json(cluster: &TestCluster, arguments: &[&str]) -> Value {
    let own = if arguments.contains(&"--context") { &[][..] } else { &["--context", "client.toml"] };
    let text = jobraft(cluster.directory(), &[arguments, &["--json"], own].concat()).await.ok();
    serde_json::from_str(&text).unwrap()
}

/// A context file `NAME.toml` of whoever has this token file, or certificate.
fn context(cluster: &TestCluster, name: &str, credential: &str) {
    let text = fs::read_to_string(cluster.path("client.toml")).unwrap();
    let nobody = text.lines().filter(|line| !line.starts_with("cert") && !line.starts_with("key"));
    let text: String = nobody.map(|line| format!("{line}\n")).collect();
    fs::write(cluster.path(&format!("{name}.toml")), text + credential).unwrap();
}

/// Two namespaces, each with its administrator: of acme by certificate, of beta by token.
async fn two_tenants(cluster: &TestCluster) {
    for name in ["acme", "beta"] {
        let created = cluster.jobraft(&["namespace", "create", name]).await.ok();
        assert_eq!(created, format!("created namespace {name}\n"));
    }
    let issue = ["certs", "issue", "client", "acme", "--role", "admin", "--role", "worker", "--namespace", "acme"];
    jobraft(cluster.directory(), &issue).await.ok();
    context(cluster, "acme", "cert = \"certs/acme.crt\"\nkey = \"certs/acme.key\"\n");
    let roles = ["--role", "admin", "--role", "worker"];
    let token = ["token", "create", "app", "--namespace", "beta", "--out", "beta.token"];
    let told = cluster.jobraft(&[&token[..], &roles].concat()).await.ok();
    assert!(told.contains("admin,worker"), "{told}");
    context(cluster, "beta", "token_file = \"beta.token\"\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_use_the_same_names_and_their_workers_run_what_is_theirs() {
    let cluster = TestCluster::start(1).await;
    two_tenants(&cluster).await;
    let mut workers = Vec::new();
    for (name, said) in [("acme", "of acme"), ("beta", "of beta")] {
        let text = format!(
            "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $w (param i32 i32 i32 i32) (result i32)))
               (memory (export \"memory\") 1) (data (i32.const 8) \"{said}\") (data (i32.const 0) \"\\08\\00\\00\\00\\07\\00\\00\\00\")
               (func (export \"_start\") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))"
        );
        fs::write(cluster.path(&format!("{name}.wasm")), wat::parse_str(text).unwrap()).unwrap();
        let (module, context) = (format!("{name}.wasm"), format!("{name}.toml"));
        let push = ["module", "push", &module, "--name", "tool", "--context", &context];
        assert!(jobraft(cluster.directory(), &push).await.ok().contains("tool"));
        let worker = ["worker", "--queue", "work", "--context", &context, "--cache-dir", name];
        workers.push(Process::start(&format!("worker-{name}"), cluster.directory(), &worker));
    }
    for (name, said) in [("acme", "of acme"), ("beta", "of beta")] {
        let context = format!("{name}.toml");
        let run = ["job", "enqueue", "--queue", "work", "--module", "tool", "--wait", "--context", &context, CANARY];
        let run = jobraft(cluster.directory(), &run).await.ok();
        assert!(run.contains(said), "{run}");
        let queues = json(&cluster, &["queue", "list", "--context", &context]).await;
        assert_eq!((queues.as_array().unwrap().len(), &queues[0]["queue"]), (1, &"work".into()));
        let modules = json(&cluster, &["module", "list", "--context", &context]).await;
        assert_eq!(modules.as_array().unwrap().len(), 1, "{modules}");
    }
    workers.into_iter().for_each(Process::kill);
    // The one of nobody in particular has nothing of it; who runs the cluster looks into each.
    assert_eq!(json(&cluster, &["queue", "list"]).await, Value::Array(vec![]));
    let jobs = json(&cluster, &["job", "list", "--namespace", "acme"]).await;
    assert_eq!(jobs["queue"], "work");
    let text = cluster.jobraft(&["namespace", "list"]).await.ok();
    assert!(text.contains("acme") && text.contains("beta") && text.contains("default"), "{text}");
    let own = json(&cluster, &["namespace", "list", "--context", "acme.toml"]).await;
    assert_eq!((own.as_array().unwrap().len(), &own[0]["name"], &own[0]["modules"]), (1, &"acme".into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_refused_what_is_anothers_and_the_audit_log_has_it() {
    let cluster = TestCluster::start(1).await;
    two_tenants(&cluster).await;
    let enqueue = ["job", "enqueue", "--queue", "q", "--task", "t", "--context", "acme.toml", "--json", CANARY];
    let made: Value = serde_json::from_str(&jobraft(cluster.directory(), &enqueue).await.ok()).unwrap();
    let job = made["id"].as_str().or(made[0]["id"].as_str()).expect("an id").to_owned();
    let (get, cancel) = (["job", "get", &job], ["job", "cancel", &job]);
    let after = ["job", "enqueue", "--task", "t", "--after", &job, "x"];
    let (delete, retry) = (["job", "delete", &job, "--yes"], ["job", "retry", &job]);
    for command in [&get[..], &cancel, &after, &delete, &retry] {
        for credential in ["beta.toml", "client.toml"] {
            let run = jobraft(cluster.directory(), &[command, &["--context", credential]].concat()).await;
            let complaint = run.fails(1, &["(forbidden)", "not in namespace"]);
            assert!(!complaint.contains(CANARY) && !complaint.contains("acme"), "{complaint}");
        }
    }
    for enter in [
        &["queue", "list", "--namespace", "acme"][..],
        &["job", "enqueue", "--namespace", "acme", "--task", "t", "x"],
        &["queue", "list", "--namespace", "default"],
    ] {
        let run = jobraft(cluster.directory(), &[enter, &["--context", "beta.toml"]].concat()).await;
        run.fails(1, &["(forbidden)", "may not enter namespace"]);
    }
    for (command, complaint) in [
        (&["namespace", "create", "gamma"][..], "may not touch the cluster as a whole"),
        (&["namespace", "set", "beta", "--max-jobs", "9"], "may not touch the cluster as a whole"),
        (&["namespace", "delete", "acme", "--yes"], "may not touch the cluster as a whole"),
        (&["cluster", "remove", "1"], "may not touch the cluster as a whole"),
        (&["job", "enqueue", "--queue", "acme~q", "--task", "t", "x"], "queue name"),
    ] {
        let run = jobraft(cluster.directory(), &[command, &["--context", "beta.toml"]].concat()).await;
        run.fails(if complaint == "queue name" { 2 } else { 1 }, &[complaint]);
    }
    cluster.jobraft(&["queue", "list", "--namespace", "nowhere"]).await.fails(3, &["no namespace nowhere"]);

    // Nothing of it was done, and all of it was written down.
    let view = json(&cluster, &["job", "get", &job, "--namespace", "acme"]).await;
    assert_eq!(view["state"], "ready");
    let audit = eventually("the audit log has the last of it", async || {
        let text = fs::read_to_string(cluster.path("node-1/audit.log")).unwrap();
        text.contains("remove_node").then_some(text)
    });
    let audit = audit.await;
    assert!(!audit.contains(CANARY), "{audit}");
    let refused = |who: &str, request: &str| {
        let is_it = |line: &str| {
            line.contains(&format!("\"who\":\"{who}\"")) && line.contains(&format!("\"request\":\"{request}\""))
        };
        audit.lines().any(|line| is_it(line) && line.contains("\"outcome\":\"forbidden\""))
    };
    for request in ["session", "get_job", "act", "enqueue", "change_namespace", "remove_node"] {
        assert!(refused("token app of namespace beta", request), "{request}\n{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_refuses_waits_and_is_raised_and_what_is_deleted_is_gone() {
    let cluster = TestCluster::start(1).await;
    let create = ["namespace", "create", "acme", "--max-jobs", "2", "--max-bytes", "1KiB", "--rate", "100/1s"];
    cluster.jobraft(&create).await.ok();
    cluster.jobraft(&["namespace", "create", "acme"]).await.fails(1, &["already", "(conflict)"]);
    cluster.jobraft(&["namespace", "create", "a b"]).await.fails(2, &["namespace"]);
    cluster.jobraft(&["namespace", "create", "b", "--max-jobs", "0"]).await.fails(2, &["jobs 0"]);
    cluster.jobraft(&["namespace", "set", "acme"]).await.fails(2, &["--max-jobs"]);
    cluster.jobraft(&["namespace", "set", "nowhere", "--max-jobs", "1"]).await.fails(3, &["no namespace nowhere"]);
    let enqueue = ["job", "enqueue", "--namespace", "acme", "--task", "t", "--count", "3", "x"];
    let full = cluster.jobraft(&enqueue).await;
    full.fails(1, &["(quota_exceeded)", "jobs that have not ended: 2", "jobraft namespace set"]);
    let listed = json(&cluster, &["namespace", "list"]).await;
    assert_eq!(
        (&listed[0]["name"], &listed[0]["jobs"], &listed[0]["jobs_max"]),
        (&"acme".into(), &2.into(), &2.into())
    );
    let large = "x".repeat(1_100);
    let set = cluster.jobraft(&["namespace", "set", "acme", "--max-jobs", "default"]).await.ok();
    assert_eq!(set, "namespace acme: 1.0 KiB, 100/1s\n");
    let enqueue = ["job", "enqueue", "--namespace", "acme", "--task", "t"];
    cluster.jobraft(&[&enqueue[..], &[&large]].concat()).await.fails(1, &["bytes: 1024"]);
    cluster.jobraft(&[&enqueue[..], &["x"]].concat()).await.ok();

    cluster.jobraft(&["namespace", "delete", "acme"]).await.fails(2, &["--yes"]);
    cluster.jobraft(&["namespace", "delete", "acme", "--yes"]).await.fails(1, &["have not ended, 3 of them"]);
    cluster.jobraft(&["namespace", "delete", "default", "--yes"]).await.fails(1, &["always there"]);
    let cancel = ["job", "cancel", "--namespace", "acme", "--state", "ready", "--yes"];
    cluster.jobraft(&cancel).await.ok();
    let deleted = cluster.jobraft(&["namespace", "delete", "acme", "--yes"]).await.ok();
    assert_eq!(deleted, "deleted namespace acme\n");
    cluster.jobraft(&["job", "list", "--namespace", "acme"]).await.fails(3, &["no namespace acme"]);
    cluster.jobraft(&["namespace", "create", "acme"]).await.fails(1, &["there was a namespace acme"]);
}
