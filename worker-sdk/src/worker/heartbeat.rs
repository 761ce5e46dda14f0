//! Heartbeats: one extend for all that the worker holds, and word that the worker is alive, on the client's own thread.
//!
//! What is pushed about a lease is a hint: it may be lost, or come before the lease itself. The answer to an extend says
//! the same again, so leases are extended three times in their length, and once in [`ALIVE_PERIOD`] however long they are.

use super::Shared;
use super::table::Stop;
use jobraft_protocol::ErrorCode;
use jobraft_protocol::limits::WORKER_SEEN_MS;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};

/// How many heartbeats there are in a lease: two may be lost.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// How often the cluster hears that the worker is alive, whatever it holds.
const ALIVE_PERIOD: Duration = Duration::from_millis(WORKER_SEEN_MS);

/// Extends leases for ever. A lease that is answered as lost stops its job at once; one that is not answered runs into
/// its deadline. A job that was cancelled hears of it, should the push have been lost.
pub(super) async fn extending(shared: &Shared) {
    let period = (shared.lease / HEARTBEATS_PER_LEASE).min(ALIVE_PERIOD);
    let mut ticks = every(period);
    loop {
        ticks.tick().await;
        let leases = shared.table.leases();
        if leases.is_empty() {
            continue;
        }
        // The first attempt's beginning: whichever attempt takes effect does so later.
        let sent = Instant::now();
        let answers = match shared.client.extend_within(&leases, shared.lease, period).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(%error, leases = leases.len(), "leases not extended; their jobs stop when they run out");
                continue;
            }
        };
        for (lease, answer) in leases.iter().zip(answers) {
            match answer {
                Ok(extended) => {
                    shared.table.extend(lease, shared.deadline(extended.expires_at, sent));
                    if let Some(notice) = extended.cancel {
                        shared.cancel(lease, notice);
                    }
                }
                Err(error) => match error.code {
                    ErrorCode::LeaseLost | ErrorCode::Cancelled | ErrorCode::NotFound | ErrorCode::WrongState => {
                        shared.table.stop(lease, Stop::Lost);
                    }
                    _ => tracing::warn!(job = %lease.job, %error, "lease not extended"),
                },
            }
        }
    }
}

/// Says for ever that the worker is alive, and hears what it is told to do, should the push have been lost.
pub(super) async fn living(shared: &Shared) {
    let mut ticks = every(ALIVE_PERIOD);
    loop {
        ticks.tick().await;
        match shared.client.heartbeat(shared.worker()).await {
            Ok(order) => shared.ordered(order),
            // The subscription is what registers again.
            Err(error) if error.code() == Some(ErrorCode::NotFound) => shared.forgotten.notify_one(),
            Err(error) => tracing::debug!(%error, "heartbeat not answered"),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
