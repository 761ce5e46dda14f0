//! A connection from another node, past its hello.

use super::hello::{PeerOpen, judge};
use super::limits::{HELLO_TIMEOUT, REFUSAL_GRACE, STREAM_OPEN_TIMEOUT};
use super::{
    Accepted, CloseCode, Connection, FrameReceiver, FrameSender, PeerGate, PeerHello, PeerStream, PeerWelcome,
    TransportError,
};
use crate::tls::Identity;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jobraft_protocol::{Error, NodeId};
use tokio::time::timeout;

type Opened = Option<(PeerStream, FrameSender, FrameReceiver)>;

/// A connection on which another node opens streams.
pub struct PeerConnection {
    connection: Connection,
    hello: PeerHello,
    welcome: PeerWelcome,
    /// Streams whose first frame is not there yet: at most as many as a peer may open, and none holds up another.
    opening: FuturesUnordered<BoxFuture<'static, Opened>>,
}

impl PeerConnection {
    /// Hears the hello of an accepted connection and answers it, as node `own`. To be run in a task of its own, since
    /// the other side may take up to [`HELLO_TIMEOUT`].
    ///
    /// # Errors
    /// When the hello is late, malformed or refused; the other side was told, the connection is closed, and the
    /// refusal is logged.
    pub async fn welcome(accepted: Accepted, own: NodeId, gate: &dyn PeerGate) -> Result<Self, TransportError> {
        let connection = accepted.connection;
        let late = |_| TransportError::TimedOut { what: "the hello", limit: HELLO_TIMEOUT };
        let exchange = greet(&connection, &accepted.identity, own, gate);
        match timeout(HELLO_TIMEOUT, exchange).await.map_err(late).flatten() {
            Ok((hello, welcome)) => Ok(Self { connection, hello, welcome, opening: FuturesUnordered::new() }),
            Err(error) => {
                // Who connects closes as soon as it has read the refusal.
                let _ = timeout(REFUSAL_GRACE, connection.closed()).await;
                connection.close(error.close_code(), &error.to_string());
                connection.refuse("a peer", &error);
                Err(error)
            }
        }
    }

    /// The next stream that the other node opens, and what for; `None` when the connection is closed. A stream that
    /// does not say in time what it is for is given up. Cancel-safe.
    pub async fn accept(&mut self) -> Opened {
        loop {
            tokio::select! {
                accepted = self.connection.accept() => {
                    let streams = accepted?;
                    self.opening.push(Box::pin(read_open(streams, self.hello.group, self.connection.clone())));
                }
                Some(opened) = self.opening.next() => {
                    if opened.is_some() {
                        return opened;
                    }
                }
            }
        }
    }

    /// What the other node said of itself; its id is that of its certificate.
    #[must_use]
    pub const fn hello(&self) -> &PeerHello {
        &self.hello
    }

    /// What it was answered.
    #[must_use]
    pub const fn answer(&self) -> &PeerWelcome {
        &self.welcome
    }

    /// The connection beneath.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }
}

async fn greet(
    connection: &Connection,
    identity: &Identity,
    own: NodeId,
    gate: &dyn PeerGate,
) -> Result<(PeerHello, PeerWelcome), TransportError> {
    let Identity::Node(certificate) = identity else {
        return Err(TransportError::WrongRole(format!("{identity} may not speak the protocol of the nodes")));
    };
    let Some((mut sender, mut receiver)) = connection.accept().await else { return Err(connection.closed().await) };
    let hello: PeerHello = receiver.recv().await?.ok_or(TransportError::Truncated)?;
    let answer: Result<PeerWelcome, Error> = judge(&hello, own, *certificate, gate);
    sender.send(&answer).await?;
    sender.finish().await?;
    answer.map(|welcome| (hello, welcome)).map_err(TransportError::Refused)
}

async fn read_open(
    (mut sender, mut receiver): (FrameSender, FrameReceiver),
    group: u32,
    connection: Connection,
) -> Opened {
    match timeout(STREAM_OPEN_TIMEOUT, receiver.recv::<PeerOpen>()).await {
        Ok(Ok(Some(open))) if open.group == group => {
            sender.set_priority(open.stream.priority());
            return Some((open.stream, sender, receiver));
        }
        // The receiver has seen to it, or there was nothing to see to.
        Ok(Err(_) | Ok(None)) => {}
        Ok(Ok(Some(open))) => {
            let reason = format!("it is for group {}, the connection for group {group}", open.group);
            connection.refuse("a stream", &reason);
        }
        Err(_) => connection.refuse("a stream", &"it did not say what it is for"),
    }
    sender.reset(CloseCode::Protocol);
    receiver.stop(CloseCode::Protocol);
    None
}
