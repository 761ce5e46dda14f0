//! Authorization: who may ask for what. Decided on the path of each request, before anything is proposed.
//!
//! Pure: no I/O, no clock, no state. The identity is what the certificate proved, never what a request claims.

use crate::tls::Identity;
use jobraft_protocol::{Error, Request};

/// Decides whether `identity` may send `request`.
///
/// Every holder of a certificate of the cluster's authority may send every request of the client protocol. A node may
/// as well, since it is trusted with more than any client. That nobody but a node speaks the peer protocol is settled
/// by the transport, before there is a request.
///
/// # Errors
/// [`jobraft_protocol::ErrorCode::Forbidden`], naming what is refused and to whom.
pub const fn decide(identity: &Identity, _request: &Request) -> Result<(), Error> {
    match identity {
        Identity::Node(_) | Identity::Client(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_protocol::NodeId;

    #[test]
    fn clients_and_nodes_may_use_the_client_protocol() {
        for identity in [Identity::Client("alice".into()), Identity::Node(NodeId(1))] {
            assert_eq!(decide(&identity, &Request::ClusterStatus), Ok(()));
        }
    }
}
