//! Giving a module to a client. Any node does: one that lacks the bytes gets them first.

use super::client::Client;
use super::{Api, bounds, module, token};
use crate::audit::Outcome;
use crate::auth::{self, Need};
use crate::machine::File;
use crate::modules::{ModuleError, give};
use crate::transport::{CloseCode, FrameSender};
use jobraft_protocol::{Error, ModuleManifest, ModuleRef, Namespace};

/// Serves a download.
pub(super) async fn run(
    api: &Api,
    client: &Client,
    module: ModuleRef,
    namespace: Option<Namespace>,
    mut sender: FrameSender,
) {
    let result: Result<(), ModuleError> = async {
        let entered = client.enter(api, namespace).await;
        let (client, opened) = match entered {
            Ok(client) => (client.clone(), open(api, &client, module.clone()).await),
            Err(refused) => (client.clone(), Err(refused)),
        };
        let namespace = client.identity.namespace();
        let outcome = Outcome::of(&opened);
        if outcome.is_denial() || api.audit.has_all() {
            client.tell(&api.audit, "download", vec![format!("module {module}")], outcome).await;
        }
        match opened {
            Ok((mut manifest, file)) => {
                manifest.leave(&namespace);
                sender.send(&Ok::<ModuleManifest, Error>(manifest)).await?;
                give(&mut sender, file).await?;
            }
            Err(mut error) => {
                error.leave(&namespace);
                sender.send(&Err::<ModuleManifest, Error>(error)).await?;
            }
        }
        Ok(sender.finish().await?)
    }
    .await;
    if let Err(error) = result {
        tracing::debug!(%module, %error, "a download broke off");
        // The client must not take for whole what was cut short.
        sender.reset(CloseCode::Protocol);
    }
}

async fn open(api: &Api, client: &Client, mut module: ModuleRef) -> Result<(ModuleManifest, File), Error> {
    let namespace = client.identity.namespace();
    module.enter(&namespace).map_err(|not_local| bounds::invalid(not_local.to_string()))?;
    token::check(api, client)?;
    auth::decide(&client.identity, &mut Need::of_download())?;
    let Some(manifest) = api.consensus.read(|core| core.resolve(&namespace, &module)) else {
        let leadership = api.consensus.leadership();
        let now = leadership.borrow();
        // The leader may know what has not come here yet.
        return Err(if now.is_leader { module::unknown(&module) } else { now.not_leader() });
    };
    api.modules.fetch(manifest.digest).await.map_err(|error| error.answer())?;
    let (file, _) = api.modules.store().open_module(manifest.digest).await.map_err(|error| error.answer())?;
    Ok((manifest, file))
}
