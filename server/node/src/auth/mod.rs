//! Authorization: who may ask for what. Decided on the path of each request, before anything is proposed.
//!
//! Pure: no I/O, no clock, no state. The identity is what the certificate or the token proved, never what a request claims. What each
//! request needs stands in [`Need::of`] and nowhere else; which roles have it, in [`Permission`].

mod need;
mod permission;
#[cfg(test)]
mod table_tests;

pub use need::{Need, Reach, Stored};
pub use permission::{Kind, Permission};

use crate::tls::Identity;
use jobraft_protocol::{Error, ErrorCode, Grant};

/// Decides whether `identity` may do what needs this, as far as that follows from the request. What is [`Stored`], the
/// caller looks up.
///
/// A node may do everything: it is trusted with more than any client. That nobody but a node speaks the peer protocol is
/// settled by the transport, before there is a request.
///
/// # Errors
/// [`ErrorCode::Forbidden`], naming what is refused, to whom, and what would permit it.
pub fn decide(identity: &Identity, need: &mut Need<'_>) -> Result<(), Error> {
    let Identity::Client { grant, .. } = identity else { return Ok(()) };
    if !need.permission.is_granted(grant) {
        return Err(no_permission(identity, grant, need.permission));
    }
    if grant.covers_all() {
        return Ok(());
    }
    match &mut need.reach {
        Reach::Nothing => Ok(()),
        Reach::Names(names) => match names.find(|name| !grant.covers(name)) {
            None => Ok(()),
            Some(name) => Err(not_covered(identity, grant, &format!("{name:?}"))),
        },
        Reach::Beginning(beginning) if grant.covers_beginning(beginning) => Ok(()),
        Reach::Beginning(beginning) => {
            Err(not_covered(identity, grant, &format!("all that begins with {beginning:?}")))
        }
        Reach::Everything => Err(not_covered(identity, grant, "the cluster as a whole")),
    }
}

/// Decides whether `identity` may touch what belongs to the queue `queue`; `what` it is stands in the refusal, the queue's
/// name does not: it may not be for those who ask.
///
/// # Errors
/// [`ErrorCode::Forbidden`].
pub fn covered(identity: &Identity, queue: &str, what: impl FnOnce() -> String) -> Result<(), Error> {
    match identity {
        Identity::Client { grant, .. } if !grant.covers(queue) => Err(not_covered(identity, grant, &what())),
        Identity::Client { .. } | Identity::Node(_) => Ok(()),
    }
}

/// What `identity` covers, unless that is everything.
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
