#![expect(clippy::unwrap_used, reason = "tests")]

use super::{ConfigError, LogFormat, NodeConfig, Source};
use jobraft_protocol::NodeId;
use proptest::prelude::*;
use std::path::Path;

const GOOD: &str = r#"
[node]
id = 1
listen = "127.0.0.1:7401"
data_dir = "../data/node-1"

[cluster]
initial_members = { 1 = "127.0.0.1:7401", 2 = "127.0.0.1:7402" }

[tls]
ca = "ca.crt"
cert = "/etc/jobraft/node-1.crt"
key = "node-1.key"
"#;

fn load(text: &str) -> Result<NodeConfig, ConfigError> {
    NodeConfig::from_source(&Source::from_text("etc/node-1.toml", text))
}

/// What is said of `GOOD` with `old` replaced by `new`.
fn refusal(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old:?} is not in the good configuration");
    load(&GOOD.replacen(old, new, 1)).unwrap_err().to_string()
}

fn assert_names(message: &str, line: usize, key: &str) {
    let place = format!("etc/node-1.toml, line {line}, key `{key}`: ");
    assert!(message.starts_with(&place), "{message:?} does not start with {place:?}");
}

#[test]
fn defaults_fill_what_is_not_said() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(config.advertise.as_str(), "127.0.0.1:7401");
    assert_eq!(config.cluster, "jobraft");
    assert_eq!(config.log.level, "info");
    assert_eq!(config.log.format, LogFormat::Human);
    assert_eq!(config.initial_members.len(), 2);
}

#[test]
fn relative_paths_start_from_the_files_directory() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.data_dir, Path::new("etc/../data/node-1"));
    assert_eq!(config.tls.ca, Path::new("etc/ca.crt"));
    assert_eq!(config.tls.cert, Path::new("/etc/jobraft/node-1.crt"));
}

#[test]
fn revoked_certificates_are_looked_for_beside_the_authority_unless_named() {
    assert_eq!(load(GOOD).unwrap().tls.crl_file(), Path::new("etc/ca.crl"));
    let named = load(&GOOD.replace("ca = \"ca.crt\"", "ca = \"ca.crt\"\ncrl = \"lists/all.crl\"")).unwrap();
    assert_eq!(named.tls.crl_file(), Path::new("etc/lists/all.crl"));
}

#[test]
fn unknown_key_is_refused_by_name_and_line() {
    let message = refusal("listen =", "lisen =");
    assert_names(&message, 4, "node.lisen");
    assert!(message.contains("did you mean `listen`?"), "{message}");
    let message = refusal("[cluster]", "[clutser]");
    assert_names(&message, 7, "clutser");
    assert!(message.contains("did you mean `cluster`?"), "{message}");
}

#[test]
fn wrong_type_is_refused_by_name_and_line() {
    assert_names(&refusal("id = 1", "id = \"one\""), 3, "node.id");
    assert_names(&refusal("id = 1", "id = 0"), 3, "node.id");
    assert_names(&refusal("\"127.0.0.1:7401\"\n", "\"localhost\"\n"), 4, "node.listen");
    assert_names(&refusal("2 = \"127.0.0.1:7402\"", "2 = \"nowhere\""), 8, "cluster.initial_members.2");
    assert_names(&refusal("ca = \"ca.crt\"", "ca = 7"), 11, "tls.ca");
}

#[test]
fn missing_key_is_refused_by_name_and_section() {
    let message = refusal("data_dir = \"../data/node-1\"\n", "");
    assert_names(&message, 2, "node");
    assert!(message.contains("missing field `data_dir`"), "{message}");
    let message = load("[node]\nid = 1\nlisten = \"127.0.0.1:1\"\ndata_dir = \"d\"\n").unwrap_err().to_string();
    assert!(message.contains("missing field `tls`"), "{message}");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let message = refusal("id = 1", "id 1");
    assert!(message.starts_with("etc/node-1.toml, line 3: not valid TOML: "), "{message}");
}

#[test]
fn own_member_address_must_be_what_is_advertised() {
    let message = refusal("{ 1 = \"127.0.0.1:7401\"", "{ 1 = \"127.0.0.1:9999\"");
    assert_names(&message, 8, "cluster.initial_members.1");
}

#[test]
fn members_share_no_address_and_no_id() {
    assert_names(&refusal("127.0.0.1:7402", "127.0.0.1:7401"), 8, "cluster.initial_members.2");
    assert_names(&refusal("2 = ", "02 = "), 8, "cluster.initial_members.02");
    assert_names(&refusal("{ 1 = \"127.0.0.1:7401\", ", "{ "), 8, "cluster.initial_members");
}

#[test]
fn listening_everywhere_needs_an_advertised_address() {
    let message = refusal("listen = \"127.0.0.1:7401\"", "listen = \"0.0.0.0:7401\"");
    assert_names(&message, 2, "node.advertise");
    let message = refusal("listen = \"127.0.0.1:7401\"", "listen = \"[::]:7401\"\nadvertise = \"[::]:7401\"");
    assert_names(&message, 5, "node.advertise");
}

#[test]
fn unsafe_cluster_name_is_refused() {
    for name in ["", "a b", "../x", &"x".repeat(65)] {
        let message = refusal("[cluster]", &format!("[cluster]\nname = {name:?}"));
        assert_names(&message, 8, "cluster.name");
    }
}

#[test]
fn missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("none.toml");
    let error = NodeConfig::load(&file).unwrap_err();
    assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
}

#[test]
fn oversized_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("large.toml");
    std::fs::write(&file, "#".repeat(super::FILE_BYTES_MAX + 1)).unwrap();
    assert!(matches!(NodeConfig::load(&file), Err(ConfigError::TooLarge { .. })));
}

#[test]
fn every_sample_is_valid() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let mut seen = 0;
    for entry in std::fs::read_dir(samples).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("node-") && name.ends_with(".toml") {
            NodeConfig::load(&file).unwrap();
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} samples");
}

proptest! {
    #[test]
    // TOML has no numbers beyond those of 63 bits.
    fn what_is_written_is_what_is_read(id in 1..i64::MAX as u64, port in 1..=u16::MAX, cluster in "[a-z][a-z0-9-]{0,30}") {
        // What is drawn comes last: it may look like what is replaced.
        let written = GOOD
            .replace("2 = \"127.0.0.1:7402\"", "7 = \"127.0.0.2:7402\"")
            .replace("7401", &port.to_string())
            .replace("initial_members = { 1 =", &format!("name = \"{cluster}\"\ninitial_members = {{ {id} ="))
            .replace("id = 1", &format!("id = {id}"));
        prop_assume!(id != 7);
        let config = load(&written).unwrap();
        prop_assert_eq!((config.node_id, config.listen.port(), config.cluster), (NodeId(id), port, cluster));
        prop_assert_eq!(config.initial_members.len(), 2);
    }

    #[test]
    fn a_changed_file_is_taken_or_refused_by_line_and_never_a_panic(
        place: prop::sample::Index, removed in 0..20_usize, added in "\\PC{0,8}",
    ) {
        let start = place.index(GOOD.len());
        let end = (start + removed).min(GOOD.len());
        let changed = format!("{}{added}{}", &GOOD[..start], &GOOD[end..]);
        if let Err(error) = load(&changed) {
            prop_assert!(error.to_string().starts_with("etc/node-1.toml, line "), "{}", error);
        }
    }
}
