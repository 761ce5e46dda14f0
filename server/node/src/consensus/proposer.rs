//! Batching: everything that waits becomes one log entry, stamped with log time.
//!
//! One task proposes. While [`ENTRIES_IN_FLIGHT_MAX`] entries are on their way it collects, so that the busier the
//! cluster, the larger its entries, and a lone command waits for nobody.

use super::Raft;
use super::leadership::{Leadership, quorum_is_silent};
use super::types::{Answers, Proposal, TypeConfig};
use jobraft_core::command::{Command, Entry, Outcome};
use jobraft_protocol::{Error, ErrorCode, LeasedJob, LogTime, limits};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Entries proposed and not yet applied; beyond, commands collect.
const ENTRIES_IN_FLIGHT_MAX: usize = 3;

/// The answer to a command.
pub(crate) type CommandResult = Result<Outcome, Error>;

/// The answers to commands that were asked for together, in their order; or why none of them was proposed or answered.
pub(crate) type CommandResults = Result<Vec<CommandResult>, Error>;

/// Commands that wait for their places in one entry of the log.
pub(crate) struct Waiting {
    pub(crate) commands: Vec<Command>,
    pub(crate) answer: oneshot::Sender<CommandResults>,
}

/// What the proposer is asked to do.
pub(crate) enum Ask {
    /// Propose these with whatever else waits.
    Commands(Waiting),
    /// Let log time move: propose an entry even if it is empty.
    Tick,
}

/// Proposes until every asker is gone. `foresee` says what follows from what goes into an entry and goes into it as well.
pub(crate) async fn run(
    raft: Raft,
    mut asks: mpsc::Receiver<Ask>,
    mut leadership: watch::Receiver<Leadership>,
    log_time: impl Fn() -> LogTime + Send + 'static,
    foresee: impl Fn(&[Waiting]) -> Vec<Waiting> + Send + 'static,
) {
    let in_flight = Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT_MAX));
    let mut stamped_term = None;
    loop {
        let first = tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => ask,
                None => return,
            },
            // A new leader speaks at once, so that live leases get their extension before anything else happens.
            changed = leadership.changed() => match changed {
                Ok(()) if leadership.borrow_and_update().is_leader => Ask::Tick,
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
        let mut batch = collect(first, &mut asks);
        let now = leadership.borrow().clone();
        if let Some(refusal) = refusal(&raft, &now) {
            batch.into_iter().for_each(|waiting| refuse(waiting.answer, &refusal));
            continue;
        }
        batch.extend(foresee(&batch));
        let leader_change = stamped_term != Some(now.term);
        let term = now.term;
        let accepted = propose(&raft, batch, log_time(), leader_change, now, permit).await;
        // Only an entry that is in the log has said that the leader is new; nothing else may go before it.
        if leader_change && accepted.await.unwrap_or(false) {
            stamped_term = Some(term);
        }
    }
}

/// Takes what waits, until the bounds of one entry are reached. Commands whose asker has given up are left out: a lease that nobody
/// hears of would cost its jobs an attempt.
fn collect(first: Ask, asks: &mut mpsc::Receiver<Ask>) -> Vec<Waiting> {
    let mut batch = Vec::new();
    let (mut commands, mut bytes) = (0, 0);
    let mut next = Some(first);
    while let Some(ask) = next {
        if let Ask::Commands(waiting) = ask
            && !waiting.answer.is_closed()
        {
            commands += waiting.commands.len();
            bytes += waiting.commands.iter().map(Command::weight_bytes).sum::<usize>();
            batch.push(waiting);
        }
        if commands >= limits::ENTRY_COMMANDS_MAX || bytes >= limits::ENTRY_BYTES_MAX {
            break;
        }
        next = asks.try_recv().ok();
    }
    batch
}

/// Why a command cannot be proposed here and now, if so.
pub(crate) fn refusal(raft: &Raft, now: &Leadership) -> Option<Error> {
    if !now.is_leader {
        return Some(now.not_leader());
    }
    if quorum_is_silent(&raft.metrics().borrow_watched()) {
        let message = "the leader hears from no majority of the nodes; nothing was done";
        return Some(Error::new(ErrorCode::Unavailable, message).retry_after_ms(500));
    }
    None
}

fn refuse(answer: oneshot::Sender<CommandResults>, error: &Error) {
    // Whoever waited may have gone.
    let _ = answer.send(Err(error.clone()));
}

/// Whoever waits for so many of an entry's answers.
struct Awaited {
    count: usize,
    answer: oneshot::Sender<CommandResults>,
}

/// Proposes one entry. The task ends when its outcome is known, with whether it was applied here.
async fn propose(
    raft: &Raft,
    batch: Vec<Waiting>,
    at: LogTime,
    leader_change: bool,
    now: Leadership,
    permit: OwnedSemaphorePermit,
) -> JoinHandle<bool> {
    let mut commands = Vec::with_capacity(batch.iter().map(|waiting| waiting.commands.len()).sum());
    let mut answers = Vec::with_capacity(batch.len());
    for Waiting { commands: mut asked, answer } in batch {
        answers.push(Awaited { count: asked.len(), answer });
        commands.append(&mut asked);
    }
    let proposal = match Proposal::new(Entry { at, leader_change, commands }) {
        Ok(proposal) => proposal,
        Err(error) => {
            let error = Error::new(ErrorCode::Internal, error.to_string());
            answers.into_iter().for_each(|awaited| refuse(awaited.answer, &error));
            return tokio::spawn(async { false });
        }
    };
    let (responder, result) = ProgressResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::complete_only();
    // Should another term have begun since, leases need their extension first: the entry must not land in that term.
    let written = raft.write(proposal).responder(responder).with_leader(now.term).await;
    if let Err(stopped) = written {
        let error = Error::new(ErrorCode::ShuttingDown, stopped.to_string());
        answers.into_iter().for_each(|awaited| refuse(awaited.answer, &error));
        return tokio::spawn(async { false });
    }
    tokio::spawn(async move {
        let result = result.await;
        drop(permit);
        let error = match result {
            Ok(Ok(response)) => {
                deliver(answers, response.data);
                return true;
            }
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => now.not_leader(),
            Ok(Err(other)) => outcome_unknown(&other.to_string()),
            Err(_) => outcome_unknown("the node is stopping"),
        };
        answers.into_iter().for_each(|awaited| refuse(awaited.answer, &error));
        false
    })
}

/// Waits for the answer to a lease whose asker was told that its outcome is unknown, and gives back what it grants: a
/// lease that nobody hears of would cost its jobs an attempt.
pub(crate) async fn give_back_late(asks: mpsc::Sender<Ask>, late: oneshot::Receiver<CommandResults>) {
    let Ok(Ok(outcomes)) = late.await else { return };
    let leased = outcomes.into_iter().filter_map(|outcome| match outcome {
        Ok(Outcome::Leased(leased)) => Some(leased.jobs),
        _ => None,
    });
    let release = |job: LeasedJob| Command::Release { lease: job.lease(), delay_ms: 0 };
    let commands: Vec<Command> = leased.flatten().map(release).collect();
    if commands.is_empty() {
        return;
    }
    let (answer, answered) = oneshot::channel();
    if asks.send(Ask::Commands(Waiting { commands, answer })).await.is_ok() {
        // Kept until then: what nobody waits for is not proposed. What cannot be given back runs out.
        let _ = answered.await;
    }
}

fn deliver(waiting: Vec<Awaited>, answers: Answers) {
    let mut outcomes = answers.outcomes.into_iter();
    for Awaited { count, answer } in waiting {
        let own: Vec<_> = outcomes.by_ref().take(count).collect();
        assert_eq!(own.len(), count, "applying an entry answers each of its commands");
        // Whoever waited may have gone.
        let _ = answer.send(Ok(own));
    }
    assert_eq!(outcomes.len(), 0, "applying an entry answers none but its commands");
}

pub(crate) fn outcome_unknown(why: &str) -> Error {
    Error::new(ErrorCode::OutcomeUnknown, format!("it may or may not have been done: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_core::Leased;
    use jobraft_protocol::WorkerId;

    #[test]
    fn what_nobody_waits_for_any_more_is_not_proposed() {
        let (sender, mut asks) = mpsc::channel(4);
        let ask = |worker| {
            let (answer, answered) = oneshot::channel();
            let commands = vec![Command::Disconnect { worker: WorkerId(worker) }];
            (Ask::Commands(Waiting { commands, answer }), answered)
        };
        let ((given_up, gone), (waits, _answered)) = (ask(1), ask(2));
        drop(gone);
        assert!(sender.try_send(waits).is_ok());
        let batch: Vec<_> = collect(given_up, &mut asks).into_iter().flat_map(|waiting| waiting.commands).collect();
        assert_eq!(batch, [Command::Disconnect { worker: WorkerId(2) }]);
    }

    #[test]
    fn an_entry_takes_no_more_once_it_has_as_many_commands_as_it_may() {
        let (sender, mut asks) = mpsc::channel(16);
        let ask = || {
            let (answer, answered) = oneshot::channel();
            let commands = vec![Command::Disconnect { worker: WorkerId(1) }; 1_000];
            (Ask::Commands(Waiting { commands, answer }), answered)
        };
        let (first, _answered) = ask();
        let _all_wait: Vec<_> = (0..9)
            .map(|_| {
                let (ask, answered) = ask();
                assert!(sender.try_send(ask).is_ok());
                answered
            })
            .collect();
        assert_eq!(collect(first, &mut asks).len(), limits::ENTRY_COMMANDS_MAX.div_ceil(1_000));
    }

    #[tokio::test]
    async fn each_asker_gets_the_answers_to_its_own_commands() {
        let (first, firsts) = oneshot::channel();
        let (second, seconds) = oneshot::channel();
        let waiting = vec![Awaited { count: 2, answer: first }, Awaited { count: 1, answer: second }];
        let registered = |worker| Ok(Outcome::Registered(WorkerId(worker)));
        let refused = || Err(Error::new(ErrorCode::LeaseLost, "too late"));
        deliver(waiting, Answers { outcomes: vec![registered(1), refused(), registered(2)] });
        assert_eq!(firsts.await, Ok(Ok(vec![registered(1), refused()])));
        assert_eq!(seconds.await, Ok(Ok(vec![registered(2)])));
    }

    #[tokio::test]
    async fn a_lease_granted_too_late_is_given_back() {
        use jobraft_protocol::{FencingToken, JobId, LeasedJob, QueueName, Task, TaskName};
        let (asks, mut asked) = mpsc::channel(4);
        let (granted, lease) = oneshot::channel();
        let job = LeasedJob {
            id: JobId::new(LogTime::from_ms(1), [7; 10]),
            queue: QueueName::new("q").expect("a name"),
            task: Task::Handler(TaskName::new("t").expect("a name")),
            payload: bytes::Bytes::new(),
            attempt: 1,
            max_attempts: 1,
            token: FencingToken(9),
            expires_at: LogTime::from_ms(2),
            run_timeout_ms: 1,
            enqueued_at: LogTime::ZERO,
            checkpoint: bytes::Bytes::new(),
            group: None,
            after: Vec::new(),
            batch: None,
            label: None,
            tick: None,
            has_secrets: true,
        };
        let expected = Command::Release { lease: job.lease(), delay_ms: 0 };
        granted
            .send(Ok(vec![Ok(Outcome::Leased(Leased { jobs: vec![job], at_rest: Vec::new() }))]))
            .expect("somebody waits for it");
        let giving_back = tokio::spawn(give_back_late(asks, lease));
        let Some(Ask::Commands(Waiting { commands, answer })) = asked.recv().await else { panic!("nothing was asked") };
        assert_eq!(commands, [expected]);
        assert!(!answer.is_closed(), "what nobody waits for would not be proposed");
        answer.send(Ok(vec![Ok(Outcome::Done)])).expect("somebody waits for it");
        giving_back.await.expect("it ends");
    }
}
