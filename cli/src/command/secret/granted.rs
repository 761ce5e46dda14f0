//! To whose jobs a secret is given, on the command line.

use clap::Args;
use jobraft_protocol::{ModuleRef, QueuePattern, SecretGrant};

#[derive(Args, Debug)]
pub(super) struct GrantedArgs {
    /// A module to whose jobs it is given, by name or by sha256: and its digest; repeat it for each
    #[arg(long = "module", value_name = "MODULE")]
    modules: Vec<ModuleRef>,
    /// A queue in which it is given to them, or a common beginning and *; repeat it for each. Without any: in all queues
    #[arg(long = "queue", value_name = "QUEUE", requires = "modules")]
    queues: Vec<QueuePattern>,
}

impl GrantedArgs {
    pub(super) fn grant(self) -> SecretGrant {
        SecretGrant { modules: self.modules, queues: self.queues }
    }
}
