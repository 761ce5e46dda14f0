//! Links between nodes: who is let in, and how they find each other again.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Authority, CLUSTER, Gate, address, loopback, soon};
use super::{CloseCode, Endpoint, LocalPeer, PeerConnection, PeerStream, Peers, Protocol, TransportError};
use crate::tls::Identity;
use jobraft_protocol::{ErrorCode, NodeAddress, NodeId};
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

fn local(node: u64) -> LocalPeer {
    LocalPeer { cluster: CLUSTER.into(), group: 0, node: NodeId(node), instance: Uuid::from_u128(node.into()) }
}

/// Runs node `id` on `endpoint`: welcomes peers and sends each stream's kind and frames back.
fn serve(endpoint: Endpoint, id: u64, instance: Uuid) {
    tokio::spawn(async move {
        while let Some(accepted) = endpoint.accept().await {
            tokio::spawn(async move {
                let gate = Gate { node: NodeId(id), instance };
                let Ok(mut peer) = PeerConnection::welcome(accepted, NodeId(id), &gate).await else { return };
                while let Some((kind, mut sender, mut receiver)) = peer.accept().await {
                    tokio::spawn(async move {
                        while let Ok(Some(text)) = receiver.recv::<String>().await {
                            sender.send(&(kind, text)).await.unwrap();
                        }
                    });
                }
            });
        }
    });
}

async fn echo(link: &super::PeerLink, kind: PeerStream) -> Result<(PeerStream, String), TransportError> {
    let (mut sender, mut receiver) = link.stream(kind).await?;
    sender.send(&"hi").await?;
    receiver.recv().await?.ok_or(TransportError::Truncated)
}

#[tokio::test]
async fn streams_arrive_with_their_kind_over_one_connection() {
    let authority = Authority::new();
    let (one, two) = (authority.node(1), authority.node(2));
    serve(two.clone(), 2, Uuid::from_u128(2));
    let peers = Peers::new(one.clone(), local(1));
    let link = peers.link(NodeId(2), &address(&two), Some(Uuid::from_u128(2)));
    for kind in [PeerStream::Append, PeerStream::Rpc, PeerStream::Snapshot, PeerStream::Module] {
        assert_eq!(soon(echo(&link, kind)).await.unwrap(), (kind, "hi".to_owned()));
    }
    let again = peers.link(NodeId(2), &address(&two), Some(Uuid::from_u128(2)));
    assert!(std::sync::Arc::ptr_eq(&link, &again));
    assert_eq!(two.refused_total(), 0);
}

#[tokio::test]
async fn a_hello_for_another_cluster_or_node_is_refused() {
    let authority = Authority::new();
    let (one, two) = (authority.node(1), authority.node(2));
    serve(two.clone(), 2, Uuid::from_u128(2));

    let stranger = Peers::new(one.clone(), LocalPeer { cluster: "other".into(), ..local(1) });
    let error = soon(echo(&stranger.link(NodeId(2), &address(&two), None), PeerStream::Rpc)).await.unwrap_err();
    assert!(matches!(&error, TransportError::Refused(e) if e.code == ErrorCode::Membership), "{error}");

    let peers = Peers::new(one.clone(), local(1));
    let error = soon(echo(&peers.link(NodeId(3), &address(&two), None), PeerStream::Rpc)).await.unwrap_err();
    assert!(matches!(error, TransportError::WrongNode { expected: NodeId(3), found: NodeId(2) }), "{error}");

    let impostor = Peers::new(one, local(7));
    let error = soon(echo(&impostor.link(NodeId(2), &address(&two), None), PeerStream::Rpc)).await.unwrap_err();
    assert!(matches!(&error, TransportError::Refused(e) if e.code == ErrorCode::Forbidden), "{error}");
}

#[tokio::test]
async fn a_hello_with_a_wrong_target_is_refused_by_the_target() {
    let authority = Authority::new();
    let (one, two) = (authority.node(1), authority.node(2));
    serve(two.clone(), 2, Uuid::from_u128(2));
    let connection = soon(one.connect(&address(&two), Protocol::Peer)).await.unwrap();
    let (mut sender, mut receiver) = connection.open().await.unwrap();
    let hello = super::PeerHello {
        cluster: CLUSTER.into(),
        group: 0,
        node: NodeId(1),
        instance: Uuid::nil(),
        target: NodeId(3),
    };
    sender.send(&hello).await.unwrap();
    let answer: Result<super::PeerWelcome, jobraft_protocol::Error> = soon(receiver.recv()).await.unwrap().unwrap();
    assert_eq!(answer.unwrap_err().code, ErrorCode::Membership);
    let reason = soon(connection.closed()).await;
    assert!(matches!(reason, TransportError::Closed { code, .. } if code == CloseCode::Refused as u64), "{reason}");
}

#[tokio::test]
async fn another_instance_under_a_used_id_is_refused() {
    let authority = Authority::new();
    let (one, two) = (authority.node(1), authority.node(2));
    serve(two.clone(), 2, Uuid::from_u128(99));
    let peers = Peers::new(one, local(1));
    let link = peers.link(NodeId(2), &address(&two), Some(Uuid::from_u128(2)));
    let error = soon(link.stream(PeerStream::Append)).await.err().unwrap();
    assert!(matches!(error, TransportError::WrongInstance { node: NodeId(2), .. }), "{error}");
    let error = soon(link.stream(PeerStream::Append)).await.err().unwrap();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn an_unreachable_node_is_refused_at_once_after_the_first_failure() {
    let authority = Authority::new();
    let one = authority.node(1);
    // Bound by nobody who answers.
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let silent_address = NodeAddress::from(silent.local_addr().unwrap());
    let peers = Peers::new(one, local(1));
    let link = peers.link(NodeId(2), &silent_address, None);
    let error = soon(link.stream(PeerStream::Rpc)).await.err().unwrap();
    assert!(matches!(error, TransportError::TimedOut { .. }), "{error}");
    let error = soon(link.stream(PeerStream::Rpc)).await.err().unwrap();
    assert!(
        matches!(error, TransportError::Unreachable { node: NodeId(2), retry_in, .. } if retry_in <= Duration::from_millis(100)),
        "{error}"
    );
    // Word of it ends the pause.
    peers.seen(NodeId(2));
    let error = soon(link.stream(PeerStream::Rpc)).await.err().unwrap();
    assert!(matches!(error, TransportError::TimedOut { .. }), "{error}");
}

/// Binds the port of an endpoint that was just dropped, as soon as the system has let go of it.
async fn rebind(authority: &Authority, at: SocketAddr) -> Endpoint {
    let credentials = authority.load(&Identity::Node(NodeId(2)));
    loop {
        match Endpoint::bind(at, &credentials) {
            Ok(endpoint) => return endpoint,
            Err(TransportError::AddressInUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_restarted_node_is_found_again() {
    let authority = Authority::new();
    let (one, two) = (authority.node(1), authority.node(2));
    let at = two.local_addr();
    serve(two.clone(), 2, Uuid::from_u128(2));
    let peers = Peers::new(one, local(1));
    let link = peers.link(NodeId(2), &at.into(), Some(Uuid::from_u128(2)));
    soon(echo(&link, PeerStream::Rpc)).await.unwrap();

    soon(two.close()).await;
    drop(two);
    serve(soon(rebind(&authority, at)).await, 2, Uuid::from_u128(2));
    let found = async {
        while echo(&link, PeerStream::Rpc).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(found).await;
}

#[tokio::test]
async fn a_killed_node_that_is_back_ends_its_old_connections_at_once() {
    let authority = Authority::new();
    let one = authority.node(1);
    let credentials = authority.credentials(&Identity::Node(NodeId(2)));
    // A runtime that is torn down under its tasks says no farewell, as a process that is killed.
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let at = {
        let _inside = doomed.enter();
        let two = Endpoint::bind(loopback(), &credentials).unwrap();
        serve(two.clone(), 2, Uuid::from_u128(2));
        two.local_addr()
    };
    let connection = soon(one.connect(&at.into(), Protocol::Peer)).await.unwrap();
    let (mut sender, _receiver) = connection.open().await.unwrap();
    doomed.shutdown_background();
    let _back = soon(rebind(&authority, at)).await;
    sender.send(&"anybody there?").await.unwrap();
    let reason = soon(connection.closed()).await;
    assert!(matches!(reason, TransportError::Reset), "{reason}");
}
