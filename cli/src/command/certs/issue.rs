//! `jobraft certs issue`: certificates for nodes and clients.

use super::ca_passphrase::CaPassphraseArgs;
use super::{DIRECTORY, authority, failed};
use crate::command::grant::{GrantArgs, roles_help};
use crate::failure::Failure;
use crate::output::Output;
use clap::{Args, Subcommand};
use jobraft_node::tls::{IssuedPair, LEAF_VALIDITY_DAYS_DEFAULT, Overwrite, TlsError};
use jobraft_protocol::{Namespace, NodeId};
use std::path::PathBuf;

/// Issue a certificate for a node or a client
#[derive(Args, Debug)]
pub(super) struct IssueArgs {
    #[command(subcommand)]
    whom: Whom,
    #[command(flatten)]
    options: IssueOptions,
}

#[derive(Debug, Subcommand)]
enum Whom {
    /// For a node: writes node-ID.crt and node-ID.key
    #[command(after_help = "\
Examples:
  jobraft certs issue node 1 --host 127.0.0.1 --host node1.example
  jobraft certs issue node 1 --host node1.example --ca-passphrase-file ca.passphrase")]
    Node {
        /// The node's id
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// An IP address or DNS name under which it is reached; repeat it for each
        #[arg(long = "host", required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// For a producer, a worker, a person or a tool: writes NAME.crt and NAME.key
    #[command(after_help = concat!(roles_help!(), "
Examples:
  jobraft certs issue client alice --role admin
  jobraft certs issue client shop --role producer --queue 'shop/*' --queue mail
  jobraft certs issue client app --role producer --role worker
  jobraft certs issue client grafana --role viewer
  jobraft certs issue client support --role operator --payloads yes
  jobraft certs issue client acme --role admin --namespace acme"))]
    Client {
        /// The client's name
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
        /// The namespace to which it is confined [default: for an administrator none, else `default`]
        #[arg(long, value_name = "NAME")]
        namespace: Option<Namespace>,
    },
}

#[derive(Args, Debug)]
struct IssueOptions {
    /// Where the authority is, and where to write
    #[arg(long, default_value = DIRECTORY, global = true)]
    dir: PathBuf,
    /// For how many days it is valid
    #[arg(long, default_value_t = LEAF_VALIDITY_DAYS_DEFAULT, global = true)]
    days: u32,
    /// Replace what is there: to renew. Running nodes and clients go on with the old one until then
    #[arg(long, global = true)]
    replace: bool,
    #[command(flatten)]
    passphrase: CaPassphraseArgs,
}

impl IssueArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        let authority = authority(&options.dir, &options.passphrase)?;
        let (stem, issued) = match &self.whom {
            Whom::Node { id, hosts } => (format!("node-{id}"), authority.issue_node(NodeId(*id), hosts, options.days)),
            Whom::Client { name, grant, namespace } => {
                let grant = match (grant.grant()?, namespace) {
                    (grant, Some(namespace)) => grant.in_namespace(namespace.clone()),
                    (grant, None) => grant,
                };
                (name.clone(), authority.issue_client(name, grant, options.days))
            }
        };
        let doing = format!("issue a certificate for {stem}");
        write(options, &stem, &issued.map_err(|error| failed(&doing, &error))?)
    }
}

fn write(options: &IssueOptions, stem: &str, pair: &IssuedPair) -> Result<(), Failure> {
    let overwrite = if options.replace { Overwrite::Replace } else { Overwrite::Refuse };
    let (certificate, key) = pair.write(&options.dir, stem, overwrite).map_err(|error| {
        let failure = failed("write the certificate", &error);
        if matches!(error, TlsError::Exists { .. }) { failure.hint("renew it with --replace") } else { failure }
    })?;
    let output = Output::new();
    output.line(format!("{} {} and {}", output.paint().good("wrote"), certificate.display(), key.display()))
}
