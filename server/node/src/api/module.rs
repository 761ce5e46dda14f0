//! What is known of modules. Their bytes travel by [`super::upload`] and [`super::download`].

use super::Api;
use super::request::Answer;
use super::room::{LIST_BYTES_MAX, Room};
use crate::auth;
use crate::tls::Identity;
use jobraft_protocol::{Consistency, Error, ErrorCode, ModuleRef, Response};

/// Lists modules of the client's namespace: of one that covers some queues, its own and those with a name that is covered.
pub(super) async fn list(api: &Api, identity: &Identity, consistency: Consistency, room: &mut Room) -> Answer {
    api.fresh(consistency).await?;
    room.reserve(LIST_BYTES_MAX).await;
    let mut modules = api.consensus.read(|core| core.modules(&identity.namespace()));
    if auth::limited(identity).is_some() {
        for manifest in &mut modules {
            manifest.names.retain(|name| identity.covers(name.as_str()));
        }
        modules.retain(|manifest| !manifest.names.is_empty() || identity.is_owner(&manifest.owner));
    }
    Ok(Response::Modules(modules))
}

/// Says what a reference means. Always linearizable: a name that has just been moved is seen moved.
pub(super) async fn resolve(api: &Api, identity: &Identity, module: &ModuleRef) -> Answer {
    api.fresh(Consistency::Linearizable).await?;
    let manifest = api.consensus.read(|core| core.resolve(&identity.namespace(), module));
    manifest.map(Response::Module).ok_or_else(|| unknown(module))
}

/// The refusal of a module that this cluster does not know.
pub(super) fn unknown(module: &ModuleRef) -> Error {
    Error::new(ErrorCode::ModuleUnknown, format!("no module {module} here: push it first"))
}
