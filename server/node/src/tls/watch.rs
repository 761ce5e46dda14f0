//! Notices that the files of a running node's certificate are others than before.
//!
//! Whoever replaces files does so one after the other. What does not check out may thus be a replacement that is under
//! way: it becomes a fault only if the next look finds it unchanged. What is in use is changed by nothing but files that
//! check out entirely.

use super::contents::{Contents, ContentsDigest};
use super::{Credentials, Identity, Revocations, TlsError, TlsFiles};
use std::sync::Arc;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Name};

/// The files of a node, and which contents of them it uses.
pub(crate) struct Watch {
    files: TlsFiles,
    /// Whose certificate it must be: a node does not become another one.
    identity: Identity,
    in_use: ContentsDigest,
    /// Whose lists of revoked certificates are in use.
    lists: Arc<Revocations>,
    fault: Option<Fault>,
}

/// What the last look found wrong.
struct Fault {
    text: String,
    told: bool,
}

/// What a look has found.
pub(crate) enum Look {
    /// What is in use.
    Unchanged,
    /// Something else that checks out; from now on it counts as in use.
    Renewed(Box<Credentials>),
    /// Something that does not check out. Perhaps the next look finds more of it, or it was told already.
    Unfit,
    /// Something that did not check out at the last look either: to be told, once.
    Refused(TlsError),
}

impl Watch {
    /// Watches the files from which `in_use` was loaded.
    pub(crate) fn new(files: TlsFiles, in_use: &Credentials) -> Self {
        Self {
            files,
            identity: in_use.identity().clone(),
            in_use: in_use.digest(),
            lists: Arc::clone(in_use.revocations()),
            fault: None,
        }
    }

    /// Looks at the files. It reads them: not for where others wait.
    pub(crate) fn look(&mut self) -> Look {
        self.look_at(OffsetDateTime::now_utc())
    }

    fn look_at(&mut self, now: OffsetDateTime) -> Look {
        match self.load(now) {
            Ok(found) => {
                self.fault = None;
                found.map_or(Look::Unchanged, |credentials| {
                    self.in_use = credentials.digest();
                    self.lists = Arc::clone(credentials.revocations());
                    Look::Renewed(Box::new(credentials))
                })
            }
            Err(error) => {
                let text = error.to_string();
                match &mut self.fault {
                    Some(fault) if fault.text == text && fault.told => Look::Unfit,
                    Some(fault) if fault.text == text => {
                        fault.told = true;
                        Look::Refused(error)
                    }
                    _ => {
                        self.fault = Some(Fault { text, told: false });
                        Look::Unfit
                    }
                }
            }
        }
    }

    /// What is in the files, unless it is in use.
    fn load(&self, now: OffsetDateTime) -> Result<Option<Credentials>, TlsError> {
        let contents = Contents::read(&self.files)?;
        if contents.digest() == self.in_use {
            return Ok(None);
        }
        let found = Credentials::check(&self.files, &contents, now)?;
        if *found.identity() != self.identity {
            let (found, expected) = (found.identity().clone(), self.identity.clone());
            let (found, expected) = (Box::new(found), Box::new(expected));
            return Err(TlsError::OtherIdentity { path: self.files.cert.clone(), found, expected });
        }
        // Who loses a file must not pardon anybody by it.
        let gone = self.lists.authorities().difference(found.revocations().authorities());
        if let Some(name) = gone.into_iter().find(|name| found.trusts(name)) {
            return Err(TlsError::RevocationListGone { path: self.files.crl_file(), authority: readable(name) });
        }
        Ok(Some(found))
    }
}

/// An encoded name as people read it.
fn readable(name: &[u8]) -> String {
    X509Name::from_der(name).map_or_else(|_| "an authority".to_owned(), |(_, name)| name.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::{CertificateAuthority, Overwrite};
    use super::*;
    use jobraft_protocol::NodeId;
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    fn issue(authority: &CertificateAuthority, directory: &Path, node: u64) {
        let pair = authority.issue_node(NodeId(node), &["127.0.0.1".to_owned()], 10).unwrap();
        pair.write(directory, "node", Overwrite::Replace).unwrap();
    }

    /// Watched files of node 1.
    fn watched() -> (TempDir, CertificateAuthority, TlsFiles, Watch) {
        let directory = TempDir::new().unwrap();
        let authority = CertificateAuthority::create(directory.path(), 100).unwrap();
        issue(&authority, directory.path(), 1);
        let files = TlsFiles::in_directory(directory.path(), "node");
        let watch = Watch::new(files.clone(), &Credentials::load(&files).unwrap());
        (directory, authority, files, watch)
    }

    #[test]
    fn a_new_certificate_is_found_once() {
        let (directory, authority, _, mut watch) = watched();
        assert!(matches!(watch.look(), Look::Unchanged));
        issue(&authority, directory.path(), 1);
        assert!(matches!(watch.look(), Look::Renewed(_)));
        assert!(matches!(watch.look(), Look::Unchanged));
    }

    #[test]
    fn a_replacement_that_is_under_way_is_no_fault() {
        let (directory, authority, files, mut watch) = watched();
        let old_key = fs::read(&files.key).unwrap();
        issue(&authority, directory.path(), 1);
        let new_key = fs::read(&files.key).unwrap();
        // Into the same file, which keeps its permissions.
        fs::write(&files.key, old_key).unwrap();
        assert!(matches!(watch.look(), Look::Unfit));
        fs::write(&files.key, new_key).unwrap();
        assert!(matches!(watch.look(), Look::Renewed(_)));
    }

    #[test]
    fn a_list_that_is_lost_pardons_nobody_while_its_authority_is_trusted() {
        let (directory, authority, files, mut watch) = watched();
        let pair = authority.issue_client("mallory", jobraft_protocol::Grant::admin(), 10).unwrap();
        let (mallory, _) = pair.write(directory.path(), "mallory", Overwrite::Replace).unwrap();
        authority.revoke(directory.path(), &[mallory]).unwrap();
        assert!(matches!(watch.look(), Look::Renewed(_)));
        fs::remove_file(files.crl_file()).unwrap();
        assert!(matches!(watch.look(), Look::Unfit));
        let Look::Refused(error) = watch.look() else { panic!("it was not told") };
        assert!(matches!(error, TlsError::RevocationListGone { .. }), "{error}");
        assert!(error.to_string().contains("Jobraft CA"), "{error}");

        // With the authority goes its list.
        let other = TempDir::new().unwrap();
        let authority = CertificateAuthority::create(other.path(), 100).unwrap();
        issue(&authority, directory.path(), 1);
        fs::copy(other.path().join("ca.crt"), &files.ca).unwrap();
        assert!(matches!(watch.look(), Look::Renewed(_)));
    }

    #[test]
    fn a_fault_that_stays_is_told_once_and_again_when_it_is_another() {
        let (directory, authority, files, mut watch) = watched();
        let good = fs::read(&files.cert).unwrap();
        fs::write(&files.cert, "not a certificate").unwrap();
        assert!(matches!(watch.look(), Look::Unfit));
        let Look::Refused(error) = watch.look() else { panic!("it was not told") };
        assert!(error.to_string().contains("node.crt"), "{error}");
        assert!(matches!(watch.look(), Look::Unfit));
        // The files as they were: nothing is wrong any more.
        fs::write(&files.cert, good).unwrap();
        assert!(matches!(watch.look(), Look::Unchanged));

        issue(&authority, directory.path(), 2);
        assert!(matches!(watch.look(), Look::Unfit));
        let Look::Refused(error) = watch.look() else { panic!("it was not told") };
        assert!(matches!(error, TlsError::OtherIdentity { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("node 2") && text.contains("node 1"), "{text}");
        // Whatever was refused, what checks out is taken.
        issue(&authority, directory.path(), 1);
        assert!(matches!(watch.look(), Look::Renewed(_)));
    }
}
