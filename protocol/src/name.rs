//! Names that people choose: of queues, tasks, modules, schedules, and of jobs within a workflow. Bounded, printable, safe in
//! logs and on a shell line. Of queues, modules and schedules there are [full](crate::namespace) names too.

use crate::Namespace;
use crate::namespace::SEPARATOR;
use crate::text::text;

/// The longest name of any kind, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a {what} may not be empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// Too many bytes.
    #[error("a {what} may have at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The most: [`NAME_BYTES_MAX`], or less for some.
        max: usize,
    },
    /// A character outside the permitted set.
    #[error("a {what} is made of letters, digits and . _ - : / @, not {character:?}")]
    Character {
        /// Which kind of name.
        what: &'static str,
        /// The first offender.
        character: char,
    },
    /// A character that no environment variable's name has there.
    #[error("a {what} is made of letters, digits and _, and begins with no digit: not {character:?}")]
    Variable {
        /// Which kind of name.
        what: &'static str,
        /// The first offender.
        character: char,
    },
}

/// Lets through what is a name within a namespace, or a full one.
pub(crate) fn check_full(what: &'static str, text: &str) -> Result<(), NameError> {
    match text.split_once(SEPARATOR) {
        Some((namespace, local)) => Namespace::new(namespace).and_then(|_| check_local(what, local)),
        None => check_local(what, text),
    }
}

/// Lets through what is a name within a namespace.
pub(crate) fn check_local(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, bytes: text.len(), max: NAME_BYTES_MAX });
    }
    let permitted = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'/' | b'@');
    match text.bytes().position(|b| !permitted(b)) {
        // What comes before it is ASCII: here a character begins.
        Some(at) => Err(NameError::Character { what, character: text[at..].chars().next().unwrap_or_default() }),
        None => Ok(()),
    }
}

text! {
    /// The name of a queue, such as `emails` or `tenant/42:resize`.
    QueueName, "queue name", NameError, check_full
}
text! {
    /// The name of a task that a worker has a native handler for, such as `send_email`.
    TaskName, "task name", NameError, check_local
}
text! {
    /// A movable pointer to a module, such as `wordcount@1.2.0`; resolved and pinned at enqueue.
    ModuleName, "module name", NameError, check_full
}
text! {
    /// What a job or a batch is called within a workflow, for people and for the jobs that come after it: `part-7`. Need not
    /// be unique.
    Label, "label", NameError, check_local
}
text! {
    /// The name of a schedule, such as `nightly-report`.
    ScheduleName, "schedule name", NameError, check_full
}
