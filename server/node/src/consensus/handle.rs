//! The handle by which the rest of the node uses consensus.

use super::barrier::{self, READERS_WAITING_MAX};
use super::clock::LogClock;
use super::leadership::{self, Leadership};
use super::listing::Lists;
use super::log_store::LogStore;
use super::network::NetworkFactory;
use super::proposer::{self, Ask, CommandResults, Waiting, outcome_unknown};
use super::state_machine::{Observer, RowPart, StateError, StateMachine};
use super::{Raft, checkpointer, service};
use crate::machine;
use crate::seal::Seal;
use crate::storage::{LogDb, StateDb, StorageError};
use crate::transport::{FrameReceiver, FrameSender, PeerStream, Peers};
use bytes::Bytes;
use jobraft_core::Core;
use jobraft_core::command::{Command, Event, Outcome};
use jobraft_core::planted::{Bug, is_planted};
use jobraft_protocol::{Error, ErrorCode, JobId, JobView, LeasedJob, LogTime, NodeId, limits};
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, SnapshotPolicy};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

const HEARTBEAT_MS: u64 = 250;
/// A follower that hears nothing waits for the end of the leader's lease, which lasts for the longest of these, and then for one
/// of them drawn at random: 1.25 to 1.5 s.
const ELECTION_MS_MIN: u64 = 500;
const ELECTION_MS_MAX: u64 = 750;
/// How long a command may take before its outcome is called unknown.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(8);

/// How soon the end of consensus is noticed.
const LIFE_CHECK: Duration = Duration::from_secs(1);

/// Given the state and what goes into an entry, says what goes into it as well.
type Foresee = dyn Fn(&StateMachine, &[Waiting]) -> Vec<Waiting> + Send + Sync;

/// What consensus is started with.
pub struct ConsensusOptions {
    /// The cluster's name.
    pub cluster: String,
    /// This node.
    pub node: NodeId,
    /// Its data directory, by the id drawn when that was made.
    pub instance: Uuid,
    /// `data/group-0`: where `log.db` and `state.db` are.
    pub directory: PathBuf,
    /// What seals what jobs carry before it is written.
    pub seal: Arc<Seal>,
    /// Links to the other nodes.
    pub peers: Arc<Peers>,
    /// Hears what was applied here, and when the next thing falls due then. Must not block.
    pub observer: Box<dyn Fn(Vec<Event>, Option<LogTime>) + Send + Sync>,
    /// Says what is proposed with what waits, in the same entry: leases of jobs that it brings. Must not block for long.
    pub(crate) foresee: Box<Foresee>,
}

/// Why consensus cannot start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The disk, or what is on it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is on the disk is not what this software writes.
    #[error("{0}")]
    State(String),
    /// The log's vote or commit index cannot be read.
    #[error("log.db is damaged: {0}; restore this node from a backup, or remove it from the cluster and add it anew")]
    Log(std::io::Error),
    /// Raft itself gave up.
    #[error("consensus stopped: {0}")]
    Raft(String),
    /// The cluster cannot be formed.
    #[error("{0}")]
    Formation(String),
}

/// Consensus, as the rest of the node uses it. Clones share everything.
#[derive(Clone)]
pub struct Consensus {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) cluster: String,
    pub(super) node: NodeId,
    pub(super) raft: Raft,
    pub(super) peers: Arc<Peers>,
    pub(super) state: StateMachine,
    pub(super) lists: Lists,
    pub(super) log: LogStore,
    clock: Arc<LogClock>,
    instance: Uuid,
    directory: PathBuf,
    asks: mpsc::Sender<Ask>,
    readers: mpsc::Sender<barrier::Reader>,
    leadership: watch::Receiver<Leadership>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Consensus {
    /// Recovers from disk and takes part again.
    ///
    /// # Errors
    /// If the disk cannot be read or holds what this software does not understand.
    pub async fn start(options: ConsensusOptions) -> Result<Self, ConsensusError> {
        let ConsensusOptions { cluster, node, instance, directory, seal, peers, observer, foresee } = options;
        let observer: Observer = Arc::from(observer);
        let opened = {
            let directory = directory.clone();
            machine::blocking(move || -> Result<_, ConsensusError> {
                service::clear_unfinished(&directory);
                let (log, state) = machine::both(
                    || LogDb::open_sealed(&directory, Arc::clone(&seal)),
                    || {
                        StateMachine::load(
                            StateDb::open_sealed(&directory, Arc::clone(&seal))?,
                            directory.clone(),
                            observer,
                        )
                    },
                );
                let (db, recovered) = log?;
                let log = LogStore::new(db, recovered).map_err(ConsensusError::Log)?;
                let state = state.map_err(|error| match error {
                    StateError::Storage(error) => ConsensusError::Storage(error),
                    other => ConsensusError::State(other.to_string()),
                })?;
                Ok((log, state))
            })
        };
        let (log, state) = opened.await.map_err(|error| ConsensusError::Raft(error.to_string()))??;
        let network = NetworkFactory { peers: peers.clone(), snapshot_dir: directory.clone() };
        let config = config(&cluster)?;
        let raft = Raft::new(node.0, config, network, log.clone(), state.clone())
            .await
            .map_err(|error| ConsensusError::Raft(error.to_string()))?;
        if raft.voter_ids().eq([node.0]) {
            // Nobody else could lead: there is nothing to wait for.
            raft.trigger().elect(false).await.map_err(|error| ConsensusError::Raft(error.to_string()))?;
        }

        let (asks, asked) = mpsc::channel(limits::PROPOSALS_WAITING_MAX);
        let (readers, reading) = mpsc::channel(READERS_WAITING_MAX);
        let (leader_sender, leadership) = watch::channel(Leadership::default());
        let clock = Arc::new(LogClock::new());
        let log_time = {
            let (clock, state) = (Arc::clone(&clock), state.clone());
            move || clock.now(state.read(Core::now))
        };
        let foresee = {
            let state = state.clone();
            move |batch: &[Waiting]| foresee(&state, batch)
        };
        let spawn = |task| AbortOnDropHandle::new(task);
        let tasks = vec![
            spawn(tokio::spawn(leadership::follow(raft.clone(), leader_sender))),
            spawn(tokio::spawn(proposer::run(raft.clone(), asked, leadership.clone(), log_time, foresee))),
            spawn(tokio::spawn(barrier::run(raft.clone(), reading, leadership.clone()))),
            spawn(tokio::spawn(checkpointer::run(raft.clone(), state.clone(), log.clone()))),
        ];
        let inner = Inner {
            cluster,
            node,
            raft,
            peers,
            state,
            lists: Lists::default(),
            log,
            clock,
            instance,
            directory,
            asks,
            readers,
            leadership,
            tasks,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Puts a command into the log and waits for its answer.
    ///
    /// # Errors
    /// What the state machine refused; `not_leader`, `unavailable`, `overloaded` or `shutting_down` when nothing was
    /// done; `outcome_unknown` when nobody can tell.
    pub async fn propose(&self, command: Command) -> Result<Outcome, Error> {
        let answer = self.propose_all(vec![command]).await?.pop();
        answer
            .unwrap_or_else(|| Err(Error::new(ErrorCode::Internal, "a defect of Jobraft: a command without an answer")))
    }

    /// Puts commands into the log, all into one entry, and waits for their answers, which are in their order.
    ///
    /// # Errors
    /// As [`Consensus::propose`], but for what the state machine refused: those are answers.
    pub async fn propose_all(&self, commands: Vec<Command>) -> CommandResults {
        let leases = commands.iter().any(|command| matches!(command, Command::Lease { .. }));
        let answered = self.ask(commands)?;
        self.answered(answered, leases).await
    }

    /// Hands commands to the proposer.
    fn ask(&self, commands: Vec<Command>) -> Result<oneshot::Receiver<CommandResults>, Error> {
        // Here too: the proposer looks only once it has room, and without a majority it gets none.
        if let Some(refusal) = proposer::refusal(&self.inner.raft, &self.inner.leadership.borrow()) {
            return Err(refusal);
        }
        let (answer, answered) = oneshot::channel();
        match self.inner.asks.try_send(Ask::Commands(Waiting { commands, answer })) {
            Ok(()) => Ok(answered),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let message = format!("{} requests wait already; nothing was done", limits::PROPOSALS_WAITING_MAX);
                Err(Error::new(ErrorCode::Overloaded, message).retry_after_ms(100))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                Err(Error::new(ErrorCode::ShuttingDown, "the node is stopping; nothing was done"))
            }
        }
    }

    /// Waits for the answers to commands; `leases`: whether there are leases among them, which somebody must hear of.
    async fn answered(&self, mut answered: oneshot::Receiver<CommandResults>, leases: bool) -> CommandResults {
        match tokio::time::timeout(PROPOSE_TIMEOUT, &mut answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(outcome_unknown("the node is stopping")),
            Err(_) => {
                if leases {
                    tokio::spawn(proposer::give_back_late(self.inner.asks.clone(), answered));
                }
                Err(outcome_unknown("no majority of the nodes acknowledged it in time"))
            }
        }
    }

    /// Lets log time move on: timers that are due fire. Only the leader's tick does anything.
    pub fn tick(&self) {
        // A full queue moves log time by itself.
        let _ = self.inner.asks.try_send(Ask::Tick);
    }

    /// Makes a checkpoint now, and with `purge` lets go of the log behind it. A node does both by itself when it is time;
    /// this is for those who look for a bad moment.
    ///
    /// # Errors
    /// If consensus has stopped.
    pub async fn checkpoint(&self, purge: bool) -> Result<(), ConsensusError> {
        let raft = &self.inner.raft;
        let stopped = |error: openraft::errors::Fatal<_>| ConsensusError::Raft(error.to_string());
        let mut metrics = raft.data_metrics();
        let applied = metrics.borrow_watched().last_applied;
        raft.trigger().snapshot().await.map_err(stopped)?;
        while metrics.borrow_watched().snapshot < applied {
            let gone = |_| ConsensusError::Raft("it ended without a word".into());
            metrics.changed().await.map_err(gone)?;
        }
        match applied {
            Some(applied) if purge => raft.trigger().purge_log(applied.index).await.map_err(stopped),
            _ => Ok(()),
        }
    }

    /// Waits until a read here reflects everything that was acknowledged before this call.
    ///
    /// # Errors
    /// `not_leader`, `unavailable`, `overloaded` or `shutting_down`.
    pub async fn barrier(&self) -> Result<(), Error> {
        if is_planted(Bug::StaleRead) && self.inner.leadership.borrow().is_leader {
            return Ok(());
        }
        let (reader, done) = oneshot::channel();
        if self.inner.readers.try_send(reader).is_err() {
            return Err(Error::new(ErrorCode::Overloaded, "too many reads wait already").retry_after_ms(100));
        }
        match tokio::time::timeout(PROPOSE_TIMEOUT, done).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(ErrorCode::ShuttingDown, "the node is stopping")),
            Err(_) => Err(Error::new(ErrorCode::Unavailable, "no majority of the nodes answered in time")),
        }
    }

    /// Reads the state as of the last entry applied here.
    pub fn read<T>(&self, read: impl FnOnce(&Core) -> T) -> T {
        self.inner.state.read(read)
    }

    /// A job, in memory or on disk, as of the last entry applied here.
    ///
    /// # Errors
    /// `internal` if the disk cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<JobView>, Error> {
        if let Some(view) = self.read(|core| core.view(id).filter(|_| !core.payload_rests(id))) {
            return Ok(Some(view));
        }
        let state = self.inner.state.clone();
        let found = machine::blocking(move || state.job(id)).await;
        let failed = |error: String| unreadable(id, &error);
        found.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// Leases jobs: proposes a [`Command::Lease`], and reads the payloads that are not in memory.
    ///
    /// # Errors
    /// Those of [`Consensus::propose`], and `internal` if the disk cannot be read; the leases then run out.
    pub async fn lease(&self, lease: Command) -> Result<Vec<LeasedJob>, Error> {
        let asked = self.ask(vec![lease])?;
        self.leased(asked).await
    }

    /// The same of a lease that was proposed already.
    pub(crate) async fn leased(&self, asked: oneshot::Receiver<CommandResults>) -> Result<Vec<LeasedJob>, Error> {
        let leased = match self.answered(asked, true).await?.pop() {
            Some(Ok(Outcome::Leased(leased))) => leased,
            Some(Err(error)) => return Err(error),
            _ => return Err(Error::new(ErrorCode::Internal, "a lease was answered by something else")),
        };
        let Some(&first) = leased.at_rest.first() else { return Ok(leased.jobs) };
        let state = self.inner.state.clone();
        let read = machine::blocking(move || state.complete(leased)).await;
        let failed = |error: String| unreadable(first, &error);
        read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// [`Core::state_hash`] as of the last entry applied here. Blocks.
    ///
    /// # Errors
    /// What kept it from being computed.
    pub fn state_hash(&self) -> Result<[u8; 32], String> {
        self.inner.state.state_hash().map_err(|error| error.to_string())
    }

    /// The row of a job that has ended, for [`jobraft_core::command::Target`]; `None` if it is live, not known, or kept no
    /// longer.
    ///
    /// # Errors
    /// `internal` if the disk cannot be read.
    pub async fn row(&self, id: JobId, part: RowPart) -> Result<Option<Bytes>, Error> {
        let state = self.inner.state.clone();
        let found = machine::blocking(move || state.row(id, part)).await;
        let failed = |error: String| unreadable(id, &error);
        found.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// The rows of those of these jobs that have ended, each as [`Consensus::row`] gives it.
    ///
    /// # Errors
    /// `internal` if the disk cannot be read.
    pub async fn rows(&self, ids: Vec<JobId>, part: RowPart) -> Result<Vec<(JobId, Bytes)>, Error> {
        let Some(&first) = ids.first() else { return Ok(Vec::new()) };
        let state = self.inner.state.clone();
        let found = machine::blocking(move || {
            let mut rows = Vec::new();
            for id in ids {
                let row = state.row(id, part).map_err(|error| unreadable(id, &error.to_string()))?;
                rows.extend(row.map(|row| (id, row)));
            }
            Ok(rows)
        });
        found.await.map_err(|error| unreadable(first, &error.to_string()))?
    }

    /// Log time now, as well as this node can tell.
    #[must_use]
    pub fn log_time(&self) -> LogTime {
        self.inner.clock.now(self.read(Core::now))
    }

    /// Who leads; changes as it does.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Serves a stream that a peer opened. Module streams are not for consensus and are refused here.
    pub async fn serve(&self, kind: PeerStream, sender: FrameSender, receiver: FrameReceiver) {
        let raft = self.inner.raft.clone();
        let served = match kind {
            PeerStream::Append => service::serve_appends(raft, sender, receiver).await,
            PeerStream::Rpc => service::serve_rpc(raft, self.inner.instance, sender, receiver).await,
            PeerStream::Snapshot => service::serve_snapshot(raft, self.inner.directory.clone(), sender, receiver).await,
            PeerStream::Module => return,
        };
        if let Err(error) = served {
            tracing::debug!(%error, ?kind, "a peer's stream ended");
        }
    }

    /// Resolves when consensus has stopped for good, with why if not by [`Consensus::stop`].
    pub async fn stopped(&self) -> Result<(), ConsensusError> {
        let mut changes = self.inner.raft.server_metrics();
        let mut is_gone = false;
        loop {
            let state = self.inner.raft.metrics().borrow_watched().running_state.clone();
            match state {
                Ok(()) if is_gone => return Err(ConsensusError::Raft("it ended without a word".into())),
                Ok(()) => {}
                Err(openraft::errors::Fatal::Stopped) => return Ok(()),
                Err(fatal) => return Err(ConsensusError::Raft(fatal.to_string())),
            }
            // Not every end changes what is watched here, and what changes with every end changes with every heartbeat.
            tokio::select! {
                changed = changes.changed() => is_gone = changed.is_err(),
                () = tokio::time::sleep(LIFE_CHECK) => {}
            }
        }
    }

    /// Stops: a last checkpoint, then no more. Leadership should have been handed over before.
    pub async fn stop(&self) {
        for task in &self.inner.tasks {
            task.abort();
        }
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
        let (state, log) = (self.inner.state.clone(), self.inner.log.clone());
        let last = machine::blocking(move || {
            let made = state.checkpoint();
            log.close();
            made
        });
        match last.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last checkpoint failed; the log will be replayed"),
            Err(error) => tracing::warn!(%error, "the last checkpoint failed; the log will be replayed"),
        }
    }
}

fn unreadable(job: JobId, error: &str) -> Error {
    tracing::error!(%error, %job, "could not read a job");
    Error::new(ErrorCode::Internal, "the node could not read the job; its log says more")
}

fn config(cluster: &str) -> Result<Arc<Config>, ConsensusError> {
    let config = Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS_MIN,
        election_timeout_max: ELECTION_MS_MAX,
        enable_pre_vote: Some(true),
        // Checkpoints and purges are made by the checkpointer, by time and bytes rather than by number of entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // A snapshot's progress is bounded by the connection's own time-outs.
        install_snapshot_timeout: 600_000,
        max_payload_entries: 256,
        broadcast_submitted_on_append: Some(true),
        // What a leader proposed and had not on disk when it crashed may stand in the logs of others, or of none: only
        // in a new term can it not give the same position to something else.
        enable_leader_restore: Some(is_planted(Bug::LeaderRestored)),
        // A disk that was restored from a copy holds less than this node acknowledged: it is filled up again.
        allow_log_reversion: Some(true),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| ConsensusError::Raft(error.to_string()))
}
