//! The bounds of requests, checked before anything is proposed, so that what is refused costs no place in the log.

use jobraft_protocol::key::KEY_BYTES_MAX;
use jobraft_protocol::name::NAME_BYTES_MAX;
use jobraft_protocol::{
    Error, ErrorCode, LeaseRef, NewJob, Progress, QueueName, Request, SecretChange, StateWrite, limits,
};

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

/// Several of something, where their number alone is limited.
pub(super) fn count(what: &str, count: usize, max: usize) -> Checked {
    if count <= max {
        return Ok(());
    }
    Err(Error::new(ErrorCode::TooMany, format!("{count} {what}, at most {max} at once; split them")))
}

/// How much a request names for each of which something is looked up before its handler has it.
pub(super) fn counts(request: &Request) -> Checked {
    match request {
        Request::Act { jobs, .. } => count("jobs", jobs.len(), limits::ACTION_JOBS_MAX),
        Request::Configure { settings } => count("settings", settings.len(), limits::SETTINGS_MAX),
        Request::Enqueue { jobs, .. } => bulk("jobs", jobs.len(), limits::BULK_JOBS_MAX),
        Request::Complete { completions } => bulk("completions", completions.len(), limits::COMPLETIONS_MAX),
        Request::Extend { leases, progress, .. } => {
            bulk("leases", leases.len(), limits::EXTEND_LEASES_MAX)?;
            bulk("notes of progress", progress.len(), limits::EXTEND_LEASES_MAX)
        }
        Request::ListState { prefix, .. } => size("prefix", prefix.len(), KEY_BYTES_MAX),
        Request::ChangeSecret {
            change: SecretChange::Put { grant: Some(grant), .. } | SecretChange::Grant { grant, .. },
        } => {
            count("modules", grant.modules.len(), limits::SECRET_MODULES_MAX)?;
            count("queues", grant.queues.len(), limits::SECRET_QUEUES_MAX)
        }
        _ => Ok(()),
    }
}

/// A length of time.
pub(super) fn ms(what: &str, ms: u64, max: u64) -> Checked {
    if ms <= max {
        return Ok(());
    }
    Err(invalid(format!("{what} {ms} exceeds the limit of {max} ms")))
}

/// The wish for a lease.
pub(super) fn lease_ms(lease_ms: u64) -> Checked {
    ms("lease_ms", lease_ms, limits::LEASE_MS_MAX)
}

/// Jobs to be enqueued in one step.
pub(super) fn new_jobs<'a>(jobs: impl IntoIterator<Item = &'a NewJob> + Clone) -> Checked {
    bulk("jobs", jobs.clone().into_iter().count(), limits::BULK_JOBS_MAX)?;
    let bytes = jobs.clone().into_iter().map(|job| job.payload.len()).sum();
    bulk("bytes of payload", bytes, limits::BULK_BYTES_MAX)?;
    for (place, job) in jobs.into_iter().enumerate() {
        let after = job.after.as_ref().map_or(0, |after| after.jobs.len());
        if after > limits::AFTER_JOBS_MAX {
            let message = format!(
                "job {place} ({}) comes after {after} others, a job may name at most {}",
                job.id,
                limits::AFTER_JOBS_MAX
            );
            return Err(Error::new(ErrorCode::TooMany, message));
        }
    }
    Ok(())
}

/// Values to be written in one step.
pub(super) fn writes(writes: &[StateWrite]) -> Checked {
    count("state writes", writes.len(), limits::STATE_WRITES_MAX)?;
    for (place, write) in writes.iter().enumerate() {
        let what = format!("value of state write {place} ({})", write.key);
        size(&what, write.value.as_ref().map_or(0, |value| value.len()), limits::STATE_VALUE_BYTES_MAX)?;
    }
    Ok(())
}

/// The weights of a worker's queues: none, or one for each.
pub(super) fn weights(queues: &[QueueName], weights: &[u32]) -> Checked {
    if weights.is_empty() {
        return Ok(());
    }
    if weights.len() != queues.len() {
        let message = format!("{} weights for {} queues: give one for each, or none", weights.len(), queues.len());
        return Err(invalid(message));
    }
    let allowed = 1..=limits::QUEUE_WEIGHT_MAX;
    for (place, (queue, weight)) in queues.iter().zip(weights).enumerate() {
        if !allowed.contains(weight) {
            let message = format!("weight {weight} of queue {queue} is not in 1..={}", limits::QUEUE_WEIGHT_MAX);
            return Err(invalid(message));
        }
        if queues[..place].contains(queue) {
            return Err(invalid(format!("queue {queue} is named twice with a weight: name it once")));
        }
    }
    Ok(())
}

/// How far a job says it is.
pub(super) fn progress(told: &mut [(LeaseRef, Progress)]) -> Checked {
    for (lease, progress) in told {
        if progress.percent > 100 {
            let message = format!("progress.percent {} of job {} is not in 0..=100", progress.percent, lease.job);
            return Err(invalid(message));
        }
        cut(&mut progress.message, limits::PROGRESS_MESSAGE_BYTES_MAX);
    }
    Ok(())
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
        let two = ["a".parse().unwrap(), "b".parse().unwrap()];
        assert_eq!(size("result", 5, 5), Ok(()));
        assert_eq!(bulk("jobs", 5, 5), Ok(()));
        assert_eq!(lease_ms(limits::LEASE_MS_MAX), Ok(()));
        assert_eq!(queues(&names(limits::WORKER_QUEUES_MAX)), Ok(()));
        assert_eq!(label("name", &"x".repeat(NAME_BYTES_MAX)), Ok(()));
        assert_eq!(count("settings", 5, 5), Ok(()));
        assert_eq!(weights(&two, &[1, limits::QUEUE_WEIGHT_MAX]), Ok(()));
        assert_eq!(weights(&two, &[]), Ok(()));

        let cases = [
            (size("result", 6, 5), ErrorCode::TooLarge, "the result has 6 bytes, the limit is 5"),
            (bulk("jobs", 6, 5), ErrorCode::TooLarge, "6 jobs, at most 5 at once"),
            (count("settings", 6, 5), ErrorCode::TooMany, "6 settings, at most 5 at once"),
            (weights(&two, &[1]), ErrorCode::InvalidArgument, "1 weights for 2 queues"),
            (weights(&two, &[1, 0]), ErrorCode::InvalidArgument, "weight 0 of queue b is not in 1..=1000"),
            (weights(&two, &[1_001, 1]), ErrorCode::InvalidArgument, "weight 1001 of queue a"),
            (weights(&names(2), &[1, 1]), ErrorCode::InvalidArgument, "queue q is named twice"),
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
