//! The configuration file as it is written, and what must hold before it is believed.

use super::{
    AUDIT_FILES_MAX, AuditConfig, AuditScope, AuditTarget, CLUSTER_NAME_BYTES_MAX, CLUSTER_NAME_DEFAULT, ConfigError,
    INITIAL_MEMBERS_MAX, LogConfig, LogFormat, NodeConfig, Source,
};
use crate::tls::TlsFiles;
use jobraft_protocol::{NodeAddress, NodeId, Signer};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeFile {
    node: NodeSection,
    #[serde(default)]
    cluster: ClusterSection,
    tls: TlsSection,
    #[serde(default)]
    log: LogSection,
    #[serde(default)]
    audit: AuditSection,
    #[serde(default)]
    modules: ModulesSection,
    #[serde(default)]
    storage: StorageSection,
    #[serde(default)]
    secrets: SecretsSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeSection {
    id: NonZeroU64,
    listen: SocketAddr,
    advertise: Option<NodeAddress>,
    data_dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterSection {
    name: Option<String>,
    #[serde(default)]
    initial_members: BTreeMap<String, NodeAddress>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    crl: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSection {
    level: Option<String>,
    #[serde(default)]
    format: LogFormat,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditSection {
    to: Option<PathBuf>,
    #[serde(default)]
    record: AuditScope,
    file_bytes_max: Option<NonZeroU64>,
    files_max: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageSection {
    key_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsSection {
    key_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModulesSection {
    #[serde(default)]
    signers: BTreeSet<Signer>,
}

impl NodeFile {
    pub(super) fn check(source: &Source) -> Result<NodeConfig, ConfigError> {
        let file: Self = source.parse()?;
        let node_id = NodeId(file.node.id.get());
        let advertise = advertise(source, &file.node)?;
        let initial_members = initial_members(source, &file.cluster, node_id, &advertise)?;
        let (log, audit) = (LogConfig::default(), audit(source, &file)?);
        Ok(NodeConfig {
            node_id,
            listen: file.node.listen,
            advertise,
            data_dir: directory(source, &file.node)?,
            cluster: cluster_name(source, &file.cluster)?,
            initial_members,
            tls: TlsFiles {
                ca: source.resolve(&file.tls.ca),
                cert: source.resolve(&file.tls.cert),
                key: source.resolve(&file.tls.key),
                crl: file.tls.crl.as_deref().map(|crl| source.resolve(crl)),
            },
            log: LogConfig { level: file.log.level.unwrap_or(log.level), format: file.log.format },
            audit,
            key_file: file.storage.key_file.as_deref().map(|path| source.resolve(path)),
            secrets_key_file: file.secrets.key_file.as_deref().map(|path| source.resolve(path)),
            signers: file.modules.signers,
        })
    }
}

fn advertise(source: &Source, node: &NodeSection) -> Result<NodeAddress, ConfigError> {
    let key = ["node", "advertise"];
    match &node.advertise {
        Some(advertise) if advertise.host().parse().is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified()) => {
            Err(source.invalid(&key, format!("{advertise} is no address that another machine can reach")))
        }
        Some(advertise) => Ok(advertise.clone()),
        None if node.listen.ip().is_unspecified() || node.listen.port() == 0 => Err(source.invalid(
            &key,
            format!(
                "must be set, as node.listen = \"{}\" does not say where others reach this node; \
                 such as advertise = \"node1.example:7400\"",
                node.listen
            ),
        )),
        None => Ok(node.listen.into()),
    }
}

fn directory(source: &Source, node: &NodeSection) -> Result<PathBuf, ConfigError> {
    if node.data_dir.as_os_str().is_empty() {
        return Err(source.invalid(&["node", "data_dir"], "may not be empty"));
    }
    Ok(source.resolve(&node.data_dir))
}

fn audit(source: &Source, file: &NodeFile) -> Result<AuditConfig, ConfigError> {
    let AuditSection { to, record, file_bytes_max, files_max } = &file.audit;
    let default = AuditConfig::in_directory(&directory(source, &file.node)?);
    let to = match to.as_ref().map(|to| (to, to.to_str())) {
        None => default.to,
        Some((_, Some(""))) => return Err(source.invalid(&["audit", "to"], "may not be empty; \"off\" turns it off")),
        Some((_, Some("off"))) => AuditTarget::Off,
        Some((_, Some("-"))) => AuditTarget::Stdout,
        Some((path, _)) => AuditTarget::File(source.resolve(path)),
    };
    let files_max = files_max.unwrap_or(default.files_max);
    if !(1..=AUDIT_FILES_MAX).contains(&files_max) {
        return Err(source.invalid(&["audit", "files_max"], format!("must be 1 to {AUDIT_FILES_MAX}, not {files_max}")));
    }
    let file_bytes_max = file_bytes_max.map_or(default.file_bytes_max, NonZeroU64::get);
    Ok(AuditConfig { to, record: *record, file_bytes_max, files_max })
}

fn cluster_name(source: &Source, cluster: &ClusterSection) -> Result<String, ConfigError> {
    let name = cluster.name.as_deref().unwrap_or(CLUSTER_NAME_DEFAULT);
    let permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > CLUSTER_NAME_BYTES_MAX || !name.chars().all(permitted) {
        return Err(source.invalid(
            &["cluster", "name"],
            format!("must be 1 to {CLUSTER_NAME_BYTES_MAX} letters, digits and . _ -, not {name:?}"),
        ));
    }
    Ok(name.to_owned())
}

fn initial_members(
    source: &Source,
    cluster: &ClusterSection,
    own_id: NodeId,
    own_address: &NodeAddress,
) -> Result<BTreeMap<NodeId, NodeAddress>, ConfigError> {
    let section = ["cluster", "initial_members"];
    let mut members = BTreeMap::new();
    for (id_text, address) in &cluster.initial_members {
        let key = ["cluster", "initial_members", id_text];
        // Only the canonical form, so that 1 and 01 cannot both be there.
        let Some(id) = id_text.parse::<u64>().ok().filter(|id| *id != 0 && id.to_string() == *id_text) else {
            return Err(source.invalid(&key, "a member's key is its node id: a whole number from 1"));
        };
        let id = NodeId(id);
        if let Some((other, _)) = members.iter().find(|(_, known)| *known == address) {
            return Err(source.invalid(&key, format!("{address} is the address of node {other} already")));
        }
        if id == own_id && address != own_address {
            return Err(source.invalid(
                &key,
                format!("this node's own address must be what it advertises: {own_address}, not {address}"),
            ));
        }
        members.insert(id, address.clone());
    }
    if members.len() > INITIAL_MEMBERS_MAX {
        return Err(source.invalid(&section, format!("at most {INITIAL_MEMBERS_MAX} nodes can form a cluster")));
    }
    if !members.is_empty() && !members.contains_key(&own_id) {
        return Err(source.invalid(
            &section,
            format!("node {own_id} itself is missing; leave initial_members out for a node that joins later"),
        ));
    }
    Ok(members)
}
