//! Words to a worker that it would also learn otherwise: from the answers to its extends and heartbeats. So a session that
//! takes no more for now loses them, and nobody waits for it.

use super::orders::Sink;
use jobraft_protocol::{CancelNotice, LeaseRef, Push, ServerFrame, WorkerId, WorkerOrder, limits};

/// Which leases the worker has lost.
pub(super) fn revoked(sink: &Sink, worker: WorkerId, leases: &[LeaseRef]) {
    for leases in leases.chunks(limits::EXTEND_LEASES_MAX) {
        hint(sink, Push::Revoked { worker, leases: leases.to_vec() });
    }
}

/// A job that is to stop.
pub(super) fn cancel_requested(sink: &Sink, worker: WorkerId, lease: LeaseRef, notice: &CancelNotice) {
    hint(sink, Push::CancelRequested { worker, lease, notice: notice.clone() });
}

/// What the worker is to do.
pub(super) fn ordered(sink: &Sink, worker: WorkerId, order: WorkerOrder) {
    hint(sink, Push::Ordered { worker, order });
}

fn hint(sink: &Sink, push: Push) {
    // A fetch has no place for it.
    if let Sink::Push(pushes) = sink {
        let _ = pushes.try_send(ServerFrame::Push(push).into());
    }
}
