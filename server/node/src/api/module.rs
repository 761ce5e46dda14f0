//! What is known of modules. Their bytes travel by [`super::upload`] and [`super::download`].

use super::Api;
use super::request::Answer;
use super::room::{LIST_BYTES_MAX, Room};
use jobraft_core::Core;
use jobraft_protocol::{Consistency, Error, ErrorCode, ModuleRef, Response};

/// Lists modules.
pub(super) async fn list(api: &Api, consistency: Consistency, room: &mut Room) -> Answer {
    api.fresh(consistency).await?;
    room.reserve(LIST_BYTES_MAX).await;
    Ok(Response::Modules(api.consensus.read(Core::modules)))
}

/// Says what a reference means. Always linearizable: a name that has just been moved is seen moved.
pub(super) async fn resolve(api: &Api, module: &ModuleRef) -> Answer {
    api.fresh(Consistency::Linearizable).await?;
    let manifest = api.consensus.read(|core| core.resolve(module));
    manifest.map(Response::Module).ok_or_else(|| unknown(module))
}

/// The refusal of a module that this cluster does not know.
pub(super) fn unknown(module: &ModuleRef) -> Error {
    Error::new(ErrorCode::ModuleUnknown, format!("no module {module} in this cluster: push it first"))
}
