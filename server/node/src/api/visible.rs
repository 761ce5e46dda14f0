//! What a client gets to see of what it may read: payloads, results and logs are a permission of their own.

use super::Api;
use crate::auth::{self, Need};
use crate::tls::Identity;
use bytes::Bytes;
use jobraft_core::WorkOn;
use jobraft_protocol::{ClientRole, Error, ErrorCode, JobView, ScheduleView, Withheld};

/// Refuses a job that is not the client's to read, and takes out of it what it does not get to see.
pub(super) fn job(api: &Api, identity: &Identity, view: &mut JobView) -> Result<(), Error> {
    let Identity::Client { grant, .. } = identity else { return Ok(()) };
    let (queue, id) = (view.queue.as_str(), view.id);
    if !identity.is_there(queue) {
        return Err(auth::elsewhere(identity, &format!("job {id}")));
    }
    let reads_all = auth::reads(grant);
    if reads_all && identity.covers(queue) && grant.sees_payloads() {
        return Ok(());
    }
    let is_worker = grant.is(ClientRole::Worker);
    let work = if is_worker { api.consensus.read(|core| core.work_on(&identity.owner(), id)) } else { None };
    match work {
        Some(WorkOn::Leased) => {}
        Some(WorkOn::Predecessor) => withhold(view, Withheld::AllButResult),
        None if !reads_all => {
            let message = format!("{identity} may not read job {id}: it works, and has not leased it");
            return Err(Error::new(ErrorCode::Forbidden, message));
        }
        None => {
            auth::covered(identity, view.queue.as_str(), || format!("job {id}"))?;
            withhold(view, Withheld::All);
        }
    }
    Ok(())
}

/// Takes the payload out of a schedule for those who neither see payloads nor set schedules: whoever sets them compares.
pub(super) fn schedule(identity: &Identity, view: &mut ScheduleView) {
    let sets = auth::decide(identity, &mut Need::of_setting()).is_ok();
    if !sets && !auth::sees_payloads(identity) {
        view.schedule.job.payload = Bytes::new();
        view.withheld = true;
    }
}

fn withhold(view: &mut JobView, withheld: Withheld) {
    view.payload = Bytes::new();
    view.log = Bytes::new();
    if withheld == Withheld::All {
        view.result = Bytes::new();
    }
    view.withheld = withheld;
}
