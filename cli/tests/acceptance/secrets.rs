//! Secrets for jobs: from the command line into the environment of a guest, and nowhere else.

use crate::support::{TestCluster, jobraft, leaks};
use serde_json::Value;
use std::fs;

const CANARY: &str = "canary-secret-2f8a61c4";

/// A module that writes its environment to stdout or stderr, and ends with a code.
fn module(to: u32, code: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
          (memory (export "memory") 2)
          (func (export "_start")
            (drop (call $sizes (i32.const 16) (i32.const 20)))
            (drop (call $environ (i32.const 1024) (i32.const 65536)))
            (i32.store (i32.const 0) (i32.const 65536))
            (i32.store (i32.const 4) (i32.load (i32.const 20)))
            (drop (call $write (i32.const {to}) (i32.const 0) (i32.const 1) (i32.const 8)))
            (call $exit (i32.const {code}))))"#
    );
    wat::parse_str(text).unwrap()
}

async fn enqueue(cluster: &TestCluster, module: &str) -> (bool, String) {
    let run = ["job", "enqueue", "--queue", "q", "--module", module, "--max-attempts", "1", "--wait", "x"];
    let run = cluster.jobraft(&run).await;
    (run.code == Some(0), run.stdout + &run.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_jobs_of_its_module_and_stands_nowhere_else() {
    let mut cluster = TestCluster::prepare(3);
    jobraft(cluster.directory(), &["storage", "keygen", "--out", "secrets.key"]).await.ok();
    (1..=3).for_each(|id| cluster.set_key_file(id, "secrets", Some("secrets.key")));
    (1..=3).for_each(|id| cluster.start_node(id));
    cluster.leader().await;
    for (name, to, code) in [("shows", 1, 0), ("tells", 2, 1), ("other", 1, 0)] {
        // Three modules, not one under three names.
        let bytes = [module(to, code), custom_section(name)].concat();
        fs::write(cluster.path(&format!("{name}.wasm")), bytes).unwrap();
        cluster.jobraft(&["module", "push", &format!("{name}.wasm"), "--name", name]).await.ok();
    }
    fs::write(cluster.path("value"), format!("{CANARY}\n")).unwrap();
    let put = ["secret", "put", "API_KEY", "--module", "shows", "--module", "tells", "--from-file", "value"];
    assert_eq!(cluster.jobraft(&put).await.ok(), "put secret API_KEY\n");
    cluster
        .jobraft(&["secret", "put", "API_KEY", "--module", "nobodys", "--from-file", "value"])
        .await
        .fails(3, &["no module nobodys"]);
    cluster.jobraft(&["secret", "put", "API-KEY", "--from-file", "value"]).await.fails(2, &["secret's name"]);
    cluster.jobraft(&["secret", "put", "EMPTY"]).await.fails(2, &["may not be empty"]);
    fs::remove_file(cluster.path("value")).unwrap();

    for isolate in [&[][..], &["--isolate"]] {
        cluster.start_worker("worker", &[&["--queue", "q"], isolate].concat()).await;
        assert_eq!(enqueue(&cluster, "shows").await, (true, format!("API_KEY={CANARY}\0")), "{isolate:?}");
        let (_, other) = enqueue(&cluster, "other").await;
        assert!(!other.contains("API_KEY"), "{other}");
        // What a guest says of it to others than whoever waits for its result.
        let (done, told) = enqueue(&cluster, "tells").await;
        assert!(!done && told.contains("API_KEY=***") && !told.contains(CANARY), "{told}");
        assert!(cluster.terminate_worker("worker").0.success());
    }

    // Results are the jobs' own, and were asked for; they go.
    cluster.jobraft(&["job", "delete", "--state", "completed", "--state", "dead", "--yes"]).await.ok();
    let listed = cluster.jobraft(&["secret", "list", "--json"]).await.ok();
    let secrets: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&secrets[0]["name"], &secrets[0]["version"]), (&"API_KEY".into(), &1.into()));
    assert_eq!(secrets[0]["modules"], Value::from(vec!["shows", "tells"]));
    let seen = leaks(cluster.directory(), CANARY);
    let is_database = |file: &String| file.contains("/log.db") || file.contains("/state.db");
    // The results of `shows` were in the databases, and what is deleted is written over later; nothing else has it.
    assert!(seen.iter().all(is_database), "{seen:?}");

    let granted = cluster.jobraft(&["secret", "grant", "API_KEY", "--module", "other"]).await.ok();
    assert_eq!(granted, "secret API_KEY is given to other\n");
    let elsewhere = ["secret", "grant", "API_KEY", "--module", "shows", "--queue", "elsewhere/*"];
    let granted = cluster.jobraft(&elsewhere).await.ok();
    assert_eq!(granted, "secret API_KEY is given to shows in elsewhere/*\n");
    cluster.start_worker("worker", &["--queue", "q"]).await;
    assert_eq!(enqueue(&cluster, "shows").await, (true, String::new()));
    cluster.jobraft(&["secret", "delete", "API_KEY"]).await.ok();
    cluster.jobraft(&["secret", "delete", "API_KEY"]).await.fails(3, &["no secret API_KEY"]);
    assert!(cluster.terminate_worker("worker").0.success());
}

/// A section that says nothing but its name.
fn custom_section(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let length = u8::try_from(name.len()).unwrap();
    [&[0, length + 1, length][..], name].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_no_job_shows_is_in_no_file_and_changes_keys_while_the_cluster_runs() {
    let mut cluster = TestCluster::prepare(1);
    let mut names = Vec::new();
    for key in ["old.key", "new.key"] {
        let made = jobraft(cluster.directory(), &["storage", "keygen", "--out", key]).await.ok();
        names.push(made.split("key ").nth(1).unwrap().split(' ').next().unwrap().to_owned());
    }
    cluster.set_key_file(1, "secrets", Some("old.key"));
    cluster.start_node(1);
    cluster.leader().await;
    fs::write(cluster.path("m.wasm"), module(2, 1)).unwrap();
    cluster.jobraft(&["module", "push", "m.wasm", "--name", "m"]).await.ok();
    fs::write(cluster.path("value"), CANARY).unwrap();
    cluster.jobraft(&["secret", "put", "KEY", "--module", "m", "--from-file", "value"]).await.ok();
    fs::remove_file(cluster.path("value")).unwrap();
    cluster.start_worker("worker", &["--queue", "q"]).await;
    let (_, told) = enqueue(&cluster, "m").await;
    assert!(told.contains("KEY=***"), "{told}");
    // What is listed is written first.
    cluster.jobraft(&["job", "list"]).await.ok();
    assert_eq!(leaks(cluster.directory(), CANARY), [""; 0]);

    // The new key below the former one, then above it; then everything is under the new one.
    let keys = ["old.key", "new.key"].map(|key| fs::read_to_string(cluster.path(key)).unwrap());
    for (order, first) in [([0, 1], 0), ([1, 0], 1)] {
        fs::write(cluster.path("old.key"), order.map(|at| keys[at].as_str()).concat()).unwrap();
        assert!(cluster.terminate_node(1).success());
        cluster.start_node(1);
        cluster.leader().await;
        let resealed = cluster.jobraft(&["secret", "reseal"]).await.ok();
        assert_eq!(resealed, format!("all secrets are sealed under key {}\n", names[first]));
    }
    assert!(cluster.terminate_node(1).success());
    cluster.set_key_file(1, "secrets", Some("new.key"));
    cluster.start_node(1);
    cluster.leader().await;
    let (_, told) = enqueue(&cluster, "m").await;
    assert!(told.contains("KEY=***"), "{told}");
    assert_eq!(leaks(cluster.directory(), CANARY), [""; 0]);
    assert!(cluster.terminate_worker("worker").0.success());
}
