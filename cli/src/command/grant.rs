//! What a credential is to permit, said by flags.

use crate::failure::Failure;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jobraft_protocol::{ClientRole, Grant, QueuePattern};

/// The roles, for help texts.
macro_rules! roles_help {
    () => {
        "\
Roles:
  admin     everything, the membership of the cluster included; in a namespace all that is there
  operator  runs the queues: pauses, limits, schedules, retries, deletes
  producer  enqueues jobs, follows them, calls them off, brings modules
  worker    leases jobs and reports on them
  viewer    looks, and changes nothing
"
    };
}
pub(super) use roles_help;

/// What it permits.
#[derive(Args, Debug)]
pub(super) struct GrantArgs {
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
}

impl GrantArgs {
    /// The same as one.
    pub(super) fn grant(&self) -> Result<Grant, Failure> {
        let queues = (!self.queues.is_empty()).then(|| self.queues.clone());
        Grant::said(self.roles.iter().copied(), queues, self.payloads)
            .map_err(|error| Failure::usage("say what the client may do", error))
    }
}

fn role() -> impl TypedValueParser<Value = ClientRole> {
    PossibleValuesParser::new(ClientRole::ALL.map(ClientRole::as_str)).try_map(|text| text.parse::<ClientRole>())
}

fn yes_or_no() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["yes", "no"]).map(|text| text == "yes")
}
