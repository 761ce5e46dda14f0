//! `jobraft certs issue`: certificates for nodes and clients.

use super::{DIRECTORY, authority, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use jobraft_node::tls::{IssuedPair, LEAF_VALIDITY_DAYS_DEFAULT, Overwrite, TlsError};
use jobraft_protocol::{ClientRole, Grant, NodeId, QueuePattern};
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
    #[command(after_help = "Example:\n  jobraft certs issue node 1 --host 127.0.0.1 --host node1.example")]
    Node {
        /// The node's id
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// An IP address or DNS name under which it is reached; repeat it for each
        #[arg(long = "host", required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// For a producer, a worker, a person or a tool: writes NAME.crt and NAME.key
    #[command(after_help = CLIENT_HELP)]
    Client {
        /// The client's name
        name: String,
        /// What it may do; repeat it for several roles
        #[arg(long = "role", required = true, value_name = "ROLE", value_parser = role())]
        roles: Vec<ClientRole>,
        /// The queues that it covers: a name, the beginning of one and *, or * alone; repeat it for each [default: *]
        #[arg(long = "queue", value_name = "PATTERN")]
        queues: Vec<QueuePattern>,
        /// Whether it sees payloads, results, logs and values of jobs that it has not leased itself [default: yes for
        /// admin and producer, else no]
        #[arg(long, value_name = "YES|NO", value_parser = yes_or_no())]
        payloads: Option<bool>,
    },
}

const CLIENT_HELP: &str = "\
Roles:
  admin     everything, the membership of the cluster included
  operator  runs the queues: pauses, limits, schedules, retries, deletes
  producer  enqueues jobs, follows them, calls them off, brings modules
  worker    leases jobs and reports on them
  viewer    looks, and changes nothing

Examples:
  jobraft certs issue client alice --role admin
  jobraft certs issue client shop --role producer --queue 'shop/*' --queue mail
  jobraft certs issue client app --role producer --role worker
  jobraft certs issue client grafana --role viewer
  jobraft certs issue client support --role operator --payloads yes";

fn role() -> impl TypedValueParser<Value = ClientRole> {
    PossibleValuesParser::new(ClientRole::ALL.map(ClientRole::as_str)).try_map(|text| text.parse::<ClientRole>())
}

fn yes_or_no() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["yes", "no"]).map(|text| text == "yes")
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
}

impl IssueArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        let authority = authority(&options.dir)?;
        let (stem, issued) = match &self.whom {
            Whom::Node { id, hosts } => (format!("node-{id}"), authority.issue_node(NodeId(*id), hosts, options.days)),
            Whom::Client { name, roles, queues, payloads } => {
                let grant = grant(roles, queues, *payloads)?;
                (name.clone(), authority.issue_client(name, grant, options.days))
            }
        };
        let doing = format!("issue a certificate for {stem}");
        write(options, &stem, &issued.map_err(|error| failed(&doing, &error))?)
    }
}

fn grant(roles: &[ClientRole], queues: &[QueuePattern], payloads: Option<bool>) -> Result<Grant, Failure> {
    let queues = (!queues.is_empty()).then(|| queues.to_vec());
    Grant::said(roles.iter().copied(), queues, payloads)
        .map_err(|error| Failure::usage("say what the client may do", error))
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
