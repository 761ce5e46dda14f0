//! Certificates from the command line, and their replacement, authority and all, under a cluster that works.

use crate::load::Load;
use crate::support::{TestCluster, eventually, jobraft};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[tokio::test]
async fn certificates_are_renewed_and_revoked_by_name_or_by_their_ends() {
    let directory = tempfile::tempdir().unwrap();
    let certs = async |arguments: &[&str]| jobraft(directory.path(), &[&["certs"], arguments].concat()).await;
    let read = |name: &str| fs::read(directory.path().join("certs").join(name)).unwrap();
    certs(&["init", "--no-admin"]).await.ok();
    certs(&["issue", "node", "1", "--host", "node1.example"]).await.ok();
    certs(&["issue", "client", "alice", "--role", "viewer", "--days", "20"]).await.ok();
    certs(&["issue", "client", "bob", "--role", "viewer", "--days", "20"]).await.ok();

    let text = certs(&["renew", "--within", "10"]).await.ok();
    assert!(text.starts_with("nothing to do: no certificate that ends within 10 days"), "{text}");
    let before = (read("alice.crt"), read("alice.key"), read("node-1.crt"));
    let text = certs(&["renew", "--dry-run"]).await.ok();
    assert!(text.contains("would renew alice") && text.contains("would renew bob"), "{text}");
    assert!(!text.contains("node-1"), "{text}");
    assert!(before == (read("alice.crt"), read("alice.key"), read("node-1.crt")), "a dry run has changed a file");

    let text = certs(&["revoke", "bob", "certs/alice.crt"]).await.ok();
    assert!(text.contains("revoked certs/bob.crt (client bob: viewer)") && text.contains("certs/ca.crl"), "{text}");
    let text = certs(&["revoke", "bob"]).await.ok();
    assert!(text.contains("was revoked before"), "{text}");
    // Who is revoked gets a new one by name only.
    let text = certs(&["renew", "alice", "--days", "40"]).await.ok();
    assert!(text.starts_with("renewed alice (client alice: viewer), valid until 2"), "{text}");
    assert!(read("alice.crt") != before.0 && read("alice.key") != before.1);
    let mode = fs::metadata(directory.path().join("certs/alice.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = certs(&["renew", "--all", "--json"]).await.ok();
    let renewals: Value = serde_json::from_str(&text).unwrap();
    let outcomes: Vec<_> = renewals.as_array().unwrap().iter().map(|one| (&one["name"], &one["outcome"])).collect();
    assert_eq!(format!("{outcomes:?}").matches("renewed").count(), 2, "{outcomes:?}");
    assert_eq!((renewals[1]["name"].as_str(), renewals[1]["outcome"].as_str()), (Some("bob"), Some("revoked")));
    let text = certs(&["show"]).await.ok();
    let state = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().split_whitespace().last();
    assert_eq!(
        [state("alice.crt"), state("bob.crt"), state("node-1.crt")],
        [Some("valid"), Some("revoked"), Some("valid")]
    );
    certs(&["renew", "nobody"]).await.fails(2, &["nobody.crt"]);
    certs(&["revoke", "ca"]).await.fails(2, &["authority"]);
}

/// Puts a file in the place of another, as a whole.
fn put(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).unwrap();
    fs::rename(beside, to).unwrap();
}

/// Waits until each node has taken new certificates so many times.
async fn taken(cluster: &TestCluster, times: usize) {
    for id in 1..=3 {
        eventually(&format!("node {id} has taken new certificates {times} times"), async || {
            (cluster.node_log(id).matches("new certificates are in use").count() >= times).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authority_and_certificates_are_replaced_under_load_without_a_restart_and_no_job_notices() {
    let mut cluster = TestCluster::start(3).await;
    let (certs, new) = (cluster.path("certs"), cluster.path("new"));
    let load = Load::start(cluster.client_config(), cluster.client_config()).await;
    load.progress("work goes on with the old authority").await;

    // 1. The new authority; everybody trusts both.
    let run = async |arguments: &[&str]| jobraft(cluster.directory(), arguments).await.ok();
    run(&["certs", "init", "--dir", "new", "--no-admin"]).await;
    let both = [fs::read(certs.join("ca.crt")).unwrap(), fs::read(new.join("ca.crt")).unwrap()].concat();
    fs::write(cluster.path("both.crt"), both).unwrap();
    put(&cluster.path("both.crt"), &certs.join("ca.crt"));
    taken(&cluster, 1).await;
    load.progress("work goes on while both are trusted").await;

    // 2. New certificates for all, by the new authority.
    let stems = ["node-1", "node-2", "node-3", "test"];
    for stem in stems {
        fs::copy(certs.join(format!("{stem}.crt")), new.join(format!("{stem}.crt"))).unwrap();
    }
    fs::create_dir(cluster.path("old")).unwrap();
    for name in ["test.crt", "test.key", "ca.crt"] {
        fs::copy(certs.join(name), cluster.path("old").join(name)).unwrap();
    }
    run(&["certs", "renew", "--all", "--dir", "new"]).await;
    for stem in stems {
        for name in [format!("{stem}.key"), format!("{stem}.crt")] {
            put(&new.join(&name), &certs.join(&name));
        }
    }
    taken(&cluster, 2).await;
    load.progress("work goes on with new certificates").await;

    // 3. The old authority counts no more.
    put(&new.join("ca.crt"), &certs.join("ca.crt"));
    (1..=3).for_each(|id| cluster.signal_node(id, Signal::HUP));
    taken(&cluster, 3).await;
    load.progress("work goes on without the old authority").await;
    let address = cluster.address(1).as_str();
    let list = async |files: &str, name: &str| {
        let file = |name: &str| format!("{files}/{name}");
        let (ca, cert, key) = (file("ca.crt"), file(&format!("{name}.crt")), file(&format!("{name}.key")));
        let connection = ["--endpoint", address, "--ca", &ca, "--cert", &cert, "--key", &key];
        jobraft(cluster.directory(), &[&["queue", "list"], &connection[..]].concat()).await
    };
    list("old", "test").await.fails(4, &["certificate"]);
    list("certs", "test").await.ok();

    // Every acknowledged job has run, once.
    load.finish(&cluster.client().await).await;

    // What ends soon is told, by each node and of each.
    let status = cluster.jobraft(&["cluster", "status"]).await.ok();
    assert_eq!(status.matches("ends in 1 day").count(), 3, "{status}");
    assert!((1..=3).all(|id| cluster.node_log(id).contains("renew it with: jobraft certs renew")));

    // And who is revoked is out, here and now.
    run(&["certs", "issue", "client", "mallory", "--role", "admin", "--dir", "new"]).await;
    list("new", "mallory").await.ok();
    run(&["certs", "revoke", "mallory", "--dir", "new"]).await;
    put(&new.join("ca.crl"), &certs.join("ca.crl"));
    (1..=3).for_each(|id| cluster.signal_node(id, Signal::HUP));
    taken(&cluster, 4).await;
    list("new", "mallory").await.fails(4, &["certificate"]);
    list("certs", "test").await.ok();

    // Who asks for a look is told of it, also when there is nothing new.
    cluster.signal_node(1, Signal::HUP);
    eventually("node 1 has looked", async || cluster.node_log(1).contains("certificates are unchanged").then_some(()))
        .await;
    cluster.leader().await;
}
