//! Work that blocks.

use super::{DiskWork, is_simulated, simulated};
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Runs what waits for the disk, or computes for long, where nobody else waits for it. It begins at once and ends also
/// if nobody awaits it.
pub(crate) fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    if !is_simulated() {
        return tokio::task::spawn_blocking(work);
    }
    tokio::spawn(async move {
        pause(DiskWork::Aside).await;
        work()
    })
}

/// Runs two things that compute for long, or wait for the disk, on a processor each.
pub(crate) fn both<A: Send, B>(aside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    if is_simulated() {
        return (aside(), here());
    }
    std::thread::scope(|scope| {
        let aside = scope.spawn(aside);
        let here = here();
        (aside.join().unwrap_or_else(|panic| resume_unwind(panic)), here)
    })
}

/// Runs what computes for long, and what nobody waits for, on a thread of its own; a simulated machine has none, and waits.
pub(crate) fn aside(work: impl FnOnce() + Send + 'static) {
    if is_simulated() {
        return work();
    }
    let started = std::thread::Builder::new().name("aside".to_owned()).spawn(work);
    if let Err(error) = started {
        tracing::warn!(%error, "a thread could not be started");
    }
}

/// Lets simulated time go by; a real disk takes its time by itself.
pub(crate) async fn pause(work: DiskWork) {
    let time = simulated().map_or(Duration::ZERO, |machine| machine.disk_time(work));
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
