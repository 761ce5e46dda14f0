//! The flags that describe a job, the same for every command that makes some.

use super::{Options, What};
use crate::command::job::unique::UniqueArgs;
use crate::command::value;
use clap::Args;
use jobraft_protocol::limits::{ATTEMPTS_MAX, CRASHES_MAX, PRIORITY_MAX};
use jobraft_protocol::{Backoff, GroupKey, ModuleRef, QueueName, TaskName};
use std::time::Duration;

/// Where, and what. A command says by a group called `what` whether one of them must be given.
#[derive(Args, Clone, Debug)]
pub(in crate::command) struct WhatArgs {
    /// The queue
    #[arg(long, short, default_value = "default")]
    pub(in crate::command) queue: QueueName,
    /// The module to run: its name, or sha256: and its digest
    #[arg(long, short, value_name = "NAME|sha256:…")]
    module: Option<ModuleRef>,
    /// The task of a worker's program to run
    #[arg(long, short, value_name = "NAME")]
    task: Option<TaskName>,
}

/// How, and whether once only.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::command) struct OptionArgs {
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    unique: UniqueArgs,
}

/// How. Apart from [`UniqueArgs`]: clap makes a group only of flags that stand directly in it.
#[derive(Args, Clone, Debug, Default)]
struct HowArgs {
    /// 0 (first) to 9
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(PRIORITY_MAX)))]
    priority: Option<u8>,
    /// The group with which it shares its turn and limits, such as a tenant
    #[arg(long, value_name = "KEY")]
    group: Option<GroupKey>,
    /// How long it may wait for its first attempt; then it is expired
    #[arg(long, value_name = "DURATION", value_parser = value::wait)]
    ttl: Option<Duration>,
    /// How long after its scheduled time an attempt may begin; then it is expired
    #[arg(long, value_name = "DURATION", value_parser = value::wait)]
    start_deadline: Option<Duration>,
    /// How often it is tried at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ATTEMPTS_MAX)))]
    max_attempts: Option<u32>,
    /// How long it waits between two attempts: standard, exponential:1s, linear:30s, fixed:1m or list:1s,5s,30s; then
    /// perhaps ,factor=2 ,max=1h ,jitter=10%
    #[arg(long, value_name = "EXPR", value_parser = jobraft_sdk::parse_backoff)]
    backoff: Option<Backoff>,
    /// How many crashes of its worker within 72 h make it dead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CRASHES_MAX)))]
    max_crashes: Option<u32>,
    /// How long one attempt may run, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = value::run_time)]
    timeout: Option<Duration>,
}

impl WhatArgs {
    /// What is to be run, if that was said.
    pub(in crate::command) fn what(&self) -> Option<What> {
        What::of(self.module.as_ref(), self.task.as_ref())
    }
}

impl OptionArgs {
    /// What was said.
    pub(in crate::command) fn options(&self) -> Options {
        let how = &self.how;
        Options {
            priority: how.priority,
            max_attempts: how.max_attempts,
            run_timeout_ms: how.timeout.map(value::milliseconds),
            ttl_ms: how.ttl.map(value::milliseconds),
            start_deadline_ms: how.start_deadline.map(value::milliseconds),
            backoff: how.backoff.clone(),
            max_crashes: how.max_crashes,
            unique: self.unique.claim(),
            group: how.group.clone(),
            label: None,
        }
    }
}
