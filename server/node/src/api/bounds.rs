//! The bounds of requests, checked before anything is proposed, so that what is refused costs no place in the log.

use jobraft_protocol::name::NAME_BYTES_MAX;
use jobraft_protocol::{Error, ErrorCode, QueueName, limits};

type Checked = Result<(), Error>;

/// Refuses a value outside its domain.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

/// Something counted in bytes.
pub(super) fn size(what: &str, bytes: usize, max: usize) -> Checked {
    if bytes <= max {
        return Ok(());
    }
    Err(Error::new(ErrorCode::TooLarge, format!("the {what} has {bytes} bytes, the limit is {max}")))
}

/// Several of something in one request.
pub(super) fn bulk(what: &str, count: usize, max: usize) -> Checked {
    if count <= max {
        return Ok(());
    }
    Err(Error::new(ErrorCode::TooLarge, format!("{count} {what}, at most {max} at once; split them")))
}

/// The wish for a lease.
pub(super) fn lease_ms(lease_ms: u64) -> Checked {
    if lease_ms <= limits::LEASE_MS_MAX {
        return Ok(());
    }
    Err(invalid(format!("lease_ms {lease_ms} exceeds the limit of {} ms", limits::LEASE_MS_MAX)))
}

/// The queues that a worker names.
pub(super) fn queues(queues: &[QueueName]) -> Checked {
    if queues.is_empty() {
        return Err(invalid("no queue is named: name one at least"));
    }
    if queues.len() <= limits::WORKER_QUEUES_MAX {
        return Ok(());
    }
    let message = format!("{} queues, a worker may name at most {}", queues.len(), limits::WORKER_QUEUES_MAX);
    Err(Error::new(ErrorCode::TooMany, message))
}

/// A name for people only.
pub(super) fn label(what: &str, text: &str) -> Checked {
    size(what, text.len(), NAME_BYTES_MAX)?;
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("the {what} has a control character")));
    }
    Ok(())
}

/// Cuts a text for people at a limit in bytes, at the end of a character.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn each_bound_is_inclusive_and_its_refusal_names_value_and_limit() {
        let names = |count: usize| vec!["q".parse::<QueueName>().unwrap(); count];
        assert_eq!(size("result", 5, 5), Ok(()));
        assert_eq!(bulk("jobs", 5, 5), Ok(()));
        assert_eq!(lease_ms(limits::LEASE_MS_MAX), Ok(()));
        assert_eq!(queues(&names(limits::WORKER_QUEUES_MAX)), Ok(()));
        assert_eq!(label("name", &"x".repeat(NAME_BYTES_MAX)), Ok(()));

        let cases = [
            (size("result", 6, 5), ErrorCode::TooLarge, "the result has 6 bytes, the limit is 5"),
            (bulk("jobs", 6, 5), ErrorCode::TooLarge, "6 jobs, at most 5 at once"),
            (lease_ms(43_200_001), ErrorCode::InvalidArgument, "43200001 exceeds the limit of 43200000 ms"),
            (queues(&[]), ErrorCode::InvalidArgument, "no queue"),
            (queues(&names(65)), ErrorCode::TooMany, "65 queues, a worker may name at most 64"),
            (label("name", &"x".repeat(129)), ErrorCode::TooLarge, "129 bytes, the limit is 128"),
            (label("name", "a\nb"), ErrorCode::InvalidArgument, "control character"),
        ];
        for (refused, code, message) in cases {
            let error = refused.unwrap_err();
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(message), "{error} does not say {message:?}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut text = "aé".to_owned();
        cut(&mut text, 2);
        assert_eq!(text, "a");
        cut(&mut text, 2);
        assert_eq!(text, "a");
    }
}
