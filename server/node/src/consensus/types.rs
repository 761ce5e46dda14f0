//! What openraft is told about our types.

use bytes::Bytes;
use jobraft_core::command::{Command, Entry, Outcome};
use jobraft_protocol::{Error, NodeAddress, cbor};
use openraft::impls::leader_id_std;
use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

openraft::declare_raft_types!(
    /// Jobraft's Raft: a log of [`Proposal`]s, one leader for each term.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Answers,
        NodeId = u64,
        Node = Member,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

/// A log entry as openraft knows it.
pub(crate) type LogEntry = EntryOf<TypeConfig>;
/// Term and index of a log entry.
pub(crate) type LogId = LogIdOf<TypeConfig>;
/// A vote, or a leader's claim.
pub(crate) type Vote = VoteOf<TypeConfig>;
/// A membership and the log id that set it.
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;

/// The id of the log entry of this term and index.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// A member of the cluster, as the log knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it listens.
    pub address: String,
    /// The data directory with which it joined: another one under the same id is another node.
    pub instance: Uuid,
}

impl Member {
    /// The member's address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<NodeAddress> {
        self.address.parse().ok()
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A batch of commands on its way through the log: encoded once by the leader, decoded once by each other node.
///
/// The encoded bytes are what `log.db` keeps and what travels; they start with [`Proposal::KIND`], so that they are a
/// whole log record and need no copy to become one.
#[derive(Clone)]
pub(crate) struct Proposal {
    record: Bytes,
    /// Where it was made, until it is applied: the log keeps the record for longer, and has no need of this.
    made: Arc<Mutex<Option<Entry>>>,
}

/// Bytes that are not a proposal.
#[derive(Debug, thiserror::Error)]
#[error("log entry cannot be decoded: {0}; its format is newer than this software, or it is corrupt")]
pub(crate) struct ProposalError(String);

impl Proposal {
    /// The first byte of a proposal's record.
    pub(crate) const KIND: u8 = 1;

    /// Encodes an entry.
    ///
    /// # Errors
    /// If it cannot be encoded, which is a defect.
    pub(crate) fn new(entry: Entry) -> Result<Self, ProposalError> {
        // Grown step by step, it would be copied as often.
        let bytes: usize = entry.commands.iter().map(Command::weight_bytes).sum();
        let mut record = Vec::with_capacity(bytes + 64);
        record.push(Self::KIND);
        cbor::write(&entry, &mut record).map_err(|error| ProposalError(error.to_string()))?;
        Ok(Self { record: record.into(), made: Arc::new(Mutex::new(Some(entry))) })
    }

    /// Takes a record for a proposal; it is decoded when it is applied.
    pub(crate) fn from_record(record: Bytes) -> Self {
        Self { record, made: Arc::default() }
    }

    /// The bytes that `log.db` keeps.
    pub(crate) fn record(&self) -> &Bytes {
        &self.record
    }

    /// The entry: where it was made and for the first time as it was given, else decoded anew.
    ///
    /// # Errors
    /// If the record is not one.
    pub(crate) fn take_entry(&self) -> Result<Entry, ProposalError> {
        if let Some(entry) = self.made.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(entry);
        }
        match self.record.split_first() {
            Some((&Self::KIND, body)) => cbor::read(body).map_err(|error| ProposalError(error.to_string())),
            _ => Err(ProposalError("not a proposal".into())),
        }
    }
}

impl Serialize for Proposal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.record)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self::from_record)
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.record.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.record.len())
    }
}

/// One answer for each command of a proposal, in order. Never travels: answers are given where the proposal was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// The answers.
    #[serde(skip)]
    pub(crate) outcomes: Vec<Result<Outcome, Error>>,
}
