//! Where the leader is: one session with it, remembered until it proves wrong, found again when it does.
//!
//! A search asks the likeliest node first and the others a little later, all at the same time in the end: a node that
//! died without a word must not cost its whole time-out. A follower's session is better than none: it refuses what
//! only a leader can do, and answers the rest.

use crate::clock::ClockAnchor;
use crate::config::{ClientConfig, Credential, Pem};
use crate::credentials::Credentials;
use crate::dial::Dialer;
use crate::error::{ConnectFailure, FailedAttempt, SdkError};
use crate::io_thread::IoThread;
use crate::session::{Session, Subscribers};
use crate::sync::lock;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jobraft_protocol::{ClientHello, Error, ErrorCode, LeaderHint, NodeAddress};
use rand::seq::SliceRandom;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long one node has the word before the next is asked too.
const STAGGER: Duration = Duration::from_millis(200);
/// How long a search goes on for the leader once a follower has answered.
const LEADER_WAIT: Duration = Duration::from_millis(600);
/// Addresses remembered beyond the configured ones; the oldest goes first.
const LEARNT_MAX: usize = 16;
/// After so many refusals in a row without a leader, another node is asked: this one may be cut off.
const STRIKES_MAX: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Router {
    config: ClientConfig,
    credentials: Credentials,
    io: IoThread,
    pub(crate) subscribers: Arc<Subscribers>,
    state: Mutex<State>,
    /// Held while searching, so that many callers make one search.
    search: tokio::sync::Mutex<()>,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Session>>,
    /// Who leads, as last heard.
    hint: Option<NodeAddress>,
    /// Addresses that hints have named.
    learnt: VecDeque<NodeAddress>,
    strikes: u32,
    clock: Option<ClockAnchor>,
    told_refused: bool,
}

impl Router {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, SdkError> {
        if config.endpoints.is_empty() {
            return Err(SdkError::NoEndpoint);
        }
        Ok(Self {
            credentials: Credentials::load(&config)?,
            config,
            io: IoThread::start()?,
            subscribers: Arc::default(),
            state: Mutex::default(),
            search: tokio::sync::Mutex::new(()),
            closed: CancellationToken::new(),
        })
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(crate) fn io(&self) -> &IoThread {
        &self.io
    }

    /// The latest reading of log time.
    pub(crate) fn clock(&self) -> Option<ClockAnchor> {
        lock(&self.state).clock
    }

    /// Takes a later reading of log time.
    pub(crate) fn learn_time(&self, clock: ClockAnchor) {
        lock(&self.state).clock = Some(clock);
    }

    /// Ends the session; later calls get [`SdkError::Closed`].
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let session = lock(&self.state).current.take();
        if let Some(session) = session {
            session.close();
            let idle = session.connection.closed();
            let _ = tokio::time::timeout(STAGGER, idle).await;
        }
    }

    /// The session with the leader, or with whoever answers.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, SdkError> {
        if let Some(session) = self.current()? {
            return Ok(session);
        }
        let _search = self.search.lock().await;
        if let Some(session) = self.current()? {
            return Ok(session);
        }
        let session = self.find(None).await?;
        let mut state = lock(&self.state);
        // Closed meanwhile: nobody would end this session.
        if self.closed.is_cancelled() {
            return Err(SdkError::Closed);
        }
        state.clock = Some(session.clock);
        state.strikes = 0;
        state.told_refused = false;
        state.current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// The session, if there is one.
    pub(crate) fn current(&self) -> Result<Option<Arc<Session>>, SdkError> {
        if self.closed.is_cancelled() {
            return Err(SdkError::Closed);
        }
        Ok(lock(&self.state).current.clone().filter(|session| !session.is_closed()))
    }

    /// Learns from a refusal; tells whether another node should be asked, at once.
    pub(crate) fn refused(&self, session: &Arc<Session>, error: &Error) -> bool {
        match error.code {
            ErrorCode::NotLeader | ErrorCode::Unavailable => self.moved(session, error.leader.as_ref(), false),
            // The node will say no more: it stops, or the token that it was shown has ended, and the next may be in its file.
            ErrorCode::ShuttingDown | ErrorCode::Unauthenticated => self.moved(session, error.leader.as_ref(), true),
            _ => false,
        }
    }

    /// `session`'s node does not lead; `hint` may do. Tells whether a new leader is known. Without a hint the session
    /// is kept for a few times, for its node will learn who leads, unless it `stops`.
    pub(crate) fn moved(&self, session: &Arc<Session>, hint: Option<&LeaderHint>, stops: bool) -> bool {
        let mut state = lock(&self.state);
        if !state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            // Somebody else has learnt it before.
            return state.current.is_some();
        }
        let hint = hint.filter(|hint| hint.node != session.hello.node);
        state.strikes += 1;
        if let Some(hint) = hint {
            state.remember(&hint.address, &self.config.endpoints);
            state.hint = Some(hint.address.clone());
        } else if stops || state.strikes >= STRIKES_MAX {
            state.hint = None;
        } else {
            return false;
        }
        state.current = None;
        hint.is_some()
    }

    /// Asks another node who leads, since that of `silent` says nothing: the one of `witness`, or any. If somebody else
    /// does, the session with it is the current one from then on, and `silent` is over: what waits for its answers is asked
    /// again there. Otherwise returns the session with the node that was asked, to be asked again.
    pub(crate) async fn look_elsewhere(
        &self,
        silent: &Arc<Session>,
        witness: Option<Arc<Session>>,
    ) -> Option<Arc<Session>> {
        if let Some(witness) = witness.filter(|witness| !witness.is_closed())
            && witness.leader().await.is_none_or(|leader| leader == silent.hello.node)
        {
            return Some(witness);
        }
        // Otherwise somebody searches already, for want of any session.
        let _search = self.search.try_lock().ok()?;
        let found = self.find(Some(silent)).await.ok()?;
        if found.hello.node == silent.hello.node {
            return None;
        }
        if !found.leads() {
            return Some(found);
        }
        let mut state = lock(&self.state);
        let is_current = state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, silent));
        if is_current && !self.closed.is_cancelled() {
            tracing::info!(silent = %silent.address, leader = %found.address, "moved to another leader");
            state.clock = Some(found.clock);
            state.strikes = 0;
            state.current = Some(found);
            drop(state);
            silent.close();
        }
        None
    }

    /// A session with exactly this node, apart from the current one.
    pub(crate) async fn dial(&self, address: &NodeAddress) -> Result<Arc<Session>, SdkError> {
        if self.closed.is_cancelled() {
            return Err(SdkError::Closed);
        }
        let failed = |failure| SdkError::Unreachable(vec![FailedAttempt { address: address.clone(), failure }]);
        self.dialer().map_err(failed)?.dial(address).await.map_err(failed)
    }

    fn dialer(&self) -> Result<Dialer, ConnectFailure> {
        let proof = self.credentials.current(&self.config);
        let ClientConfig { agent, namespace, .. } = &self.config;
        let hello = ClientHello { agent: agent.clone(), namespace: namespace.clone() };
        Dialer::new(proof, hello, Arc::clone(&self.subscribers), self.io.handle().clone())
    }

    /// The hinted node, then all others in random order, so that a cluster's clients spread.
    fn candidates(&self) -> VecDeque<NodeAddress> {
        let mut state = lock(&self.state);
        // A hint serves once: if it leads nowhere, the next search has no favourite.
        let mut candidates: VecDeque<NodeAddress> = state.hint.take().into_iter().collect();
        let mut others: Vec<NodeAddress> = self.config.endpoints.iter().chain(&state.learnt).cloned().collect();
        others.shuffle(&mut rand::rng());
        candidates.extend(others);
        candidates
    }

    /// A session with the leader, or with whoever answers. Where the node of `silent` is the leader by the word of another,
    /// the session with that one.
    async fn find(&self, silent: Option<&Session>) -> Result<Arc<Session>, SdkError> {
        let mut waiting = self.candidates();
        // Its address is asked last: another node may stand behind it.
        let is_silent = |address: &NodeAddress| silent.is_some_and(|silent| silent.address == *address);
        waiting.make_contiguous().sort_by_key(is_silent);
        let dialer = self.dialer().map_err(|failure| {
            let address = waiting.front().cloned();
            SdkError::Unreachable(address.map(|address| FailedAttempt { address, failure }).into_iter().collect())
        })?;
        let mut tried = BTreeSet::new();
        let mut dialing: FuturesUnordered<BoxFuture<'_, _>> = FuturesUnordered::new();
        let dial = |address: NodeAddress| -> BoxFuture<'_, _> {
            let dialer = &dialer;
            Box::pin(async move { (dialer.dial(&address).await, address) })
        };
        let mut failures = Vec::new();
        let mut follower: Option<Arc<Session>> = None;
        let mut patience = std::pin::pin!(tokio::time::sleep(Duration::MAX));
        let mut start_next = true;
        loop {
            while start_next && let Some(next) = waiting.pop_front() {
                if tried.insert(next.clone()) {
                    dialing.push(dial(next));
                    start_next = false;
                }
            }
            if dialing.is_empty() && waiting.is_empty() {
                break;
            }
            tokio::select! {
                Some((outcome, address)) = dialing.next() => match outcome {
                    Ok(session) => {
                        if session.leads() {
                            return Ok(session);
                        }
                        let leader = session.hello.leader.clone();
                        if follower.replace(session).is_none() {
                            patience.as_mut().reset(tokio::time::Instant::now() + LEADER_WAIT);
                        }
                        match leader {
                            Some(leader) if silent.is_some_and(|silent| silent.hello.node == leader.node) => break,
                            Some(leader) if tried.insert(leader.address.clone()) => {
                                lock(&self.state).remember(&leader.address, &self.config.endpoints);
                                dialing.push(dial(leader.address));
                            }
                            Some(_) => {}
                            None => start_next = true,
                        }
                    }
                    Err(failure) => {
                        tracing::debug!(%address, %failure, "no session");
                        failures.push(FailedAttempt { address, failure });
                        start_next = true;
                    }
                },
                () = tokio::time::sleep(STAGGER), if !waiting.is_empty() => start_next = true,
                () = &mut patience, if follower.is_some() => break,
            }
        }
        if let Some(follower) = follower {
            return Ok(follower);
        }
        let refused = failures.iter().find_map(FailedAttempt::unauthenticated).cloned();
        match (refused, &self.config.credential) {
            (Some(error), Credential::Token(Pem::File(file))) => {
                self.tell_refused(&error, file);
                Err(SdkError::Unreachable(failures))
            }
            // No other one will come.
            (Some(error), _) => Err(SdkError::Unauthenticated(error)),
            (None, _) => match failures.iter().find_map(FailedAttempt::refused_for_good) {
                Some(error) => Err(SdkError::Refused(error.clone())),
                None => Err(SdkError::Unreachable(failures)),
            },
        }
    }

    /// Says once that the token in a file does not count, until one does: whoever rotates it may be about to replace it.
    fn tell_refused(&self, error: &Error, file: &Path) {
        let mut state = lock(&self.state);
        // At the start it is the caller's to tell.
        if state.clock.is_some() && !std::mem::replace(&mut state.told_refused, true) {
            tracing::warn!(file = %file.display(), "the token is refused, its file is read again until it is not: {error}");
        }
    }
}

impl State {
    fn remember(&mut self, address: &NodeAddress, configured: &[NodeAddress]) {
        if configured.contains(address) || self.learnt.contains(address) {
            return;
        }
        if self.learnt.len() == LEARNT_MAX {
            self.learnt.pop_front();
        }
        self.learnt.push_back(address.clone());
    }
}
