//! What the cluster has agreed on, as seen from outside, and whether every node keeps to it.
//!
//! The ledger applies each entry itself, once, when the first node does, to a core of its own that never rests, crashes
//! or restores. Every other node must then apply the same entry at the same index, and come to the same state.

use super::rules::Rules;
use jobraft_core::Core;
use jobraft_core::command::Entry;
use jobraft_node::consensus::{Place, Pulse, StateHash, Witness};
use jobraft_protocol::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every so many entries the whole state is compared: to hash it takes longer than to apply an entry.
const HASHED_EVERY: u64 = 8;

/// The ledger of a world. Clones share everything.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By index, from 0 on; entry 0 is the membership with which Raft begins.
    entries: Vec<Agreed>,
    core: Core,
    rules: Rules,
    leaders: BTreeMap<u64, NodeId>,
    nodes: BTreeMap<NodeId, Seen>,
    hashes_compared: u64,
    violations: Vec<String>,
}

struct Agreed {
    term: u64,
    entry: Option<Arc<Entry>>,
    hash: Option<[u8; 32]>,
}

/// What was seen of a node since its last start.
#[derive(Default)]
struct Seen {
    applied: Option<Place>,
    term: u64,
}

/// What the cluster has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Entries agreed on.
    pub entries: u64,
    /// Commands in them.
    pub commands: u64,
    /// Terms that had a leader.
    pub leaders: u64,
    /// How often a node's whole state was compared.
    pub hashes_compared: u64,
    /// Leases granted.
    pub leases: u64,
    /// Jobs that ended.
    pub ended: u64,
}

impl Ledger {
    /// Who looks on at a node that starts now.
    #[must_use]
    pub fn witness(&self, node: NodeId) -> Arc<dyn Witness> {
        self.state().nodes.insert(node, Seen::default());
        Arc::new(Onlooker { ledger: self.clone(), node })
    }

    /// Looks at what a node says of itself after a step.
    pub fn check_pulse(&self, node: NodeId, pulse: Pulse) {
        let mut state = self.state();
        let seen_term = state.nodes.entry(node).or_default().term;
        if pulse.term < seen_term {
            state.violation(format!("node {node} went back from term {seen_term} to {}", pulse.term));
        }
        state.nodes.entry(node).or_default().term = pulse.term;
        if !pulse.leads {
            return;
        }
        match state.leaders.get(&pulse.term) {
            None => {
                super::chronicle::note(format_args!("node {node} leads term {}", pulse.term));
                state.leaders.insert(pulse.term, node);
                let agreed = state.entries.len() as u64;
                if pulse.last_index + 1 < agreed {
                    let last = pulse.last_index;
                    state.violation(format!(
                        "leader completeness: node {node} leads term {} with a log that ends at {last}, though {} is \
                         committed",
                        pulse.term,
                        agreed - 1
                    ));
                }
            }
            Some(&leader) if leader != node => {
                state.violation(format!("one leader per term: term {} has {leader} and {node}", pulse.term));
            }
            Some(_) => {}
        }
    }

    /// What was violated, if anything.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        self.state().violations.first().cloned()
    }

    /// The last index agreed on, and the hash of the state there.
    #[must_use]
    pub fn end(&self) -> (u64, [u8; 32]) {
        let state = self.state();
        ((state.entries.len() as u64).saturating_sub(1), state.core.state_hash())
    }

    /// The last index agreed on.
    #[must_use]
    pub fn end_index(&self) -> u64 {
        (self.state().entries.len() as u64).saturating_sub(1)
    }

    /// A node said that it may be read, to somebody who asked when `agreed` was the last index agreed on.
    pub fn check_read(&self, node: NodeId, agreed: u64) {
        let mut state = self.state();
        let applied = state.nodes.get(&node).and_then(|seen| seen.applied).map_or(0, |applied| applied.index);
        if applied < agreed {
            state.violation(format!(
                "linearizable reads: node {node} has applied {applied} entries and may be read, though {agreed} were \
                 agreed on before"
            ));
        }
    }

    /// The term of the entry agreed on at an index.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        let place = usize::try_from(index).ok()?;
        self.state().entries.get(place).map(|agreed| agreed.term)
    }

    /// What the cluster has done so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let state = self.state();
        Progress {
            entries: state.entries.len() as u64,
            commands: state
                .entries
                .iter()
                .flat_map(|agreed| &agreed.entry)
                .map(|entry| entry.commands.len() as u64)
                .sum(),
            leaders: state.leaders.len() as u64,
            hashes_compared: state.hashes_compared,
            leases: state.rules.leases(),
            ended: state.rules.ended(),
        }
    }

    /// Reads the state agreed on.
    pub fn read<T>(&self, read: impl FnOnce(&Core) -> T) -> T {
        read(&self.state().core)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn violation(&mut self, what: String) {
        super::chronicle::note(format_args!("VIOLATION: {what}"));
        self.violations.push(what);
    }

    fn applied(&mut self, node: NodeId, at: Place, entry: Option<&Entry>, state: StateHash<'_>) {
        let before = self.nodes.entry(node).or_default().applied.replace(at);
        let expected = before.map_or(0, |before| before.index + 1);
        if at.index != expected {
            self.violation(format!("node {node} applied entry {} where {expected} was next", at.index));
        }
        if at.index == self.entries.len() as u64 {
            self.agree(at, entry);
        }
        self.compare(node, at, Some(entry), state);
    }

    /// The first node applies an entry.
    fn agree(&mut self, at: Place, entry: Option<&Entry>) {
        if let Some(before) = self.entries.last()
            && before.term > at.term
        {
            let term = before.term;
            self.violation(format!("entry {} is of term {}, the one before of {term}", at.index, at.term));
        }
        if let Some(entry) = entry {
            let before = self.core.now();
            let applied = self.core.apply(entry);
            if self.core.now() < before {
                self.violation(format!("log time went back with entry {}", at.index));
            }
            for broken in self.rules.check(entry, &applied, &self.core) {
                self.violation(format!("entry {}: {broken}", at.index));
            }
            // Nothing is ever written: what would be goes.
            drop(self.core.take_changes());
        }
        let hash = at.index.is_multiple_of(HASHED_EVERY).then(|| self.core.state_hash());
        self.entries.push(Agreed { term: at.term, entry: entry.cloned().map(Arc::new), hash });
    }

    /// A node is at an index: is it where the cluster is?
    fn compare(&mut self, node: NodeId, at: Place, entry: Option<Option<&Entry>>, state: StateHash<'_>) {
        let place = usize::try_from(at.index).unwrap_or(usize::MAX);
        let Some(agreed) = self.entries.get(place) else {
            return self.violation(format!("node {node} is at entry {}, which nobody has applied", at.index));
        };
        if agreed.term != at.term {
            let term = agreed.term;
            return self.violation(format!(
                "state machine safety: entry {} is of term {term}, but of {} on node {node}",
                at.index, at.term
            ));
        }
        if entry.is_some_and(|entry| entry != agreed.entry.as_deref()) {
            return self.violation(format!("state machine safety: node {node} applied another entry {}", at.index));
        }
        if let Some(hash) = agreed.hash {
            self.hashes_compared += 1;
            match state() {
                Ok(own) if own == hash => {}
                Ok(_) => self.violation(format!("same log, same state: node {node} differs after entry {}", at.index)),
                Err(error) => self.violation(format!("node {node} cannot read its state at {}: {error}", at.index)),
            }
        }
    }
}

/// Looks on at one node.
struct Onlooker {
    ledger: Ledger,
    node: NodeId,
}

impl Witness for Onlooker {
    fn applied(&self, at: Place, entry: Option<&Entry>, state: StateHash<'_>) {
        self.ledger.state().applied(self.node, at, entry, state);
    }

    fn restored(&self, at: Place, state: StateHash<'_>) {
        let mut ledger = self.ledger.state();
        ledger.nodes.entry(self.node).or_default().applied = Some(at);
        ledger.compare(self.node, at, None, state);
    }
}
