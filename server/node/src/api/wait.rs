//! Waiting for the end of something, for as long as the request says and its session lasts.

use super::session::Session;
use crate::dispatch::Watched;
use jobraft_protocol::{Consistency, limits};
use std::hash::Hash;
use std::time::Duration;

/// Waits until what is watched has ended, or until it is better to read it again and answer.
pub(super) async fn wait<I: Eq + Hash>(
    session: &Session,
    mut watched: Watched<I>,
    consistency: Consistency,
    wait_ms: u64,
) {
    let mut leadership = session.api.consensus.leadership();
    let lost = async {
        match consistency {
            // A node that is deposed may never hear of the end; the leader will. Gone or stopping is the same.
            Consistency::Linearizable => drop(leadership.wait_for(|now| !now.is_leader).await),
            Consistency::Stale => std::future::pending().await,
        }
    };
    tokio::select! {
        () = watched.ended() => {}
        () = lost => {}
        () = session.closed.cancelled() => {}
        () = tokio::time::sleep(Duration::from_millis(wait_ms.min(limits::WAIT_MS_MAX))) => {}
    }
}
