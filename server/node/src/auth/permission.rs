//! What may be permitted, and to which roles it is.

use jobraft_protocol::{ClientRole, Grant};

/// Something that a client may be permitted to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Ask what the cluster is, and what a module is that is named.
    Connect,
    /// Enqueue jobs, in batches too.
    Enqueue,
    /// Call jobs off, and let batches take no more.
    Cancel,
    /// Let a schedule enqueue its job now.
    RunSchedule,
    /// Bring modules and name them.
    Push,
    /// Take jobs and report on them.
    Work,
    /// Read a job that is named. A worker that may not read others reads those that it has leased, and what the jobs before
    /// them made.
    ReadJob,
    /// Read and list all else: jobs, queues, groups, batches, schedules, workers, modules, settings.
    Read,
    /// Read the values that jobs left.
    ReadValues,
    /// Change queues, limits, schedules and settings; retry, delete, move and prioritize jobs; order workers about.
    Operate,
    /// Change which nodes there are, and which one leads.
    Administer,
    /// Make, change and remove namespaces.
    ChangeNamespaces,
    /// Make, grant and remove secrets for jobs. Nobody reads them but workers, of the jobs that they hold.
    ChangeSecrets,
    /// List secrets, without their values.
    ReadSecrets,
    /// Make, rotate and revoke tokens.
    ChangeTokens,
    /// List tokens.
    ReadTokens,
}

/// What exercising a permission amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody decides something.
    Change,
    /// A job is made, or taken on its course.
    Course,
    /// Somebody looks.
    Read,
}

impl Permission {
    /// What exercising it amounts to.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Cancel | Self::Push | Self::RunSchedule | Self::Operate => Kind::Change,
            Self::Administer | Self::ChangeNamespaces | Self::ChangeSecrets | Self::ChangeTokens => Kind::Change,
            Self::Enqueue | Self::Work => Kind::Course,
            Self::Connect | Self::ReadJob | Self::Read | Self::ReadValues | Self::ReadTokens | Self::ReadSecrets => {
                Kind::Read
            }
        }
    }

    /// The roles that have it.
    const fn roles(self) -> &'static [ClientRole] {
        use ClientRole::{Admin, Operator, Producer, Viewer, Worker};
        match self {
            Self::Connect => &[Admin, Operator, Producer, Worker, Viewer],
            Self::Enqueue => &[Admin, Producer],
            Self::Cancel | Self::Push | Self::RunSchedule => &[Admin, Operator, Producer],
            Self::Work => &[Admin, Worker],
            Self::ReadJob => &[Admin, Operator, Producer, Worker, Viewer],
            Self::Read => &[Admin, Operator, Producer, Viewer],
            Self::ReadValues => &[Worker],
            Self::Operate | Self::ReadSecrets => &[Admin, Operator],
            Self::Administer | Self::ChangeNamespaces | Self::ChangeSecrets => &[Admin],
            Self::ChangeTokens | Self::ReadTokens => &[Admin],
        }
    }

    /// Whether somebody with this grant has it.
    pub(super) fn is_granted(self, grant: &Grant) -> bool {
        // Values are what jobs carry: who sees that, and may read at all, sees them.
        let as_reader = matches!(self, Self::ReadValues) && grant.sees_payloads() && Self::Read.is_granted(grant);
        as_reader || self.roles().iter().any(|role| grant.is(*role))
    }

    /// What it permits, to stand behind "may not".
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Connect => "ask anything",
            Self::Enqueue => "enqueue jobs",
            Self::Cancel => "cancel jobs or seal batches",
            Self::RunSchedule => "run schedules",
            Self::Push => "push modules",
            Self::Work => "work on jobs",
            Self::ReadJob => "read jobs",
            Self::Read => "read the state of the cluster",
            Self::ReadValues => "read the values that jobs left",
            Self::Operate => "change queues, schedules, settings, workers or the jobs of others",
            Self::Administer => "change the members of the cluster",
            Self::ChangeNamespaces => "make, change or remove namespaces",
            Self::ChangeSecrets => "make, grant or remove secrets",
            Self::ReadSecrets => "list secrets",
            Self::ChangeTokens => "make, rotate or revoke tokens",
            Self::ReadTokens => "list tokens",
        }
    }
}
