//! One session with one node: many requests under way on one stream, answers matched by number, pushes handed on.
//!
//! A task on the client's own thread writes and reads. It ends when the stream does, when the node breaks the
//! protocol, or when the last holder of the session lets go of it; then every request under way learns that it is lost.

use crate::clock::ClockAnchor;
use crate::frames::{FrameReader, encode};
use crate::sync::lock;
use bytes::Bytes;
use jobraft_protocol::limits::CONNECTION_REQUESTS_MAX;
use jobraft_protocol::{
    ClientFrame, Error, NodeAddress, NodeId, Push, Request, Response, ServerFrame, ServerHello, WorkerId,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Frames that wait for the writer; beyond, callers wait.
const FRAMES_WAITING_MAX: usize = 1_024;
/// Frames up to this size are joined into one write.
const WRITE_BYTES: usize = 64 * 1024;
/// How long a node may take to say who leads.
const LEADER_WAIT: Duration = Duration::from_millis(250);

type Answer = Result<Response, Error>;

/// Why a request has no good answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The node refused it.
    Refused(Error),
    /// The session ended first.
    Lost {
        /// Why it ended.
        reason: String,
        /// Whether the node may have got the request.
        sent: bool,
    },
}

/// Who gets the pushes for which worker. Outlives sessions: a worker moves from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<HashMap<WorkerId, mpsc::Sender<Push>>>);

impl Subscribers {
    pub(crate) fn add(&self, worker: WorkerId, pushes: mpsc::Sender<Push>) {
        lock(&self.0).insert(worker, pushes);
    }

    pub(crate) fn remove(&self, worker: WorkerId) {
        lock(&self.0).remove(&worker);
    }

    /// Whether the push could be handed on, or nobody waits for it.
    fn deliver(&self, push: Push) -> bool {
        let (Push::Leased { worker, .. }
        | Push::CancelRequested { worker, .. }
        | Push::Ordered { worker, .. }
        | Push::Revoked { worker, .. }
        | Push::SubscriptionEnded { worker, .. }) = &push;
        let subscribers = lock(&self.0);
        let Some(subscriber) = subscribers.get(worker) else { return true };
        !matches!(subscriber.try_send(push), Err(mpsc::error::TrySendError::Full(_)))
    }
}

/// The requests under way; `None` once the session is over.
type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>;

/// See the module. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) address: NodeAddress,
    pub(crate) hello: ServerHello,
    pub(crate) clock: ClockAnchor,
    pub(crate) connection: quinn::Connection,
    frames: mpsc::Sender<Bytes>,
    waiting: Arc<Waiting>,
    reason: Arc<Mutex<String>>,
    room: Semaphore,
    closed: CancellationToken,
}

/// What [`Session::start`] is made of: a stream on which the hellos have been exchanged.
pub(crate) struct Opened {
    pub(crate) address: NodeAddress,
    pub(crate) hello: ServerHello,
    pub(crate) clock: ClockAnchor,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) connection: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    pub(crate) receive: FrameReader,
}

impl Session {
    /// Starts the session's task on the runtime `io`.
    pub(crate) fn start(opened: Opened, subscribers: Arc<Subscribers>, io: &tokio::runtime::Handle) -> Arc<Self> {
        let Opened { address, hello, clock, endpoint, connection, send, receive } = opened;
        let (frames, to_write) = mpsc::channel(FRAMES_WAITING_MAX);
        let session = Arc::new(Self {
            address,
            hello,
            clock,
            connection: connection.clone(),
            frames,
            waiting: Arc::new(Mutex::new(Some(HashMap::new()))),
            reason: Arc::default(),
            room: Semaphore::new(CONNECTION_REQUESTS_MAX),
            closed: CancellationToken::new(),
        });
        let (waiting, reason, closed) =
            (Arc::clone(&session.waiting), Arc::clone(&session.reason), session.closed.clone());
        let peer = session.address.clone();
        io.spawn(async move {
            let why = tokio::select! {
                why = read(receive, &waiting, &subscribers) => why,
                why = write(to_write, send) => why,
                () = closed.cancelled() => "closed by this client".to_owned(),
            };
            tracing::debug!(%peer, %why, "session over");
            *lock(&reason) = why;
            // Dropping the senders wakes whoever waits; no request is added from here on.
            lock(&waiting).take();
            closed.cancel();
            connection.close(quinn::VarInt::from_u32(0), b"bye");
            endpoint.wait_idle().await;
        });
        session
    }

    /// Sends an encoded [`ClientFrame`](jobraft_protocol::ClientFrame) of number `id` and waits for its answer.
    pub(crate) async fn call(&self, id: u64, frame: Bytes) -> Result<Response, CallError> {
        let lost = |sent| CallError::Lost { reason: lock(&self.reason).clone(), sent };
        let _room = self.room.acquire().await.expect("this semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        match lock(&self.waiting).as_mut() {
            Some(waiting) => waiting.insert(id, answer),
            None => return Err(lost(false)),
        };
        // A caller that goes away leaves nothing behind.
        let _forget = Forget { id, waiting: &self.waiting };
        if self.frames.send(frame).await.is_err() {
            return Err(lost(false));
        }
        match answered.await {
            Ok(answer) => answer.map_err(CallError::Refused),
            Err(_) => Err(lost(true)),
        }
    }

    /// Whether its node led when the session began.
    pub(crate) fn leads(&self) -> bool {
        self.hello.leader.as_ref().is_some_and(|leader| leader.node == self.hello.node)
    }

    /// Whom its node takes for the leader by now, if it says so soon. For sessions on which nothing else is asked.
    pub(crate) async fn leader(&self) -> Option<NodeId> {
        let id = 0;
        let frame = encode(&ClientFrame { id, request: Request::ClusterStatus }).ok()?;
        match tokio::time::timeout(LEADER_WAIT, self.call(id, frame.into())).await {
            Ok(Ok(Response::Cluster(status))) => status.leader,
            _ => None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Waits for the session's end.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Ends the session.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

struct Forget<'a> {
    id: u64,
    waiting: &'a Waiting,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = lock(self.waiting).as_mut() {
            waiting.remove(&self.id);
        }
    }
}

/// Reads until the session is over; returns why.
async fn read(mut frames: FrameReader, waiting: &Waiting, subscribers: &Subscribers) -> String {
    loop {
        match frames.next().await {
            Ok(ServerFrame::Reply { id, result }) => {
                let answer = lock(waiting).as_mut().and_then(|waiting| waiting.remove(&id));
                // Absent: its caller has gone away.
                if let Some(answer) = answer {
                    let _ = answer.send(result);
                }
            }
            Ok(ServerFrame::Push(push)) => {
                if !subscribers.deliver(push) {
                    return "the node pushed more jobs than it was asked for".to_owned();
                }
            }
            Err(error) => return error.to_string(),
        }
    }
}

/// Writes all that waits in as few writes as possible, until the session is over; returns why.
async fn write(mut frames: mpsc::Receiver<Bytes>, mut stream: quinn::SendStream) -> String {
    let mut batch = Vec::new();
    let mut buffer = Vec::with_capacity(WRITE_BYTES);
    loop {
        if frames.recv_many(&mut batch, FRAMES_WAITING_MAX).await == 0 {
            return "closed by this client".to_owned();
        }
        let written = async {
            for frame in batch.drain(..) {
                if buffer.len() + frame.len() > WRITE_BYTES {
                    stream.write_all(&buffer).await?;
                    buffer.clear();
                }
                if frame.len() > WRITE_BYTES {
                    stream.write_chunk(frame).await?;
                } else {
                    buffer.extend_from_slice(&frame);
                }
            }
            stream.write_all(&buffer).await
        };
        if let Err(error) = written.await {
            return error.to_string();
        }
        buffer.clear();
    }
}
