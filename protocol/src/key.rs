//! Keys that programs choose: longer and freer than names, since they often hold other systems' ids.

use crate::Namespace;
use crate::namespace::SEPARATOR;
use crate::text::text;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there.
    #[error("a {what} may not be empty")]
    Empty {
        /// Which kind of key.
        what: &'static str,
    },
    /// More than [`KEY_BYTES_MAX`] bytes.
    #[error("a {what} may have at most {KEY_BYTES_MAX} bytes, this one has {bytes}; hash what is longer")]
    TooLong {
        /// Which kind of key.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A control character.
    #[error("a {what} may not hold control characters such as {character:?}")]
    Control {
        /// Which kind of key.
        what: &'static str,
        /// The first offender.
        character: char,
    },
}

/// Lets through what is a key within a namespace, or a [full](crate::namespace) one.
fn check_full(what: &'static str, text: &str) -> Result<(), KeyError> {
    match text.split_once(SEPARATOR) {
        Some((namespace, local)) if Namespace::new(namespace).is_ok() => check_local(what, local),
        _ => check_local(what, text),
    }
}

/// Lets through what is a key within a namespace.
fn check_local(what: &'static str, text: &str) -> Result<(), KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty { what });
    }
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { what, bytes: text.len() });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(character) => Err(KeyError::Control { what, character }),
        None => Ok(()),
    }
}

text!(
    /// What must be unique: at most one job of a namespace holds it at a time, across queues. Put the queue's
    /// or the task's name into it where that is what is meant.
    UniqueKey,
    "unique key",
    KeyError,
    check_full
);
text!(
    /// What jobs of one queue have in common that are to share it with the others: a tenant, an account, a host that is
    /// called. Groups of one queue take turns, and each can be limited.
    GroupKey,
    "group key",
    KeyError,
    check_local
);
text!(
    /// The name of a value in the cluster's state: see [`crate::StateWrite`].
    StateKey,
    "state key",
    KeyError,
    check_full
);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_are_bounded_and_printable() {
        assert_eq!(UniqueKey::new("ada+1@example.org / Größe").unwrap().as_str(), "ada+1@example.org / Größe");
        assert_eq!(UniqueKey::new(&"x".repeat(256)).unwrap().as_str().len(), 256);
        assert!(matches!(UniqueKey::new(""), Err(KeyError::Empty { .. })));
        assert!(matches!(UniqueKey::new(&"x".repeat(257)), Err(KeyError::TooLong { bytes: 257, .. })));
        assert!(matches!(StateKey::new("a\nb"), Err(KeyError::Control { character: '\n', .. })));
    }
}
