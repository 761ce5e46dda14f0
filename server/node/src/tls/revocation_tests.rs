//! Certificates that are issued anew, and those that are taken back.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::{
    CertificateAuthority, Credentials, Identity, Overwrite, Revocations, Revoked, TlsError, TlsFiles, Validity,
};
use super::{describe, describe_by};
use jobraft_protocol::{Grant, NodeId};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

fn authority() -> (TempDir, CertificateAuthority) {
    let directory = TempDir::new().unwrap();
    let authority = CertificateAuthority::create(directory.path(), 3_650).unwrap();
    (directory, authority)
}

fn client(authority: &CertificateAuthority, directory: &Path, name: &str) -> PathBuf {
    let pair = authority.issue_client(name, Grant::admin(), 100).unwrap();
    pair.write(directory, name, Overwrite::Replace).unwrap().0
}

fn crl_number(directory: &Path) -> u64 {
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateRevocationListDer::from_pem_file(directory.join("ca.crl")).unwrap();
    let list = super::revocation::parse_list(&der).unwrap();
    list.crl_number().unwrap().try_into().unwrap()
}

#[test]
fn a_renewed_certificate_says_the_same_for_as_long_with_another_key() {
    let (directory, issuer) = authority();
    let now = OffsetDateTime::now_utc();
    let hosts = ["127.0.0.1".to_owned(), "::1".to_owned(), "node7.example".to_owned()];
    let pair = issuer.issue_at(&Identity::Node(NodeId(7)), &hosts, 40, now - Duration::days(30)).unwrap();
    let (certificate, key) = pair.write(directory.path(), "node-7", Overwrite::Refuse).unwrap();
    let old = (describe(&certificate).unwrap(), fs::read(&key).unwrap());
    // By another authority just as well.
    let (_elsewhere, other) = authority();
    for authority in [&issuer, &other] {
        let pair = authority.renew_at(&certificate, None, now).unwrap();
        pair.write(directory.path(), "new", Overwrite::Replace).unwrap();
        let new = describe(&directory.path().join("new.crt")).unwrap();
        assert_eq!((&new.names, &new.role, &new.subject), (&old.0.names, &old.0.role, &old.0.subject));
        assert!((new.ends_at - (now + Duration::days(40))).abs() < Duration::MINUTE, "{}", new.not_after);
        assert_ne!(fs::read(directory.path().join("new.key")).unwrap(), old.1);
    }
    let pair = issuer.renew_at(&certificate, Some(3), now).unwrap();
    pair.write(directory.path(), "new", Overwrite::Replace).unwrap();
    let files = TlsFiles::in_directory(directory.path(), "new");
    assert!((describe(&files.cert).unwrap().ends_at - (now + Duration::days(3))).abs() < Duration::MINUTE);
    Credentials::load(&files).unwrap();
    assert!(matches!(issuer.renew(&directory.path().join("ca.crt"), None), Err(TlsError::NotRenewable { .. })));
}

#[test]
fn a_list_keeps_what_is_on_it_and_counts_its_issues() {
    let (directory, authority) = authority();
    let path = directory.path();
    let files: Vec<_> = ["a", "b", "c"].map(|name| client(&authority, path, name)).into();
    assert_eq!(authority.revoke(path, &files[..1]).unwrap(), [Revoked::Now]);
    assert_eq!(crl_number(path), 1);
    // As a later run of the program finds it.
    let authority = CertificateAuthority::load(path).unwrap();
    assert_eq!(authority.revoke(path, &files[..2]).unwrap(), [Revoked::Before, Revoked::Now]);
    assert_eq!(crl_number(path), 2);
    assert_eq!(authority.revoke(path, &files[..1]).unwrap(), [Revoked::Before]);
    assert_eq!(crl_number(path), 2, "nothing is new");
    let revocations = Revocations::in_directory(path).unwrap();
    let validity = |file| describe_by(file, &revocations).unwrap().validity;
    assert_eq!([0, 1, 2].map(|n| validity(&files[n])), [Validity::Revoked, Validity::Revoked, Validity::Valid]);
    // What is issued anew is another certificate.
    let new = authority.renew(&files[0], None).unwrap();
    new.write(path, "a", Overwrite::Replace).unwrap();
    assert_eq!(validity(&files[0]), Validity::Valid);
}

#[test]
fn an_authority_revokes_only_what_it_has_issued_and_leaves_the_lists_of_others() {
    let ((ours, authority), (theirs, other)) = (authority(), authority());
    let foreign = client(&other, theirs.path(), "foreign");
    for file in [&foreign, &ours.path().join("ca.crt")] {
        let error = authority.revoke(ours.path(), std::slice::from_ref(file)).unwrap_err();
        assert!(matches!(error, TlsError::NotRevocable { .. }), "{error}");
        assert!(!ours.path().join("ca.crl").exists());
    }
    other.revoke(theirs.path(), std::slice::from_ref(&foreign)).unwrap();
    fs::copy(theirs.path().join("ca.crl"), ours.path().join("ca.crl")).unwrap();
    let own = client(&authority, ours.path(), "own");
    authority.revoke(ours.path(), std::slice::from_ref(&own)).unwrap();
    // Whoever trusts both has both lists.
    let both =
        [fs::read(ours.path().join("ca.crt")).unwrap(), fs::read(theirs.path().join("ca.crt")).unwrap()].concat();
    fs::write(ours.path().join("ca.crt"), both).unwrap();
    let revocations = Revocations::in_directory(ours.path()).unwrap();
    for file in [&own, &foreign] {
        assert_eq!(describe_by(file, &revocations).unwrap().validity, Validity::Revoked);
    }
}

#[test]
fn a_list_that_its_authority_has_not_signed_is_refused_and_so_is_one_that_is_none() {
    let (directory, authority) = authority();
    let path = directory.path();
    let file = client(&authority, path, "a");
    let files = TlsFiles::in_directory(path, "a");
    client(&authority, path, "b");
    authority.revoke(path, &[path.join("b.crt")]).unwrap();
    Credentials::load(&files).unwrap();
    let good = fs::read_to_string(files.crl_file()).unwrap();
    // One bit of the signature, near the end of the text.
    let mut forged = good.clone().into_bytes();
    let at = good.rfind("\n-----END").unwrap() - 12;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    for bad in [forged, Vec::new(), b"nonsense".to_vec(), good.repeat(2).into_bytes()] {
        fs::write(files.crl_file(), bad).unwrap();
        let error = Credentials::load(&files).err().unwrap();
        assert!(matches!(&error, TlsError::RevocationList { path, .. } if *path == files.crl_file()), "{error}");
        assert!(authority.revoke(path, std::slice::from_ref(&file)).is_err(), "it would drop what was on the list");
    }
    // The own certificate on it is named as such.
    fs::write(files.crl_file(), good).unwrap();
    authority.revoke(path, &[file]).unwrap();
    assert!(matches!(Credentials::load(&files), Err(TlsError::Revoked { .. })));
    // A list that is named must be there.
    let named = TlsFiles { crl: Some(path.join("none.crl")), ..files };
    assert!(matches!(Credentials::load(&named), Err(TlsError::Read { .. })));
}

#[test]
fn an_authority_that_has_ended_does_not_keep_another_from_being_used() {
    let (directory, authority) = authority();
    client(&authority, directory.path(), "a");
    let old = TempDir::new().unwrap();
    CertificateAuthority::create_at(old.path(), 1, None, OffsetDateTime::now_utc() - Duration::days(2)).unwrap();
    let files = TlsFiles::in_directory(directory.path(), "a");
    let ended = fs::read(old.path().join("ca.crt")).unwrap();
    fs::write(&files.ca, [ended.clone(), fs::read(&files.ca).unwrap()].concat()).unwrap();
    Credentials::load(&files).unwrap();
    fs::write(&files.ca, ended).unwrap();
    assert!(matches!(Credentials::load(&files), Err(TlsError::Expired { .. })));
}
