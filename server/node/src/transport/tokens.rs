//! Connections without a certificate: the token that they show instead, on their first stream.
//!
//! What must hold: whoever has shown neither can have a node hold a handshake's place for a short while, and no more; how many
//! places is bounded for each source. Bad tokens are counted by source. Beyond a number of them nobody asks the other nodes for
//! that source's tokens; those that are known to be good are let in all the same, since 256 random bits are not guessed, and
//! one program with an old token must not lock out others behind the same address.

use super::CloseCode;
use super::limits::REFUSAL_GRACE;
use crate::shares::Shares;
use crate::tls::Identity;
use jobraft_protocol::frame::{self, HEADER_BYTES};
use jobraft_protocol::limits::{BAD_TOKENS_PER_ADDRESS_MAX, UNPROVED_FRAME_BYTES_MAX, UNPROVED_PER_ADDRESS_MAX};
use jobraft_protocol::{Digest, Error, ErrorCode, StreamOpen, TokenSecret};
use quinn::{RecvStream, SendStream};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The time in which bad tokens of one source are counted together.
const COUNTED_TOGETHER: Duration = Duration::from_secs(60);
/// Sources whose bad tokens are counted; further ones are taken for those that have shown too many.
const SOURCES_MAX: usize = 4_096;

/// Whose a token is, once that is known.
pub type Whose<'a> = Pin<Box<dyn Future<Output = Result<Identity, Error>> + Send + 'a>>;

/// Knows tokens.
pub trait TokenDirectory: Send + Sync {
    /// Whose the secret of this hash is: [`ErrorCode::Unauthenticated`] if nobody's, and another error if this node cannot say.
    /// Only if it may `ask`, others are asked about one that is not known here.
    fn whose(&self, hash: Digest, ask: bool) -> Whose<'_>;
}

/// What a connection showed.
pub(super) struct Shown {
    /// Who it is thereby.
    pub(super) identity: Identity,
    /// The token.
    pub(super) hash: Digest,
}

/// Lets in whoever shows a token.
#[derive(Default)]
pub(super) struct Tokens {
    /// Weak: it knows the endpoint too, by way of consensus.
    directory: OnceLock<Weak<dyn TokenDirectory>>,
    bad: BadTokens,
    unproved: Unproved,
}

struct Unproved(Shares);

impl Default for Unproved {
    fn default() -> Self {
        Self(Shares::new(UNPROVED_PER_ADDRESS_MAX))
    }
}

impl Tokens {
    /// Asks this one from now on. Only the first one counts.
    pub(super) fn know(&self, directory: Weak<dyn TokenDirectory>) {
        let _ = self.directory.set(directory);
    }

    /// Waits for the token. The stream on which it came, and on which its answer is waited for, is put into `asking`.
    pub(super) async fn identify(
        &self,
        quic: &quinn::Connection,
        asking: &mut Option<SendStream>,
    ) -> Result<Shown, Error> {
        let source = source(quic.remote_address().ip());
        let Ok(_place) = self.unproved.0.of(source.to_string()).try_acquire_owned() else {
            let message = format!("{UNPROVED_PER_ADDRESS_MAX} connections from there have shown no token yet");
            return Err(Error::new(ErrorCode::Overloaded, message));
        };
        let (stream, receive) = quic.accept_bi().await.map_err(|error| unauthenticated(&error.to_string()))?;
        *asking = Some(stream);
        let shown = self.look_up(receive, source).await;
        if shown.is_err() {
            self.bad.count(source, Instant::now());
        }
        shown
    }

    async fn look_up(&self, receive: RecvStream, source: IpAddr) -> Result<Shown, Error> {
        let hash = read(receive).await?.hash();
        let Some(directory) = self.directory.get().and_then(Weak::upgrade) else {
            return Err(Error::new(ErrorCode::Unavailable, "the node is starting, or stopping"));
        };
        let may_ask = !self.bad.are_too_many(source, Instant::now());
        match directory.whose(hash, may_ask).await {
            Ok(identity) => Ok(Shown { identity, hash }),
            Err(_) if !may_ask => {
                let message =
                    "too many bad tokens came from this address; see that nothing there keeps using an old one";
                let wait = u64::try_from(COUNTED_TOGETHER.as_millis()).unwrap_or(u64::MAX);
                Err(Error::new(ErrorCode::Overloaded, message).retry_after_ms(wait))
            }
            Err(error) => Err(error),
        }
    }
}

/// Answers whoever showed a token, or should have.
pub(super) async fn answer(mut stream: SendStream, refused: Option<&Error>) {
    let answer = refused.map_or(Ok(()), Err);
    let mut bytes = Vec::new();
    if frame::encode(&answer, &mut bytes, usize::MAX).is_err() || stream.write_all(&bytes).await.is_err() {
        return;
    }
    let is_finished = stream.finish().is_ok();
    if is_finished && refused.is_some() {
        // The connection is closed after that, whether or not they have read why.
        let _ = timeout(REFUSAL_GRACE, stream.stopped()).await;
    }
}

async fn read(mut receive: RecvStream) -> Result<TokenSecret, Error> {
    let mut header = [0; HEADER_BYTES];
    let cut = |error: quinn::ReadExactError| unauthenticated(&error.to_string());
    receive.read_exact(&mut header).await.map_err(cut)?;
    let length =
        frame::length(header, UNPROVED_FRAME_BYTES_MAX).map_err(|error| unauthenticated(&error.to_string()))?;
    let mut body = vec![0; length];
    receive.read_exact(&mut body).await.map_err(cut)?;
    match frame::decode(&body) {
        Ok(StreamOpen::Authenticate(secret)) => Ok(secret),
        Ok(_) => Err(unauthenticated("it came with neither a certificate nor a token")),
        Err(error) => Err(unauthenticated(&error.to_string())),
    }
}

/// The refusal of a connection that does not show what it should.
pub(super) fn unauthenticated(why: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, format!("the connection shows no certificate, and no token: {why}"))
}

/// How such a connection is closed.
pub(super) const fn close_code(error: &Error) -> CloseCode {
    match error.code {
        ErrorCode::Overloaded => CloseCode::Overloaded,
        _ => CloseCode::Unauthenticated,
    }
}

/// From where it came, as far as that is one's own to choose: networks of IPv6 give everybody 2^64 addresses.
fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or_else(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))), IpAddr::V4),
    }
}

/// How many bad tokens each source has shown lately.
#[derive(Default)]
struct BadTokens(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl BadTokens {
    fn count(&self, source: IpAddr, now: Instant) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, (since, _)| !is_over(*since, now));
        }
        if sources.len() < SOURCES_MAX || sources.contains_key(&source) {
            let (since, count) = sources.entry(source).or_insert((now, 0));
            if is_over(*since, now) {
                (*since, *count) = (now, 0);
            }
            *count = count.saturating_add(1);
        }
    }

    fn are_too_many(&self, source: IpAddr, now: Instant) -> bool {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sources.get(&source) {
            Some((since, count)) => !is_over(*since, now) && *count >= BAD_TOKENS_PER_ADDRESS_MAX,
            None => sources.len() >= SOURCES_MAX && sources.values().all(|(since, _)| !is_over(*since, now)),
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
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| source(text.parse().unwrap()));
        for count in 0..BAD_TOKENS_PER_ADDRESS_MAX {
            assert!(!bad.are_too_many(one, start), "after {count}");
            bad.count(one, start);
        }
        assert!(bad.are_too_many(one, start) && !bad.are_too_many(other, start));
        assert!(!bad.are_too_many(one, start + COUNTED_TOGETHER));
        bad.count(one, start + COUNTED_TOGETHER);
        assert!(!bad.are_too_many(one, start + COUNTED_TOGETHER), "they are counted anew");
    }

    #[test]
    fn sources_are_bounded_and_those_beyond_are_not_trusted() {
        let (bad, start) = (BadTokens::default(), Instant::now());
        for number in 0..10_000_u32 {
            bad.count(IpAddr::V4(number.into()), start);
        }
        assert_eq!(bad.0.lock().unwrap().len(), SOURCES_MAX);
        let later = start + COUNTED_TOGETHER;
        let beyond = IpAddr::V4(9_999.into());
        assert!(bad.are_too_many(beyond, start) && !bad.are_too_many(beyond, later));
        bad.count(beyond, later);
        assert_eq!(bad.0.lock().unwrap().len(), 1, "room comes back");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
