//! The invariants of the design, asked of each entry that the cluster agrees on.
//!
//! The core keeps to them by itself, or its own tests would fail; here they are asked again from outside, of what real
//! clients made of a real log, with what little is remembered here.

use jobraft_core::Core;
use jobraft_core::command::{Applied, Command, Entry, Event, Outcome};
use jobraft_protocol::{FencingToken, JobAction, JobId, JobState, LogTime};
use std::collections::BTreeMap;

/// What is remembered from entry to entry.
#[derive(Debug, Default)]
pub struct Rules {
    last_token: Option<FencingToken>,
    held: BTreeMap<JobId, Held>,
    ended: BTreeMap<JobId, JobState>,
    leases: u64,
    ends: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    token: FencingToken,
    expires_at: LogTime,
}

impl Rules {
    /// Leases granted so far.
    #[must_use]
    pub const fn leases(&self) -> u64 {
        self.leases
    }

    /// Jobs that ended so far.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ends
    }

    /// What an entry broke, if anything. `core` has applied it.
    pub fn check(&mut self, entry: &Entry, applied: &Applied, core: &Core) -> Vec<String> {
        let mut broken = Vec::new();
        let only_time_ends = entry.commands.iter().all(ends_no_lease);
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            self.retried(command, outcome.as_ref().ok());
            if let Ok(Outcome::Leased(leased)) = outcome {
                for job in &leased.jobs {
                    self.leased(job, core, only_time_ends, &mut broken);
                }
            }
        }
        self.follow_leases(core, only_time_ends, &mut broken);
        for event in &applied.events {
            if let Event::Ended(id) = event {
                self.ends += 1;
                if let Some(view) = core.view(*id) {
                    self.end(*id, view.state, &mut broken);
                }
            }
        }
        broken
    }

    /// An explicit retry leaves `dead`; a deleted job is nobody's business any more.
    fn retried(&mut self, command: &Command, outcome: Option<&Outcome>) {
        if let (
            Command::Act { targets, action: JobAction::Retry | JobAction::Delete, .. },
            Some(Outcome::Acted(done)),
        ) = (command, outcome)
        {
            for (target, _) in targets.iter().zip(done).filter(|(_, done)| done.is_ok()) {
                self.ended.remove(&target.job);
            }
        }
    }

    fn leased(&mut self, job: &jobraft_protocol::LeasedJob, core: &Core, only_time: bool, broken: &mut Vec<String>) {
        self.leases += 1;
        let (id, token) = (job.id, job.token);
        if self.last_token.is_some_and(|last| token <= last) {
            broken.push(format!(
                "fencing tokens strictly increase: {token:?} for job {id} follows {:?}",
                self.last_token
            ));
        }
        self.last_token = self.last_token.max(Some(token));
        if let Some(held) = self.held.get(&id)
            && only_time
            && held.expires_at > core.now()
        {
            broken.push(format!("at most one live lease: job {id} was held until {:?}", held.expires_at));
        }
        if let Some(state) = self.ended.get(&id) {
            broken.push(format!("terminal states are absorbing: job {id} was {state:?} and runs again"));
        }
        if job.attempt > job.max_attempts {
            broken.push(format!(
                "attempts never exceed the limit: job {id} begins {} of {}",
                job.attempt, job.max_attempts
            ));
        }
        if let Some(view) = core.view(id) {
            if view.run_at > core.now() {
                broken.push(format!(
                    "a scheduled job is never leased before its time: job {id} runs at {:?}",
                    view.run_at
                ));
            }
            if view.state != JobState::Leased && only_time {
                broken.push(format!("job {id} was leased and is {:?}", view.state));
            }
        }
        self.held.insert(id, Held { token, expires_at: job.expires_at });
    }

    /// Forgets leases that ended, and asks how.
    fn follow_leases(&mut self, core: &Core, only_time: bool, broken: &mut Vec<String>) {
        let now = core.now();
        self.held.retain(|id, held| {
            let lease = core.view(*id).and_then(|view| view.lease).filter(|lease| lease.token == held.token);
            match &lease {
                Some(lease) => held.expires_at = lease.expires_at,
                None if only_time && held.expires_at > now => {
                    broken.push(format!("only log time ends a lease: that of job {id} would have held on"));
                }
                None => {}
            }
            lease.is_some()
        });
    }

    fn end(&mut self, id: JobId, state: JobState, broken: &mut Vec<String>) {
        if !state.is_terminal() {
            return;
        }
        if let Some(before) = self.ended.insert(id, state)
            && before != state
        {
            broken.push(format!("terminal states are absorbing: job {id} was {before:?} and is {state:?}"));
        }
    }
}

/// Whether a command can end no lease, so that only time can have.
fn ends_no_lease(command: &Command) -> bool {
    matches!(
        command,
        Command::Enqueue { .. }
            | Command::Tick { .. }
            | Command::RunSchedule { .. }
            | Command::RegisterWorker { .. }
            | Command::WorkersSeen { .. }
            | Command::Lease { .. }
            | Command::Extend { .. }
            | Command::Checkpoint { .. }
            | Command::ChangeToken { .. }
            | Command::TokensUsed { .. }
            | Command::ChangeSecret { .. }
            | Command::ChangeNamespace { .. }
            | Command::PutModule { .. }
    )
}
