//! Work that blocks.

use super::{DiskWork, is_simulated, simulated};
use std::panic::resume_unwind;
use std::sync::mpsc;
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

/// Takes what `first` gives, until it gives nothing more, through `then` to `last`, or until that fails: each on a processor of
/// its own, if there are as many, and little ahead of the next.
pub(crate) fn pipeline<A: Send, B: Send, E>(
    mut first: impl FnMut() -> Option<A> + Send,
    mut then: impl FnMut(A) -> B + Send,
    mut last: impl FnMut(B) -> Result<(), E>,
) -> Result<(), E> {
    if is_simulated() {
        return std::iter::from_fn(first).try_for_each(|item| last(then(item)));
    }
    std::thread::scope(|scope| {
        let (to_then, from_first) = mpsc::sync_channel(1);
        let (to_last, from_then) = mpsc::sync_channel(1);
        scope.spawn(move || std::iter::from_fn(&mut first).try_for_each(|item| to_then.send(item)));
        scope.spawn(move || from_first.into_iter().try_for_each(|item| to_last.send(then(item))));
        from_then.into_iter().try_for_each(&mut last)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_takes_all_in_order_and_ends_with_the_first_failure() {
        for fails_at in [None, Some(0), Some(500)] {
            let (mut given, mut taken) = (0, Vec::new());
            let first = || {
                given += 1;
                (given <= 1_000).then_some(given)
            };
            let result = pipeline(
                first,
                |number: usize| number * 2,
                |number| {
                    if fails_at == Some(taken.len()) {
                        return Err(number);
                    }
                    taken.push(number);
                    Ok(())
                },
            );
            assert_eq!(result, fails_at.map_or(Ok(()), |place| Err((place + 1) * 2)));
            assert_eq!(taken, (1..=fails_at.unwrap_or(1_000)).map(|number| number * 2).collect::<Vec<_>>());
            assert!(fails_at.is_none_or(|place| given <= place + 6), "{given}: not far ahead");
        }
    }
}
