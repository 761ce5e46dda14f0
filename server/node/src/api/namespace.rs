//! Namespaces: into which one a client comes, and which there are.
//!
//! Whoever has entered one is confined to it from there on: the names of what it asks for are made those of the namespace
//! before anything else is done with them, and what belongs elsewhere is refused like what its credential does not cover.

use super::client::Client;
use super::request::Answer;
use super::room::{LIST_BYTES_MAX, Room};
use super::{Api, report};
use crate::auth;
use crate::tls::Identity;
use jobraft_core::command::Command;
use jobraft_protocol::{Consistency, Error, ErrorCode, Namespace, NamespaceChange, NamespaceView, Response, limits};
use std::sync::Arc;

/// The most that a namespace takes in a list, about.
const NAMESPACE_BYTES_MAX: usize = 512;
const _: () =
    assert!(limits::NAMESPACE_LIST_MAX as usize * NAMESPACE_BYTES_MAX <= LIST_BYTES_MAX, "a page fits into a frame");

impl Client {
    /// The client in the namespace that it wants to enter, or in its own.
    ///
    /// # Errors
    /// `forbidden` if its credential does not let it in, `not_found` if there is no such namespace.
    pub(super) async fn enter(&self, api: &Api, wanted: Option<Namespace>) -> Result<Self, Error> {
        let identity = Arc::new(auth::enter(&self.identity, wanted)?);
        let namespace = identity.namespace();
        if !api.consensus.read(|core| core.has_namespace(&namespace)) {
            api.consensus.barrier().await?;
            check(api, &namespace)?;
        }
        Ok(Self { identity, ..self.clone() })
    }
}

/// Refuses a namespace that is not there as far as is known here.
pub(super) fn check(api: &Api, namespace: &Namespace) -> Result<(), Error> {
    if namespace.is_default() || api.consensus.read(|core| core.has_namespace(namespace)) {
        return Ok(());
    }
    let message = format!("there is no namespace {namespace}: an administrator makes it with jobraft namespace create");
    Err(Error::new(ErrorCode::NotFound, message))
}

/// Makes, changes or removes a namespace on behalf of `identity`.
pub(super) async fn change(api: &Api, identity: &Identity, change: NamespaceChange) -> Answer {
    report::done(api, Command::ChangeNamespace { change, by: identity.owner() }).await
}

/// Lists the namespaces that a client may enter, a page of them.
pub(super) async fn list(
    api: &Api,
    identity: &Identity,
    after: Option<Namespace>,
    limit: u32,
    consistency: Consistency,
    room: &mut Room,
) -> Answer {
    let limit = limit.clamp(1, limits::NAMESPACE_LIST_MAX) as usize;
    api.fresh(consistency).await?;
    room.reserve(limit * NAMESPACE_BYTES_MAX).await;
    let may_enter = |view: &NamespaceView| auth::may_enter(identity, &view.name);
    let namespaces = api.consensus.read(|core| core.namespaces(after.as_ref()).filter(may_enter).take(limit).collect());
    Ok(Response::Namespaces(namespaces))
}
