//! Certificates and authorities that are replaced while connections are open.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Authority, address, intrude, soon};
use super::{Accepted, CloseCode, Connection, Endpoint, FrameReceiver, FrameSender, Protocol, TransportError};
use crate::tls::{Credentials, Identity};
use jobraft_protocol::{ALPN_CLIENT, NodeId};
use time::OffsetDateTime;

const NODE: Identity = Identity::Node(NodeId(1));

fn client() -> Identity {
    Identity::admin("alice")
}

/// A connection from `client` to `node`, with a stream.
struct Open {
    connection: Connection,
    accepted: Accepted,
    here: (FrameSender, FrameReceiver),
    there: (FrameSender, FrameReceiver),
}

impl Open {
    async fn new(client: &Endpoint, node: &Endpoint) -> Result<Self, TransportError> {
        let connection = soon(client.connect(&address(node), Protocol::Client)).await?;
        let accepted = soon(node.accept()).await.unwrap();
        let mut here = connection.open().await?;
        here.0.send(&0_u32).await?;
        let mut there = soon(accepted.connection.accept()).await.unwrap();
        assert_eq!(soon(there.1.recv::<u32>()).await?, Some(0));
        Ok(Self { connection, accepted, here, there })
    }

    /// Shows that it still carries frames in both directions.
    async fn carries(&mut self) {
        self.here.0.send(&1_u32).await.unwrap();
        assert_eq!(soon(self.there.1.recv::<u32>()).await.unwrap(), Some(1));
        self.there.0.send(&2_u32).await.unwrap();
        assert_eq!(soon(self.here.1.recv::<u32>()).await.unwrap(), Some(2));
        assert!(!self.connection.is_closed() && !self.accepted.connection.is_closed());
    }
}

#[tokio::test]
async fn renewed_credentials_serve_new_handshakes_in_both_directions_and_old_connections_live_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let (node, alice) = (old.node(1), old.client("alice"));
    let mut before = Open::new(&alice, &node).await.unwrap();

    node.renew(&new.credentials(&NODE)).unwrap();
    // The node shows a certificate of the new authority, and trusts no other.
    let error = soon(alice.connect(&address(&node), Protocol::Client)).await.err().unwrap();
    assert!(matches!(error, TransportError::Handshake(_)), "{error}");
    let (trusted, stale) =
        (new.files(&client(), OffsetDateTime::now_utc(), 1), old.files(&client(), OffsetDateTime::now_utc(), 1));
    let error = intrude(&node, &trusted, Some(&stale), &[ALPN_CLIENT]).await;
    assert!(matches!(error, TransportError::Handshake(_)), "{error}");
    // So does whoever connects, once it is renewed.
    alice.renew(&new.credentials(&client())).unwrap();
    let mut after = Open::new(&alice, &node).await.unwrap();

    after.carries().await;
    before.carries().await;
}

#[tokio::test]
async fn a_node_that_trusts_two_authorities_takes_peers_and_clients_of_both() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = [old.certificate(), new.certificate()];
    let both = [both[0].as_str(), both[1].as_str()];
    old.trust(&both);
    new.trust(&both);
    // Whichever of the two issued its own certificate.
    for node in [old.node(1), new.node(1)] {
        for authority in [&old, &new] {
            let alice = authority.client("alice");
            let mut open = Open::new(&alice, &node).await.unwrap();
            assert_eq!(open.accepted.identity, client());
            open.carries().await;
            let two = authority.node(2);
            let _peer = soon(two.connect(&address(&node), Protocol::Peer)).await.unwrap();
            let accepted = soon(node.accept()).await.unwrap();
            assert_eq!((accepted.identity, accepted.protocol), (Identity::Node(NodeId(2)), Protocol::Peer));
        }
    }
    // A third one is as foreign as ever.
    let third = Authority::new();
    third.trust(&both);
    assert!(Credentials::load(&third.files(&NODE, OffsetDateTime::now_utc(), 1)).is_err());
}

#[tokio::test]
async fn a_revoked_certificate_loses_its_connections_and_gets_no_more() {
    let authority = Authority::new();
    let (node, alice) = (authority.node(1), authority.client("alice"));
    let two = Identity::Node(NodeId(2));
    let mallory = Identity::admin("mallory");
    let (mallorys, peer) = (authority.client("mallory"), authority.node(2));
    let mut honest = Open::new(&alice, &node).await.unwrap();
    let Open { connection, accepted, mut here, .. } = Open::new(&mallorys, &node).await.unwrap();
    // What the node has opened itself counts as well.
    let outgoing = soon(node.connect(&address(&peer), Protocol::Peer)).await.unwrap();
    // Only a stream is left of the last one, and it keeps the connection open.
    let half = Open::new(&mallorys, &node).await.unwrap();
    let (kept, (sender, receiver)) = (half.connection, half.there);
    drop((half.accepted, receiver));

    authority.revoke(&mallory);
    authority.revoke(&two);
    // Two of mallory's and the one to node 2.
    assert_eq!(node.renew(&authority.load(&NODE)).unwrap(), 3);
    for connection in [&connection, &kept] {
        let reason = soon(connection.closed()).await;
        let TransportError::Closed { code, reason } = &reason else { panic!("{reason}") };
        assert_eq!((*code, reason.as_str()), (CloseCode::Revoked as u64, "the certificate is revoked"));
    }
    assert!(accepted.connection.is_closed() && outgoing.is_closed());
    assert!(here.0.send(&1_u32).await.is_err());
    drop(sender);
    honest.carries().await;

    // In the handshake, in both directions.
    let refused = match soon(mallorys.connect(&address(&node), Protocol::Client)).await {
        Ok(connection) => soon(connection.closed()).await,
        Err(error) => error,
    };
    assert!(matches!(refused, TransportError::Handshake(_)), "{refused}");
    let error = soon(node.connect(&address(&peer), Protocol::Peer)).await.err().unwrap();
    assert!(matches!(error, TransportError::Handshake(_)), "{error}");
    Open::new(&alice, &node).await.unwrap().carries().await;
}

#[tokio::test]
async fn a_clients_connections_end_with_its_certificate_and_those_of_nodes_go_on() {
    let authority = Authority::new();
    let (node, alice, peer) = (authority.node(1), authority.client("alice"), authority.node(2));
    let open = Open::new(&alice, &node).await.unwrap();
    let outgoing = soon(node.connect(&address(&peer), Protocol::Peer)).await.unwrap();
    let now = OffsetDateTime::now_utc();
    assert_eq!(node.close_ended(now), 0);
    assert_eq!(node.close_ended(now + time::Duration::days(36_500)), 1);
    let reason = soon(open.connection.closed()).await;
    assert!(reason.to_string().contains("has ended"), "{reason}");
    assert!(!outgoing.is_closed());
}

#[tokio::test]
async fn an_authority_without_a_list_has_revoked_nothing() {
    let (old, new) = (Authority::new(), Authority::new());
    let both = [old.certificate(), new.certificate()];
    new.trust(&[both[0].as_str(), both[1].as_str()]);
    old.trust(&[both[0].as_str(), both[1].as_str()]);
    let mallory = Identity::admin("mallory");
    let revoked = new.files(&mallory, OffsetDateTime::now_utc(), 1);
    new.revoke(&mallory);
    let node = new.node(1);
    let alice = old.client("alice");
    Open::new(&alice, &node).await.unwrap().carries().await;
    let error = intrude(&node, &revoked, Some(&revoked), &[ALPN_CLIENT]).await;
    assert!(matches!(error, TransportError::Handshake(_)), "{error}");
}
