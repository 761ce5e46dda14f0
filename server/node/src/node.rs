//! A whole node: its parts, wired.

use crate::api::{Api, ApiParts, observer};
use crate::audit::{Audit, AuditError};
use crate::certificates;
use crate::config::NodeConfig;
use crate::consensus::{self, Consensus, ConsensusError, ConsensusOptions};
use crate::dispatch::Dispatcher;
use crate::machine;
use crate::modules::{ModuleError, ModuleExchange, ModuleStore};
use crate::seal::{KeyFileError, Seal};
use crate::storage::{self, DataDir, Resealed, StorageError};
use crate::tls::{Credentials, Identity, TlsError, Watch};
use crate::transport::{
    Accepted, Endpoint, LocalPeer, PeerConnection, PeerGate, PeerHello, PeerStream, PeerWelcome, Peers, Protocol,
    TransportError,
};
use jobraft_core::Core;
use jobraft_protocol::{Error, ErrorCode, NodeId, SecretName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

/// The Raft group: one for now. It is part of every path and frame, so that there can be more.
const GROUP: u32 = 0;

/// Why a node cannot start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A certificate of another.
    #[error(
        "the certificate is that of {certificate}, the configuration that of node {configured}; \
         issue one with `jobraft certs issue node {configured}`"
    )]
    WrongCertificate {
        /// Whom it names.
        certificate: Identity,
        /// Who was to start.
        configured: NodeId,
    },
    /// Its data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The keys of what is on its disk.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// Its modules.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// Its address, or the network.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Consensus.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// Its audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A defect.
    #[error("a task of the node ended unexpectedly: {0}; this is a defect of Jobraft")]
    Task(String),
}

/// A running node. Stop it by [`Node::shutdown`]; without, nothing acknowledged is lost, but what serves its connections
/// ends only with them.
pub struct Node {
    endpoint: Endpoint,
    consensus: Consensus,
    /// Why forming the cluster failed, if it did.
    formation: watch::Receiver<Option<Arc<ConsensusError>>>,
    /// Asks for a look at the certificates; one that waits is as good as many.
    look: mpsc::Sender<()>,
    tasks: Vec<AbortOnDropHandle<()>>,
    audit: Audit,
    /// Held until the node is gone.
    _data: DataDir,
}

impl Node {
    /// Starts a node: it listens on return. Forming or joining the cluster goes on in the background.
    ///
    /// # Errors
    /// Any [`NodeError`]; nothing has been changed, but for what an empty data directory needs.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let credentials = Credentials::load(&config.tls)?;
        if *credentials.identity() != Identity::Node(config.node_id) {
            let certificate = credentials.identity().clone();
            return Err(NodeError::WrongCertificate { certificate, configured: config.node_id });
        }
        let (seal, secrets) = (seal(config.key_file.as_deref())?, seal(config.secrets_key_file.as_deref())?);
        // The address first: a port in use must not leave a new data directory behind.
        let endpoint = Endpoint::bind(config.listen, &credentials)?;
        let data = DataDir::open(&config.data_dir, &config.cluster, config.node_id)?;
        let audit = Audit::start(&config.audit, config.node_id)?;
        endpoint.audit_to(audit.clone());
        let store = ModuleStore::open(&data.modules()?)?;
        let local = LocalPeer {
            cluster: config.cluster.clone(),
            group: GROUP,
            node: config.node_id,
            instance: data.instance(),
        };
        let peers = Arc::new(Peers::new(endpoint.clone(), local.clone()));
        let dispatcher = Dispatcher::new();
        let (token_changed, tokens_changed) = watch::channel(());
        let consensus = Consensus::start(ConsensusOptions {
            cluster: config.cluster.clone(),
            node: config.node_id,
            instance: data.instance(),
            directory: data.group(GROUP)?,
            seal,
            peers: Arc::clone(&peers),
            observer: observer(dispatcher.clone(), store.clone(), token_changed),
            foresee: {
                let dispatcher = dispatcher.clone();
                Box::new(move |state, batch| dispatcher.foresee(state, batch))
            },
        })
        .await?;
        if let Some(name) = consensus.read(|core| unreadable(core, &secrets)) {
            tracing::warn!(
                %name,
                "this node lacks the key of a secret: while it leads, jobs that are given it fail; see [secrets] key_file"
            );
        }
        let modules = ModuleExchange::new(store, consensus.clone(), Arc::clone(&peers), config.node_id);
        let api = Arc::new(Api::new(ApiParts {
            consensus: consensus.clone(),
            dispatcher: dispatcher.clone(),
            modules: modules.clone(),
            cluster: config.cluster.clone(),
            node: config.node_id,
            signers: config.signers.clone(),
            secrets: Arc::clone(&secrets),
            audit: audit.clone(),
            tokens_changed,
        }));
        let directory: Weak<Api> = Arc::downgrade(&api);
        endpoint.know_tokens(directory);
        let (formed, formation) = watch::channel(None);
        let instance = data.instance();
        let spawn = |task| AbortOnDropHandle::new(task);
        let (look, looks) = mpsc::channel(1);
        let mut tasks = vec![
            spawn(tokio::spawn(accept(endpoint.clone(), api, peers, modules.clone(), consensus.clone(), local))),
            spawn(tokio::spawn({
                let consensus = consensus.clone();
                async move { dispatcher.run(consensus).await }
            })),
            spawn(tokio::spawn(async move { modules.keep_up().await })),
            spawn(tokio::spawn({
                let consensus = consensus.clone();
                async move {
                    if let Err(error) = consensus.form(instance, &config.initial_members).await {
                        formed.send_replace(Some(Arc::new(error)));
                    }
                }
            })),
        ];
        if !machine::is_simulated() {
            let watch = Watch::new(config.tls, &credentials);
            tasks.push(spawn(tokio::spawn(certificates::keep_current(endpoint.clone(), credentials, watch, looks))));
        }
        Ok(Self { endpoint, consensus, formation, look, tasks, audit, _data: data })
    }

    /// Looks at the files of the certificates now, not only at the next of its regular looks; the log says what came of
    /// it.
    pub fn look_at_certificates(&self) {
        // Full: a look is asked for already, and is still to come.
        let _ = self.look.try_send(());
    }

    /// Where it listens.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// Consensus, for whoever embeds a node.
    #[must_use]
    pub const fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Its audit log, for whoever embeds a node.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Resolves when the node can go on no longer.
    ///
    /// # Errors
    /// Why.
    pub async fn stopped(&self) -> Result<(), NodeError> {
        let mut formation = self.formation.clone();
        tokio::select! {
            stopped = self.consensus.stopped() => Ok(stopped?),
            failed = async {
                let failed = formation.wait_for(Option::is_some).await;
                match failed.map(|failed| failed.as_ref().map(ToString::to_string)) {
                    Ok(failed) => failed,
                    // Formed, or not asked to form.
                    Err(_) => std::future::pending().await,
                }
            } => Err(ConsensusError::Formation(failed.unwrap_or_default()).into()),
        }
    }

    /// Stops in order: hands leadership over, says goodbye to clients and peers, makes a last checkpoint.
    pub async fn shutdown(self) {
        if self.consensus.leadership().borrow().is_leader && self.consensus.voters().len() > 1 {
            match self.consensus.transfer_leader(None).await {
                Ok(leader) => tracing::info!(%leader, "handed leadership over"),
                Err(error) => tracing::warn!(%error, "could not hand leadership over; the others will elect"),
            }
        }
        drop(self.tasks);
        self.endpoint.close().await;
        self.consensus.stop().await;
        self.audit.flush().await;
    }
}

/// Writes anew what on a stopped node's disk is not sealed as its configuration has it: see [`storage::reseal`].
///
/// # Errors
/// [`NodeError::KeyFile`], or [`NodeError::Storage`], among others if the node runs.
pub fn reseal(config: &NodeConfig, progress: impl FnMut(Resealed)) -> Result<Resealed, NodeError> {
    let seal = seal(config.key_file.as_deref())?;
    if !config.data_dir.join(storage::IDENTITY).exists() {
        return Err(StorageError::Missing { path: config.data_dir.join(storage::IDENTITY) }.into());
    }
    let data = DataDir::open(&config.data_dir, &config.cluster, config.node_id)?;
    let directory = data.group(GROUP)?;
    // What was interrupted on its way from node to node is no use to anybody, and may not be sealed.
    consensus::clear_unfinished(&directory);
    Ok(storage::reseal(&directory, &seal, progress)?)
}

/// One of the secrets of jobs that cannot be opened here.
fn unreadable(core: &Core, secrets: &Seal) -> Option<SecretName> {
    let is_sealed_otherwise =
        |name: &&SecretName| core.sealed_secret(name).is_some_and(|sealed| secrets.check(sealed).is_err());
    core.secrets().map(|view| &view.name).find(is_sealed_otherwise).cloned()
}

fn seal(key_file: Option<&Path>) -> Result<Arc<Seal>, KeyFileError> {
    key_file.map_or_else(|| Ok(Seal::none()), Seal::load)
}

/// Takes connections until the endpoint is closed.
async fn accept(
    endpoint: Endpoint,
    api: Arc<Api>,
    peers: Arc<Peers>,
    modules: ModuleExchange,
    consensus: Consensus,
    local: LocalPeer,
) {
    let gate = Arc::new(Gate { consensus: consensus.clone(), local });
    while let Some(accepted) = endpoint.accept().await {
        match accepted.protocol {
            Protocol::Client => {
                let api = Arc::clone(&api);
                tokio::spawn(async move { api.serve(accepted).await });
            }
            Protocol::Peer => {
                tokio::spawn(serve_peer(
                    accepted,
                    Arc::clone(&gate),
                    Arc::clone(&peers),
                    modules.clone(),
                    consensus.clone(),
                ));
            }
        }
    }
}

async fn serve_peer(
    accepted: Accepted,
    gate: Arc<Gate>,
    peers: Arc<Peers>,
    modules: ModuleExchange,
    consensus: Consensus,
) {
    // Refusals are logged where they are made.
    let Ok(mut peer) = PeerConnection::welcome(accepted, gate.local.node, &*gate).await else { return };
    peers.seen(peer.hello().node);
    while let Some((kind, sender, receiver)) = peer.accept().await {
        let (modules, consensus) = (modules.clone(), consensus.clone());
        tokio::spawn(async move {
            match kind {
                PeerStream::Module => modules.store().serve_peer(sender, receiver).await,
                kind => consensus.serve(kind, sender, receiver).await,
            }
        });
    }
}

/// Which nodes may come in as peers.
struct Gate {
    consensus: Consensus,
    local: LocalPeer,
}

impl PeerGate for Gate {
    fn admit(&self, hello: &PeerHello, _certificate: NodeId) -> Result<PeerWelcome, Error> {
        let refused = |message: String| Err(Error::new(ErrorCode::Membership, message));
        if hello.cluster != self.local.cluster {
            return refused(format!("this is a node of cluster {:?}, not of {:?}", self.local.cluster, hello.cluster));
        }
        if hello.group != self.local.group {
            return refused(format!("this node has no group {}", hello.group));
        }
        self.consensus.admit(hello.node, hello.instance)?;
        Ok(PeerWelcome { node: self.local.node, instance: self.local.instance })
    }
}
