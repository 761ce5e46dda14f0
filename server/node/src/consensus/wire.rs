//! What nodes say to each other about Raft.

use super::types::{SnapshotMeta, TypeConfig, Vote};
use crate::transport::PeerStream;
use jobraft_protocol::frame::{self, FrameError};
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, SnapshotResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A question with one answer, on a stream of its own.
#[derive(Serialize, Deserialize)]
pub(crate) enum Rpc {
    /// Asks for a vote.
    Vote(VoteRequest<TypeConfig>),
    /// Asks whether a vote would be given (Ongaro's thesis, 9.6).
    PreVote(VoteRequest<TypeConfig>),
    /// Hands leadership over.
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// Asks a node that is to become a member who it is.
    Introduce,
}

/// The answer to an [`Rpc`].
#[derive(Serialize, Deserialize)]
pub(crate) enum RpcAnswer {
    /// To a vote or pre-vote.
    Vote(VoteResponse<TypeConfig>),
    /// To a transfer: taken, or refused and why.
    TransferLeader(Result<(), String>),
    /// To an introduction.
    Introduction(Introduction),
    /// The node is stopping.
    Stopping,
}

/// Who a node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Introduction {
    /// Its data directory.
    pub(crate) instance: Uuid,
    /// Whether it belongs, or ever belonged, to a formed cluster.
    pub(crate) formed: bool,
}

/// Announces a snapshot; `bytes` raw bytes follow.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotHeader {
    /// The sender's claim to lead.
    pub(crate) vote: Vote,
    /// What the snapshot covers.
    pub(crate) meta: SnapshotMeta,
    /// Its size.
    pub(crate) bytes: u64,
    /// SHA-256 of its bytes.
    pub(crate) sha256: [u8; 32],
}

/// The answer to a snapshot, once it is installed.
pub(crate) type SnapshotAnswer = Result<SnapshotResponse<TypeConfig>, String>;

/// Whether the body of a frame is what another node may send on a stream of this kind, with all that is decoded of it
/// later. Nothing is done with it. On streams for modules nothing is consensus'.
///
/// # Errors
/// [`FrameError`], if it is not.
pub fn check_message(stream: PeerStream, body: &[u8]) -> Result<(), FrameError> {
    match stream {
        PeerStream::Append => {
            let request: AppendEntriesRequest<TypeConfig> = frame::decode(body)?;
            for entry in &request.entries {
                if let EntryPayload::Normal(proposal) = &entry.payload {
                    proposal.take_entry().map_err(|error| FrameError::Malformed(error.to_string()))?;
                }
            }
        }
        PeerStream::Rpc => frame::decode::<Rpc>(body).map(drop)?,
        PeerStream::Snapshot => frame::decode::<SnapshotHeader>(body).map(drop)?,
        PeerStream::Module => {}
    }
    Ok(())
}
