//! Log entries as records of `log.db`: one byte for the kind, then the kind's own bytes.

use super::types::{LogEntry, Proposal, log_id};
use crate::storage::LogRecord;
use bytes::Bytes;
use openraft::EntryPayload;
use std::io;

const KIND_BLANK: u8 = 0;
const KIND_MEMBERSHIP: u8 = 2;

/// The record of an entry.
pub(crate) fn encode(entry: &LogEntry) -> io::Result<LogRecord> {
    let body = match &entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[KIND_BLANK]),
        EntryPayload::Normal(proposal) => proposal.record().clone(),
        EntryPayload::Membership(membership) => {
            let mut body = vec![KIND_MEMBERSHIP];
            ciborium::into_writer(membership, &mut body).map_err(io::Error::other)?;
            body.into()
        }
    };
    Ok(LogRecord { index: entry.log_id.index, term: entry.log_id.leader_id.term, body })
}

/// The entry of a record.
pub(crate) fn decode(record: LogRecord) -> io::Result<LogEntry> {
    let corrupt =
        |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("log entry {}: {what}", record.index));
    let payload = match record.body.split_first() {
        Some((&KIND_BLANK, _)) => EntryPayload::Blank,
        Some((&Proposal::KIND, _)) => EntryPayload::Normal(Proposal::from_record(record.body.clone())),
        Some((&KIND_MEMBERSHIP, body)) => {
            EntryPayload::Membership(ciborium::from_reader(body).map_err(|error| corrupt(error.to_string()))?)
        }
        Some((kind, _)) => return Err(corrupt(format!("unknown kind {kind}; written by newer software?"))),
        None => return Err(corrupt("empty".into())),
    };
    Ok(LogEntry { log_id: log_id(record.term, record.index), payload })
}
