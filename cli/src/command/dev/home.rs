//! The directory of `jobraft dev`: certificates, data, cache, and the context file by which clients find it.

use crate::command::private::PrivateFile;
use crate::connection::{Connection, Context};
use crate::failure::Failure;
use jobraft_node::config::{AuditConfig, LogConfig, NodeConfig};
use jobraft_node::seal::Seal;
use jobraft_node::tls::{
    CA_VALIDITY_DAYS_DEFAULT, CertificateAuthority, CertificateInfo, Identity, LEAF_VALIDITY_DAYS_DEFAULT, Overwrite,
    TlsError, TlsFiles, Validity, describe,
};
use jobraft_protocol::{Grant, NodeAddress, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const NODE: NodeId = NodeId(1);
const NODE_STEM: &str = "node-1";
const CLIENT: &str = "dev";
const CONTEXT: &str = "client.toml";

/// A prepared directory.
#[derive(Debug)]
pub(super) struct Home {
    directory: PathBuf,
    listen: SocketAddr,
}

impl Home {
    /// Makes what is missing: the directory, certificates, the context file.
    pub(super) fn prepare(directory: &Path, listen: SocketAddr) -> Result<Self, Failure> {
        if listen.port() == 0 || listen.ip().is_unspecified() {
            return Err(Failure::usage("listen", format!("{listen} is no address that clients can connect to"))
                .hint("name an address and a port, such as --listen 127.0.0.1:7400"));
        }
        let home = Self { directory: directory.to_owned(), listen };
        let context = directory.join(CONTEXT);
        if context.exists() {
            home.check_address(&context)?;
        }
        std::fs::create_dir_all(directory)
            .map_err(|error| Failure::usage(format!("make {}", directory.display()), error))?;
        home.make_certificates().map_err(|error| Failure::from_error("make certificates", &error))?;
        home.make_secrets_key()?;
        // Relative paths: the directory may be moved.
        let relative = TlsFiles::in_directory(Path::new("certs"), CLIENT);
        Context::of(vec![listen.into()], relative).write(&context)?;
        Ok(home)
    }

    /// The cluster remembers its member's address: another one would leave clients with a wrong hint.
    fn check_address(&self, context: &Path) -> Result<(), Failure> {
        let known =
            Context::load(context).map_err(|error| Failure::usage("read the context of the last start", error))?;
        let address = NodeAddress::from(self.listen);
        match known.endpoints.first() {
            Some(first) if *first != address => Err(Failure::usage(
                format!("start at {address}"),
                format!("the cluster in {} is at {first}", self.directory.display()),
            )
            .hint(format!("start it with --listen {first}, or another one with --data DIR"))),
            _ => Ok(()),
        }
    }

    fn make_certificates(&self) -> Result<(), TlsError> {
        let directory = self.certs();
        let authority = if directory.join("ca.crt").exists() {
            CertificateAuthority::load(&directory)?
        } else {
            CertificateAuthority::create(&directory, CA_VALIDITY_DAYS_DEFAULT)?
        };
        let mut hosts = vec!["127.0.0.1".to_owned(), "::1".to_owned(), "localhost".to_owned()];
        let own = self.listen.ip().to_string();
        if !hosts.contains(&own) {
            hosts.push(own);
        }
        self.renew(NODE_STEM, &authority, &Identity::node(NODE)?, &hosts)?;
        self.renew(CLIENT, &authority, &Identity::client(CLIENT, Grant::admin())?, &[])
    }

    /// Issues a certificate unless there is one of this identity that can be used.
    fn renew(
        &self,
        stem: &str,
        authority: &CertificateAuthority,
        identity: &Identity,
        hosts: &[String],
    ) -> Result<(), TlsError> {
        let directory = self.certs();
        let name = format!("URI:{}", identity.uri());
        let usable = |it: CertificateInfo| it.validity == Validity::Valid && it.names.contains(&name);
        if !describe(&directory.join(format!("{stem}.crt"))).is_ok_and(usable) {
            let pair = authority.issue(identity, hosts, LEAF_VALIDITY_DAYS_DEFAULT)?;
            pair.write(&directory, stem, Overwrite::Replace)?;
        }
        Ok(())
    }

    /// The node's configuration.
    pub(super) fn node_config(&self) -> NodeConfig {
        let advertise = NodeAddress::from(self.listen);
        NodeConfig {
            node_id: NODE,
            listen: self.listen,
            advertise: advertise.clone(),
            data_dir: self.directory.join("node"),
            cluster: "dev".to_owned(),
            initial_members: BTreeMap::from([(NODE, advertise)]),
            tls: TlsFiles::in_directory(&self.certs(), NODE_STEM),
            log: LogConfig::default(),
            audit: AuditConfig::in_directory(&self.directory.join("node")),
            key_file: None,
            secrets_key_file: Some(self.secrets_key()),
            signers: BTreeSet::new(),
        }
    }

    /// How the worker inside reaches it.
    pub(super) fn connection(&self) -> Connection {
        Connection::of(vec![self.listen.into()], TlsFiles::in_directory(&self.certs(), CLIENT))
    }

    /// Where compiled modules are kept.
    pub(super) fn cache_dir(&self) -> PathBuf {
        self.directory.join("cache")
    }

    /// Makes the key under which secrets for jobs are sealed, unless it is there.
    fn make_secrets_key(&self) -> Result<(), Failure> {
        if self.secrets_key().exists() {
            return Ok(());
        }
        let key = Seal::new_key().map_err(|error| Failure::from_error("make a key", &error))?;
        let written = PrivateFile::prepare(self.secrets_key(), false).and_then(|file| file.fill(&format!("{key}\n")));
        written.map_err(|error| Failure::usage(format!("write {}", self.secrets_key().display()), error))
    }

    fn secrets_key(&self) -> PathBuf {
        self.directory.join("secrets.key")
    }

    fn certs(&self) -> PathBuf {
        self.directory.join("certs")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::failure::Exit;
    use jobraft_node::tls::Credentials;

    #[test]
    fn second_start_keeps_the_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:7400".parse().unwrap();
        let home = Home::prepare(directory.path(), listen).unwrap();
        Credentials::load(&home.node_config().tls).unwrap();
        let read = || std::fs::read(directory.path().join("certs/dev.crt")).unwrap();
        let first = read();
        Home::prepare(directory.path(), listen).unwrap();
        assert_eq!(first, read());
        let context = Context::load(&directory.path().join(CONTEXT)).unwrap();
        assert_eq!(context.endpoints, home.connection().endpoints);
        assert_eq!(context.ca.unwrap(), home.connection().ca);
    }

    #[test]
    fn another_address_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        Home::prepare(directory.path(), "127.0.0.1:7400".parse().unwrap()).unwrap();
        let failure = Home::prepare(directory.path(), "127.0.0.1:7401".parse().unwrap()).unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Usage);
        assert!(failure.to_string().contains("127.0.0.1:7400"), "{failure}");
        for listen in ["127.0.0.1:0", "0.0.0.0:7400"] {
            assert!(Home::prepare(directory.path(), listen.parse().unwrap()).is_err());
        }
    }
}
