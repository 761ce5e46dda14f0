//! Log entries as records of `log.db`: one byte for the kind, then the kind's own bytes.

use super::types::{LogEntry, Proposal, log_id};
use crate::storage::LogRecord;
use bytes::Bytes;
use openraft::EntryPayload;
use serde::de::DeserializeOwned;
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
        Some((&KIND_BLANK, [])) => EntryPayload::Blank,
        Some((&KIND_BLANK, rest)) => return Err(corrupt(format!("{} bytes behind a blank entry", rest.len()))),
        Some((&Proposal::KIND, _)) => EntryPayload::Normal(Proposal::from_record(record.body.clone())),
        Some((&KIND_MEMBERSHIP, body)) => EntryPayload::Membership(whole(body).map_err(corrupt)?),
        Some((kind, _)) => return Err(corrupt(format!("unknown kind {kind}; written by newer software?"))),
        None => return Err(corrupt("empty".into())),
    };
    Ok(LogEntry { log_id: log_id(record.term, record.index), payload })
}

/// The value that all of the bytes are: bytes behind it are none of ours, or damage.
pub(super) fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(|error| error.to_string())?;
    match rest.len() {
        0 => Ok(value),
        more => Err(format!("{more} bytes behind its end")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::consensus::types::{Proposal, Vote};
    use jobraft_core::command::Entry;
    use jobraft_protocol::LogTime;

    fn record(body: &[u8]) -> LogRecord {
        LogRecord { index: 7, term: 2, body: Bytes::copy_from_slice(body) }
    }

    #[test]
    fn records_that_say_more_than_an_entry_are_refused() {
        let blank = encode(&LogEntry { log_id: log_id(2, 7), payload: EntryPayload::Blank }).unwrap();
        assert!(decode(blank).is_ok());
        let members = EntryPayload::Membership(openraft::Membership::default());
        let members = encode(&LogEntry { log_id: log_id(2, 7), payload: members }).unwrap();
        assert!(decode(members.clone()).is_ok());
        for body in [&[KIND_BLANK, 0][..], &[3], &[], &[&members.body[..], &[0]].concat()] {
            assert_eq!(decode(record(body)).unwrap_err().kind(), io::ErrorKind::InvalidData, "{body:?}");
        }
    }

    #[test]
    fn proposal_with_bytes_behind_it_is_refused() {
        let entry = Entry { at: LogTime::ZERO, leader_change: false, commands: Vec::new() };
        let proposal = Proposal::new(entry).unwrap();
        let more = [&proposal.record()[..], &[0]].concat();
        assert!(Proposal::from_record(proposal.record().clone()).entry().is_ok());
        assert!(Proposal::from_record(more.into()).entry().is_err());
    }

    #[test]
    fn vote_with_bytes_behind_it_is_refused() {
        let mut bytes = Vec::new();
        ciborium::into_writer(&Vote::new(3, 1), &mut bytes).unwrap();
        assert!(whole::<Vote>(&bytes).is_ok());
        bytes.push(0);
        assert!(whole::<Vote>(&bytes).is_err());
    }
}
