//! Keeps a running node's certificates those that lie on disk: renewed ones are used without a restart.
//!
//! Not in a simulation: there certificates do not change, and looks at a real disk would be no part of its story.

use crate::machine;
use crate::tls::{Look, Watch};
use crate::transport::Endpoint;
use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

/// How often the files are looked at.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Looks at the files every [`LOOK_INTERVAL`], and at once when asked to, and gives the endpoint what is new in them.
pub(crate) async fn keep_current(endpoint: Endpoint, mut watch: Watch, mut asked: mpsc::Receiver<()>) {
    loop {
        let was_asked = tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
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
            Look::Renewed(credentials) => match endpoint.renew(&credentials) {
                Ok(()) => {
                    let until = credentials.not_after();
                    let until = until.format(&Rfc3339).unwrap_or_else(|_| until.to_string());
                    tracing::info!(until, "new certificates are in use");
                }
                Err(error) => tracing::error!("new certificates cannot be used, the old ones stay in use: {error}"),
            },
        }
    }
}
