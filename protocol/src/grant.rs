//! What a client may do: its roles, the namespace and the queues that it covers, and whether it sees what jobs carry.
//!
//! What each role may ask for is decided by the nodes; here stands only what a credential says, and how it is spelled.

use crate::Namespace;
use crate::bounded::texts;
use crate::limits::GRANT_PATTERNS_MAX;
use crate::name::{NameError, check_local};
use crate::text::text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a client is to the cluster. A client may have several roles, and may then do what any of them may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientRole {
    /// Everything, the membership of the cluster included; in a namespace all that is there.
    Admin,
    /// Runs the queues: pauses, limits, schedules, retries, deletes. Enqueues nothing itself.
    Operator,
    /// Enqueues jobs, follows them, calls them off, brings modules.
    Producer,
    /// Leases jobs and reports on them.
    Worker,
    /// Looks, and changes nothing.
    Viewer,
}

impl ClientRole {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Operator, Self::Producer, Self::Worker, Self::Viewer];

    /// The name as it stands in certificates, on the command line and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Viewer => "viewer",
        }
    }

    /// Whether it sees what jobs carry unless said otherwise: a producer waits for results of what it made itself.
    #[must_use]
    pub const fn sees_payloads(self) -> bool {
        matches!(self, Self::Admin | Self::Producer)
    }
}

impl fmt::Display for ClientRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ClientRole {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| GrantError::Role(text.chars().take(SHOWN_CHARS_MAX).collect()))
    }
}

/// Why a text does not say what a client may do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not a role.
    #[error("{0:?} is no role; there are admin, operator, producer, worker and viewer")]
    Role(String),
    /// Not a pattern.
    #[error("a queue pattern is a queue's name, the beginning of one and *, or * alone: {0}")]
    Pattern(NameError),
    /// Not the name of a namespace.
    #[error(transparent)]
    Namespace(NameError),
    /// No pattern at all.
    #[error("no queue is covered: leave the patterns out to cover all, or name one")]
    NoPattern,
    /// More than [`GRANT_PATTERNS_MAX`].
    #[error("{0} queue patterns, a credential may have at most {GRANT_PATTERNS_MAX}: use a common beginning and *")]
    TooManyPatterns(usize),
}

/// Characters of a text from elsewhere that an error shows.
const SHOWN_CHARS_MAX: usize = 64;

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    match text.strip_suffix('*') {
        Some("") => Ok(()),
        Some(beginning) => check_local(what, beginning),
        None => check_local(what, text),
    }
}

text! {
    /// Which queues are meant: one (`emails`), those that begin so (`shop/*`), or all (`*`).
    QueuePattern, "queue pattern", NameError, check
}

impl QueuePattern {
    /// The pattern of all queues.
    #[must_use]
    pub fn all() -> Self {
        Self("*".into())
    }

    /// Whether a name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.as_str().strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.as_str(),
        }
    }
}

/// What a client may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Said")]
pub struct Grant {
    roles: BTreeSet<ClientRole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Namespace>,
    queues: Vec<QueuePattern>,
    payloads: bool,
}

/// A grant as it was read.
#[derive(Deserialize)]
struct Said {
    roles: BTreeSet<ClientRole>,
    #[serde(default)]
    namespace: Option<Namespace>,
    #[serde(deserialize_with = "texts")]
    queues: Vec<QueuePattern>,
    payloads: bool,
}

impl TryFrom<Said> for Grant {
    type Error = GrantError;

    fn try_from(Said { roles, namespace, queues, payloads }: Said) -> Result<Self, GrantError> {
        Ok(Self { namespace, ..Self::said(roles, Some(queues), Some(payloads))? })
    }
}

impl Grant {
    /// Of these roles, confined to no namespace, for all queues, seeing what jobs carry as [`ClientRole::sees_payloads`]
    /// says. Of no role: nothing.
    #[must_use]
    pub fn new(roles: impl IntoIterator<Item = ClientRole>) -> Self {
        let roles: BTreeSet<ClientRole> = roles.into_iter().collect();
        let payloads = roles.iter().any(|role| role.sees_payloads());
        Self { roles, namespace: None, queues: vec![QueuePattern::all()], payloads }
    }

    /// Of an administrator of the cluster: everything.
    #[must_use]
    pub fn admin() -> Self {
        Self::new([ClientRole::Admin])
    }

    /// The same in this namespace only.
    #[must_use]
    pub fn in_namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// The same for these queues only; `*` among them stands for all.
    ///
    /// # Errors
    /// [`GrantError::NoPattern`] or [`GrantError::TooManyPatterns`].
    pub fn for_queues(mut self, queues: Vec<QueuePattern>) -> Result<Self, GrantError> {
        match queues.len() {
            0 => Err(GrantError::NoPattern),
            1..=GRANT_PATTERNS_MAX => {
                let all = queues.iter().any(|pattern| *pattern == QueuePattern::all());
                // One way to say it, so that a certificate says what was read out of it.
                self.queues = if all { vec![QueuePattern::all()] } else { queues };
                Ok(self)
            }
            count => Err(GrantError::TooManyPatterns(count)),
        }
    }

    /// What a credential says, which need not say it all: without queues it covers all, and without a word on payloads it sees
    /// them as its roles do.
    ///
    /// # Errors
    /// As [`Self::for_queues`].
    pub fn said(
        roles: impl IntoIterator<Item = ClientRole>,
        queues: Option<Vec<QueuePattern>>,
        payloads: Option<bool>,
    ) -> Result<Self, GrantError> {
        let mut grant = Self::new(roles);
        if let Some(queues) = queues {
            grant = grant.for_queues(queues)?;
        }
        grant.payloads = payloads.unwrap_or(grant.payloads);
        Ok(grant)
    }

    /// The same, seeing what jobs carry or not, whatever its roles.
    #[must_use]
    pub fn with_payloads(mut self, payloads: bool) -> Self {
        self.payloads = payloads;
        self
    }

    /// Its roles, in the order of [`ClientRole::ALL`].
    pub fn roles(&self) -> impl Iterator<Item = ClientRole> {
        self.roles.iter().copied()
    }

    /// Whether it has this role.
    #[must_use]
    pub fn is(&self, role: ClientRole) -> bool {
        self.roles.contains(&role)
    }

    /// The namespace to which it is confined. Without one it is of the whole cluster for an administrator of all queues, and of
    /// the default namespace for anybody else.
    #[must_use]
    pub const fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// Whether it is of the whole cluster, in any namespace, and not only of one.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.namespace.is_none() && self.is(ClientRole::Admin) && self.covers_all()
    }

    /// The namespace in which its holder is without asking for another one.
    #[must_use]
    pub fn home(&self) -> Namespace {
        self.namespace.clone().unwrap_or_default()
    }

    /// Whether its holder may enter a namespace.
    #[must_use]
    pub fn enters(&self, namespace: &Namespace) -> bool {
        self.is_of_cluster() || self.home() == *namespace
    }

    /// The queues that it covers, within its namespace; one pattern at least.
    #[must_use]
    pub fn queues(&self) -> &[QueuePattern] {
        &self.queues
    }

    /// Whether it sees payloads, results, logs and values of jobs that it has not leased.
    #[must_use]
    pub const fn sees_payloads(&self) -> bool {
        self.payloads
    }

    /// Whether it covers a queue of its namespace, or anything else there whose name is matched as that of a queue.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.queues.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it covers everything in its namespace that begins so.
    #[must_use]
    pub fn covers_beginning(&self, beginning: &str) -> bool {
        self.queues.iter().any(|pattern| {
            let common = pattern.as_str().strip_suffix('*');
            common.is_some_and(|common| beginning.starts_with(common))
        })
    }

    /// Whether it covers everything in its namespace.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.queues.iter().any(|pattern| pattern.as_str() == "*")
    }
}

/// For people: `producer,worker in namespace acme for shop/*, sees no payloads`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for role in self.roles() {
            write!(f, "{separator}{role}")?;
            separator = ",";
        }
        if self.roles.is_empty() {
            f.write_str("no role")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        if !self.covers_all() {
            separator = " for ";
            for pattern in &self.queues {
                write!(f, "{separator}{pattern}")?;
                separator = ",";
            }
        }
        match self.payloads {
            payloads if payloads == Self::new(self.roles()).payloads => Ok(()),
            true => f.write_str(", sees payloads"),
            false => f.write_str(", sees no payloads"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn pattern(text: &str) -> QueuePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_means_one_queue_or_those_that_begin_so() {
        for (text, means, does_not) in [
            ("mail", &["mail"][..], &["mail2", "mai", "Mail", "x/mail", ""][..]),
            ("shop/*", &["shop/", "shop/mail", "shop/a/b"], &["shop", "shopping", "x/shop/mail"]),
            ("*", &["mail", "shop/mail"], &[]),
        ] {
            assert!(means.iter().all(|name| pattern(text).matches(name)), "{text}");
            assert!(!does_not.iter().any(|name| pattern(text).matches(name)), "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let long = "x".repeat(129);
        for text in ["", "**", "a*b", "*a", "a,b", "a b", "a?", "ä", long.as_str()] {
            assert!(text.parse::<QueuePattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_grant_covers_what_any_of_its_patterns_means() {
        let grant = Grant::new([ClientRole::Producer]);
        assert!(grant.covers_all() && grant.covers("anything"));
        let grant = grant.for_queues(vec![pattern("mail"), pattern("shop/*")]).unwrap();
        assert!(!grant.covers_all() && grant.covers("mail") && grant.covers("shop/x") && !grant.covers("mail/x"));
        assert!(grant.covers_beginning("shop/") && grant.covers_beginning("shop/x"));
        // "mailbox" begins so too.
        assert!(!grant.covers_beginning("mail") && !grant.covers_beginning("shop") && !grant.covers_beginning(""));
        assert_eq!(grant.clone().for_queues(Vec::new()), Err(GrantError::NoPattern));
        let all = grant.clone().for_queues(vec![pattern("a"), pattern("*")]).unwrap();
        assert!(all.covers_all() && all.queues() == [pattern("*")]);
        let many = vec![pattern("a"); GRANT_PATTERNS_MAX + 1];
        assert_eq!(grant.for_queues(many), Err(GrantError::TooManyPatterns(GRANT_PATTERNS_MAX + 1)));
    }

    #[test]
    fn who_waits_for_results_sees_them_unless_said_otherwise() {
        let sees = |roles: &[ClientRole]| Grant::new(roles.iter().copied()).sees_payloads();
        assert!(sees(&[ClientRole::Admin]) && sees(&[ClientRole::Worker, ClientRole::Producer]));
        assert!(!sees(&[ClientRole::Operator, ClientRole::Worker, ClientRole::Viewer]) && !sees(&[]));
        assert!(!Grant::new([ClientRole::Admin]).with_payloads(false).sees_payloads());
    }
}
