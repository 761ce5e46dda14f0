//! Receiving a module: to this node's disk, to a majority of the voters, then into the log.

use super::Api;
use super::request::mismatch;
use crate::modules::{moving, take};
use crate::tls::Identity;
use crate::transport::{FrameReceiver, FrameSender};
use jobraft_core::Core;
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{Digest, Error, ErrorCode, ModuleManifest, ModuleName, ModuleRef, limits};

/// What the client says that it sends.
pub(super) struct Announced {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) name: Option<ModuleName>,
}

/// Serves an upload.
pub(super) async fn run(
    api: &Api,
    identity: &Identity,
    announced: Announced,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) {
    let digest = announced.digest;
    let result = upload(api, identity, announced, &mut receiver).await;
    match &result {
        Ok(manifest) => tracing::info!(%digest, bytes = manifest.size, %identity, "module uploaded"),
        Err(error) => tracing::info!(%digest, %identity, %error, "module refused"),
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
    identity: &Identity,
    announced: Announced,
    receiver: &mut FrameReceiver,
) -> Result<ModuleManifest, Error> {
    let Announced { digest, size, name } = announced;
    {
        let leadership = api.consensus.leadership();
        let now = leadership.borrow();
        if !now.is_leader {
            return Err(now.not_leader());
        }
    }
    // Said before a byte is taken; the state machine says the same when it matters.
    let known = api.consensus.read(Core::modules);
    if known.len() >= limits::MODULES_MAX && !known.iter().any(|manifest| manifest.digest == digest) {
        let message = format!("the cluster has {} modules, the most it takes", limits::MODULES_MAX);
        return Err(Error::new(ErrorCode::TooMany, message));
    }
    drop(known);

    let _place = api.uploads.acquire().await.expect("this semaphore is never closed");
    let received = async {
        let incoming = api.modules.store().receive(digest, size).await?;
        let received = take(receiver, incoming).await?;
        let imports = received.inspect().await?;
        received.keep().await?;
        api.modules.replicate(digest).await?;
        Ok(imports)
    };
    let imports = received.await.map_err(|error: crate::modules::ModuleError| error.answer())?;
    let owner = match identity {
        Identity::Client(name) => name.clone(),
        Identity::Node(node) => format!("node/{node}"),
    };
    let manifest = ModuleManifest { digest, size, names: Vec::new(), imports, owner };
    match api.consensus.propose(Command::PutModule { manifest: manifest.clone(), name }).await? {
        // As the cluster knows it: with all its names, and whoever brought it first.
        Outcome::Done => Ok(api.consensus.read(|core| core.resolve(&ModuleRef::Digest(digest))).unwrap_or(manifest)),
        other => Err(mismatch("module", &other)),
    }
}
