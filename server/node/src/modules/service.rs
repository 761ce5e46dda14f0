//! The answering side: what another node asks of this one's modules. And how bytes are pumped, either way.

use super::wire::{FetchAnswer, HasAnswer, ModuleAsk, StoreAnswer};
use super::{Incoming, ModuleError, ModuleStore, Received};
use crate::machine::File;
use crate::transport::{FrameReceiver, FrameSender};
use bytes::{Bytes, BytesMut};
use jobraft_protocol::limits;
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// How long a transfer may stand still before it is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

impl ModuleStore {
    /// Serves one module stream that a peer opened.
    pub async fn serve_peer(&self, mut sender: FrameSender, mut receiver: FrameReceiver) {
        if let Err(error) = self.answer_peer(&mut sender, &mut receiver).await {
            tracing::debug!(%error, "a peer's module stream ended");
        }
    }

    async fn answer_peer(&self, sender: &mut FrameSender, receiver: &mut FrameReceiver) -> Result<(), ModuleError> {
        let Some(ask) = moving(receiver.recv::<ModuleAsk>()).await?? else { return Ok(()) };
        match ask {
            ModuleAsk::Has(digest) => {
                let answer: HasAnswer = self.holds(digest).await.map_err(|error| error.to_string());
                sender.send(&answer).await?;
            }
            ModuleAsk::Store { digest, size } => {
                let stored = async { take(receiver, self.receive(digest, size).await?).await?.keep().await };
                let answer: StoreAnswer = stored.await.map_err(|error| error.to_string());
                if let Err(reason) = &answer {
                    tracing::warn!(%digest, %reason, "could not keep a module that the leader sent");
                }
                sender.send(&answer).await?;
            }
            ModuleAsk::Fetch(digest) => match self.open_module(digest).await {
                Ok((file, size)) => {
                    sender.send(&FetchAnswer::Ok(size)).await?;
                    give(sender, file).await?;
                }
                Err(error) => sender.send(&FetchAnswer::Err(error.to_string())).await?,
            },
        }
        Ok(sender.finish().await?)
    }
}

/// Waits for a step of a transfer, but not forever.
pub(crate) async fn moving<T>(step: impl Future<Output = T>) -> Result<T, ModuleError> {
    timeout(STALL_TIMEOUT, step).await.map_err(|_| ModuleError::Stalled { seconds: STALL_TIMEOUT.as_secs() })
}

/// Takes all that comes until the stream's end.
pub(crate) async fn take(receiver: &mut FrameReceiver, mut incoming: Incoming) -> Result<Received, ModuleError> {
    while let Some(chunk) = moving(receiver.recv_chunk()).await?? {
        incoming.write(&chunk).await?;
    }
    incoming.check().await
}

/// Sends a whole file, unframed.
pub(crate) async fn give(sender: &mut FrameSender, mut file: File) -> Result<(), ModuleError> {
    loop {
        let mut chunk = BytesMut::with_capacity(limits::CHUNK_BYTES);
        let read = file.read_buf(&mut chunk).await;
        let read = read.map_err(|source| ModuleError::Io { path: "a module's file".into(), source })?;
        if read == 0 {
            return Ok(());
        }
        let chunk: Bytes = chunk.freeze();
        moving(sender.send_bytes(chunk)).await??;
    }
}
