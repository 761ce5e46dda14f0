//! Log entries as records of `log.db`: one byte for the kind, then the kind's own bytes.

use super::types::{LogEntry, Proposal, log_id};
use crate::storage::LogRecord;
use bytes::Bytes;
use jobraft_protocol::cbor;
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
            cbor::write(membership, &mut body).map_err(io::Error::other)?;
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
        Some((&KIND_MEMBERSHIP, body)) => {
            EntryPayload::Membership(cbor::read(body).map_err(|error| corrupt(error.to_string()))?)
        }
        Some((kind, _)) => return Err(corrupt(format!("unknown kind {kind}; written by newer software?"))),
        None => return Err(corrupt("empty".into())),
    };
    Ok(LogEntry { log_id: log_id(record.term, record.index), payload })
}

/// Whether the body of a log record is one that this version can apply. Nothing is done with it.
///
/// # Errors
/// Why not.
pub fn check_record(body: Bytes) -> io::Result<()> {
    match decode(LogRecord { index: 1, term: 1, body })?.payload {
        EntryPayload::Normal(proposal) => proposal.take_entry().map(drop).map_err(io::Error::other),
        EntryPayload::Blank | EntryPayload::Membership(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
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
        assert!(Proposal::from_record(proposal.record().clone()).take_entry().is_ok());
        assert!(Proposal::from_record(more.into()).take_entry().is_err());
    }
}

#[cfg(test)]
mod round_trips {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::types::{TypeConfig, Vote};
    use super::super::{check_message, wire};
    use super::*;
    use crate::transport::PeerStream;
    use jobraft_core::{Command, Entry};
    use jobraft_protocol::{JobId, LogTime, NewJob, Task};
    use openraft::impls::leader_id_std::LeaderId;
    use openraft::raft::{AppendEntriesRequest, VoteRequest};
    use proptest::prelude::*;

    fn entry(at: u64, random: [u8; 10], payload: Vec<u8>) -> Entry {
        let task = Task::Handler("t".parse().unwrap());
        let job = NewJob::new(JobId::new(LogTime::from_ms(at), random), "q".parse().unwrap(), task, payload);
        Entry {
            at: LogTime::from_ms(at),
            leader_change: at.is_multiple_of(2),
            commands: vec![Command::enqueue(vec![job])],
        }
    }

    fn cbor(value: &impl serde::Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        cbor::write(value, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_record_and_its_way_to_a_peer(
            at in 0..1_u64 << 48, random: [u8; 10], payload: Vec<u8>, term: u64, index: u64,
            place: prop::sample::Index, flip in 1..=255_u8,
        ) {
            let entry = entry(at, random, payload);
            let payload = EntryPayload::Normal(Proposal::new(entry.clone()).unwrap());
            let written = LogEntry { log_id: log_id(term, index), payload };
            let record = encode(&written).unwrap();
            let mut body = record.body.to_vec();
            let read = decode(record).unwrap();
            prop_assert_eq!(read.log_id, written.log_id);
            let EntryPayload::Normal(proposal) = &read.payload else { panic!("{read:?}") };
            prop_assert_eq!(proposal.take_entry().unwrap(), entry);

            let vote = Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: true };
            let request = AppendEntriesRequest::<TypeConfig> { vote, prev_log_id: None, entries: vec![read], leader_commit: None };
            let mut append = cbor(&request);
            prop_assert_eq!(check_message(PeerStream::Append, &append), Ok(()));
            let mut ask = cbor(&wire::Rpc::PreVote(VoteRequest { vote, last_log_id: Some(log_id(term, index)), leadership_transfer: false }));
            prop_assert_eq!(check_message(PeerStream::Rpc, &ask), Ok(()));

            // Whatever becomes of them, reading them is no panic.
            for bytes in [&mut body, &mut append, &mut ask] {
                let place = place.index(bytes.len());
                bytes[place] ^= flip;
            }
            let _ = check_record(body.into());
            let _ = check_message(PeerStream::Append, &append);
            let _ = check_message(PeerStream::Rpc, &ask);
        }
    }
}
