//! Authorization: who may ask for what. Decided on the path of each request, before anything is proposed.
//!
//! Pure: no I/O, no clock, no state. The identity is what the certificate or the token proved, never what a request claims.
//! What each request needs stands in [`Need::of`] and nowhere else; which roles have it, in [`Permission`].

mod need;
mod permission;
#[cfg(test)]
mod table_tests;

pub use need::{Need, Reach, Stored};
pub use permission::{Kind, Permission};

use crate::tls::Identity;
use jobraft_protocol::namespace::shown;
use jobraft_protocol::{Error, ErrorCode, Grant, Namespace};

/// Decides whether `identity` may do what needs this, as far as that follows from the request. What is [`Stored`], the
/// caller looks up.
///
/// A node may do everything: it is trusted with more than any client. That nobody but a node speaks the peer protocol is
/// settled by the transport, before there is a request.
///
/// # Errors
/// [`ErrorCode::Forbidden`], naming what is refused, to whom, and what would permit it.
pub fn decide(identity: &Identity, need: &mut Need<'_>) -> Result<(), Error> {
    let Identity::Client { grant, namespace, .. } = identity else { return Ok(()) };
    if !need.permission.is_granted(grant) {
        return Err(no_permission(identity, grant, need.permission));
    }
    match &mut need.reach {
        Reach::Cluster if grant.is_of_cluster() => Ok(()),
        Reach::Cluster => {
            let what = "the cluster as a whole, and is no administrator of it";
            Err(forbidden(format!("{identity} may not touch {what}")))
        }
        _ if grant.covers_all() => Ok(()),
        Reach::Nothing => Ok(()),
        Reach::Names(names) => match names.find(|name| !identity.covers(name)) {
            None => Ok(()),
            Some(name) => Err(not_covered(identity, grant, &format!("{:?}", shown(name)))),
        },
        Reach::Beginning(beginning) => match namespace.local(beginning) {
            Some(local) if grant.covers_beginning(local) => Ok(()),
            _ => Err(not_covered(identity, grant, &format!("all that begins with {:?}", shown(beginning)))),
        },
        Reach::Everything => Err(not_covered(identity, grant, "its namespace as a whole")),
    }
}

/// `identity` in the namespace that it wants to enter, or in its own.
///
/// # Errors
/// [`ErrorCode::Forbidden`] if its credential does not let it in.
pub fn enter(identity: &Identity, wanted: Option<Namespace>) -> Result<Identity, Error> {
    let wanted = wanted.unwrap_or_else(|| identity.namespace());
    if !may_enter(identity, &wanted) {
        let home = identity.namespace();
        return Err(forbidden(format!("{identity} may not enter namespace {wanted}: it is confined to {home}")));
    }
    Ok(match identity.clone() {
        Identity::Client { name, grant, .. } => Identity::Client { name, grant, namespace: wanted },
        node @ Identity::Node(_) => node,
    })
}

/// Whether `identity` may enter a namespace.
#[must_use]
pub fn may_enter(identity: &Identity, namespace: &Namespace) -> bool {
    match identity {
        Identity::Client { grant, .. } => grant.enters(namespace),
        Identity::Node(_) => namespace.is_default(),
    }
}

/// Decides whether `identity` may touch what belongs to the queue `queue`; `what` it is stands in the refusal, the queue's
/// name does not: it may not be for those who ask.
///
/// # Errors
/// [`ErrorCode::Forbidden`].
pub fn covered(identity: &Identity, queue: &str, what: impl FnOnce() -> String) -> Result<(), Error> {
    match identity {
        Identity::Client { grant, .. } if !identity.covers(queue) => match identity.is_there(queue) {
            true => Err(not_covered(identity, grant, &what())),
            false => Err(elsewhere(identity, &what())),
        },
        Identity::Client { .. } | Identity::Node(_) => Ok(()),
    }
}

/// The refusal of what is in another namespace than `identity`.
pub(crate) fn elsewhere(identity: &Identity, what: &str) -> Error {
    forbidden(format!("{identity} may not touch {what}: it is not in namespace {}", identity.namespace()))
}

/// What `identity` covers, unless that is everything in its namespace.
#[must_use]
pub fn limited(identity: &Identity) -> Option<&Grant> {
    match identity {
        Identity::Client { grant, .. } if !grant.covers_all() => Some(grant),
        Identity::Client { .. } | Identity::Node(_) => None,
    }
}

/// Whether somebody with this grant reads more than what they work on.
#[must_use]
pub(crate) fn reads(grant: &Grant) -> bool {
    Permission::Read.is_granted(grant)
}

/// Whether `identity` is of the whole cluster, and not only of a namespace.
#[must_use]
pub fn is_of_cluster(identity: &Identity) -> bool {
    match identity {
        Identity::Client { grant, .. } => grant.is_of_cluster(),
        Identity::Node(_) => true,
    }
}

/// Whether `identity` sees what jobs carry that it has not leased.
#[must_use]
pub const fn sees_payloads(identity: &Identity) -> bool {
    match identity {
        Identity::Client { grant, .. } => grant.sees_payloads(),
        Identity::Node(_) => true,
    }
}

fn no_permission(identity: &Identity, grant: &Grant, permission: Permission) -> Error {
    let roles: Vec<&str> = grant.roles().map(|role| role.as_str()).collect();
    let has = match roles.as_slice() {
        [] => "it has no role".to_owned(),
        [role] => format!("its role is {role}"),
        roles => format!("its roles are {}", roles.join(" and ")),
    };
    forbidden(format!("{identity} may not {}: {has}", permission.verb()))
}

/// The refusal of what is not covered.
pub(crate) fn not_covered(identity: &Identity, grant: &Grant, what: &str) -> Error {
    let patterns: Vec<&str> = grant.queues().iter().map(|pattern| pattern.as_str()).collect();
    forbidden(format!("{identity} may not touch {what}: it covers only {}", patterns.join(", ")))
}

fn forbidden(message: String) -> Error {
    Error::new(ErrorCode::Forbidden, message)
}
