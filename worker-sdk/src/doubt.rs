//! Leaves a node that has fallen silent as soon as another one leads.
//!
//! A node that dies without a word leaves its connections open; QUIC gives them up after seconds, by which others have long
//! elected. So the connection is looked at: what was sent and not answered by any packet is a doubt, and in doubt another
//! node is asked who leads, again and again. Only its word moves the client; a node that is merely slow, and leads, is kept.

use crate::router::Router;
use quinn::ConnectionStats;
use std::sync::Weak;
use std::time::{Duration, Instant};

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a node may let packets go unanswered before others are asked: several round trips across the world.
const PATIENCE: Duration = Duration::from_millis(750);

/// Looks at the client's connection until the client is gone or closed.
pub(crate) async fn watch(router: Weak<Router>) {
    let mut connection = None;
    let mut silence = Silence::default();
    let mut witness = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(router) = router.upgrade() else { return };
        let Ok(current) = router.current() else { return };
        let Some(session) = current else { continue };
        let id = Some(session.connection.stable_id());
        if std::mem::replace(&mut connection, id) != id {
            silence = Silence::default();
        }
        let asked_before = witness.take();
        if silence.lasts(&session.connection.stats(), Instant::now()) >= PATIENCE {
            witness = router.look_elsewhere(&session, asked_before).await;
        }
    }
}

/// How long packets have gone unanswered.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    /// Packets, as of when one was last seen to have come.
    received: u64,
    /// Packets by then.
    sent: u64,
    /// When it was first seen that more were sent.
    since: Option<Instant>,
}

impl Silence {
    /// Takes in the counts of now, of which none goes back.
    fn lasts(&mut self, stats: &ConnectionStats, now: Instant) -> Duration {
        let (received, sent) = (stats.udp_rx.datagrams, stats.udp_tx.datagrams);
        if received != self.received {
            *self = Self { received, sent, since: None };
        } else if sent != self.sent && self.since.is_none() {
            self.since = Some(now);
        }
        self.since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(received: u64, sent: u64) -> ConnectionStats {
        let mut stats = ConnectionStats::default();
        (stats.udp_rx.datagrams, stats.udp_tx.datagrams) = (received, sent);
        stats
    }

    #[test]
    fn silence_begins_with_what_is_not_answered() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let mut at =
            |ms, received, sent| silence.lasts(&counts(received, sent), start + Duration::from_millis(ms)).as_millis();
        assert_eq!(at(0, 5, 5), 0);
        assert_eq!(at(250, 5, 5), 0, "who asks nothing hears nothing");
        assert_eq!(at(9_000, 5, 5), 0);
        assert_eq!(at(9_250, 5, 6), 0, "it has just been asked");
        assert_eq!(at(9_500, 5, 6), 250);
        assert_eq!(at(10_000, 5, 8), 750, "asked again");
        assert_eq!(at(10_250, 6, 9), 0, "there it is");
        assert_eq!(at(10_500, 6, 9), 0);
        assert_eq!(at(10_750, 6, 10), 0);
        assert_eq!(at(11_500, 6, 10), 750);
    }
}
