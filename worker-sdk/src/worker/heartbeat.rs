//! Heartbeats: one extend for all that the worker holds, three times in a lease, on the client's own thread.

use super::Shared;
use super::table::Stop;
use jobraft_protocol::ErrorCode;
use std::time::Instant;
use tokio::time::MissedTickBehavior;

/// How many heartbeats there are in a lease: two may be lost.
const HEARTBEATS_PER_LEASE: u32 = 3;

/// Extends leases for ever. A lease that is answered as lost stops its job at once; one that is not answered runs into
/// its deadline.
pub(super) async fn heartbeats(shared: &Shared) {
    let period = shared.lease / HEARTBEATS_PER_LEASE;
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let leases = shared.table.leases();
        if leases.is_empty() {
            continue;
        }
        // The first attempt's beginning: whichever attempt takes effect does so later.
        let sent = Instant::now();
        let ends = match shared.client.extend_within(&leases, shared.lease, period).await {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(%error, leases = leases.len(), "leases not extended; their jobs stop when they run out");
                continue;
            }
        };
        for (lease, end) in leases.iter().zip(ends) {
            match end {
                Ok(end) => shared.table.extend(lease, shared.deadline(end, sent)),
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
