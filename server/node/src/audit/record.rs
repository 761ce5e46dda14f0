//! A line of the audit log.

use crate::tls::Identity;
use jobraft_protocol::{Error, ErrorCode, Namespace, NodeId, Retry};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 512;

/// What happened.
pub enum Event {
    /// Somebody connected.
    Connected {
        /// Who.
        who: Arc<Identity>,
        /// From where.
        from: SocketAddr,
    },
    /// Somebody was turned away before it was known who it is, or because of who it is; or what it sent was not well formed.
    Refused {
        /// From where.
        from: SocketAddr,
        /// Of what kind.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// Somebody asked for something.
    Asked {
        /// Who.
        who: Arc<Identity>,
        /// From where.
        from: SocketAddr,
        /// The request's name on the wire.
        request: &'static str,
        /// What it names.
        on: Vec<String>,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What came of a request.
pub enum Outcome {
    /// It was done.
    Done,
    /// It was done to some of the jobs that it names, and refused for so many.
    DonePartly(usize),
    /// It was refused, or failed.
    Failed(Error),
}

impl Outcome {
    /// Of an answer without parts.
    pub fn of<T>(result: &Result<T, Error>) -> Self {
        result.as_ref().map_or_else(|error| Self::Failed(error.clone()), |_| Self::Done)
    }

    /// Whether who asked may not, or did not prove who they are.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Failed(error) if matches!(error.code, ErrorCode::Forbidden | ErrorCode::Unauthenticated))
    }

    /// Whether it was turned down for a reason that lies with who asked, and not because it could not be done just then.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(error)
            if error.code.retry() == Retry::Never || error.code == ErrorCode::Unauthenticated)
    }
}

/// An event and when it was told.
pub(super) struct Record {
    at: SystemTime,
    event: Event,
    /// How many of its kind went unmentioned since the last.
    unmentioned: u64,
}

#[derive(Serialize)]
struct LineJson<'a> {
    at: String,
    node: u64,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    /// In which it is, unless that is the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Namespace>,
    from: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    on: &'a [String],
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    unmentioned: u64,
    /// Lines before this one that could not be written.
    #[serde(skip_serializing_if = "is_zero")]
    lost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Record {
    pub(super) fn now(event: Event, unmentioned: u64) -> Self {
        // Of the machine: the audit log is read beside others of it.
        Self { at: SystemTime::now(), event, unmentioned }
    }

    /// As it stands in the log, with its end of line. `lost` lines before it are not there.
    pub(super) fn line(&self, node: NodeId, lost: u64) -> Vec<u8> {
        let at = OffsetDateTime::from(self.at);
        let at = at.replace_millisecond(at.millisecond()).unwrap_or(at);
        let at = at.format(&Rfc3339).unwrap_or_else(|_| at.to_string());
        let bare = |event, from| LineJson {
            at,
            node: node.0,
            event,
            who: None,
            namespace: None,
            from,
            request: None,
            on: &[],
            outcome: "done",
            refused: None,
            reason: None,
            unmentioned: self.unmentioned,
            lost,
        };
        let line = match &self.event {
            Event::Connected { who, from } => {
                LineJson { who: Some(who.described()), namespace: namespace(who), ..bare("connected", *from) }
            }
            Event::Refused { from, kind, reason } => LineJson {
                outcome: "refused",
                reason: Some(shortened(&format!("{kind}: {reason}"))),
                ..bare("refused", *from)
            },
            Event::Asked { who, from, request, on, outcome } => {
                let (name, namespace) = (Some(who.to_string()), namespace(who));
                let line = LineJson { who: name, namespace, request: Some(request), on, ..bare("asked", *from) };
                match outcome {
                    Outcome::Done => line,
                    Outcome::DonePartly(refused) => LineJson { refused: Some(*refused), ..line },
                    Outcome::Failed(error) => {
                        let reason = Some(shortened(&error.message));
                        LineJson { outcome: error.code.as_str(), reason, ..line }
                    }
                }
            }
        };
        let mut bytes = serde_json::to_vec(&line).expect("texts and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }
}

fn namespace(who: &Identity) -> Option<Namespace> {
    Some(who.namespace()).filter(|namespace| !namespace.is_default())
}

fn shortened(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_protocol::ErrorCode;

    #[test]
    fn a_line_says_who_did_what_to_what_from_where_and_what_came_of_it() {
        let who = Arc::new(Identity::admin("alice"));
        let from = SocketAddr::from(([10, 0, 0, 1], 4_000));
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500);
        let line = |event, lost| {
            let record = Record { at, event, unmentioned: 2 * lost };
            String::from_utf8(record.line(NodeId(3), lost)).expect("text")
        };
        let asked = |outcome| Event::Asked {
            who: Arc::clone(&who),
            from,
            request: "configure",
            on: vec!["queue \"mail\"".to_owned()],
            outcome,
        };
        assert_eq!(
            line(asked(Outcome::Done), 0),
            "{\"at\":\"1970-01-01T00:00:01.5Z\",\"node\":3,\"event\":\"asked\",\"who\":\"client alice\",\
             \"from\":\"10.0.0.1:4000\",\"request\":\"configure\",\"on\":[\"queue \\\"mail\\\"\"],\"outcome\":\"done\"}\n"
        );
        let refused = line(asked(Outcome::Failed(Error::new(ErrorCode::Forbidden, "no\nno"))), 7);
        assert!(
            refused.contains("\"outcome\":\"forbidden\",\"reason\":\"no\\nno\",\"unmentioned\":14,\"lost\":7}"),
            "{refused}"
        );
        let connected = line(Event::Connected { who: Arc::clone(&who), from }, 0);
        assert!(connected.contains("\"event\":\"connected\",\"who\":\"client alice: admin\""), "{connected}");
        let reason = "x".repeat(1_000);
        let turned = line(Event::Refused { from, kind: "a connection", reason }, 0);
        assert!(turned.contains("a connection: xxx") && turned.len() < 700, "{turned}");
    }
}
