use crate::storage::{DataDir, StorageError};
use jobraft_protocol::NodeId;
use std::fs;

const NODE: NodeId = NodeId(3);

#[test]
fn directory_keeps_its_identity() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("deep/data");
    let first = DataDir::open(&path, "prod", NODE).unwrap();
    assert!(first.is_new());
    let instance = first.instance();
    assert!(first.group(0).unwrap().ends_with("group-0"));
    assert!(first.modules().unwrap().is_dir());
    drop(first);
    let again = DataDir::open(&path, "prod", NODE).unwrap();
    assert!(!again.is_new());
    assert_eq!(again.instance(), instance);
}

#[test]
fn two_directories_are_two_instances() {
    let temporary = tempfile::tempdir().unwrap();
    let one = DataDir::open(&temporary.path().join("1"), "prod", NODE).unwrap();
    let two = DataDir::open(&temporary.path().join("2"), "prod", NODE).unwrap();
    assert_ne!(one.instance(), two.instance());
}

#[cfg(unix)]
#[test]
fn directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("data");
    let data = DataDir::open(&path, "prod", NODE).unwrap();
    for path in [path, data.group(0).unwrap(), data.modules().unwrap()] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn second_user_is_refused_and_told_who_is_first() {
    let temporary = tempfile::tempdir().unwrap();
    let first = DataDir::open(temporary.path(), "prod", NODE).unwrap();
    let error = DataDir::open(temporary.path(), "prod", NODE).unwrap_err();
    assert!(matches!(error, StorageError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    drop(first);
    DataDir::open(temporary.path(), "prod", NODE).unwrap();
}

#[test]
fn other_cluster_and_other_node_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let instance = DataDir::open(temporary.path(), "prod", NODE).unwrap().instance();
    let error = DataDir::open(temporary.path(), "test", NODE).unwrap_err();
    assert!(
        matches!(&error, StorageError::OtherCluster { found, expected, .. } if found == "prod" && expected == "test")
    );
    let error = DataDir::open(temporary.path(), "prod", NodeId(4)).unwrap_err();
    assert!(matches!(error, StorageError::OtherNode { found: NODE, expected: NodeId(4), .. }));
    assert_eq!(DataDir::open(temporary.path(), "prod", NODE).unwrap().instance(), instance, "nothing was changed");
}

#[test]
fn newer_layout_is_refused_whatever_else_it_says() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("identity"), "format = 2\nshape = \"unheard of\"\n").unwrap();
    let error = DataDir::open(temporary.path(), "prod", NODE).unwrap_err();
    assert!(matches!(error, StorageError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn unreadable_identity_is_refused() {
    for text in ["", "\u{0}\u{0}", "format = 1\ncluster = \"prod\"\nnode = 3\n", "format = -1"] {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("identity"), text).unwrap();
        let error = DataDir::open(temporary.path(), "prod", NODE).unwrap_err();
        assert!(matches!(error, StorageError::IdentityUnreadable { .. }), "{text:?}: {error}");
    }
}

#[test]
fn data_without_identity_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    DataDir::open(temporary.path(), "prod", NODE).unwrap().group(0).unwrap();
    fs::remove_file(temporary.path().join("identity")).unwrap();
    let error = DataDir::open(temporary.path(), "prod", NODE).unwrap_err();
    assert!(matches!(error, StorageError::Missing { .. }), "{error}");
}

#[test]
fn file_in_the_place_of_the_directory_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("data");
    fs::write(&path, "").unwrap();
    let error = DataDir::open(&path, "prod", NODE).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
}
