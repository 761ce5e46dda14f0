//! Secrets for jobs: sealed before they enter the log, opened for whoever holds a job that is given them, and for nobody else.

use super::request::Answer;
use super::room::{LIST_BYTES_MAX, Room};
use super::{Api, report};
use crate::seal::Unopened;
use crate::tls::Identity;
use jobraft_core::LeaseOwner;
use jobraft_core::command::{Command, SecretCommand};
use jobraft_protocol::limits::{
    JOB_SECRETS_BYTES_MAX, JOB_SECRETS_MAX, SECRET_MODULES_MAX, SECRET_QUEUES_MAX, SECRETS_MAX,
};
use jobraft_protocol::name::NAME_BYTES_MAX;
use jobraft_protocol::{Consistency, Error, ErrorCode, LeaseRef, Response, SecretChange, SecretName, SecretValue};
use zeroize::Zeroizing;

/// The most that a secret takes in a list: mostly the names of the modules and queues for which it is granted.
const SECRET_BYTES_MAX: usize = (SECRET_MODULES_MAX + SECRET_QUEUES_MAX) * (NAME_BYTES_MAX + 4) + 768;
const _: () = assert!(SECRETS_MAX * SECRET_BYTES_MAX <= LIST_BYTES_MAX, "a list of all fits into a frame");

/// Makes, changes or removes a secret on behalf of `identity`.
pub(super) async fn change(api: &Api, identity: &Identity, change: SecretChange) -> Answer {
    let change = match change {
        SecretChange::Put { name, value, grant } => {
            let sealed = seal(api, &name, value.reveal())?;
            SecretCommand::Put { name, sealed, grant }
        }
        SecretChange::Grant { name, grant } => SecretCommand::Grant { name, grant },
        SecretChange::Delete { name } => SecretCommand::Delete { name },
        SecretChange::Reseal => return reseal(api, identity).await,
    };
    report::done(api, Command::ChangeSecret { change, by: identity.owner() }).await
}

/// Seals anew, one by one, what is not sealed under the first key.
async fn reseal(api: &Api, identity: &Identity) -> Answer {
    let key = api.secrets.key_id().ok_or_else(no_key)?;
    api.fresh(Consistency::Linearizable).await?;
    let old: Vec<SecretName> = api.consensus.read(|core| {
        let is_old = |name: &SecretName| core.sealed_secret(name).is_some_and(|sealed| !api.secrets.is_current(sealed));
        core.secrets().map(|view| view.name.clone()).filter(is_old).collect()
    });
    for name in old {
        let found = api.consensus.read(|core| core.sealed_secret(&name).cloned());
        let Some(former) = found else { continue };
        let sealed = seal(api, &name, open(api, &name, &former)?.reveal())?;
        let change = SecretCommand::Reseal { name, former, sealed };
        report::done(api, Command::ChangeSecret { change, by: identity.owner() }).await?;
    }
    Ok(Response::Resealed(key))
}

/// Lists the secrets of a client's namespace, without their values.
pub(super) async fn list(api: &Api, identity: &Identity, consistency: Consistency, room: &mut Room) -> Answer {
    api.fresh(consistency).await?;
    room.reserve(SECRETS_MAX * SECRET_BYTES_MAX).await;
    let is_here = |name: &SecretName| identity.is_there(name.as_str());
    Ok(Response::Secrets(
        api.consensus.read(|core| core.secrets().filter(|view| is_here(&view.name)).cloned().collect()),
    ))
}

/// Opens the secrets of a job for the worker that holds it, and that the client has proved to have registered.
pub(super) async fn of_job(api: &Api, identity: &Identity, lease: LeaseRef, room: &mut Room) -> Answer {
    // One that was just taken back is not given.
    api.fresh(Consistency::Linearizable).await?;
    let sealed = api.consensus.read(|core| match core.lease_owner(lease) {
        LeaseOwner::Held(owner) if identity.is_owner(owner) => {
            let secrets = core.secrets_of(lease.job);
            Ok(secrets.into_iter().map(|(name, sealed)| (name.clone(), sealed.clone())).collect::<Vec<_>>())
        }
        _ => {
            let message = format!("the lease of job {} under token {} is not held", lease.job, lease.token);
            Err(Error::new(ErrorCode::LeaseLost, message))
        }
    })?;
    if sealed.len() > JOB_SECRETS_MAX {
        let message = format!("{} secrets are granted to the job's module, at most {JOB_SECRETS_MAX}", sealed.len());
        return Err(Error::new(ErrorCode::TooMany, message));
    }
    room.reserve(JOB_SECRETS_BYTES_MAX).await;
    let (mut secrets, mut bytes) = (Vec::with_capacity(sealed.len()), 0);
    for (name, sealed) in sealed {
        let value = open(api, &name, &sealed)?;
        bytes += name.as_str().len() + value.reveal().len();
        secrets.push((name, value));
    }
    if bytes > JOB_SECRETS_BYTES_MAX {
        let message = format!("the secrets of the job's module have {bytes} bytes, at most {JOB_SECRETS_BYTES_MAX}");
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    Ok(Response::JobSecrets(secrets))
}

/// Where a secret belongs: sealed as another one, or in another cluster, it does not open here.
fn place<'a>(api: &'a Api, name: &'a SecretName) -> [&'a [u8]; 3] {
    [b"secret", api.cluster.as_bytes(), name.as_str().as_bytes()]
}

fn seal(api: &Api, name: &SecretName, value: &str) -> Result<bytes::Bytes, Error> {
    if !api.secrets.seals() {
        return Err(no_key());
    }
    Ok(api.secrets.seal(&place(api, name), value.as_bytes()).into_owned().into())
}

fn open(api: &Api, name: &SecretName, sealed: &[u8]) -> Result<SecretValue, Error> {
    if !api.secrets.seals() {
        return Err(no_key());
    }
    let opened = api.secrets.open(&place(api, name), sealed).map_err(|unopened| match unopened {
        Unopened::NoKey(key) => Error::new(
            ErrorCode::WrongState,
            format!("secret {name} is sealed under key {key}, which the file of [secrets] key_file here does not have"),
        ),
        Unopened::Damaged => Error::new(ErrorCode::Internal, format!("secret {name} does not open with its key")),
    })?;
    let opened = Zeroizing::new(opened.into_owned());
    let text = std::str::from_utf8(&opened).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| Error::new(ErrorCode::Internal, format!("secret {name} is no text any more")))
}

fn no_key() -> Error {
    let message = "the leader has no key for secrets: have [secrets] key_file on each node name the same file, which jobraft \
                   storage keygen makes";
    Error::new(ErrorCode::WrongState, message)
}
