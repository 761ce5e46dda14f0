//! Log matching, on the disks themselves: what nodes hold at one index is the same entry (Raft, section 5.3).

use super::cluster::Cluster;
use super::ledger::Ledger;
use super::network::HostId;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;

/// Compares the logs of nodes, up to what is agreed on: what lies behind may still be replaced.
///
/// # Errors
/// Where two differ, or one cannot be read.
pub fn compare(cluster: &Cluster, hosts: &[HostId], ledger: &Ledger) -> Result<u64, String> {
    let mut known: BTreeMap<u64, (u64, u32)> = BTreeMap::new();
    let mut compared = 0;
    for &host in hosts {
        let (Some(disk), Some(member)) = (cluster.disk(host), cluster.member(host)) else { continue };
        let path = disk.path().join("group-0/log.db");
        let unreadable = |error: rusqlite::Error| format!("the log of node {} cannot be read: {error}", member.node);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let log = Connection::open_with_flags(path, flags).map_err(unreadable)?;
        let mut rows = log.prepare("SELECT idx, term, crc FROM log ORDER BY idx").map_err(unreadable)?;
        let rows = rows.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, u32>(2)?)));
        for row in rows.map_err(unreadable)? {
            let (index, term, crc) = row.map_err(unreadable)?;
            let (index, term) = (index.cast_unsigned(), term.cast_unsigned());
            let Some(agreed) = ledger.term_at(index) else { break };
            let found = *known.entry(index).or_insert((term, crc));
            compared += 1;
            if term != agreed || found != (term, crc) {
                return Err(format!(
                    "log matching: node {} holds another entry {index}: of term {term}, where {agreed} was agreed on",
                    member.node
                ));
            }
        }
    }
    Ok(compared)
}
