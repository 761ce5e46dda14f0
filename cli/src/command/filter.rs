//! Which jobs: the flags that `job list` and all that acts on many jobs share.

use super::value;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::{BatchId, JobFilter, JobState, LogTime, QueueName, UniqueKey};
use std::time::Duration;

/// Conditions; a job must meet all that are given.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "matching", multiple = true)]
#[command(next_help_heading = "Filter")]
pub(super) struct FilterArgs {
    /// In this queue; repeat it, or separate several by commas
    #[arg(long = "queue", short, value_delimiter = ',', value_name = "QUEUE")]
    pub(super) queues: Vec<QueueName>,
    /// In this state; repeat it, or separate several by commas
    #[arg(long = "state", short, value_delimiter = ',', value_name = "STATE", value_parser = value::state())]
    pub(super) states: Vec<JobState>,
    /// Running this: a task's name, or sha256: and a module's digest
    #[arg(long, short, value_name = "TASK")]
    task: Option<String>,
    /// With this unique key
    #[arg(long, value_name = "KEY")]
    unique: Option<UniqueKey>,
    /// Of this batch
    #[arg(long, value_name = "ID")]
    batch: Option<BatchId>,
    /// Whose last error holds this text, in small or capital letters
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Enqueued longer ago than this, such as 2h
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    older_than: Option<Duration>,
    /// Enqueued within this time, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    newer_than: Option<Duration>,
}

impl FilterArgs {
    /// The filter, as seen at `now`; checked.
    pub(super) fn filter(&self, now: LogTime) -> Result<JobFilter, Failure> {
        let doing = "read the filter";
        if let (Some(older), Some(newer)) = (self.older_than, self.newer_than)
            && older >= newer
        {
            let cause = format!(
                "no job is older than {} and newer than {}",
                humantime::format_duration(older),
                humantime::format_duration(newer)
            );
            return Err(Failure::usage(doing, cause).hint("--older-than must be the shorter time"));
        }
        let before = |age| LogTime::from_ms(now.as_ms().saturating_sub(value::milliseconds(age)));
        let filter = JobFilter {
            queues: self.queues.clone(),
            namespace: None,
            states: self.states.clone(),
            task: self.task.clone(),
            key: self.unique.clone(),
            batch: self.batch,
            enqueued_from: self.newer_than.map(before),
            enqueued_before: self.older_than.map(before),
            error: self.error.clone(),
        };
        filter.check().map_err(|error| Failure::usage(doing, error))?;
        Ok(filter)
    }

    /// Whether it has any condition.
    pub(super) fn is_given(&self) -> bool {
        let Self { queues, states, task, unique, batch, error, older_than, newer_than } = self;
        !queues.is_empty()
            || !states.is_empty()
            || task.is_some()
            || unique.is_some()
            || batch.is_some()
            || error.is_some()
            || older_than.is_some()
            || newer_than.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn ages_are_reckoned_from_log_time() {
        let args = FilterArgs {
            older_than: Some(Duration::from_secs(1)),
            newer_than: Some(Duration::from_secs(9)),
            ..FilterArgs::default()
        };
        let filter = args.filter(LogTime::from_ms(10_000)).unwrap();
        assert_eq!(filter.enqueued_before, Some(LogTime::from_ms(9_000)));
        assert_eq!(filter.enqueued_from, Some(LogTime::from_ms(1_000)));
        assert!(args.is_given() && !FilterArgs::default().is_given());
    }

    #[test]
    fn ages_that_no_job_can_have_are_refused() {
        let second = Some(Duration::from_secs(1));
        let args = FilterArgs { older_than: second, newer_than: second, ..FilterArgs::default() };
        let failure = args.filter(LogTime::from_ms(10_000)).unwrap_err();
        assert!(failure.to_string().contains("older than 1s"), "{failure}");
    }

    #[test]
    fn text_over_the_limit_is_refused_by_name() {
        let args = FilterArgs { error: Some("x".repeat(600)), ..FilterArgs::default() };
        let failure = args.filter(LogTime::ZERO).unwrap_err();
        assert!(failure.to_string().contains("filter.error") && failure.to_string().contains("512"), "{failure}");
    }
}
