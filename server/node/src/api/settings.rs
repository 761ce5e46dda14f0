//! What can be set while the cluster runs.

use super::request::Answer;
use super::{Api, bounds, report};
use jobraft_core::Core;
use jobraft_core::command::Command;
use jobraft_protocol::{Consistency, Response, Setting, limits};

/// Changes settings, all or none.
pub(super) async fn configure(api: &Api, settings: Vec<Setting>) -> Answer {
    if settings.is_empty() {
        return Err(bounds::invalid("no setting is given: give one at least"));
    }
    bounds::count("settings", settings.len(), limits::SETTINGS_MAX)?;
    for setting in &settings {
        if let Setting::Queue(queue, setting) = setting {
            setting.check().map_err(|error| bounds::invalid(format!("queue {queue}: {error}")))?;
        }
    }
    report::done(api, Command::Configure { settings }).await
}

/// What the cluster as a whole is set to.
pub(super) async fn get(api: &Api, consistency: Consistency) -> Answer {
    api.fresh(consistency).await?;
    Ok(Response::Settings(api.consensus.read(Core::settings)))
}
