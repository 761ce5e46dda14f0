//! The answering side of the peer protocol.

use super::Raft;
use super::state_machine::SnapshotData;
use super::types::TypeConfig;
use super::wire::{Introduction, Rpc, RpcAnswer, SnapshotAnswer, SnapshotHeader};
use crate::machine;
use crate::transport::{FrameReceiver, FrameSender, TransportError};
use futures_util::StreamExt;
use openraft::raft::AppendEntriesRequest;
use openraft::storage::Snapshot;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// The file from which a snapshot is installed.
pub(crate) const INSTALLING: &str = "install.db";
/// How files of snapshots begin that are sent.
pub(crate) const SENDING: &str = "send-";
/// How files of snapshots begin that were received.
const RECEIVED: &str = "received-";

/// Removes copies of state that a kill left half sent, half received or half installed.
pub(crate) fn clear_unfinished(directory: &Path) {
    let Ok(files) = std::fs::read_dir(directory) else { return };
    for file in files.flatten() {
        let name = file.file_name();
        let name = name.to_string_lossy();
        let unfinished = name == INSTALLING || name.starts_with(RECEIVED) || name.starts_with(SENDING);
        if unfinished && let Err(error) = std::fs::remove_file(file.path()) {
            tracing::warn!(path = %file.path().display(), %error, "could not remove an unfinished snapshot");
        }
    }
}

/// Serves one append stream until the peer ends it, or the log refuses what it sends.
pub(crate) async fn serve_appends(
    raft: Raft,
    mut sender: FrameSender,
    receiver: FrameReceiver,
) -> Result<(), TransportError> {
    let requests = futures_util::stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv::<AppendEntriesRequest<TypeConfig>>().await {
            Ok(Some(request)) => Some((request, receiver)),
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(%error, "append stream ended");
                None
            }
        }
    });
    let mut answers = Box::pin(raft.stream_append(requests));
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => sender.send(&answer).await?,
            Err(_stopped) => break,
        }
    }
    sender.finish().await
}

/// Answers one question.
pub(crate) async fn serve_rpc(
    raft: Raft,
    instance: Uuid,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) -> Result<(), TransportError> {
    let Some(question) = receiver.recv::<Rpc>().await? else { return Ok(()) };
    let answer = match question {
        Rpc::Vote(request) => raft.vote(request).await.map_or(RpcAnswer::Stopping, RpcAnswer::Vote),
        Rpc::PreVote(request) => raft.pre_vote(request).await.map_or(RpcAnswer::Stopping, RpcAnswer::Vote),
        Rpc::TransferLeader(request) => match raft.handle_transfer_leader(request).await {
            Ok(taken) => RpcAnswer::TransferLeader(taken.map_err(|error| error.to_string())),
            Err(_stopped) => RpcAnswer::Stopping,
        },
        Rpc::Introduce => match raft.is_initialized().await {
            Ok(formed) => RpcAnswer::Introduction(Introduction { instance, formed }),
            Err(_stopped) => RpcAnswer::Stopping,
        },
    };
    sender.send(&answer).await?;
    sender.finish().await
}

/// Receives a snapshot, checks it and installs it.
pub(crate) async fn serve_snapshot(
    raft: Raft,
    directory: PathBuf,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) -> Result<(), TransportError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(header) = receiver.recv::<SnapshotHeader>().await? else { return Ok(()) };
    let path = directory.join(format!("{RECEIVED}{}.db", COUNT.fetch_add(1, Ordering::Relaxed)));
    let answer: SnapshotAnswer = match receive(&path, &header, &mut receiver).await {
        Ok(file) => {
            let snapshot = Snapshot { meta: header.meta, snapshot: SnapshotData::Received(file) };
            raft.install_full_snapshot(header.vote, snapshot).await.map_err(|error| error.to_string())
        }
        Err(reason) => Err(reason),
    };
    if let Err(reason) = &answer {
        tracing::warn!(%reason, "could not take over a snapshot");
    }
    // Installing removes the file; what was refused is of no use.
    let _ = machine::remove_file(&path).await;
    sender.send(&answer).await?;
    sender.finish().await
}

async fn receive(path: &Path, header: &SnapshotHeader, receiver: &mut FrameReceiver) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("writing {}: {error}", path.display());
    let mut file = machine::File::create(path).await.map_err(failed)?;
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    while let Some(chunk) = receiver.recv_chunk().await.map_err(|error| error.to_string())? {
        bytes += chunk.len() as u64;
        if bytes > header.bytes {
            return Err(format!("more than the announced {} bytes", header.bytes));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)?;
    let sha256: [u8; 32] = hash.finalize().into();
    if bytes != header.bytes || sha256 != header.sha256 {
        return Err(format!("{bytes} of {} bytes arrived, or their SHA-256 differs", header.bytes));
    }
    Ok(path.to_path_buf())
}
