//! Modules between nodes: to a majority before they are made known, and to whoever lacks one.

use super::service::{give, moving, take};
use super::wire::{FetchAnswer, HasAnswer, ModuleAsk, StoreAnswer};
use super::{ModuleError, ModuleStore};
use crate::consensus::{Consensus, Member};
use crate::transport::{FrameReceiver, FrameSender, PeerStream, Peers};
use jobraft_protocol::{Digest, NodeId};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Modules fetched at once; those beyond wait their turn.
const FETCHES_MAX: usize = 4;

/// How this node's modules and those of the others come together. Clones share everything.
#[derive(Clone)]
pub struct ModuleExchange {
    pub(super) store: ModuleStore,
    pub(super) consensus: Consensus,
    peers: Arc<Peers>,
    node: NodeId,
    fetches: Arc<Semaphore>,
}

impl ModuleExchange {
    /// Of the node `node`.
    #[must_use]
    pub fn new(store: ModuleStore, consensus: Consensus, peers: Arc<Peers>, node: NodeId) -> Self {
        Self { store, consensus, peers, node, fetches: Arc::new(Semaphore::new(FETCHES_MAX)) }
    }

    /// The modules of this node.
    #[must_use]
    pub const fn store(&self) -> &ModuleStore {
        &self.store
    }

    /// Gives the other members a module that is here; returns once a majority of the voters, this node counted if it is
    /// one, hold it on disk. The rest goes on in the background.
    ///
    /// # Errors
    /// [`ModuleError::NoQuorum`].
    pub(crate) async fn replicate(&self, digest: Digest) -> Result<(), ModuleError> {
        let voters = self.consensus.voters();
        let needed = voters.len() / 2 + 1;
        let mut held = usize::from(voters.contains(&self.node));
        let others = self.others();
        let (report, mut reports) = mpsc::channel(others.len().max(1));
        for (node, member) in others {
            let (this, report) = (self.clone(), report.clone());
            tokio::spawn(async move {
                let result = this.give_to(node, &member, digest).await;
                if let Err(error) = &result {
                    tracing::warn!(%node, %digest, %error, "could not give a node a module; it fetches it later");
                }
                // Once a majority holds it, nobody listens any more.
                let _ = report.send((node, result.is_ok())).await;
            });
        }
        drop(report);
        while held < needed {
            match reports.recv().await {
                Some((node, holds)) => held += usize::from(holds && voters.contains(&node)),
                None => return Err(ModuleError::NoQuorum { held, voters: voters.len() }),
            }
        }
        Ok(())
    }

    /// Sees to it that the module is here, asking the other members for it if need be.
    ///
    /// # Errors
    /// Why the last of them that was asked did not give it; [`ModuleError::Missing`] if there is none.
    pub(crate) async fn fetch(&self, digest: Digest) -> Result<(), ModuleError> {
        if self.store.holds(digest).await? {
            return Ok(());
        }
        let _place = self.fetches.acquire().await.expect("this semaphore is never closed");
        let mut result = Err(ModuleError::Missing(digest));
        for (node, member) in self.others() {
            if self.store.holds(digest).await? {
                return Ok(());
            }
            match self.fetch_from(node, &member, digest).await {
                Ok(()) => {
                    tracing::info!(%digest, from = %node, "fetched a module");
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(%digest, from = %node, %error, "could not fetch a module");
                    result = Err(error);
                }
            }
        }
        result
    }

    fn others(&self) -> Vec<(NodeId, Member)> {
        self.consensus.members().into_iter().filter(|(id, _)| *id != self.node).collect()
    }

    async fn ask(
        &self,
        node: NodeId,
        member: &Member,
        ask: &ModuleAsk,
    ) -> Result<(FrameSender, FrameReceiver), ModuleError> {
        let address = member.address();
        let address = address.ok_or_else(|| peer(node, format!("{:?} is not an address", member.address)))?;
        let link = self.peers.link(node, &address, Some(member.instance));
        let (mut sender, receiver) = moving(link.stream(PeerStream::Module)).await??;
        sender.send(ask).await?;
        Ok((sender, receiver))
    }

    async fn give_to(&self, node: NodeId, member: &Member, digest: Digest) -> Result<(), ModuleError> {
        let (mut sender, mut receiver) = self.ask(node, member, &ModuleAsk::Has(digest)).await?;
        sender.finish().await?;
        if moving(receiver.recv::<HasAnswer>()).await?? == Some(Ok(true)) {
            return Ok(());
        }
        let (file, size) = self.store.open_module(digest).await?;
        let (mut sender, mut receiver) = self.ask(node, member, &ModuleAsk::Store { digest, size }).await?;
        give(&mut sender, file).await?;
        sender.finish().await?;
        match moving(receiver.recv::<StoreAnswer>()).await?? {
            Some(answer) => answer.map_err(|reason| peer(node, reason)),
            None => Err(peer(node, "it closed the stream without an answer".to_owned())),
        }
    }

    async fn fetch_from(&self, node: NodeId, member: &Member, digest: Digest) -> Result<(), ModuleError> {
        let (mut sender, mut receiver) = self.ask(node, member, &ModuleAsk::Fetch(digest)).await?;
        sender.finish().await?;
        match moving(receiver.recv::<FetchAnswer>()).await?? {
            Some(Ok(size)) => take(&mut receiver, self.store.receive(digest, size).await?).await?.keep().await,
            Some(Err(reason)) => Err(peer(node, reason)),
            None => Err(peer(node, "it closed the stream without an answer".to_owned())),
        }
    }
}

const fn peer(node: NodeId, reason: String) -> ModuleError {
    ModuleError::Peer { node, reason }
}
