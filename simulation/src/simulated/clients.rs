//! Machines of clients: hosts on the simulated network that are no nodes.

use super::cluster::Cluster;
use super::network::HostId;
use super::world::World;
use jobraft_node::tls::Credentials;
use jobraft_protocol::ALPN_CLIENT;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, EndpointConfig, TokioRuntime, TransportConfig};
use std::sync::Arc;
use std::time::Duration;

/// A connection without any packet for so long is lost, as with the SDK.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an idle connection is pinged.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A client's machine.
pub struct Machine {
    /// Its host.
    pub host: HostId,
    /// From where it connects.
    pub endpoint: quinn::Endpoint,
    /// How.
    pub config: ClientConfig,
}

/// Boots a machine for a client of that name; the endpoint on it speaks the client protocol.
///
/// # Errors
/// If its certificate cannot be made, or its host cannot be booted.
pub fn boot(world: &mut World, cluster: &Cluster, name: &str) -> Result<Machine, String> {
    let files = cluster.issue_client(name)?;
    let host = world.add_station(name);
    world.boot(host).map_err(|error| error.to_string())?;
    let port = world.network.bind(host, world.station(host).address).map_err(|error| error.to_string())?;
    let endpoint = world.within(host, || {
        let credentials = Credentials::load(&files).map_err(|error| error.to_string())?;
        let tls = credentials.client_config(ALPN_CLIENT).map_err(|error| error.to_string())?;
        let tls = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
        let mut transport = TransportConfig::default();
        let idle = IDLE_TIMEOUT.try_into().expect("seconds, far below the bound of QUIC");
        transport.max_idle_timeout(Some(idle)).keep_alive_interval(Some(KEEP_ALIVE));
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        let runtime = Arc::new(TokioRuntime);
        let endpoint = quinn::Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, port, runtime);
        Ok((endpoint.map_err(|error| error.to_string())?, config))
    });
    let (endpoint, config) = endpoint.unwrap_or_else(|| Err("the host is not up".to_owned()))?;
    Ok(Machine { host, endpoint, config })
}
