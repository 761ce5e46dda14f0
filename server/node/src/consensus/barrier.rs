//! Linearizable reads: ReadIndex (Ongaro's thesis, 6.4), one round for all who wait.

use super::Raft;
use super::leadership::Leadership;
use jobraft_protocol::{Error, ErrorCode};
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Readers that wait for a round; beyond, reads are refused with `overloaded`.
pub(crate) const READERS_WAITING_MAX: usize = 16_384;

/// How long a round may take before its readers are refused, so that one stuck round holds up no later one.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);

/// A reader that waits for its round.
pub(crate) type Reader = oneshot::Sender<Result<(), Error>>;

/// Makes one round for all readers that came before it began, then one for those that came meanwhile.
pub(crate) async fn run(raft: Raft, mut readers: mpsc::Receiver<Reader>, leadership: watch::Receiver<Leadership>) {
    let mut round = Vec::new();
    while readers.recv_many(&mut round, READERS_WAITING_MAX).await > 0 {
        let confirmed = tokio::time::timeout(ROUND_TIMEOUT, raft.ensure_linearizable(ReadPolicy::ReadIndex)).await;
        let result = match confirmed {
            Ok(Ok(_)) => Ok(()),
            Err(_) => Err(unconfirmed()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_)))) => {
                Err(leadership.borrow().not_leader())
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => Err(unconfirmed()),
            Ok(Err(RaftError::Fatal(stopped))) => Err(Error::new(ErrorCode::ShuttingDown, stopped.to_string())),
        };
        for reader in round.drain(..) {
            // Whoever waited may have gone.
            let _ = reader.send(result.clone());
        }
    }
}

fn unconfirmed() -> Error {
    let message = "no majority of the nodes confirms that this one still leads";
    Error::new(ErrorCode::Unavailable, message).retry_after_ms(200)
}
