//! One stream to one node: frames out, frames in. Pushes that come between are kept.

use bytes::{Buf, BytesMut};
use jobraft_protocol::frame::{self, HEADER_BYTES};
use jobraft_protocol::limits::CLIENT_FRAME_BYTES_MAX;
use jobraft_protocol::{
    ClientFrame, ClientHello, Error, LogTime, Namespace, NodeId, Push, Request, Response, ServerFrame, ServerHello,
    StreamOpen,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The most that is taken from the stream at once.
const READ_BYTES: usize = 64 * 1024;

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Lost(String);

fn lost(why: impl std::fmt::Display) -> Lost {
    Lost(why.to_string())
}

/// See the module.
pub(super) struct Session {
    pub(super) hello: ServerHello,
    /// What came without being asked for.
    pub(super) pushes: VecDeque<Push>,
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    buffer: BytesMut,
    next: u64,
}

impl Session {
    /// Connects to the node at `address`, whose certificate is for `host`, and exchanges hellos.
    pub(super) async fn open(
        endpoint: &quinn::Endpoint,
        config: &quinn::ClientConfig,
        address: SocketAddr,
        host: &str,
    ) -> Result<Self, Lost> {
        let connecting = endpoint.connect_with(config.clone(), address, host).map_err(lost)?;
        let connection = connecting.await.map_err(lost)?;
        let (send, receive) = connection.open_bi().await.map_err(lost)?;
        let hello = ServerHello {
            cluster: String::new(),
            node: NodeId::default(),
            time: LogTime::default(),
            leader: None,
            agent: String::new(),
            namespace: Namespace::default(),
        };
        let (pushes, buffer) = (VecDeque::new(), BytesMut::new());
        let mut session = Self { hello, pushes, connection, send, receive, buffer, next: 0 };
        session.write(&StreamOpen::Session(ClientHello::new("jobraft-workload"))).await?;
        session.hello = session.read::<Result<ServerHello, Error>>().await?.map_err(lost)?;
        Ok(session)
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Result<Response, Error>, Lost> {
        self.next += 1;
        let asked = self.next;
        self.write(&ClientFrame { id: asked, request }).await?;
        loop {
            match self.read().await? {
                ServerFrame::Reply { id, result } if id == asked => return Ok(result),
                ServerFrame::Reply { .. } => {}
                ServerFrame::Push(push) => self.pushes.push_back(push),
            }
        }
    }

    /// The next push. Cancel-safe.
    pub(super) async fn push(&mut self) -> Result<Push, Lost> {
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(push);
            }
            if let ServerFrame::Push(push) = self.read().await? {
                return Ok(push);
            }
        }
    }

    async fn write(&mut self, value: &impl Serialize) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        frame::encode(value, &mut bytes, CLIENT_FRAME_BYTES_MAX).map_err(lost)?;
        self.send.write_all(&bytes).await.map_err(lost)
    }

    /// The next frame. Cancel-safe: what was read stays in the buffer.
    async fn read<T: DeserializeOwned>(&mut self) -> Result<T, Lost> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() {
                let end = HEADER_BYTES + frame::length(*header, CLIENT_FRAME_BYTES_MAX).map_err(lost)?;
                if let Some(body) = self.buffer.get(HEADER_BYTES..end) {
                    let value = frame::decode(body).map_err(lost)?;
                    self.buffer.advance(end);
                    return Ok(value);
                }
            }
            let chunk = self.receive.read_chunk(READ_BYTES, true).await.map_err(lost)?;
            self.buffer.extend_from_slice(&chunk.ok_or_else(|| lost("the stream ended"))?.bytes);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.close(quinn::VarInt::from_u32(0), b"bye");
    }
}
