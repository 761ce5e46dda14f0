//! What can be set while the cluster runs.

use super::request::Answer;
use super::{Api, bounds, report};
use crate::cron::Cron;
use jobraft_core::Core;
use jobraft_core::command::Command;
use jobraft_protocol::{Consistency, Error, Response, Setting};

/// Changes settings, all or none.
pub(super) async fn configure(api: &Api, settings: Vec<Setting>) -> Answer {
    if settings.is_empty() {
        return Err(bounds::invalid("no setting is given: give one at least"));
    }
    for setting in &settings {
        check(setting)?;
    }
    report::done(api, Command::Configure { settings }).await
}

/// Whether every value is within its domain. What an expression of the calendar means, only the node can say: to the state
/// machine it is a text.
fn check(setting: &Setting) -> Result<(), Error> {
    match setting {
        Setting::Queue(queue, setting) => {
            setting.check().map_err(|error| bounds::invalid(format!("queue {queue}: {error}")))
        }
        Setting::Group(queue, group, setting) => {
            setting.check().map_err(|error| bounds::invalid(format!("queue {queue}, group {group}: {error}")))
        }
        Setting::PutSchedule(schedule) => {
            let invalid = |error: String| bounds::invalid(format!("schedule {}: {error}", schedule.name));
            schedule.check().map_err(invalid)?;
            Cron::parse(&schedule.cron, &schedule.time_zone).map(drop).map_err(|error| invalid(error.to_string()))
        }
        Setting::CreateQueues(_) | Setting::PauseSchedule(..) | Setting::RemoveSchedule(_) => Ok(()),
    }
}

/// How many bytes settings make the node hold.
pub(super) fn weight_bytes(settings: &[Setting]) -> usize {
    let schedules = settings.iter().map(|setting| match setting {
        Setting::PutSchedule(schedule) => {
            let texts = schedule.cron.len() + schedule.time_zone.len();
            size_of_val(schedule.as_ref()) + texts + schedule.job.payload.len()
        }
        _ => 0,
    });
    size_of_val(settings) + schedules.sum::<usize>()
}

/// What the cluster as a whole is set to.
pub(super) async fn get(api: &Api, consistency: Consistency) -> Answer {
    api.fresh(consistency).await?;
    Ok(Response::Settings(api.consensus.read(Core::settings)))
}
