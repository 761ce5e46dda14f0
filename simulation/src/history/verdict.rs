//! What comes of looking at a run.

use super::operation::{Call, Operation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The judgement of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything held, and there was enough of it.
    Passed(Figures),
    /// Something did not hold.
    Violated(Box<Violation>),
    /// Nothing can be said.
    Insufficient {
        /// What was missing or too much.
        why: String,
        /// What there was.
        figures: Figures,
    },
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Operations on jobs.
    pub operations: usize,
    /// Those whose outcome nobody knows.
    pub unknown: usize,
    /// Those that were refused before they were looked at, such as by a node that does not lead.
    pub turned_away: usize,
    /// Jobs that there was an operation on.
    pub jobs: usize,
    /// Unique keys.
    pub keys: usize,
    /// By kind.
    pub kinds: BTreeMap<String, usize>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// States that the search visited.
    pub states: usize,
    /// The most operations that were put in one order.
    pub largest: usize,
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What, and of which job or key.
    pub what: String,
    /// The operations that contradict each other, up to the first answer that no order explains.
    pub operations: Vec<Operation>,
    /// The longest part of them that an order was found for, by place in `operations`.
    pub explained: Vec<usize>,
}

impl Violation {
    /// One that is told without an order.
    #[must_use]
    pub fn of(what: impl Into<String>, operations: Vec<Operation>) -> Self {
        Self { what: what.into(), operations, explained: Vec::new() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for (place, operation) in self.operations.iter().enumerate() {
            let Operation { client, job, called, returned, call, outcome } = operation;
            let order = self.explained.iter().position(|&explained| explained == place);
            let order = order.map_or_else(|| "  ?".to_owned(), |order| format!("{:>3}", order + 1));
            let until = returned.map_or_else(|| "…".to_owned(), |returned| returned.to_string());
            let outcome = outcome.as_ref().map_or_else(|| "unknown".to_owned(), |outcome| format!("{outcome:?}"));
            let call = match call {
                Call::Enqueue(new) => {
                    let unique = new.unique.as_ref().map(|one| (one.key.as_str(), one.scope, one.on_conflict));
                    format!("Enqueue {{ {:?}, {:?} attempts, {unique:?} }}", new.start, new.max_attempts)
                }
                other => format!("{other:?}"),
            };
            writeln!(f, "{order}  {called:>6}–{until:<6} job {job} client {client}: {call} → {outcome}")?;
        }
        Ok(())
    }
}

/// What a run must have had to be worth a judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demands {
    /// Operations with a known outcome.
    pub operations: usize,
    /// Jobs.
    pub jobs: usize,
    /// For kinds of operations, how many of each.
    pub kinds: BTreeMap<String, usize>,
    /// For kinds of faults, how many of each.
    pub faults: BTreeMap<String, u64>,
}

impl Demands {
    /// What is missing, if anything is.
    #[must_use]
    pub fn missing(&self, figures: &Figures) -> Option<String> {
        let known = figures.operations - figures.unknown - figures.turned_away;
        if known < self.operations {
            return Some(format!("{known} operations with a known outcome, at least {} were to be", self.operations));
        }
        if figures.jobs < self.jobs {
            return Some(format!("{} jobs, at least {} were to be", figures.jobs, self.jobs));
        }
        let kinds = self.kinds.iter().map(|(kind, least)| (kind, *least as u64));
        let kinds = kinds.map(|(kind, least)| (kind, least, figures.kinds.get(kind).map_or(0, |count| *count as u64)));
        let faults = self.faults.iter().map(|(kind, least)| (kind, *least, figures.faults.get(kind).copied()));
        let faults = faults.map(|(kind, least, count)| (kind, least, count.unwrap_or(0)));
        kinds
            .chain(faults)
            .find(|(_, least, count)| count < least)
            .map(|(kind, least, count)| format!("{kind} happened {count} times, at least {least} were to be"))
    }
}

impl Verdict {
    /// Whether everything held, and there was enough of it.
    #[must_use]
    pub const fn is_passed(&self) -> bool {
        matches!(self, Self::Passed(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(figures) => write!(
                f,
                "passed: {} operations ({} unknown, {} turned away) on {} jobs and {} keys, {} states",
                figures.operations, figures.unknown, figures.turned_away, figures.jobs, figures.keys, figures.states
            ),
            Self::Violated(violation) => write!(f, "violated: {violation}"),
            Self::Insufficient { why, .. } => write!(f, "insufficient: {why}"),
        }
    }
}
