//! Secrets for jobs: named values that the cluster keeps sealed, and gives to workers for the modules that they are granted to.

use crate::bounded::texts;
use crate::limits::{SECRET_BYTES_MAX, SECRET_NAME_BYTES_MAX};
use crate::name::NameError;
use crate::namespace::SEPARATOR;
use crate::text::text;
use crate::{LogTime, ModuleRef, Namespace, QueuePattern};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let local = match text.split_once(SEPARATOR) {
        Some((namespace, local)) => Namespace::new(namespace).map(|_| local)?,
        None => text,
    };
    if local.is_empty() {
        return Err(NameError::Empty { what });
    }
    if local.len() > SECRET_NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, bytes: local.len(), max: SECRET_NAME_BYTES_MAX });
    }
    let permitted = |(at, c): (usize, char)| c.is_ascii_alphabetic() || c == '_' || at > 0 && c.is_ascii_digit();
    match local.char_indices().find(|&each| !permitted(each)) {
        Some((_, character)) => Err(NameError::Variable { what, character }),
        None => Ok(()),
    }
}

text! {
    /// What a secret is called, and the environment variable in which a job finds it: `STRIPE_KEY`.
    SecretName, "secret's name", NameError, check
}

/// Why a text is no value of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing there.
    #[error("a secret's value may not be empty")]
    Empty,
    /// Too many bytes.
    #[error("a secret's value may have at most {SECRET_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// No environment variable could hold it.
    #[error("a secret's value may not hold the character NUL")]
    Nul,
}

/// The value of a secret. It is in no log and no error, and wipes its memory when it goes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Checks a text and makes it the value of a secret.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn new(text: String) -> Result<Self, SecretError> {
        let text = Zeroizing::new(text);
        match text.len() {
            0 => Err(SecretError::Empty),
            bytes if bytes > SECRET_BYTES_MAX => Err(SecretError::TooLong(bytes)),
            _ if text.contains('\0') => Err(SecretError::Nul),
            _ => Ok(Self(text)),
        }
    }

    /// The text, for whoever needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue")
    }
}

impl FromStr for SecretValue {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::new(text.to_owned())
    }
}

impl TryFrom<String> for SecretValue {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        Self::new(text)
    }
}

/// As it is, without a copy that nobody would wipe.
impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.reveal())
    }
}

/// To whose jobs a secret is given. Without a module: to nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretGrant {
    /// Of which modules; at most [`SECRET_MODULES_MAX`](crate::limits::SECRET_MODULES_MAX). A name stands for what it points to,
    /// and for what it pointed to when the job was enqueued.
    #[serde(deserialize_with = "texts")]
    pub modules: Vec<ModuleRef>,
    /// In which queues; at most [`SECRET_QUEUES_MAX`](crate::limits::SECRET_QUEUES_MAX). Empty: in all. Who may both enqueue and
    /// work in one of them can have the secret, by a job of the module that they lease themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "texts")]
    pub queues: Vec<QueuePattern>,
}

impl SecretGrant {
    /// To the jobs of these modules, in all queues.
    #[must_use]
    pub const fn to(modules: Vec<ModuleRef>) -> Self {
        Self { modules, queues: Vec::new() }
    }

    /// Whether it covers a queue, by its local name.
    #[must_use]
    pub fn covers(&self, queue: &str) -> bool {
        self.queues.is_empty() || self.queues.iter().any(|pattern| pattern.matches(queue))
    }
}

/// For people: `billing, refunds in payments/*`, or `nothing`.
impl fmt::Display for SecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(f: &mut fmt::Formatter<'_>, before: &str, all: &[impl fmt::Display]) -> fmt::Result {
            all.iter().enumerate().try_for_each(|(at, one)| write!(f, "{}{one}", if at == 0 { before } else { ", " }))
        }
        if self.modules.is_empty() {
            return f.write_str("nothing");
        }
        list(f, "", &self.modules)?;
        list(f, " in ", &self.queues)
    }
}

/// A change of the secrets that there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretChange {
    /// Makes one, or gives one another value.
    Put {
        /// Which.
        name: SecretName,
        /// Its value.
        value: SecretValue,
        /// To whose jobs it is given. `None`: to those to which it is given already, or to none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<SecretGrant>,
    },
    /// Says to whose jobs one is given, instead of what was said before.
    Grant {
        /// Which.
        name: SecretName,
        /// To whose jobs.
        grant: SecretGrant,
    },
    /// Seals every secret anew that is not sealed under the first key of the leader's file.
    Reseal,
    /// Removes one.
    Delete {
        /// Which.
        name: SecretName,
    },
}

/// A secret as it is listed. Its value is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretView {
    /// Its name.
    pub name: SecretName,
    /// To whose jobs it is given.
    pub grant: SecretGrant,
    /// Greater with each value; from 1.
    pub version: u64,
    /// When it was made.
    pub created_at: LogTime,
    /// When it last got another value, or was granted otherwise.
    pub changed_at: LogTime,
    /// By whom.
    pub changed_by: String,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_name_is_one_of_an_environment_variable() {
        for name in ["A", "STRIPE_KEY", "_x9", &"a".repeat(64)] {
            assert!(SecretName::new(name).is_ok(), "{name}");
        }
        for name in ["", "9a", "a-b", "a.b", "a=b", "a b", "ä", &"a".repeat(65)] {
            assert!(SecretName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_grant_covers_the_queues_that_it_names_or_all() {
        let mut grant = SecretGrant::to(vec!["billing".parse().unwrap(), "refunds".parse().unwrap()]);
        assert!(grant.covers("test") && grant.to_string() == "billing, refunds");
        grant.queues = vec!["payments/*".parse().unwrap(), "mail".parse().unwrap()];
        assert!(grant.covers("payments/eu") && grant.covers("mail") && !grant.covers("test") && !grant.covers("mails"));
        assert_eq!(grant.to_string(), "billing, refunds in payments/*, mail");
        assert_eq!(SecretGrant::default().to_string(), "nothing");
    }

    #[test]
    fn a_value_shows_itself_to_nobody_who_does_not_ask() {
        let value: SecretValue = "hunter2".parse().unwrap();
        assert_eq!((format!("{value:?}"), value.reveal()), ("SecretValue".to_owned(), "hunter2"));
        assert_eq!("".parse::<SecretValue>(), Err(SecretError::Empty));
        assert_eq!("a\0b".parse::<SecretValue>(), Err(SecretError::Nul));
        let long = "x".repeat(SECRET_BYTES_MAX + 1);
        assert_eq!(long.parse::<SecretValue>(), Err(SecretError::TooLong(SECRET_BYTES_MAX + 1)));
    }
}
