//! Names that people choose: of queues, tasks, modules, schedules, and of jobs within a workflow. Bounded, printable, safe in logs and on a shell line.

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
}

pub(crate) fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, bytes: text.len(), max: NAME_BYTES_MAX });
    }
    let permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/' | '@');
    match text.chars().find(|&c| !permitted(c)) {
        Some(character) => Err(NameError::Character { what, character }),
        None => Ok(()),
    }
}

text! {
    /// The name of a queue, such as `emails` or `tenant/42:resize`.
    QueueName, "queue name", NameError
}
text! {
    /// The name of a task that a worker has a native handler for, such as `send_email`.
    TaskName, "task name", NameError
}
text! {
    /// A movable pointer to a module, such as `wordcount@1.2.0`; resolved and pinned at enqueue.
    ModuleName, "module name", NameError
}
text! {
    /// What a job or a batch is called within a workflow, for people and for the jobs that come after it: `part-7`. Need not
    /// be unique.
    Label, "label", NameError
}
text! {
    /// The name of a schedule, such as `nightly-report`.
    ScheduleName, "schedule name", NameError
}
