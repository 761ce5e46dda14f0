//! openraft's network on top of the peer links: the asking side.

use super::service::SENDING;
use super::state_machine::SnapshotData;
use super::types::{Member, SnapshotMeta, TypeConfig, Vote, log_id};
use super::wire::{Rpc, RpcAnswer, SnapshotAnswer, SnapshotHeader};
use crate::machine;
use crate::storage::{SnapshotFile, StorageError};
use crate::transport::{FrameReceiver, FrameSender, PeerLink, PeerStream, Peers, TransportError};
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use jobraft_protocol::{NodeId, cbor, limits};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::SnapshotOf;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Appends sent and not yet answered on one stream; beyond, the sender waits.
const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// How long an append may go unanswered before the stream is given up: a stalled disk is slow, a dead peer is cut off by
/// the connection's own idle time-out.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take to install a snapshot once it has all of it.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);

type RpcError = RPCError<TypeConfig>;

/// Makes connections to members.
#[derive(Clone)]
pub(crate) struct NetworkFactory {
    pub(crate) peers: Arc<Peers>,
    /// Where copies of `state.db` are made before they are sent.
    pub(crate) snapshot_dir: PathBuf,
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &Member) -> Network {
        let link = node.address().map(|address| self.peers.link(NodeId(target), &address, Some(node.instance)));
        Network { link, target, append: None, snapshot_dir: self.snapshot_dir.clone() }
    }
}

/// One of openraft's uses of one peer: replication, heartbeats or snapshots. Each has streams of its own, so that none
/// waits behind another.
pub(crate) struct Network {
    link: Option<Arc<PeerLink>>,
    target: u64,
    append: Option<(FrameSender, FrameReceiver)>,
    snapshot_dir: PathBuf,
}

fn rpc_error(error: &TransportError) -> RpcError {
    match error {
        TransportError::Unreachable { .. } => RPCError::Unreachable(Unreachable::from_string(error)),
        _ => RPCError::Network(NetworkError::from_string(error)),
    }
}

fn network_error(what: impl ToString) -> RpcError {
    RPCError::Network(NetworkError::from_string(what))
}

impl Network {
    fn link(&self) -> Result<&PeerLink, RpcError> {
        let malformed = || RPCError::Unreachable(Unreachable::from_string("the member's address is malformed"));
        self.link.as_deref().ok_or_else(malformed)
    }

    async fn stream(&self, kind: PeerStream) -> Result<(FrameSender, FrameReceiver), RpcError> {
        self.link()?.stream(kind).await.map_err(|error| rpc_error(&error))
    }

    async fn ask(&self, question: Rpc, patience: Duration) -> Result<RpcAnswer, RpcError> {
        ask(self.link()?, question, patience).await.map_err(|error| rpc_error(&error))
    }

    async fn ask_for_vote(&self, question: Rpc, option: RPCOption) -> Result<VoteResponse<TypeConfig>, RpcError> {
        match self.ask(question, option.hard_ttl()).await? {
            RpcAnswer::Vote(answer) => Ok(answer),
            _ => Err(network_error("the peer is stopping")),
        }
    }

    async fn send_snapshot(
        (mut sender, mut receiver): (FrameSender, FrameReceiver),
        vote: Vote,
        meta: SnapshotMeta,
        file: &SnapshotFile,
    ) -> Result<SnapshotResponse<TypeConfig>, RpcError> {
        let header = SnapshotHeader { vote, meta, bytes: file.bytes, sha256: file.sha256 };
        sender.send(&header).await.map_err(|error| rpc_error(&error))?;
        let mut source = machine::File::open(&file.path).await.map_err(network_error)?;
        loop {
            let mut chunk = BytesMut::with_capacity(limits::CHUNK_BYTES);
            if source.read_buf(&mut chunk).await.map_err(network_error)? == 0 {
                break;
            }
            sender.send_bytes(chunk.freeze()).await.map_err(|error| rpc_error(&error))?;
        }
        sender.finish().await.map_err(|error| rpc_error(&error))?;
        let answer = tokio::time::timeout(INSTALL_TIMEOUT, receiver.recv::<SnapshotAnswer>()).await;
        match answer.map_err(network_error)?.map_err(|error| rpc_error(&error))? {
            Some(Ok(response)) => Ok(response),
            Some(Err(refusal)) => Err(network_error(refusal)),
            None => Err(network_error("the peer closed the stream before it installed the snapshot")),
        }
    }
}

/// Asks one question on a stream of its own.
pub(crate) async fn ask(link: &PeerLink, question: Rpc, patience: Duration) -> Result<RpcAnswer, TransportError> {
    let exchange = async {
        let (mut sender, mut receiver) = link.stream(PeerStream::Rpc).await?;
        sender.send(&question).await?;
        sender.finish().await?;
        receiver.recv().await?.ok_or(TransportError::Truncated)
    };
    let late = |_| TransportError::TimedOut { what: "the answer of a peer", limit: patience };
    tokio::time::timeout(patience, exchange).await.map_err(late)?
}

/// Sends requests as they come, announcing each, so that its answer is waited for; gives the stream back when there are no more.
async fn pump<S>(mut input: S, mut sender: FrameSender, sent: mpsc::Sender<()>) -> Result<FrameSender, TransportError>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    while let Some(request) = input.next().await {
        if sent.send(()).await.is_err() {
            break;
        }
        sender.send(&request).await?;
    }
    Ok(sender)
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let input = Box::pin(futures_util::stream::once(async { request }));
        let mut output = self.stream_append(input, option).await?;
        match output.next().await {
            Some(result) => result.map(AppendEntriesResponse::from),
            None => Err(network_error("the peer closed the stream without an answer")),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft's pause between attempts lies in the stream of requests: to fail before asking for one would make
            // it try again at once, for as long as the peer is away.
            let Some(first) = input.next().await else { return Ok(futures_util::stream::empty().boxed()) };
            let (sender, receiver) = match self.append.take() {
                Some(kept) => kept,
                None => self.stream(PeerStream::Append).await?,
            };
            let (sent, unanswered) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
            let pump = AbortOnDropHandle::new(tokio::spawn(pump(
                futures_util::stream::iter([first]).chain(input),
                sender,
                sent,
            )));
            let state = Some((self, receiver, unanswered, pump));
            let answers = futures_util::stream::unfold(state, |state| async move {
                let (this, mut receiver, mut unanswered, pump) = state?;
                let Some(()) = unanswered.recv().await else {
                    // All answered: the stream is clean and serves the next session too.
                    return match pump.await {
                        Ok(Ok(sender)) => {
                            this.append = Some((sender, receiver));
                            None
                        }
                        Ok(Err(error)) => Some((Err(rpc_error(&error)), None)),
                        Err(_) => None,
                    };
                };
                let answer = tokio::time::timeout(APPEND_TIMEOUT, receiver.recv::<StreamAppendResult<TypeConfig>>());
                match answer.await {
                    Ok(Ok(Some(Ok(matched)))) => Some((Ok(Ok(matched)), Some((this, receiver, unanswered, pump)))),
                    Ok(Ok(Some(Err(refusal)))) => {
                        let refusal: StreamAppendError<TypeConfig> = refusal;
                        Some((Ok(Err(refusal)), None))
                    }
                    Ok(Ok(None)) => Some((Err(network_error("the peer closed the append stream")), None)),
                    Ok(Err(error)) => Some((Err(rpc_error(&error)), None)),
                    Err(_) => Some((Err(network_error("the peer did not acknowledge an append in time")), None)),
                }
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(Rpc::Vote(request), option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(Rpc::PreVote(request), option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let db = match snapshot.snapshot {
            SnapshotData::Checkpoint(db) => db,
            SnapshotData::Received(_) => return Err(network_error("a snapshot is sent from state.db only").into()),
        };
        // Before the copy, which is dear: openraft tries again and again while the peer is away.
        let streams = self.stream(PeerStream::Snapshot).await?;
        // A copy for a former term's transmission may still be under way: each has a file of its own.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.snapshot_dir.join(format!("{SENDING}{}-{number}.db", self.target));
        let copied = machine::blocking(move || db.snapshot_to(&path)).await.map_err(network_error)?;
        let file = copied.map_err(|error| match error {
            // Fatal here, where the damage is.
            StorageError::Corrupt { .. } => {
                openraft::StorageError::read_snapshot(None, TypeConfig::err_from_error(&error)).into()
            }
            error => StreamingError::from(network_error(error)),
        })?;
        let last_membership = cbor::read(&file.meta.membership).map_err(network_error)?;
        // The copy may be newer than what openraft asked for; what counts is what it holds.
        let meta = SnapshotMeta { last_log_id: Some(log_id(file.meta.term, file.meta.index)), last_membership };
        tracing::info!(target_node = self.target, index = file.meta.index, bytes = file.bytes, "sending a snapshot");
        let result = tokio::select! {
            sent = Self::send_snapshot(streams, vote, meta, &file) => sent.map_err(StreamingError::from),
            closed = cancel => Err(StreamingError::Closed(closed)),
        };
        if let Err(error) = machine::remove_file(&file.path).await {
            tracing::warn!(path = %file.path.display(), %error, "could not remove a sent snapshot");
        }
        result
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        match self.ask(Rpc::TransferLeader(request), option.hard_ttl()).await? {
            RpcAnswer::TransferLeader(Ok(())) => Ok(Ok(())),
            RpcAnswer::TransferLeader(Err(refusal)) => Err(network_error(refusal)),
            _ => Err(network_error("the peer is stopping")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::impls::leader_id_std::LeaderId;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_peer_that_is_away_is_not_tried_before_openraft_has_paused() {
        let mut network = Network { link: None, target: 2, append: None, snapshot_dir: PathBuf::new() };
        let asked = Arc::new(AtomicBool::new(false));
        // openraft pauses inside this stream: whoever fails without asking it is called again at once.
        let requests = futures_util::stream::once({
            let asked = Arc::clone(&asked);
            async move {
                asked.store(true, Ordering::Relaxed);
                let vote = Vote { leader_id: LeaderId { term: 1, voted_for: 1 }, committed: true };
                AppendEntriesRequest { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None }
            }
        });
        let option = RPCOption::new(Duration::from_secs(1));
        let failed = network.stream_append(Box::pin(requests), option).await.is_err();
        assert!(failed && asked.load(Ordering::Relaxed));
    }
}
