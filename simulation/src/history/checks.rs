//! What must hold across jobs, which no order of one job's operations can show.

use super::operation::{Call, Operation, Outcome};
use super::verdict::Violation;
use super::window::Window;
use jobraft_protocol::{FencingToken, WorkerId};
use std::collections::{BTreeMap, HashMap};

/// What does not hold, if anything.
pub(super) fn check(operations: &[Operation], windows: &[Window]) -> Result<(), Violation> {
    each_token_is_given_once(operations)?;
    tokens_increase_with_log_time(operations, windows)?;
    who_has_gone_gets_nothing(operations)
}

fn leases(operations: &[Operation]) -> impl Iterator<Item = (usize, WorkerId, FencingToken)> {
    operations.iter().enumerate().filter_map(|(place, operation)| match (&operation.call, &operation.outcome) {
        (Call::Lease { worker, .. }, Some(Outcome::Leased { token, .. })) => Some((place, *worker, *token)),
        _ => None,
    })
}

fn each_token_is_given_once(operations: &[Operation]) -> Result<(), Violation> {
    let mut given: BTreeMap<FencingToken, usize> = BTreeMap::new();
    for (place, _, token) in leases(operations) {
        if let Some(former) = given.insert(token, place) {
            let both = vec![operations[former].clone(), operations[place].clone()];
            return Err(Violation::of(format!("token {token} was given twice"), both));
        }
    }
    Ok(())
}

/// Strictly, over all jobs: fencing would not hold otherwise for what jobs share.
fn tokens_increase_with_log_time(operations: &[Operation], windows: &[Window]) -> Result<(), Violation> {
    let stamped = leases(operations).filter(|(place, ..)| windows[*place].from == windows[*place].until);
    let mut by_token: Vec<(FencingToken, u64, usize)> =
        stamped.map(|(place, _, token)| (token, windows[place].from, place)).collect();
    by_token.sort_unstable();
    for pair in by_token.windows(2) {
        let [(_, earlier, former), (token, later, place)] = pair else { continue };
        if later < earlier {
            let both = vec![operations[*former].clone(), operations[*place].clone()];
            return Err(Violation::of(format!("token {token} was given before a lesser one"), both));
        }
    }
    Ok(())
}

/// A worker that has disconnected is leased nothing that was asked for later.
fn who_has_gone_gets_nothing(operations: &[Operation]) -> Result<(), Violation> {
    let mut gone: HashMap<WorkerId, usize> = HashMap::new();
    for (place, operation) in operations.iter().enumerate() {
        if let (Call::Disconnect { worker }, Some(Outcome::Done)) = (&operation.call, &operation.outcome) {
            gone.entry(*worker).or_insert(place);
        }
    }
    for (place, worker, token) in leases(operations) {
        if let Some(&former) = gone.get(&worker)
            && operations[former].returned.is_some_and(|returned| returned < operations[place].called)
        {
            let both = vec![operations[former].clone(), operations[place].clone()];
            return Err(Violation::of(format!("{worker} had gone and was given token {token}"), both));
        }
    }
    Ok(())
}
