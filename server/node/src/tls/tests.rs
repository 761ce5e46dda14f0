//! Certificates and keys, good and bad, as they lie on disk.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::{
    CA_VALIDITY_DAYS_DEFAULT, CertificateAuthority, Credentials, Identity, LEAF_VALIDITY_DAYS_DEFAULT, Overwrite,
    TlsError, TlsFiles, Validity, describe,
};
use jobraft_protocol::{ALPN_CLIENT, Grant, NodeId};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

const DAYS: u32 = LEAF_VALIDITY_DAYS_DEFAULT;

fn authority() -> (TempDir, CertificateAuthority) {
    let directory = TempDir::new().unwrap();
    let authority = CertificateAuthority::create(directory.path(), CA_VALIDITY_DAYS_DEFAULT).unwrap();
    (directory, authority)
}

fn node_files(directory: &Path, authority: &CertificateAuthority) -> TlsFiles {
    let hosts = ["127.0.0.1".to_owned(), "node1.example".to_owned()];
    authority.issue_node(NodeId(1), &hosts, DAYS).unwrap().write(directory, "node-1", Overwrite::Refuse).unwrap();
    TlsFiles::in_directory(directory, "node-1")
}

fn load(files: &TlsFiles) -> Result<Credentials, TlsError> {
    Credentials::load(files)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_the_authority_issues_can_be_loaded() {
    let (directory, authority) = authority();
    let node = load(&node_files(directory.path(), &authority)).unwrap();
    assert_eq!(node.identity(), &Identity::Node(NodeId(1)));
    // The authority as a later run of the program finds it.
    let again = CertificateAuthority::load(directory.path()).unwrap();
    again
        .issue_client("alice", Grant::admin(), DAYS)
        .unwrap()
        .write(directory.path(), "alice", Overwrite::Refuse)
        .unwrap();
    let client = load(&TlsFiles::in_directory(directory.path(), "alice")).unwrap();
    assert_eq!(client.identity(), &Identity::admin("alice"));
    let server = node.server_config(&[ALPN_CLIENT]).unwrap();
    assert_eq!((server.max_early_data_size, server.send_tls13_tickets), (0, 0));
    assert!(!client.client_config(ALPN_CLIENT).unwrap().enable_early_data);
}

#[test]
fn keys_are_private_and_nothing_is_overwritten_unasked() {
    let (directory, authority) = authority();
    let files = node_files(directory.path(), &authority);
    assert_eq!(mode(&files.key), 0o600);
    assert_eq!(mode(&directory.path().join("ca.key")), 0o600);
    let before = (fs::read(&files.ca).unwrap(), fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap());

    let error = CertificateAuthority::create(directory.path(), 1).err().unwrap();
    assert!(matches!(error, TlsError::Exists { .. }), "{error}");
    let pair = authority.issue_client("bob", Grant::admin(), DAYS).unwrap();
    let error = pair.write(directory.path(), "node-1", Overwrite::Refuse).unwrap_err();
    assert!(matches!(error, TlsError::Exists { .. }), "{error}");
    let after = (fs::read(&files.ca).unwrap(), fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap());
    assert!(before == after, "a file was changed");

    pair.write(directory.path(), "node-1", Overwrite::Replace).unwrap();
    assert_eq!(load(&files).unwrap().identity(), &Identity::admin("bob"));
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 4, "temporary files are left: {left:?}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (directory, authority) = authority();
    let files = node_files(directory.path(), &authority);
    for bits in [0o604, 0o640, 0o644, 0o666] {
        fs::set_permissions(&files.key, Permissions::from_mode(bits)).unwrap();
        let error = load(&files).err().unwrap();
        assert!(
            matches!(&error, TlsError::KeyExposed { path, mode } if *path == files.key && *mode == bits),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(directory.path().join("ca.key"), Permissions::from_mode(0o644)).unwrap();
    let error = CertificateAuthority::load(directory.path()).err().unwrap();
    assert!(matches!(error, TlsError::KeyExposed { .. }), "{error}");
}

#[test]
fn a_certificate_outside_its_time_is_refused() {
    let (directory, authority) = authority();
    let now = OffsetDateTime::now_utc();
    let issue = |stem: &str, at: OffsetDateTime| {
        let pair = authority.issue_at(&Identity::Node(NodeId(1)), &[], 1, at).unwrap();
        pair.write(directory.path(), stem, Overwrite::Refuse).unwrap();
        TlsFiles::in_directory(directory.path(), stem)
    };
    let old = issue("old", now - Duration::days(2));
    let error = load(&old).err().unwrap();
    assert!(matches!(&error, TlsError::Expired { path, .. } if *path == old.cert), "{error}");
    assert_eq!(describe(&old.cert).unwrap().validity, Validity::Expired);

    let early = issue("early", now + Duration::days(2));
    let error = load(&early).err().unwrap();
    assert!(matches!(&error, TlsError::NotYetValid { path, .. } if *path == early.cert), "{error}");
    // An hour of grace for a machine that is behind.
    load(&issue("behind", now + Duration::minutes(55))).unwrap();
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let ((ours, issuer), (theirs, _foreign)) = (authority(), authority());
    let files = TlsFiles { ca: theirs.path().join("ca.crt"), ..node_files(ours.path(), &issuer) };
    let error = load(&files).err().unwrap();
    assert!(matches!(&error, TlsError::ForeignAuthority { ca, .. } if *ca == files.ca), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (directory, authority) = authority();
    let node = node_files(directory.path(), &authority);
    let (_, key) = authority
        .issue_client("alice", Grant::admin(), DAYS)
        .unwrap()
        .write(directory.path(), "alice", Overwrite::Refuse)
        .unwrap();
    let error = load(&TlsFiles { key, ..node }).err().unwrap();
    assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_named() {
    let (directory, authority) = authority();
    let good = node_files(directory.path(), &authority);
    let bad = directory.path().join("bad");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for content in ["", "hello", broken, "-----BEGIN CERTIFICATE-----\n", "\u{0}\u{1}"] {
        fs::write(&bad, content).unwrap();
        fs::set_permissions(&bad, Permissions::from_mode(0o600)).unwrap();
        for files in [
            TlsFiles { ca: bad.clone(), ..good.clone() },
            TlsFiles { cert: bad.clone(), ..good.clone() },
            TlsFiles { key: bad.clone(), ..good.clone() },
        ] {
            let error = load(&files).err().unwrap();
            assert!(matches!(&error, TlsError::Malformed { path, .. } if *path == bad), "{content:?}: {error}");
        }
        assert!(describe(&bad).is_err());
    }
    let error = load(&TlsFiles { ca: good.cert.clone(), ..good.clone() }).err().unwrap();
    assert!(matches!(error, TlsError::NotAuthority { .. }), "{error}");
    let error = load(&TlsFiles { cert: directory.path().join("none"), ..good.clone() }).err().unwrap();
    assert!(matches!(error, TlsError::Read { .. }), "{error}");
    // The authority's own certificate says nobody's role.
    let ca = TlsFiles { cert: good.ca.clone(), key: directory.path().join("ca.key"), ca: good.ca, crl: None };
    let error = load(&ca).err().unwrap();
    assert!(matches!(error, TlsError::Identity { .. } | TlsError::Unfit { .. }), "{error}");
}

#[test]
fn what_cannot_stand_in_a_certificate_is_refused() {
    let (_directory, authority) = authority();
    assert!(matches!(authority.issue_node(NodeId(0), &[], DAYS), Err(TlsError::Role(_))));
    assert!(matches!(authority.issue_client("a/b", Grant::admin(), DAYS), Err(TlsError::Role(_))));
    for host in ["", "a b", "-", "a..b", "ä.example", "http://a"] {
        let issued = authority.issue_node(NodeId(1), &[host.to_owned()], DAYS);
        assert!(matches!(issued, Err(TlsError::InvalidHost { .. })), "{host}");
    }
    for days in [0, 36_501, u32::MAX] {
        assert!(matches!(authority.issue_client("a", Grant::admin(), days), Err(TlsError::InvalidValidity { .. })));
    }
}

#[test]
fn a_certificate_is_described_as_issued() {
    let (directory, authority) = authority();
    let files = node_files(directory.path(), &authority);
    let (node, ca) = (describe(&files.cert).unwrap(), describe(&files.ca).unwrap());
    assert_eq!((node.role.as_str(), ca.role.as_str()), ("node 1", "authority"));
    assert_eq!(node.names, ["URI:jobraft://node/1", "IP:127.0.0.1", "DNS:node1.example"]);
    assert_eq!(node.issuer, ca.subject);
    assert_eq!(node.validity, Validity::Valid);
    assert_eq!(node.sha256.len(), 64);
    assert_ne!(node.sha256, ca.sha256);
}

#[test]
fn a_certificate_does_not_outlive_its_authority() {
    let directory = TempDir::new().unwrap();
    let authority = CertificateAuthority::create(directory.path(), 10).unwrap();
    let files = node_files(directory.path(), &authority);
    assert_eq!(describe(&files.cert).unwrap().not_after, describe(&files.ca).unwrap().not_after);
}
