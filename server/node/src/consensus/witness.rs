//! Looking on while a node applies its log: for simulations, which compare what nodes do.

use jobraft_core::command::Entry;

/// Computes [`jobraft_core::Core::state_hash`], or says why it cannot.
pub type StateHash<'a> = &'a dyn Fn() -> Result<[u8; 32], String>;

/// Sees what a node applies, entry by entry, while nothing else can be applied. Must not block, nor call the node.
pub trait Witness: Send + Sync {
    /// An entry was applied; `None` for one without commands: a leader's first, or a membership.
    fn applied(&self, at: Place, entry: Option<&Entry>, state: StateHash<'_>);

    /// The state was taken from a checkpoint or a snapshot.
    fn restored(&self, at: Place, state: StateHash<'_>);
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The term of the entry there.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// What Raft is about on a node: cheap to read after each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// The term of its vote.
    pub term: u64,
    /// Whether it leads that term.
    pub leads: bool,
    /// The last entry that it has.
    pub last_index: u64,
    /// The last entry that it applied.
    pub applied: Place,
    /// The entry up to which a checkpoint stands.
    pub checkpoint: Place,
    /// The last entry that it purged.
    pub purged: Place,
    /// How many vote.
    pub voters: usize,
}
