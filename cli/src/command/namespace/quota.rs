//! What a namespace may have, said by flags and told.

use crate::command::value::{self, OrDefault};
use crate::failure::Failure;
use crate::output::human;
use clap::Args;
use jobraft_protocol::{NamespaceQuota, NamespaceSetting, Rate};

/// How much it may have; what is not named stays as it is, and `default` is no bound but the cluster's own.
#[derive(Args, Debug)]
pub(super) struct QuotaArgs {
    /// How many jobs there may be that have not ended, open batches and their callbacks among them
    #[arg(long, value_name = "N|default", value_parser = value::count_or_default)]
    max_jobs: Option<OrDefault<u64>>,
    /// How many bytes its jobs and its values may hold, such as 1GiB
    #[arg(long, value_name = "SIZE|default", value_parser = value::size_or_default)]
    max_bytes: Option<OrDefault<u64>>,
    /// How many jobs may come to be in how much time, such as 1000/1s
    #[arg(long, value_name = "COUNT/TIME|default", value_parser = value::rate_or_default)]
    rate: Option<OrDefault<Rate>>,
    /// How many queues there may be
    #[arg(long, value_name = "N|default", value_parser = value::count_or_default)]
    max_queues: Option<OrDefault<u64>>,
    /// How many modules it may have
    #[arg(long, value_name = "N|default", value_parser = value::count_or_default)]
    max_modules: Option<OrDefault<u64>>,
}

impl QuotaArgs {
    /// As settings, each within its domain.
    pub(super) fn settings(&self) -> Result<Vec<NamespaceSetting>, Failure> {
        let Self { max_jobs, max_bytes, rate, max_queues, max_modules } = self;
        let settings = [
            max_jobs.map(|wish| NamespaceSetting::Jobs(wish.0)),
            max_bytes.map(|wish| NamespaceSetting::Bytes(wish.0)),
            rate.map(|wish| NamespaceSetting::Rate(wish.0)),
            max_queues.map(|wish| NamespaceSetting::Queues(wish.0)),
            max_modules.map(|wish| NamespaceSetting::Modules(wish.0)),
        ];
        let settings: Vec<NamespaceSetting> = settings.into_iter().flatten().collect();
        for setting in &settings {
            setting.check().map_err(|error| Failure::usage("read the quota", error))?;
        }
        Ok(settings)
    }
}

/// For people: `100000 jobs, 1.0 GiB, 1000/1s`.
pub(super) fn told(quota: &NamespaceQuota) -> String {
    let NamespaceQuota { jobs, bytes, rate, queues, modules } = quota;
    let counted =
        |most: &Option<u64>, what| most.map(|most| human::count(usize::try_from(most).unwrap_or(usize::MAX), what));
    let parts = [
        counted(jobs, "job"),
        bytes.map(human::bytes),
        rate.as_ref().map(human::rate),
        counted(queues, "queue"),
        counted(modules, "module"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "no bound".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_told_by_its_parts() {
        let quota = NamespaceQuota { jobs: Some(1), rate: Some(Rate::new(10, 1_000)), ..NamespaceQuota::default() };
        assert_eq!(told(&quota), "1 job, 10/1s");
        assert_eq!(told(&NamespaceQuota::default()), "no bound");
    }

    #[test]
    fn a_part_outside_its_domain_is_refused_by_name() {
        let none = QuotaArgs { max_jobs: None, max_bytes: None, rate: None, max_queues: None, max_modules: None };
        let failure = QuotaArgs { max_jobs: Some(OrDefault(Some(0))), ..none }.settings().expect_err("0 jobs");
        assert!(failure.to_string().contains("jobs 0 is not in 1..="), "{failure}");
    }
}
