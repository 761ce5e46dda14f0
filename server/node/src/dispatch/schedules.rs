//! The calendar of the schedules: the leader says which ticks are due, and the state machine what becomes of them.
//!
//! Nothing here is needed to know what is true: the state holds up to where the ticks of each schedule are dealt with, and
//! passes over what it is told twice. A new leader begins with nothing else.

use super::timetable::{Due, Timetable};
use crate::consensus::{Consensus, Leadership};
use crate::machine;
use futures_util::future::join_all;
use jobraft_core::Core;
use jobraft_protocol::{LogTime, ScheduleName};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

/// How often the time is looked at though nothing is due yet: log time may have gone on faster than the time that was waited.
const RECHECK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Schedules {
    /// Whether schedules changed since they were last read.
    is_stale: AtomicBool,
    changed: Notify,
}

impl Schedules {
    /// A schedule was put, paused, resumed or removed.
    pub(super) fn changed(&self) {
        self.is_stale.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Says which ticks are due while this node leads, until consensus stops.
    pub(super) async fn run(&self, consensus: Consensus) {
        let mut leadership = consensus.leadership();
        // Kept while others lead, for what was read of expressions.
        let mut table = Timetable::default();
        while leadership.wait_for(|now| now.is_leader).await.is_ok() {
            self.is_stale.store(true, Ordering::SeqCst);
            while leadership.borrow().is_leader {
                let plans = self.is_stale.swap(false, Ordering::SeqCst).then(|| consensus.read(Core::plans));
                let now = consensus.log_time();
                if plans.is_none() && table.next().is_none_or(|at| at > now) {
                    if !self.wait(table.next(), now, &mut leadership).await {
                        return;
                    }
                    continue;
                }
                // To read the calendar takes a while if there is much to make up for.
                let stepped = machine::blocking(move || {
                    if let Some(plans) = plans {
                        table.renew(plans);
                    }
                    let due = table.due(now);
                    (table, due)
                });
                let due;
                (table, due) = stepped.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "could not read the calendar of the schedules; please report this");
                    (Timetable::default(), Vec::new())
                });
                tell(&consensus, &mut table, due).await;
            }
        }
    }

    /// Waits until something is due, but not for long, or until something changes; says whether consensus goes on.
    async fn wait(&self, next: Option<LogTime>, now: LogTime, leadership: &mut watch::Receiver<Leadership>) -> bool {
        let wait = next.map_or(RECHECK, |at| RECHECK.min(Duration::from_millis(at.ms_since(now))));
        tokio::select! {
            () = self.changed.notified() => true,
            () = sleep(wait) => true,
            lost = leadership.wait_for(|now| !now.is_leader) => lost.is_ok(),
        }
    }
}

/// Tells the state machine what is due, and looks what became of it.
async fn tell(consensus: &Consensus, table: &mut Timetable, due: Vec<Due>) {
    if due.is_empty() {
        return;
    }
    let told: Vec<(ScheduleName, Option<LogTime>)> = due.iter().map(|due| (due.name.clone(), due.last())).collect();
    let answers = join_all(due.into_iter().map(|due| consensus.propose(due.into_command()))).await;
    if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
        // They are tried again, here or by the next leader.
        tracing::debug!(%error, "some ticks of schedules could not be told");
    }
    let dealt = consensus.read(|core| {
        let dealt = told.iter().map(|(name, _)| core.schedule(name).map(|schedule| schedule.ticked_to));
        dealt.collect::<Vec<_>>()
    });
    let now = consensus.log_time();
    for ((name, told_to), ticked_to) in told.into_iter().zip(dealt) {
        table.settle(name, told_to, ticked_to, now);
    }
}
