//! A session: many requests under way on one stream, each handled on its own, all answered through one writer.

use super::request::{Answer, answer, at_once, weight_bytes};
use super::{Api, Client, REQUEST_BYTES_UNIT, bounds, writer};
use crate::audit::Outcome;
use crate::dispatch::{DemandId, Outgoing, RoomHeld};
use crate::transport::{FrameReceiver, FrameSender, TransportError};
use jobraft_protocol::{ClientFrame, ClientHello, Error, ErrorCode, ServerFrame, ServerHello, WorkerId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Answers and pushes that wait for the writer; beyond, whoever has one more waits, and at last the reader.
pub(super) const FRAMES_WAITING_MAX: usize = 1_024;
/// Subscriptions of one session; further ones are refused with `too_many`.
const SUBSCRIPTIONS_MAX: usize = 256;
/// Characters of a client's description of itself that are logged.
const AGENT_CHARS_MAX: usize = 64;

/// A session, as its requests see it.
pub(super) struct Session {
    pub(super) api: Arc<Api>,
    pub(super) client: Client,
    /// Cancelled when the session ends: nobody waits for anything on its behalf any longer.
    pub(super) closed: CancellationToken,
    frames: mpsc::Sender<Outgoing>,
    /// `None` once the session is over.
    subscriptions: Mutex<Option<HashMap<WorkerId, DemandId>>>,
}

/// Serves a session until it ends, on either side.
pub(super) async fn run(
    api: Arc<Api>,
    client: Client,
    hello: ClientHello,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) {
    let agent: String = hello.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect();
    let on = hello.namespace.iter().map(|namespace| format!("namespace {namespace}")).collect();
    let entered = client.enter(&api, hello.namespace).await;
    let greeting: Result<ServerHello, Error> = match &entered {
        Ok(client) => Ok(api.hello(client.identity.namespace())),
        Err(refused) => Err(refused.clone()),
    };
    if let Err(refused) = &entered {
        client.tell(&api.audit, "session", on, Outcome::Failed(refused.clone())).await;
    }
    let sent = sender.send(&greeting).await;
    let (Ok(client), Ok(())) = (entered, sent) else { return };
    tracing::debug!(identity = %client.identity, agent, "session begins");
    let (frames, to_write) = mpsc::channel(FRAMES_WAITING_MAX);
    let (closed, broken) = (CancellationToken::new(), CancellationToken::new());
    let (consensus, namespace) = (api.consensus.clone(), client.identity.namespace());
    tokio::spawn(writer::run(sender, to_write, consensus, namespace, closed.clone(), broken.clone()));
    let session = Arc::new(Session {
        api,
        client,
        closed: closed.clone(),
        frames,
        subscriptions: Mutex::new(Some(HashMap::new())),
    });
    let ended = tokio::select! {
        ended = session.read(&mut receiver) => ended,
        () = closed.cancelled() => Ok(()),
    };
    if let Err(error) = &ended {
        tracing::debug!(identity = %session.client.identity, %error, "session broken");
        broken.cancel();
    }
    session.end();
}

impl Session {
    /// Takes requests until the client has no more. The writer ends once the last of them is answered.
    async fn read(self: &Arc<Self>, receiver: &mut FrameReceiver) -> Result<(), TransportError> {
        let namespace = self.client.identity.namespace();
        while let Some(ClientFrame { id, mut request }) = receiver.recv().await? {
            if let Err(not_local) = request.enter(&namespace) {
                self.reply(id, Err(bounds::invalid(not_local.to_string())), None).await;
                continue;
            }
            if let Some(result) = at_once(self, &request).await {
                self.reply(id, result, None).await;
                continue;
            }
            let place = Arc::clone(&self.client.places).acquire_owned().await.expect("this semaphore is never closed");
            let units = weight_bytes(&request).div_ceil(REQUEST_BYTES_UNIT);
            let units = u32::try_from(units).expect("a frame's size is far below what 32 bits count");
            let bytes = if units == 0 {
                None
            } else {
                let bytes = Arc::clone(&self.api.request_bytes).acquire_many_owned(units).await;
                Some(bytes.expect("this semaphore is never closed"))
            };
            let session = Arc::clone(self);
            tokio::spawn(async move {
                let mut room = session.client.rooms.room();
                let result = answer(&session, request, &mut room).await;
                drop(bytes);
                let room = room.until_written(result.as_ref().ok());
                session.reply(id, result, room).await;
                drop(place);
            });
        }
        Ok(())
    }

    async fn reply(&self, id: u64, result: Answer, room: Option<RoomHeld>) {
        // The writer takes frames for as long as anybody can send one, also those that it can no longer deliver.
        let _ = self.frames.send(Outgoing { frame: ServerFrame::Reply { id, result }, room }).await;
    }

    /// Where pushes go.
    pub(super) fn pushes(&self) -> mpsc::Sender<Outgoing> {
        self.frames.clone()
    }

    /// The worker's subscription, if it has one.
    pub(super) fn subscription(&self, worker: WorkerId) -> Result<DemandId, Error> {
        let subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        let id = subscriptions.as_ref().and_then(|subscriptions| subscriptions.get(&worker));
        id.copied().ok_or_else(|| {
            let message = format!("worker {worker} has no subscription on this session: subscribe first");
            Error::new(ErrorCode::NotFound, message)
        })
    }

    /// Replaces the worker's subscription, if it has one, by what `subscribe` makes.
    pub(super) fn subscribe(
        &self,
        worker: WorkerId,
        subscribe: impl FnOnce() -> Result<DemandId, Error>,
    ) -> Result<(), Error> {
        let mut subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        // Decided under the lock: nothing comes to be that the end of the session does not end.
        let Some(subscriptions) = subscriptions.as_mut() else {
            return Err(Error::new(ErrorCode::Unavailable, "the session is over"));
        };
        if let Some(former) = subscriptions.remove(&worker) {
            self.api.dispatcher.unsubscribe(former);
        }
        if subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let message = format!("a session may have at most {SUBSCRIPTIONS_MAX} subscriptions: open another one");
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        subscriptions.insert(worker, subscribe()?);
        Ok(())
    }

    /// Ends the worker's subscription, if it has one.
    pub(super) fn unsubscribe(&self, worker: WorkerId) {
        let mut subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = subscriptions.as_mut().and_then(|subscriptions| subscriptions.remove(&worker)) {
            self.api.dispatcher.unsubscribe(id);
        }
    }

    fn end(&self) {
        self.closed.cancel();
        let subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).take();
        for id in subscriptions.into_iter().flat_map(HashMap::into_values) {
            self.api.dispatcher.unsubscribe(id);
        }
    }
}
