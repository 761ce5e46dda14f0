//! Keeps a running node's certificates those that lie on disk: renewed ones are used without a restart, revoked and
//! ended ones are closed out, and what ends soon is told.
//!
//! Not in a simulation: there certificates do not change, and looks at a real disk would be no part of its story.

use crate::machine;
use crate::tls::{Credentials, Look, Watch, certificate};
use crate::transport::Endpoint;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often the files are looked at.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How often the log is told of what ends soon.
const REMINDER_INTERVAL: Duration = Duration::from_hours(24);

/// Looks at the files every [`LOOK_INTERVAL`], and at once when asked to, and gives the endpoint what is new in them.
///
/// Reminds of what ends soon, at once and every [`REMINDER_INTERVAL`].
pub(crate) async fn keep_current(
    endpoint: Endpoint,
    mut credentials: Credentials,
    mut watch: Watch,
    mut asked: mpsc::Receiver<()>,
) {
    let mut reminder = tokio::time::interval(REMINDER_INTERVAL);
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    // What a machine slept through is not made up for.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let was_asked = tokio::select! {
            _ = reminder.tick() => {
                credentials.tell();
                continue;
            }
            _ = looks.tick() => {
                let closed = endpoint.close_ended(OffsetDateTime::now_utc());
                if closed > 0 {
                    tracing::warn!(closed, "closed connections of clients whose certificates have ended");
                }
                false
            }
            Some(()) = asked.recv() => true,
        };
        let look = machine::blocking(move || {
            let look = watch.look();
            (watch, look)
        });
        // It ends early only with the runtime.
        let Ok((watched, look)) = look.await else { return };
        watch = watched;
        match look {
            Look::Unchanged if was_asked => tracing::info!("certificates are unchanged"),
            Look::Unchanged => {}
            Look::Unfit if was_asked => tracing::info!("certificates do not check out yet, will look again"),
            Look::Unfit => tracing::debug!("certificates do not check out yet, will look again"),
            Look::Refused(error) => tracing::warn!("new certificates are refused, the old ones stay in use: {error}"),
            Look::Renewed(found) => match endpoint.renew(&found) {
                Ok(closed) => {
                    credentials = *found;
                    let until = credentials.not_after();
                    let until = certificate::text(until);
                    tracing::info!(until, "new certificates are in use");
                    if closed > 0 {
                        tracing::warn!(closed, "closed connections whose certificates are revoked");
                    }
                    reminder.reset_immediately();
                }
                Err(error) => tracing::error!("new certificates cannot be used, the old ones stay in use: {error}"),
            },
        }
    }
}
