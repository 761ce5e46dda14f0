//! The protocol of clients: one handler for each request. Decode, authorize, check bounds, propose or read, answer.
//!
//! What must hold: nothing is proposed for an identity that may not ask for it, and nothing beyond its limits; every
//! request gets one answer, or its stream ends; answers and pushes go through one writer for each session, so that many
//! share a write; what a client sends or fails to read bounds what it can make a node hold. Decisions about jobs are
//! the state machine's: none is made here.

mod act;
mod batch;
mod bounds;
mod client;
mod cluster;
mod download;
mod enqueue;
mod fleet;
mod group;
mod job;
mod known;
mod lease;
mod list;
mod module;
mod namespace;
mod queue;
mod reach;
mod report;
mod request;
mod room;
mod schedule;
mod secret;
mod session;
mod settings;
mod state;
mod token;
mod trail;
mod upload;
mod visible;
mod wait;
mod writer;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod bad_input_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod namespace_tests;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod secret_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
#[cfg(test)]
mod workflow_tests;

use crate::audit::{self, Audit};
use crate::consensus::Consensus;
use crate::dispatch::Dispatcher;
use crate::modules::{ModuleExchange, ModuleStore};
use crate::seal::Seal;
use crate::shares::Shares;
use crate::transport::{Accepted, CloseCode, FrameReceiver, FrameSender};
use client::Client;
use jobraft_core::command::Event;
use jobraft_protocol::{Consistency, Error, LogTime, Namespace, NodeId, ServerHello, Signer, StreamOpen, limits};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Payload bytes of the requests under way at this node; sessions are read no further until some are answered.
const REQUEST_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The unit in which they are counted.
const REQUEST_BYTES_UNIT: usize = 1024;
/// Modules that are received from clients at once; those beyond wait their turn.
const UPLOADS_MAX: usize = 4;
/// How long the connection of a token that has ended stays for the answers that are on their way.
const ENDED_GRACE: Duration = Duration::from_millis(200);
/// Tokens whose use is noted at once; others are noted when they are next used.
const NOTING_USE_MAX: usize = 4;
/// How long a stream may take to say what it is for; then it is given up.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What clients are served by.
pub struct ApiParts {
    /// What their requests become.
    pub consensus: Consensus,
    /// What hands jobs out.
    pub dispatcher: Dispatcher,
    /// What moves modules.
    pub modules: ModuleExchange,
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// Whose signature a module must have to be taken; empty: nobody's.
    pub signers: BTreeSet<Signer>,
    /// What seals secrets for jobs.
    pub secrets: Arc<Seal>,
    /// What is told who did what.
    pub audit: Audit,
    /// Marked by [`observer`] whenever a token is made, rotated or revoked.
    pub tokens_changed: watch::Receiver<()>,
}

/// What serves clients.
pub struct Api {
    consensus: Consensus,
    dispatcher: Dispatcher,
    modules: ModuleExchange,
    cluster: String,
    node: NodeId,
    request_bytes: Arc<Semaphore>,
    answer_bytes: Arc<Semaphore>,
    uploads: Semaphore,
    uploaders: Shares,
    /// Whose signature a module must have to be taken; empty: nobody's.
    signers: BTreeSet<Signer>,
    /// What seals secrets for jobs.
    secrets: Arc<Seal>,
    audit: Audit,
    /// Marked whenever a token is made, rotated or revoked.
    tokens_changed: watch::Receiver<()>,
    /// Places of tokens whose use is being noted.
    noting_use: Arc<Semaphore>,
}

impl Api {
    /// What serves clients by these.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let request_bytes = Arc::new(Semaphore::new(REQUEST_BYTES_MAX / REQUEST_BYTES_UNIT));
        let answer_bytes = room::of_all();
        let (uploads, uploaders) = (Semaphore::new(UPLOADS_MAX), Shares::new(limits::UPLOADS_PER_NAME_MAX));
        Self {
            consensus: parts.consensus,
            dispatcher: parts.dispatcher,
            modules: parts.modules,
            cluster: parts.cluster,
            node: parts.node,
            request_bytes,
            answer_bytes,
            uploads,
            uploaders,
            signers: parts.signers,
            secrets: parts.secrets,
            audit: parts.audit,
            tokens_changed: parts.tokens_changed,
            noting_use: Arc::new(Semaphore::new(NOTING_USE_MAX)),
        }
    }

    /// Serves a client's connection until it is closed, or the token that it showed does not count any more.
    pub async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { connection, identity, token, .. } = accepted;
        let client = Client::new(identity, token, connection.remote_address(), &self.answer_bytes);
        let (who, from) = (Arc::clone(&client.identity), client.remote);
        let owner = who.owner();
        self.audit.tell_seldom(&owner, "connected", audit::Event::Connected { who, from }).await;
        // How many there are at once is bounded by what the connection grants.
        let streams = async {
            while let Some((sender, receiver)) = connection.accept().await {
                tokio::spawn(Arc::clone(&self).serve_stream(client.clone(), sender, receiver));
            }
        };
        tokio::select! {
            () = streams => {}
            ended = token::ended(&self, &client) => {
                // Answers to what was asked before are on their way; nothing further is answered.
                tokio::time::sleep(ENDED_GRACE).await;
                connection.close(CloseCode::Unauthenticated, &ended.message);
                tracing::info!(identity = %client.identity, "closed a connection: {ended}");
            }
        }
    }

    async fn serve_stream(self: Arc<Self>, client: Client, mut sender: FrameSender, mut receiver: FrameReceiver) {
        let opened = timeout(OPEN_TIMEOUT, receiver.recv::<StreamOpen>()).await;
        match opened {
            Ok(Ok(Some(StreamOpen::Session(hello)))) => session::run(self, client, hello, sender, receiver).await,
            Ok(Ok(None)) => {}
            Ok(Ok(Some(StreamOpen::Upload { digest, size, name, signatures, namespace }))) => {
                let announced = upload::Announced { digest, size, name, namespace, signatures };
                upload::run(&self, &client, announced, sender, receiver).await;
            }
            Ok(Ok(Some(StreamOpen::Download { module, namespace }))) => {
                download::run(&self, &client, module, namespace, sender).await;
            }
            // Who it is, is known. What was malformed is logged where it was found.
            Ok(Ok(Some(StreamOpen::Authenticate(_))) | Err(_)) | Err(_) => {
                sender.reset(CloseCode::Protocol);
                receiver.stop(CloseCode::Protocol);
            }
        }
    }

    fn hello(&self, namespace: Namespace) -> ServerHello {
        ServerHello {
            cluster: self.cluster.clone(),
            node: self.node,
            time: self.consensus.log_time(),
            leader: self.consensus.leadership().borrow().hint(),
            agent: concat!("jobraft/", env!("CARGO_PKG_VERSION")).to_owned(),
            namespace,
        }
    }

    /// Waits until what is read next is as fresh as was asked for.
    async fn fresh(&self, consistency: Consistency) -> Result<(), Error> {
        match consistency {
            Consistency::Linearizable => self.consensus.barrier().await,
            Consistency::Stale => Ok(()),
        }
    }
}

/// What hears of everything applied on this node, for [`crate::consensus::ConsensusOptions::observer`].
pub fn observer(
    dispatcher: Dispatcher,
    modules: ModuleStore,
    tokens_changed: watch::Sender<()>,
) -> Box<dyn Fn(Vec<Event>, Option<LogTime>) + Send + Sync> {
    Box::new(move |events, next_timer| {
        if events.iter().any(|event| matches!(event, Event::ModuleReady(_))) {
            modules.want();
        }
        if events.contains(&Event::TokenChanged) {
            tokens_changed.send_replace(());
        }
        dispatcher.observe(&events, next_timer);
    })
}
