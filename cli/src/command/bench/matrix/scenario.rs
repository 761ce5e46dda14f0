//! Which scenarios there are.

use super::rows::Found;
use super::site::Site;
use super::{idle, recovery, throughput};
use crate::failure::Failure;
use clap::ValueEnum;

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Scenario {
    /// Three nodes, one job in each request: 1, 64 and 1,024 in flight; with one, an idle cluster's dispatch
    Single,
    /// The same with one node
    OneNode,
    /// A hundred jobs in each request
    Bulk,
    /// Latencies at half of the highest rate
    HalfRate,
    /// Many other jobs wait
    Backlog,
    /// A node with many waiting jobs is killed and starts again; what a waiting job takes in its memory then
    Restart,
    /// The leader is killed under load
    Failover,
    /// A node that was down catches up under load
    CatchUp,
    /// 10,000 queues and 1,000 workers with nothing to do
    Idle,
}

impl Scenario {
    /// As it is named on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::OneNode => "one-node",
            Self::Bulk => "bulk",
            Self::HalfRate => "half-rate",
            Self::Backlog => "backlog",
            Self::Restart => "restart",
            Self::Failover => "failover",
            Self::CatchUp => "catch-up",
            Self::Idle => "idle",
        }
    }

    /// How many nodes it takes.
    pub(super) fn nodes(self) -> usize {
        match self {
            Self::OneNode | Self::Restart => 1,
            _ => 3,
        }
    }

    /// Whether it is loads that are measured, and nothing else.
    pub(super) fn is_load(self) -> bool {
        matches!(self, Self::Single | Self::OneNode | Self::Bulk | Self::HalfRate | Self::Backlog)
    }

    /// Measures it once.
    pub(super) async fn run(self, site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
        match self {
            Self::Single => throughput::single(site, true).await,
            Self::OneNode => throughput::single(site, false).await,
            Self::Bulk => throughput::bulk(site).await,
            Self::HalfRate => throughput::half_rate(site).await,
            Self::Backlog => throughput::backlog(site).await,
            Self::Restart => recovery::restart(site).await,
            Self::Failover => recovery::failover(site).await,
            Self::CatchUp => recovery::catch_up(site).await,
            Self::Idle => idle::idle(site).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            assert_eq!(scenario.to_possible_value().unwrap().get_name(), scenario.name());
        }
    }
}
