//! What is wrong with an expression or a time zone, said so that it can be put right.

use super::field::Field;
use jobraft_protocol::limits;

/// Characters of somebody's text that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// What a time zone is called in errors.
pub(super) const TIME_ZONE: &str = "time zone";

/// Why an expression or a time zone is none. Final: the same text will never be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// More text than a schedule may have.
    #[error("the {what} has {bytes} bytes, not 1 to {}", limits::CRON_BYTES_MAX)]
    TooLong {
        /// The expression or the time zone.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The expression has neither five nor six fields.
    #[error(
        "the expression has {found} field{}, not five (minute, hour, day of month, month, day of week) or six (seconds \
         in front): `0 9 * * MON-FRI` is nine o'clock on workdays",
        if *found == 1 { "" } else { "s" }
    )]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// A nickname that is none.
    #[error("`{word}` is none of the nicknames {}{}", super::expression::nicknames().join(", "), hint(nearest))]
    Nickname {
        /// What is written.
        word: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A field is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The expression has no tick until the end of [`super::YEAR_LAST`].
    #[error("`{expression}` never fires: no month it names has such a day")]
    Never {
        /// The expression.
        expression: String,
    },
    /// There is no such time zone.
    #[error(
        "the IANA database, with names such as `Europe/Berlin` or `UTC`, has no time zone `{name}`{}",
        hint(nearest)
    )]
    TimeZone {
        /// What is written.
        name: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
}

impl CronError {
    /// Whether it is the time zone that is wrong, not the expression.
    #[must_use]
    pub fn is_of_time_zone(&self) -> bool {
        matches!(self, Self::TimeZone { .. } | Self::TooLong { what: TIME_ZONE, .. })
    }
}

/// What is wrong with one field of an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {place} ({field}) is `{text}`: {fault}")]
pub struct FieldError {
    /// Which one it is, counted from 1.
    pub place: usize,
    /// What it is for.
    pub field: Field,
    /// What is written there.
    pub text: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong inside a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing stands where a part should.
    #[error("a part of the list is empty")]
    Empty,
    /// A value that is none.
    #[error("`{part}` is not {expected}{}", hint(nearest))]
    Value {
        /// What is written.
        part: String,
        /// What may be there.
        expected: &'static str,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A number that is too small or too large.
    #[error("`{part}` is not within {min} to {max}{}", hint(nearest))]
    Bounds {
        /// What is written.
        part: String,
        /// The least that may be.
        min: u8,
        /// The most that may be.
        max: u8,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A range that ends before it begins.
    #[error("the range `{part}` ends before it begins; did you mean `{instead}`?")]
    Backwards {
        /// What is written.
        part: String,
        /// The same in two ranges.
        instead: String,
    },
    /// A step over one value.
    #[error("the step of `{part}` has no range to go through; did you mean `{instead}`?")]
    StepAlone {
        /// What is written.
        part: String,
        /// The same with a range.
        instead: String,
    },
}

/// Somebody's text as an error repeats it: on one line, and not too long.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}
