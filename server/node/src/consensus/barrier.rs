//! Linearizable reads: ReadIndex (Ongaro's thesis, 6.4), one round for all who wait.

use super::Raft;
use super::leadership::Leadership;
use jobraft_protocol::{Error, ErrorCode};
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};

/// Readers that wait for a round; beyond, reads are refused with `overloaded`.
pub(crate) const READERS_WAITING_MAX: usize = 16_384;

/// A reader that waits for its round.
pub(crate) type Reader = oneshot::Sender<Result<(), Error>>;

/// Makes one round for all readers that came before it began, then one for those that came meanwhile.
pub(crate) async fn run(raft: Raft, mut readers: mpsc::Receiver<Reader>, leadership: watch::Receiver<Leadership>) {
    let mut round = Vec::new();
    while readers.recv_many(&mut round, READERS_WAITING_MAX).await > 0 {
        let result = match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                Err(leadership.borrow().not_leader())
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                let message = "no majority of the nodes confirms that this one still leads";
                Err(Error::new(ErrorCode::Unavailable, message).retry_after_ms(200))
            }
            Err(RaftError::Fatal(stopped)) => Err(Error::new(ErrorCode::ShuttingDown, stopped.to_string())),
        };
        for reader in round.drain(..) {
            // Whoever waited may have gone.
            let _ = reader.send(result.clone());
        }
    }
}
