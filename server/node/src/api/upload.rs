//! Receiving a module: to this node's disk, to a majority of the voters, then into the log.

use super::client::Client;
use super::request::mismatch;
use super::{Api, bounds, token};
use crate::audit;
use crate::auth::{self, Need};
use crate::modules::{ModuleError, moving, take};
use crate::tls::Identity;
use crate::transport::{FrameReceiver, FrameSender};
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{
    Consistency, Digest, Error, ErrorCode, ModuleManifest, ModuleName, ModuleRef, ModuleSignature, Namespace, limits,
};
use std::time::Duration;
use tokio::time::timeout;

/// How long an upload may take from when it has a place.
const UPLOAD_TIMEOUT: Duration = Duration::from_millis(limits::UPLOAD_MS_MAX);

/// What the client says that it sends.
pub(super) struct Announced {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// A local one.
    pub(super) name: Option<ModuleName>,
    pub(super) namespace: Option<Namespace>,
    pub(super) signatures: Vec<ModuleSignature>,
}

/// Serves an upload.
pub(super) async fn run(
    api: &Api,
    client: &Client,
    announced: Announced,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) {
    let digest = announced.digest;
    let on = announced.name.iter().map(|name| format!("name {name}")).chain([format!("module sha256:{digest}")]);
    let on = on.collect();
    let mut client = client.clone();
    let mut result = match client.enter(api, announced.namespace.clone()).await {
        Ok(entered) => {
            client = entered;
            upload(api, &client, announced, &mut receiver).await
        }
        Err(refused) => Err(refused),
    };
    let identity = &*client.identity;
    match &result {
        Ok(manifest) => tracing::info!(%digest, bytes = manifest.size, %identity, "module uploaded"),
        // Which may be said again and again.
        Err(error) => receiver.report("a module", &format_args!("{identity}: {error}")),
    }
    client.tell(&api.audit, "upload", on, audit::Outcome::of(&result)).await;
    match &mut result {
        Ok(manifest) => manifest.leave(&identity.namespace()),
        Err(error) => error.leave(&identity.namespace()),
    }
    let answer = async {
        sender.send(&result).await?;
        sender.finish().await
    };
    if !matches!(moving(answer).await, Ok(Ok(()))) {
        tracing::debug!(%digest, "an upload's client has gone");
    }
}

async fn upload(
    api: &Api,
    client: &Client,
    announced: Announced,
    receiver: &mut FrameReceiver,
) -> Result<ModuleManifest, Error> {
    let identity = &*client.identity;
    let Announced { digest, size, mut name, namespace: _, mut signatures } = announced;
    let namespace = identity.namespace();
    if let Some(name) = &mut name {
        name.enter(&namespace).map_err(|not_local| bounds::invalid(not_local.to_string()))?;
    }
    token::check(api, client)?;
    auth::decide(identity, &mut Need::of_upload(name.as_ref()))?;
    bounds::count("signatures", signatures.len(), limits::MODULE_SIGNATURES_MAX)?;
    {
        let leadership = api.consensus.leadership();
        let now = leadership.borrow();
        if !now.is_leader {
            return Err(now.not_leader());
        }
    }
    check_signatures(api, &namespace, digest, &signatures)?;
    // Those of others would take the places of those that count.
    signatures.retain(|signature| api.signers.is_empty() || api.signers.contains(&signature.signer));
    // Said before a byte is taken; the state machine says the same when it matters.
    api.consensus.read(|core| core.check_new_module(&namespace, &digest))?;
    if let Some(name) = &name {
        check_owner(api, identity, name).await?;
    }

    let share = api.uploaders.of(identity.sharer()).acquire_owned().await;
    let _share = share.expect("this semaphore is never closed");
    let _place = api.uploads.acquire().await.expect("this semaphore is never closed");
    let received = async {
        let incoming = api.modules.store().receive(digest, size).await?;
        let received = take(receiver, incoming).await?;
        let imports = received.inspect().await?;
        received.keep().await?;
        api.modules.replicate(digest).await?;
        Ok::<_, ModuleError>(imports)
    };
    let received = timeout(UPLOAD_TIMEOUT, received).await.unwrap_or_else(|_| {
        // It may have moved all the time, but too slowly: others wait for the place.
        Err(ModuleError::Stalled { seconds: UPLOAD_TIMEOUT.as_secs() })
    });
    let imports = received.map_err(|error| error.answer())?;
    // Again: the bytes took their time.
    token::check(api, client)?;
    let manifest = ModuleManifest { digest, size, names: Vec::new(), imports, owner: identity.owner(), signatures };
    match api
        .consensus
        .propose(Command::PutModule {
            manifest: manifest.clone(),
            name,
            namespace: namespace.clone(),
            // Somebody else may have taken the name while the bytes came.
            only_own: !may_move_any(identity),
        })
        .await?
    {
        // As the cluster knows it: with all its names, and whoever brought it first.
        Outcome::Done => {
            Ok(api.consensus.read(|core| core.resolve(&namespace, &ModuleRef::Digest(digest))).unwrap_or(manifest))
        }
        other => Err(mismatch("module", &other)),
    }
}

/// Refuses signatures that are not of the module, and a module that nobody has signed of those who must.
fn check_signatures(
    api: &Api,
    namespace: &Namespace,
    digest: Digest,
    signatures: &[ModuleSignature],
) -> Result<(), Error> {
    if let Some(bad) = signatures.iter().find(|signature| !signature.is_of(digest)) {
        let message = format!("the signature by {} is not of this module: sign the file that is pushed", bad.signer);
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    let known = api.consensus.read(|core| core.signatures(namespace, &digest).to_vec());
    let mut signed = known.iter().chain(signatures);
    if api.signers.is_empty() || signed.any(|signature| api.signers.contains(&signature.signer)) {
        return Ok(());
    }
    let signers: Vec<String> = api.signers.iter().map(ToString::to_string).collect();
    let message = format!("a module must be signed here by one of {}: push it with --sign KEY", signers.join(", "));
    Err(Error::new(ErrorCode::Forbidden, message))
}

/// Whether a client may move the names of others.
fn may_move_any(identity: &Identity) -> bool {
    auth::decide(identity, &mut Need::of_foreign_name()).is_ok()
}

/// Refuses to move a name that somebody else gave, unless by an operator or administrator there.
async fn check_owner(api: &Api, identity: &Identity, name: &ModuleName) -> Result<(), Error> {
    if may_move_any(identity) {
        return Ok(());
    }
    api.fresh(Consistency::Linearizable).await?;
    let is_theirs =
        api.consensus.read(|core| core.module_name_owner(name).is_none_or(|owner| identity.is_owner(owner)));
    if is_theirs {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Forbidden,
        format!("{identity} may not move {name}: it is the name of somebody else's module"),
    ))
}
