//! The writing half of a session: everything that waits goes out in one write. What can no longer be delivered and
//! holds leases is given back.

use super::session::FRAMES_WAITING_MAX;
use crate::consensus::Consensus;
use crate::dispatch::{Outgoing, give_back};
use crate::transport::{CloseCode, FrameSender, TransportError};
use jobraft_protocol::{Error, ErrorCode, LeasedJob, Namespace, Push, Response, ServerFrame};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Writes until nobody has anything more to send, with names as they are in the client's namespace. Cancels `closed` when the
/// client cannot be reached any more, and gives the stream up when `broken` is cancelled: the client does not keep to the
/// protocol.
pub(super) async fn run(
    mut sender: FrameSender,
    mut frames: mpsc::Receiver<Outgoing>,
    consensus: Consensus,
    namespace: Namespace,
    closed: CancellationToken,
    broken: CancellationToken,
) {
    let mut undelivered = Vec::new();
    let written = tokio::select! {
        biased;
        () = broken.cancelled() => {
            sender.reset(CloseCode::Protocol);
            Ok(())
        }
        written = write_all(&mut sender, &mut frames, &namespace, &mut undelivered) => written,
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a session's client cannot be reached");
    }
    closed.cancel();
    drop(sender);
    loop {
        give_back(&consensus, undelivered.drain(..).flat_map(leased).collect()).await;
        // Whoever still sends must not wait; this ends when the last of them has gone.
        if frames.recv_many(&mut undelivered, FRAMES_WAITING_MAX).await == 0 {
            return;
        }
    }
}

/// Writes until all senders are gone, then ends the stream. What was not even tried is left in `undelivered` when the
/// stream breaks; what was in the broken write may have arrived, and its leases run on.
async fn write_all(
    sender: &mut FrameSender,
    frames: &mut mpsc::Receiver<Outgoing>,
    namespace: &Namespace,
    undelivered: &mut Vec<Outgoing>,
) -> Result<(), TransportError> {
    // Grows to what a client makes wait: most have little.
    let mut batch = Vec::new();
    while frames.recv_many(&mut batch, FRAMES_WAITING_MAX).await > 0 {
        let mut waiting = batch.drain(..);
        for mut frame in waiting.by_ref() {
            frame.frame.leave(namespace);
            if let Some(refused) = queue(sender, frame)? {
                undelivered.push(refused);
            }
            if sender.is_full()
                && let Err(error) = sender.flush().await
            {
                undelivered.extend(waiting);
                return Err(error);
            }
        }
        sender.flush().await?;
    }
    sender.finish().await
}

/// Queues a frame, or, instead of one that is too large, the refusal; returns then what was not sent.
fn queue(sender: &mut FrameSender, outgoing: Outgoing) -> Result<Option<Outgoing>, TransportError> {
    let Err(error) = sender.queue(&outgoing.frame) else { return Ok(None) };
    // The client is told, and may ask again and again.
    tracing::debug!(%error, "a frame for a client was not sent");
    if let ServerFrame::Reply { id, .. } = outgoing.frame {
        let message = format!("the answer cannot be sent: {error}; ask for less");
        sender.queue(&ServerFrame::Reply { id, result: Err(Error::new(ErrorCode::TooLarge, message)) })?;
    }
    Ok(Some(outgoing))
}

/// The leases that a frame would have handed over.
fn leased(outgoing: Outgoing) -> Vec<LeasedJob> {
    match outgoing.frame {
        ServerFrame::Push(Push::Leased { jobs, .. })
        | ServerFrame::Reply { result: Ok(Response::Leased(jobs)), .. } => jobs,
        _ => Vec::new(),
    }
}
