//! The passphrase of the authority's key: where it comes from, and what does not work without it.

use crate::support::{Process, Run, jobraft};
use crate::terminal::jobraft_at_terminal;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

const SEALED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n";
const PLAIN: &str = "-----BEGIN PRIVATE KEY-----\n";

/// A directory with two passphrases in files that only their owner can read.
fn place() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("right", "correct horse\n"), ("other", "battery staple\n"), ("empty", "\n")] {
        fs::write(directory.path().join(name), text).unwrap();
        fs::set_permissions(directory.path().join(name), Permissions::from_mode(0o600)).unwrap();
    }
    directory
}

/// The authority's key, as it lies there for nobody but its owner.
fn key(directory: &Path) -> String {
    let file = directory.join("certs/ca.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::read_to_string(file).unwrap()
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("certs")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn nothing_is_signed_without_the_passphrase_of_the_authoritys_key() {
    let directory = place();
    let here = directory.path();
    let certs = async |arguments: &str| -> Run {
        let run = jobraft(here, &[&["certs"], &*arguments.split(' ').collect::<Vec<_>>()].concat()).await;
        assert!(!format!("{run:?}").contains("horse"), "the passphrase is told: {run:?}");
        run
    };
    certs("init --ca-passphrase-file empty").await.fails(2, &["empty", "must not be empty"]);
    certs("init --ask-ca-passphrase").await.fails(2, &["no terminal", "--ca-passphrase-file"]);
    assert!(!here.join("certs").exists());
    let text = certs("init --ca-passphrase-file right").await.ok();
    assert!(
        text.contains("under the passphrase") && text.contains("--role producer --ca-passphrase-file right"),
        "{text}"
    );
    let sealed = key(here);
    assert!(sealed.starts_with(SEALED) && !sealed.contains(PLAIN), "{sealed}");

    let before = files(here);
    fs::set_permissions(here.join("other"), Permissions::from_mode(0o644)).unwrap();
    certs("issue client alice --role viewer --ca-passphrase-file other").await.fails(2, &["other", "chmod 600"]);
    fs::set_permissions(here.join("other"), Permissions::from_mode(0o600)).unwrap();
    for command in [
        "issue client alice --role viewer",
        "issue node 1 --host a",
        "renew --all",
        "revoke admin",
        "passphrase --remove",
    ] {
        certs(command).await.fails(2, &["certs/ca.key", "--ca-passphrase-file"]);
        let wrong = format!("{command} --ca-passphrase-file other");
        certs(&wrong).await.fails(2, &["the passphrase does not open certs/ca.key"]);
        certs(&format!("{command} --ca-passphrase-file none")).await.fails(2, &["none", "No such file"]);
    }
    assert!(files(here) == before && key(here) == sealed, "{:?}", files(here));

    certs("issue client alice --role viewer --ca-passphrase-file right").await.ok();
    certs("renew alice --ca-passphrase-file right").await.ok();
    certs("revoke alice --ca-passphrase-file right").await.ok();
    let arguments = ["certs", "issue", "client", "bob", "--role", "viewer"];
    let variables: [(&str, &Path); 1] = [("JOBRAFT_CA_PASSPHRASE_FILE", Path::new("right"))];
    let (status, text) = Process::start_with("issue", here, &arguments, &variables).wait_and_read();
    assert!(status.success() && text.contains("certs/bob.crt"), "{text}");
}

#[tokio::test]
async fn the_passphrase_is_set_changed_and_removed_and_certificates_stay_good() {
    let directory = place();
    let here = directory.path();
    let certs =
        async |arguments: &str| jobraft(here, &[&["certs"], &*arguments.split(' ').collect::<Vec<_>>()].concat()).await;
    certs("init").await.ok();
    let plain = key(here);
    assert!(plain.starts_with(PLAIN));
    // Who gives one is wrong about what protects the key.
    let given = "issue client alice --role viewer --ca-passphrase-file right";
    certs(given).await.fails(2, &["certs/ca.key has no passphrase", "jobraft certs passphrase"]);
    certs("passphrase").await.fails(2, &["no terminal", "--new-passphrase-file"]);
    certs("passphrase --new-passphrase-file empty").await.fails(2, &["must not be empty"]);
    assert_eq!(key(here), plain);

    certs("passphrase --new-passphrase-file right").await.ok();
    assert!(key(here).starts_with(SEALED));
    certs(given).await.ok();
    certs("passphrase --ca-passphrase-file right --new-passphrase-file other").await.ok();
    certs("issue client bob --role viewer --ca-passphrase-file right").await.fails(2, &["does not open"]);
    certs("issue client bob --role viewer --ca-passphrase-file other").await.ok();
    certs("passphrase --ca-passphrase-file other --remove").await.ok();
    assert_eq!(key(here), plain);
    certs("issue client carol --role viewer").await.ok();
    let names = ["admin.crt", "admin.key", "alice.crt", "alice.key", "bob.crt", "bob.key", "ca.crt", "ca.key"];
    assert_eq!(files(here), [&names[..], &["carol.crt", "carol.key"]].concat());
    let shown = certs("show").await.ok();
    assert_eq!(shown.matches("  valid").count(), 5, "{shown}");
}

#[tokio::test]
async fn at_a_terminal_the_passphrase_is_asked_for_and_not_shown() {
    let directory = place();
    let here = directory.path();
    let certs = async |arguments: &str, answers: &[(&str, &str)]| {
        let run = jobraft_at_terminal(here, &format!("certs {arguments}"), answers).await;
        assert!(!run.stdout.contains("horse") && !run.stdout.contains("staple"), "it is shown: {run:?}");
        run
    };
    let (old, new, again) = ("Passphrase of certs/ca.key: ", "New passphrase of ca.key: ", "The same once more: ");
    let run = certs("init --ask-ca-passphrase", &[(new, "correct horse"), (again, "correct hose")]).await;
    assert!(run.code == Some(2) && run.stdout.contains("nothing was done") && !here.join("certs").exists(), "{run:?}");
    certs("init --ask-ca-passphrase", &[(new, "correct horse"), (again, "correct horse")]).await.ok();
    assert!(key(here).starts_with(SEALED));

    let issue = "issue client alice --role viewer";
    let run = certs(issue, &[(old, "battery staple")]).await;
    assert!(run.code == Some(2) && run.stdout.contains("does not open certs/ca.key"), "{run:?}");
    let run = certs(issue, &[(old, "")]).await;
    assert!(run.code == Some(2) && run.stdout.contains("must not be empty"), "{run:?}");
    certs(issue, &[(old, "correct horse")]).await.ok();
    let changed = [(old, "correct horse"), (new, "battery staple"), (again, "battery staple")];
    certs("passphrase", &changed).await.ok();
    // What was typed is what a file says.
    certs("renew alice --ca-passphrase-file other", &[]).await.ok();
    certs("passphrase --remove", &[(old, "battery staple")]).await.ok();
    assert!(key(here).starts_with(PLAIN));
    certs("renew alice", &[]).await.ok();
}
