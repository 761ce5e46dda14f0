//! Connections without a certificate: the token that they show instead, on their first stream.
//!
//! What must hold: whoever has shown neither can have a node hold a place among those like it ([`super::unproved`]) for a short
//! while, and no more; it takes nothing from nodes and from clients that have a certificate. Bad tokens are counted by source.
//! Beyond a number of them nobody asks the other nodes for that source's tokens; those that this node knows to be good are let
//! in all the same, since 256 random bits are not guessed, and one program with an old token must not lock out others behind
//! the same address. Nothing that a stranger sends is repeated, in no answer and no log: it may be a secret of somebody's.

use super::limits::{HANDSHAKE_TIMEOUT, REFUSAL_GRACE, TOKEN_LOOK_UP_TIMEOUT};
use super::unproved::{Place, Unproved, source};
use super::{CloseCode, TransportError};
use crate::tls::Identity;
use jobraft_protocol::frame::{self, HEADER_BYTES};
use jobraft_protocol::limits::{BAD_TOKENS_PER_ADDRESS_MAX, UNPROVED_FRAME_BYTES_MAX};
use jobraft_protocol::{Digest, Error, ErrorCode, StreamOpen, TokenSecret};
use quinn::{RecvStream, SendStream};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The time in which bad tokens of one source are counted together.
const COUNTED_TOGETHER: Duration = Duration::from_secs(60);
/// Tokens that the other nodes are asked about at once.
const ASKING_MAX: usize = 64;
/// Sources whose bad tokens are counted; further ones are taken for those that have shown too many.
const SOURCES_MAX: usize = 4_096;

/// Whose a token is, once that is known.
pub type Whose<'a> = Pin<Box<dyn Future<Output = Result<Identity, Error>> + Send + 'a>>;

/// Knows tokens.
pub trait TokenDirectory: Send + Sync {
    /// Whose the secret of this hash is as far as is known here.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] if nobody's.
    fn known(&self, hash: Digest) -> Result<Identity, Error>;

    /// The same, once everything that was acknowledged is known here: [`ErrorCode::Unavailable`] if this node cannot say.
    fn ask(&self, hash: Digest) -> Whose<'_>;
}

/// Lets in whoever shows a token.
pub(super) struct Tokens {
    /// Weak: it knows the endpoint too, by way of consensus.
    directory: OnceLock<Weak<dyn TokenDirectory>>,
    bad: BadTokens,
    unproved: Unproved,
    /// Places of tokens that the other nodes are asked about.
    asking: Semaphore,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            directory: OnceLock::new(),
            bad: BadTokens::default(),
            unproved: Unproved::default(),
            asking: Semaphore::new(ASKING_MAX),
        }
    }
}

/// A connection that waits to hear whether it may stay.
pub(super) struct Asking {
    stream: SendStream,
    place: Place,
}

impl Tokens {
    /// Asks this one from now on. Only the first one counts.
    pub(super) fn know(&self, directory: Weak<dyn TokenDirectory>) {
        let _ = self.directory.set(directory);
    }

    /// Waits for the token and says whose it is. Who showed one, or should have, waits in `asking` for the answer.
    pub(super) async fn identify(
        &self,
        quic: &quinn::Connection,
        asking: &mut Option<Asking>,
    ) -> Result<(Identity, Digest), Error> {
        let from = quic.remote_address().ip();
        let place = self.unproved.enter(from);
        let first = async {
            let (stream, receive) = quic.accept_bi().await.map_err(|error| TransportError::from(error).to_string())?;
            Ok::<_, String>((stream, read(receive).await))
        };
        let (stream, read) = tokio::select! {
            first = timeout(HANDSHAKE_TIMEOUT, first) => match first {
                Ok(first) => first.map_err(|why| unauthenticated(&why))?,
                Err(_) => return Err(unauthenticated("none came in time")),
            },
            () = place.gone() => {
                return Err(Error::new(ErrorCode::Overloaded, "others came after it while it showed no token"));
            }
        };
        *asking = Some(Asking { stream, place });
        let hash = read.map_err(unauthenticated)?.hash();
        Ok((self.whose(hash, source(from)).await?, hash))
    }

    async fn whose(&self, hash: Digest, source: IpAddr) -> Result<Identity, Error> {
        let Some(directory) = self.directory.get().and_then(Weak::upgrade) else {
            return Err(Error::new(ErrorCode::Unavailable, "the node is starting, or stopping"));
        };
        let unknown = match directory.known(hash) {
            Ok(identity) => return Ok(identity),
            Err(error) => error,
        };
        // Taken before others are asked: many at once are many all the same.
        if !self.bad.take(source, Instant::now()) {
            let message =
                format!("{}; many bad tokens came from this address, so that nobody else is asked", unknown.message);
            let wait = u64::try_from(COUNTED_TOGETHER.as_millis()).unwrap_or(u64::MAX);
            return Err(Error::new(ErrorCode::Overloaded, message).retry_after_ms(wait));
        }
        let Ok(_asking) = self.asking.try_acquire() else {
            self.bad.give_back(source);
            return Err(Error::new(ErrorCode::Unavailable, "this node asks whose other tokens are; try again"));
        };
        let late =
            |_| Err(Error::new(ErrorCode::Unavailable, "this node cannot say whose the token is: no answer in time"));
        let asked = timeout(TOKEN_LOOK_UP_TIMEOUT, directory.ask(hash)).await.unwrap_or_else(late);
        if !matches!(&asked, Err(error) if error.code == ErrorCode::Unauthenticated) {
            self.bad.give_back(source);
        }
        asked
    }
}

impl Asking {
    /// Answers; says whether the other side can have heard it.
    pub(super) async fn answer(mut self, refused: Option<&Error>) -> bool {
        let answer = refused.map_or(Ok(()), Err);
        let mut bytes = Vec::new();
        let said = async {
            frame::encode(&answer, &mut bytes, usize::MAX).ok()?;
            self.stream.write_all(&bytes).await.ok()?;
            self.stream.finish().ok()?;
            if refused.is_some() {
                // The connection is closed after that, whether or not they have read why.
                let _ = self.stream.stopped().await;
            }
            Some(())
        };
        // Who takes nothing waits in vain: it is one of those who have shown nothing, and gives way like them.
        tokio::select! {
            biased;
            said = timeout(REFUSAL_GRACE, said) => matches!(said, Ok(Some(()))),
            () = self.place.gone() => false,
        }
    }
}

async fn read(mut receive: RecvStream) -> Result<TokenSecret, &'static str> {
    let mut header = [0; HEADER_BYTES];
    receive.read_exact(&mut header).await.map_err(|_| "its first stream ends early")?;
    let length = frame::length(header, UNPROVED_FRAME_BYTES_MAX).map_err(|_| "its first frame is too large for one")?;
    let mut body = vec![0; length];
    receive.read_exact(&mut body).await.map_err(|_| "its first stream ends early")?;
    match frame::decode(&body) {
        Ok(StreamOpen::Authenticate(secret)) => Ok(secret),
        Ok(_) => Err("its first stream is for something else"),
        Err(_) => Err("its first frame is malformed"),
    }
}

/// The refusal of a connection that does not show what it should.
fn unauthenticated(why: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, format!("the connection shows no certificate, and no token: {why}"))
}

/// How such a connection is closed.
pub(super) const fn close_code(error: &Error) -> CloseCode {
    match error.code {
        ErrorCode::Overloaded => CloseCode::Overloaded,
        _ => CloseCode::Unauthenticated,
    }
}

/// How many bad tokens each source has shown lately.
#[derive(Default)]
struct BadTokens(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl BadTokens {
    /// Counts one, unless there were too many.
    fn take(&self, source: IpAddr, now: Instant) -> bool {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            sources.retain(|_, (since, _)| !is_over(*since, now));
            if sources.len() >= SOURCES_MAX {
                return false;
            }
        }
        let (since, count) = sources.entry(source).or_insert((now, 0));
        if is_over(*since, now) {
            (*since, *count) = (now, 0);
        }
        let may = *count < BAD_TOKENS_PER_ADDRESS_MAX;
        *count += u32::from(may);
        may
    }

    /// It was none.
    fn give_back(&self, source: IpAddr) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = sources.get_mut(&source) {
            *count = count.saturating_sub(1);
        }
    }
}

fn is_over(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= COUNTED_TOGETHER
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn bad_tokens_are_counted_by_source_and_for_a_minute() {
        let (bad, start) = (BadTokens::default(), Instant::now());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let taken = (0..100).filter(|_| bad.take(one, start)).count();
        assert_eq!(taken, BAD_TOKENS_PER_ADDRESS_MAX as usize);
        assert!(bad.take(other, start));
        bad.give_back(one);
        assert!(bad.take(one, start) && !bad.take(one, start), "what was none is not counted");
        let later = start + COUNTED_TOGETHER;
        assert!(bad.take(one, later) && bad.take(one, later), "they are counted anew");
    }

    #[test]
    fn sources_are_bounded_and_those_beyond_are_not_trusted() {
        let (bad, start) = (BadTokens::default(), Instant::now());
        let address = |number: u32| IpAddr::V4(number.into());
        assert_eq!((0..10_000).filter(|number| bad.take(address(*number), start)).count(), SOURCES_MAX);
        assert!(bad.take(address(0), start), "who is known is counted on");
        assert!(bad.take(address(9_999), start + COUNTED_TOGETHER), "room comes back");
        assert_eq!(bad.0.lock().unwrap().len(), 1);
    }
}
