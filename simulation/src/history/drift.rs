//! What happens to a job by itself: its time comes, its lease runs out, it expires, what it waits for ends.
//!
//! Each step moves log time no further than it must, so that whatever is possible later stays possible.

use super::life::{Ended, Facts, Lease, Life, Phase, REMEMBERED_MS};
use jobraft_protocol::{JobState, limits};

/// What may happen meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meanwhile {
    /// Log time is no later than this in the end.
    pub(super) until: u64,
    /// Whether a worker that nobody hears of may lease it.
    pub(super) unseen: bool,
}

impl Life {
    /// All that may have become of it by itself, itself among them.
    pub(super) fn drifted(&self, facts: &Facts, meanwhile: Meanwhile) -> Vec<Self> {
        let mut all = vec![self.clone()];
        let mut looked_at = 0;
        while let Some(life) = all.get(looked_at).cloned() {
            looked_at += 1;
            for next in life.drift(facts, meanwhile) {
                if !all.contains(&next) {
                    all.push(next);
                }
            }
        }
        all
    }

    /// What may happen to it next.
    pub(super) fn drift(&self, facts: &Facts, meanwhile: Meanwhile) -> Vec<Self> {
        let mut next = match &self.phase {
            Phase::Absent | Phase::Ended(_) => Vec::new(),
            Phase::Waiting => self.drift_waiting(facts, meanwhile),
            Phase::Leased(lease) => self.drift_leased(facts, lease, meanwhile),
        };
        next.retain(|life| life.now <= meanwhile.until);
        next
    }

    fn drift_waiting(&self, facts: &Facts, meanwhile: Meanwhile) -> Vec<Self> {
        let mut next = Vec::new();
        if meanwhile.unseen && self.attempt < facts.max_attempts {
            let mut leased = self.at(self.runs_from(facts));
            let granted = leased.now;
            let expires = granted.saturating_add(limits::LEASE_MS_MIN);
            leased.attempt += 1;
            leased.started = true;
            leased.reported = None;
            leased.phase = Phase::Leased(Lease {
                heard: false,
                token: None,
                worker: None,
                granted,
                expires,
                extended: false,
                cancel: None,
            });
            next.push(leased);
        }
        for at in self.expiries(facts) {
            next.push(self.at(at).ended(JobState::Expired, None));
        }
        if facts.comes_after {
            next.push(self.ended(JobState::Cancelled, None));
        }
        next
    }

    /// When it may expire, at the earliest.
    fn expiries(&self, facts: &Facts) -> Vec<u64> {
        // Another may have taken its place, with limits of its own.
        if facts.replaceable {
            return vec![self.now];
        }
        let ttl = facts.ttl_ms.filter(|_| self.attempt == 0 && !self.retried);
        let deadline = facts.start_deadline_ms.filter(|_| !self.retried);
        let ttl = ttl.map(|ms| self.enqueued.0.saturating_add(ms));
        let deadline = deadline.map(|ms| self.first_run_at.saturating_add(ms));
        ttl.into_iter().chain(deadline).collect()
    }

    fn drift_leased(&self, facts: &Facts, lease: &Lease, meanwhile: Meanwhile) -> Vec<Self> {
        let mut next = Vec::new();
        if !lease.heard {
            next.push(self.given_back(0));
        }
        let over = self.at(lease.expires);
        if lease.cancel.is_some() {
            next.push(over.ended(JobState::Cancelled, None));
            return next;
        }
        if lease.extended {
            // Its worker let it run longer than it may: that is a failure.
            let failed = over.at(lease.granted.saturating_add(facts.run_timeout_ms));
            next.push(failed.failed(facts, None));
        }
        let mut crashed = over;
        crashed.attempt -= 1;
        crashed.crashes += 1;
        if crashed.crashes >= facts.max_crashes || meanwhile.unseen {
            next.push(crashed.ended(JobState::Dead, None));
        }
        // Of one that nobody heard of no more can be known than that it was given back.
        if crashed.crashes < facts.max_crashes && lease.token.is_some() {
            crashed.phase = Phase::Waiting;
            crashed.run_at = crashed.now;
            next.push(crashed);
        }
        next
    }

    /// The same, no earlier than that time.
    pub(super) fn at(&self, time: u64) -> Self {
        Self { now: self.now.max(time), ..self.clone() }
    }

    /// Its life is over. A failure that was reported before is still known by its token.
    pub(super) fn ended(&self, state: JobState, token: Option<u64>) -> Self {
        let token = token.or(self.reported);
        let ended = Ended { state, token, since: self.now, finished: None, result: 0, deleted: false };
        Self { phase: Phase::Ended(ended), ..self.clone() }
    }

    /// An attempt failed in a way that another may mend.
    pub(super) fn failed(&self, facts: &Facts, token: Option<u64>) -> Self {
        if matches!(&self.phase, Phase::Leased(Lease { cancel: Some(_), .. })) {
            return self.ended(JobState::Cancelled, token);
        }
        if self.attempt >= facts.max_attempts {
            return self.ended(JobState::Dead, token);
        }
        Self { phase: Phase::Waiting, run_at: self.now, reported: token, ..self.clone() }
    }

    /// Its lease ended, and the attempt does not count.
    pub(super) fn given_back(&self, delay_ms: u64) -> Self {
        let mut next = self.clone();
        next.attempt -= 1;
        if matches!(&self.phase, Phase::Leased(Lease { cancel: Some(_), .. })) {
            return next.ended(JobState::Cancelled, None);
        }
        next.phase = Phase::Waiting;
        next.run_at = self.now.saturating_add(delay_ms);
        next
    }

    /// Whether it ended so long ago that the cluster may have forgotten its id by then.
    pub(super) fn may_be_forgotten(&self, until: u64) -> bool {
        matches!(&self.phase, Phase::Ended(ended) if ended.since.saturating_add(REMEMBERED_MS) <= until)
    }
}
