//! Where a client sits: its place in the history, its chances, and the way to whoever leads.

use super::plan::Site;
use super::session::Session;
use crate::history::{Ask, Call, History, Outcome};
use jobraft_protocol::{Error, ErrorCode, JobId, LeaderHint, LogTime, Push, Request, Response};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::MutexGuard;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a node may take to be reached.
const DIAL_PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(8);
/// How long a client rests after it was turned away, at most.
const REST_MS_MAX: u64 = 400;

/// What came of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was done.
    Done(Response),
    /// It was refused.
    Refused(Error),
    /// It never left.
    Unsent,
    /// Nobody knows.
    Unknown,
}

/// See the module.
pub(super) struct Seat {
    pub(super) rng: StdRng,
    site: Site,
    client: u32,
    session: Option<Session>,
    hint: Option<usize>,
    clock: Option<(Instant, LogTime)>,
    /// Pushes of a session that is over.
    kept: Vec<Push>,
    sessions: u64,
}

impl Seat {
    pub(super) fn new(site: Site, client: u32, seed: u64) -> Self {
        // Seeds that follow each other must not give chances that do.
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(client));
        Self { rng, site, client, session: None, hint: None, clock: None, kept: Vec::new(), sessions: 0 }
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.site.recorder.history()
    }

    pub(super) const fn client(&self) -> u32 {
        self.client
    }

    /// Which session it is: another one each time.
    pub(super) const fn sessions(&self) -> u64 {
        self.sessions
    }

    pub(super) const fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Log time, about.
    pub(super) fn time(&self) -> Option<LogTime> {
        let (since, time) = self.clock?;
        Some(time.plus_ms(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    pub(super) fn new_id(&mut self) -> Option<JobId> {
        let time = self.time()?;
        Some(JobId::new(time, self.rng.random()))
    }

    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent.min(100), 100)
    }

    pub(super) async fn rest(&mut self, ms_max: u64) {
        let ms = self.rng.random_range(0..=ms_max);
        sleep(Duration::from_millis(ms)).await;
    }

    /// Connects to somebody if need be; says whether there is a session.
    pub(super) async fn connect(&mut self) -> bool {
        if self.session.is_some() {
            return true;
        }
        let place = self.hint.take().unwrap_or_else(|| self.rng.random_range(0..self.site.addresses.len()));
        let (address, host) = &self.site.addresses[place];
        let open = Session::open(&self.site.endpoint, &self.site.config, *address, host);
        match timeout(DIAL_PATIENCE, open).await {
            Ok(Ok(session)) => {
                self.clock = Some((Instant::now(), session.hello.time));
                self.sessions += 1;
                // A follower that knows better is left at once.
                let leader = session.hello.leader.clone().filter(|leader| leader.node != session.hello.node);
                self.session = Some(session);
                if leader.is_some() {
                    self.leave(leader.as_ref());
                }
            }
            Ok(Err(_)) | Err(_) => self.rest(REST_MS_MAX).await,
        }
        self.session.is_some()
    }

    /// Ends the session; the next one is with the leader, if it is known.
    pub(super) fn leave(&mut self, leader: Option<&LeaderHint>) {
        if let Some(session) = &mut self.session {
            self.kept.extend(session.pushes.drain(..));
        }
        self.session = None;
        let address = leader.map(|leader| leader.address.as_str());
        self.hint = self.site.addresses.iter().position(|(at, _)| address == Some(at.to_string().as_str()));
    }

    /// Asks whoever is thought to lead.
    pub(super) async fn ask(&mut self, request: Request) -> Answer {
        if !self.connect().await {
            return Answer::Unsent;
        }
        let Some(session) = &mut self.session else { return Answer::Unsent };
        match timeout(ANSWER_PATIENCE, session.ask(request)).await {
            Ok(Ok(Ok(response))) => Answer::Done(response),
            Ok(Ok(Err(error))) => {
                match error.code {
                    ErrorCode::OutcomeUnknown | ErrorCode::Internal => return Answer::Unknown,
                    ErrorCode::NotLeader | ErrorCode::Unavailable | ErrorCode::ShuttingDown => {
                        self.leave(error.leader.as_ref());
                        self.rest(REST_MS_MAX).await;
                    }
                    _ => {}
                }
                Answer::Refused(error)
            }
            Ok(Err(_)) | Err(_) => {
                self.leave(None);
                Answer::Unknown
            }
        }
    }

    /// What was pushed, waiting a while for the first.
    pub(super) async fn pushes(&mut self, wait: Duration) -> Vec<Push> {
        let mut pushes = std::mem::take(&mut self.kept);
        let Some(session) = &mut self.session else { return pushes };
        pushes.extend(session.pushes.drain(..));
        if pushes.is_empty() {
            match timeout(wait, session.push()).await {
                Ok(Ok(push)) => pushes.push(push),
                Ok(Err(_)) => self.leave(None),
                Err(_) => {}
            }
        }
        pushes
    }

    /// Notes what is about to be asked.
    pub(super) fn begin(&self, job: JobId, call: Call) -> Ask {
        self.history().ask(self.client, job, call)
    }

    /// Notes what a request that is about one job alone was answered; `told` says what a good answer tells.
    pub(super) fn end(&self, ask: Ask, answer: &Answer, told: impl FnOnce(&Response) -> Option<Outcome>) {
        let outcome = match answer {
            Answer::Done(response) => told(response),
            Answer::Refused(error) => Some(super::call::refusal(error.code)),
            Answer::Unsent => Some(Outcome::Untold(ErrorCode::Unavailable)),
            Answer::Unknown => None,
        };
        if let Some(outcome) = outcome {
            self.history().answer(ask, outcome);
        }
    }
}
