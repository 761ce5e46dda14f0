//! Namespaces: parts of a cluster that know nothing of each other. What has a name has it within one.
//!
//! On the wire a name is *local*: it says nothing of its namespace, which is that of the stream it travels on. In the log
//! and in the state it is *full*: the namespace, [`SEPARATOR`] and the local name; in the namespace `default` the local
//! name alone. A node makes the names of a request full before anything else is done with it, and those of an answer local
//! again; which names there are stands here, and nowhere else.

use crate::limits::{NAMESPACE_BYTES_MAX, NAMESPACE_QUOTA_MAX};
use crate::name::{NameError, check_local};
pub use crate::text::shown;
use crate::text::text;
use crate::{LogTime, Rate};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

mod walk;

/// Stands between a namespace and a local name. No name and no key that a client may use holds it; people see
/// [`SEPARATOR_SHOWN`] in its place.
pub const SEPARATOR: char = '\u{1f}';
/// What people see between a namespace and a local name, in the logs of nodes.
pub const SEPARATOR_SHOWN: char = '~';

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    match text.len() {
        ..=NAMESPACE_BYTES_MAX => check_local(what, text),
        bytes => Err(NameError::TooLong { what, bytes, max: NAMESPACE_BYTES_MAX }),
    }
}

text! {
    /// The name of a namespace, such as `acme`.
    Namespace, "namespace", NameError, check
}

impl Default for Namespace {
    /// The one that is always there, in which a client is that says nothing of namespaces.
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

/// A name or a key that a client may not use, for it says a namespace itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name or key holds a control character")]
pub struct NotLocal;

impl Namespace {
    /// The name of the one that is always there.
    pub const DEFAULT: &str = "default";

    /// Whether it is the one that is always there.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.as_str() == Self::DEFAULT
    }

    /// That of a full name.
    #[must_use]
    pub fn of(full: &str) -> Self {
        Self(Self::name_of(full).into())
    }

    /// The name of the namespace of a full name.
    #[must_use]
    pub fn name_of(full: &str) -> &str {
        Self::split(full).0
    }

    /// The name of the namespace of a full name, and the local name there.
    #[must_use]
    pub fn split(full: &str) -> (&str, &str) {
        full.split_once(SEPARATOR).unwrap_or((Self::DEFAULT, full))
    }

    /// The full name of what has this local name here.
    #[must_use]
    pub fn full(&self, local: &str) -> String {
        format!("{}{local}", self.beginning())
    }

    /// The local name of what has this full name; `None` if it is of another namespace.
    #[must_use]
    pub fn local<'a>(&self, full: &'a str) -> Option<&'a str> {
        match full.split_once(SEPARATOR) {
            Some((namespace, local)) => (namespace == self.as_str()).then_some(local),
            None => self.is_default().then_some(full),
        }
    }

    /// With what the full names of a namespace begin, but for the default one.
    fn beginning(&self) -> String {
        if self.is_default() { String::new() } else { format!("{self}{SEPARATOR}") }
    }

    /// Makes a local text a full one.
    fn enter(&self, text: &mut Arc<str>) -> Result<(), NotLocal> {
        if text.contains(SEPARATOR) {
            return Err(NotLocal);
        }
        if !self.is_default() {
            *text = self.full(text).into();
        }
        Ok(())
    }

    /// Makes a full text of this namespace a local one.
    fn leave(&self, text: &mut Arc<str>) {
        if let Some(local) = self.local(text)
            && local.len() < text.len()
        {
            *text = local.into();
        }
    }

    /// Makes full names in a text for people local ones.
    fn leave_text(&self, text: &mut String) {
        if !self.is_default() {
            for separator in [SEPARATOR, SEPARATOR_SHOWN] {
                let beginning = format!("{self}{separator}");
                if text.contains(&beginning) {
                    *text = text.replace(&beginning, "");
                }
            }
        }
    }
}

/// How much of the cluster a namespace may take. What is absent is bounded by the cluster's own limits alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceQuota {
    /// Jobs that have not ended; open batches and their callbacks to come count as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u64>,
    /// Bytes of payloads and checkpoints of jobs that wait, of payloads of those that run and of callbacks to come, and of values
    /// of the state with their keys and 64 for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Jobs that come to be in how much time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<u64>,
    /// Modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<u64>,
}

/// One part of a quota; `None` lifts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each means what it does in `NamespaceQuota`")]
pub enum NamespaceSetting {
    Jobs(Option<u64>),
    Bytes(Option<u64>),
    Rate(Option<Rate>),
    Queues(Option<u64>),
    Modules(Option<u64>),
}

/// For people: `jobs 100000`, `rate default`.
impl fmt::Display for NamespaceSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = match self {
            Self::Jobs(most) => ("jobs", most.map(|most| most.to_string())),
            Self::Bytes(most) => ("bytes", most.map(|most| most.to_string())),
            Self::Rate(rate) => ("rate", rate.map(|rate| format!("{}/{}ms", rate.count, rate.per_ms))),
            Self::Queues(most) => ("queues", most.map(|most| most.to_string())),
            Self::Modules(most) => ("modules", most.map(|most| most.to_string())),
        };
        write!(f, "{name} {}", value.as_deref().unwrap_or("default"))
    }
}

impl NamespaceSetting {
    /// Whether the value is within its domain: 1 to [`NAMESPACE_QUOTA_MAX`], or what a rate may be.
    ///
    /// # Errors
    /// A fragment that names the part, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: Option<u64>| match value {
            Some(value) if !(1..=NAMESPACE_QUOTA_MAX).contains(&value) => {
                Err(format!("{name} {value} is not in 1..={NAMESPACE_QUOTA_MAX}"))
            }
            _ => Ok(()),
        };
        match *self {
            Self::Jobs(most) => within("jobs", most),
            Self::Bytes(most) => within("bytes", most),
            Self::Rate(rate) => crate::group::check_rate("rate", rate),
            Self::Queues(most) => within("queues", most),
            Self::Modules(most) => within("modules", most),
        }
    }
}

impl NamespaceQuota {
    /// Whether every part is within its domain.
    ///
    /// # Errors
    /// As [`NamespaceSetting::check`].
    pub fn check(&self) -> Result<(), String> {
        let Self { jobs, bytes, rate, queues, modules } = *self;
        [
            NamespaceSetting::Jobs(jobs),
            NamespaceSetting::Bytes(bytes),
            NamespaceSetting::Rate(rate),
            NamespaceSetting::Queues(queues),
            NamespaceSetting::Modules(modules),
        ]
        .iter()
        .try_for_each(NamespaceSetting::check)
    }

    /// Takes over one part.
    pub fn set(&mut self, setting: NamespaceSetting) {
        match setting {
            NamespaceSetting::Jobs(most) => self.jobs = most,
            NamespaceSetting::Bytes(most) => self.bytes = most,
            NamespaceSetting::Rate(rate) => self.rate = rate,
            NamespaceSetting::Queues(most) => self.queues = most,
            NamespaceSetting::Modules(most) => self.modules = most,
        }
    }
}

/// A change of the namespaces that there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceChange {
    /// Makes one.
    Create {
        /// Its name, which no other has or had.
        name: Namespace,
        /// Its quota.
        quota: Vec<NamespaceSetting>,
    },
    /// Changes the quota of one. What it has beyond a lower one it keeps.
    Set {
        /// Which.
        name: Namespace,
        /// What changes.
        quota: Vec<NamespaceSetting>,
    },
    /// Removes one with all that is in it, tokens included. Refused while a job of it lives, and for the default one.
    Delete {
        /// Which.
        name: Namespace,
    },
}

impl NamespaceChange {
    /// The namespace that is changed.
    #[must_use]
    pub const fn name(&self) -> &Namespace {
        match self {
            Self::Create { name, .. } | Self::Set { name, .. } | Self::Delete { name } => name,
        }
    }
}

/// A namespace as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceView {
    /// Its name.
    pub name: Namespace,
    /// When it was made; absent: it was always there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<LogTime>,
    /// By whom.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// What it may take.
    pub quota: NamespaceQuota,
    /// Jobs that have not ended; open batches and their callbacks to come count as well.
    pub jobs: u64,
    /// What [`NamespaceQuota::bytes`] bounds.
    pub bytes: u64,
    /// Queues.
    pub queues: u64,
    /// Modules.
    pub modules: u64,
}
