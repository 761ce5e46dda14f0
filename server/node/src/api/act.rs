//! Actions on jobs that are named: called off, retried, deleted, moved, given another priority.

use super::request::{Answer, mismatch};
use super::{Api, bounds};
use crate::consensus::RowPart;
use crate::tls::Identity;
use jobraft_core::command::{Command, Outcome, Target};
use jobraft_protocol::{Error, ErrorCode, JobAction, JobId, JobState, Response, limits};

/// Rows of ended jobs in one command after which no further one is taken into it: the rest goes with the next.
const ROWS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most that the row of one job takes, about.
const ROW_BYTES_MAX: usize = limits::PAYLOAD_BYTES_MAX + limits::RESULT_BYTES_MAX + limits::CHECKPOINT_BYTES_MAX;

/// The most that is left of a row which only tells which job it is, about.
const IDENTITY_BYTES_MAX: usize = 512;

/// Does something to jobs, in as many steps as their rows need. Once a part is done, what keeps the rest from being done is
/// the answer for each job of the rest.
pub(super) async fn act(
    api: &Api,
    identity: &Identity,
    jobs: Vec<JobId>,
    mut action: JobAction,
    only_in: Vec<JobState>,
) -> Answer {
    check(&jobs, &mut action, &only_in)?;
    let mut answers: Vec<Result<(), Error>> = Vec::with_capacity(jobs.len());
    let mut jobs = jobs.as_slice();
    while !jobs.is_empty() {
        match part(api, identity, jobs, &action, &only_in).await {
            Ok(acted) => {
                jobs = &jobs[acted.len()..];
                answers.extend(acted);
            }
            Err(error) if answers.is_empty() => return Err(error),
            Err(error) => {
                answers.extend(jobs.iter().map(|_| Err(error.clone())));
                break;
            }
        }
    }
    Ok(Response::Acted(answers))
}

/// Does it to the first of the jobs, one at least; returns their answers.
async fn part(
    api: &Api,
    identity: &Identity,
    jobs: &[JobId],
    action: &JobAction,
    only_in: &[JobState],
) -> Result<Vec<Result<(), Error>>, Error> {
    let needs = needs(action);
    let mut targets = Vec::new();
    let mut bytes = 0;
    for &job in jobs {
        if bytes >= ROWS_BYTES_MAX {
            break;
        }
        let is_live = api.consensus.read(|core| core.is_live(job));
        let row = if is_live { None } else { api.consensus.row(job, needs).await? };
        bytes += row.as_ref().map_or(0, |row| row.len());
        targets.push(Target { job, row });
    }
    let count = targets.len();
    let command = Command::Act { targets, action: action.clone(), only_in: only_in.to_vec(), by: identity.owner() };
    match api.consensus.propose(command).await? {
        Outcome::Acted(acted) if acted.len() == count => Ok(acted),
        other => Err(mismatch("act", &other)),
    }
}

/// What an action needs of the rows of ended jobs: what can only be refused is refused by the state that the job is in.
fn needs(action: &JobAction) -> RowPart {
    match action {
        JobAction::Retry => RowPart::Whole,
        JobAction::Delete | JobAction::Cancel { .. } | JobAction::Move { .. } | JobAction::Prioritize { .. } => {
            RowPart::Identity
        }
    }
}

fn check(jobs: &[JobId], action: &mut JobAction, only_in: &[JobState]) -> Result<(), Error> {
    if jobs.is_empty() {
        return Err(bounds::invalid("no job is named: name one at least"));
    }
    if only_in.len() > JobState::ALL.len() {
        let message = format!("only_in names {} states, there are {}", only_in.len(), JobState::ALL.len());
        return Err(bounds::invalid(message));
    }
    match action {
        JobAction::Cancel { reason, grace_ms } => {
            bounds::ms("grace_ms", *grace_ms, limits::CANCEL_GRACE_MS_MAX)?;
            bounds::cut(reason, limits::REASON_BYTES_MAX);
        }
        JobAction::Prioritize { priority } if *priority > limits::PRIORITY_MAX => {
            let message = format!("priority {priority} is not in 0..={}", limits::PRIORITY_MAX);
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        JobAction::Delete | JobAction::Retry | JobAction::Move { .. } | JobAction::Prioritize { .. } => {}
    }
    Ok(())
}

/// How many bytes an action makes the node hold.
pub(super) fn weight_bytes(jobs: &[JobId], action: &JobAction) -> usize {
    let rows = match needs(action) {
        RowPart::Whole => (jobs.len() * ROW_BYTES_MAX).min(ROWS_BYTES_MAX + ROW_BYTES_MAX),
        // One row at a time is read as a whole.
        RowPart::Identity => jobs.len() * IDENTITY_BYTES_MAX + ROW_BYTES_MAX,
    };
    let reason = if let JobAction::Cancel { reason, .. } = action { reason.len() } else { 0 };
    size_of_val(jobs) + rows + reason
}
