//! What answers mean for a job's history.

use crate::history::Outcome;
use jobraft_protocol::{Error, ErrorCode, Retry};

/// What a refused request about one job tells of it: that it is not held, not there, or nothing.
pub(super) const fn refusal(code: ErrorCode) -> Outcome {
    match code {
        ErrorCode::LeaseLost | ErrorCode::Cancelled | ErrorCode::NotFound | ErrorCode::WrongState => {
            Outcome::Refused(code)
        }
        _ => Outcome::Untold(code),
    }
}

/// The same of one job of many; `None` if nobody knows.
pub(super) fn part(result: &Result<(), Error>) -> Option<Outcome> {
    match result {
        Ok(()) => Some(Outcome::Done),
        Err(error) if error.code == ErrorCode::Internal => None,
        Err(error) => match error.code.retry() {
            Retry::IfIdempotent => None,
            Retry::Safe | Retry::Never => Some(refusal(error.code)),
        },
    }
}
