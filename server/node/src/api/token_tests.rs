//! Clients that show a token instead of a certificate.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, PATIENCE, Session, code, soon, subscription};
use crate::config::{AuditConfig, AuditScope, AuditTarget};
use crate::transport::TransportError;
use bytes::Bytes;
use jobraft_protocol::limits::{BAD_TOKENS_PER_ADDRESS_MAX, UNPROVED_FRAME_BYTES_MAX, UNPROVED_PER_ADDRESS_MAX};
use jobraft_protocol::{
    ClientHello, ClientRole, Consistency, Digest, Error, ErrorCode, Grant, ModuleManifest, ModuleRef, NewToken,
    Request, Response, Start, StreamOpen, TokenChange, TokenSecret, TokenView,
};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const FRESH: Consistency = Consistency::Linearizable;
const HOUR_MS: u64 = 3_600_000;

fn secret(number: u8) -> TokenSecret {
    TokenSecret::new([number; 32])
}

fn new(name: &str, secret: &TokenSecret, roles: &[ClientRole], ttl_ms: Option<u64>) -> Request {
    let grant = Grant::new(roles.iter().copied());
    let token = NewToken { name: name.parse().unwrap(), hash: secret.hash(), grant, ttl_ms };
    Request::ChangeToken { change: TokenChange::Create(token) }
}

fn rotate(name: &str, secret: &TokenSecret, grace_ms: u64) -> Request {
    Request::ChangeToken { change: TokenChange::Rotate { name: name.parse().unwrap(), hash: secret.hash(), grace_ms } }
}

fn revoke(name: &str) -> Request {
    Request::ChangeToken { change: TokenChange::Revoke { name: name.parse().unwrap() } }
}

async fn tokens(session: &mut Session) -> Vec<TokenView> {
    match session.ask(Request::ListTokens { after: None, limit: 9, consistency: FRESH }).await {
        Ok(Response::Tokens(tokens)) => tokens,
        other => panic!("{other:?}"),
    }
}

/// Why the node closed it.
async fn closed(session: &Session) -> String {
    match soon(session.connection.closed()).await {
        TransportError::Closed { code: 9, reason } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn whoever_shows_a_token_may_do_what_it_permits_under_its_name() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Producer], Some(HOUR_MS))).await;
    let mut ci = bench.session_with(&secret(1), 50).await.unwrap();
    ci.enqueue(Start::Now).await;
    let refused = ci.ask(Request::ListTokens { after: None, limit: 1, consistency: FRESH }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert!(refused.message.contains("token ci may not list tokens: its role is producer"), "{refused}");

    // Workers and all else that has an owner belong to the token, not to a client that is called like it.
    admin.done(new("work", &secret(2), &[ClientRole::Worker], None)).await;
    let mut work = bench.session_with(&secret(2), 60).await.unwrap();
    let worker = work.register().await;
    let mut namesake = bench.session_as("work", Grant::new([ClientRole::Worker]), 70).await;
    assert_eq!(code(namesake.ask(Request::Heartbeat { worker }).await), ErrorCode::Forbidden);
    work.ask(Request::Heartbeat { worker }).await.unwrap();
}

#[tokio::test]
async fn a_token_is_listed_without_its_hash_and_with_its_last_use() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Viewer], Some(HOUR_MS))).await;
    let token = tokens(&mut admin).await.remove(0);
    assert_eq!((token.created_by.as_str(), token.last_used), ("tester", None));
    assert_eq!(token.expires_at, Some(token.created_at.plus_ms(HOUR_MS)));
    let mut ci = bench.session_with(&secret(1), 50).await.unwrap();
    ci.ask(Request::ListQueues { consistency: FRESH }).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokens(&mut admin).await[0].last_used.is_none() {
        assert!(tokio::time::Instant::now() < deadline, "its use is never noted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_revoked_token_ends_its_connections_and_opens_no_other() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("work", &secret(1), &[ClientRole::Worker], None)).await;
    let mut work = bench.session_with(&secret(1), 50).await.unwrap();
    let worker = work.register().await;
    // It waits for a push, and asks for nothing meanwhile.
    work.done(subscription(worker, 5)).await;
    admin.done(revoke("work")).await;
    let reason = closed(&work).await;
    assert!(reason.contains("revoked"), "{reason}");
    let error = bench.session_with(&secret(1), 51).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unauthenticated, "{error}");
}

#[tokio::test]
async fn a_token_that_expires_ends_its_connections_also_while_nothing_happens() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Producer], Some(2_000))).await;
    let ci = bench.session_with(&secret(1), 50).await.unwrap();
    let reason = closed(&ci).await;
    assert!(reason.contains("token ci expired at 20"), "{reason}");
    let error = bench.session_with(&secret(1), 51).await.err().unwrap();
    assert!(error.code == ErrorCode::Unauthenticated && error.message.contains("expired"), "{error}");
    admin.done(rotate("ci", &secret(2), HOUR_MS)).await;
    assert_eq!(bench.session_with(&secret(1), 52).await.err().unwrap().code, ErrorCode::Unauthenticated);
    bench.session_with(&secret(2), 53).await.unwrap().enqueue(Start::Now).await;
}

#[tokio::test]
async fn both_secrets_count_while_one_takes_the_place_of_the_other() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Producer], None)).await;
    let mut old = bench.session_with(&secret(1), 50).await.unwrap();
    admin.done(rotate("ci", &secret(2), 3_000)).await;
    old.enqueue(Start::Now).await;
    let mut new = bench.session_with(&secret(2), 60).await.unwrap();
    let reason = closed(&old).await;
    assert!(reason.contains("was rotated"), "{reason}");
    new.enqueue(Start::Now).await;
}

#[tokio::test]
async fn what_is_no_good_token_opens_nothing_and_is_counted_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.log");
    let to = AuditTarget::File(file.clone());
    let bench = Bench::start_as(|config| {
        config.audit = AuditConfig { to, record: AuditScope::Changes, ..AuditConfig::off() };
    })
    .await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Producer], None)).await;
    let session = StreamOpen::Session(ClientHello::new(""));
    let long = StreamOpen::Session(ClientHello::new("x".repeat(UNPROVED_FRAME_BYTES_MAX)));
    let download = StreamOpen::Download { module: ModuleRef::Digest(Digest([1; 32])), namespace: None };
    for opening in [session, long, download, StreamOpen::Authenticate(secret(9))] {
        let error = bench.intrude(&opening).await;
        assert_eq!(error.code, ErrorCode::Unauthenticated, "{opening:?}: {error}");
    }
    for number in 0..BAD_TOKENS_PER_ADDRESS_MAX {
        let guess = TokenSecret::new([u8::try_from(number + 100).unwrap(); 32]);
        bench.intrude(&StreamOpen::Authenticate(guess)).await;
    }
    let error: Error = bench.intrude(&StreamOpen::Authenticate(secret(9))).await;
    assert_eq!(error.code, ErrorCode::Overloaded, "{error}");
    assert!(error.retry_after_ms.is_some());
    // Behind the same address there is somebody who is let in.
    bench.session_with(&secret(1), 50).await.unwrap().enqueue(Start::Now).await;

    bench.node.audit().flush().await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("shows no certificate"), "{text}");
    assert!(text.contains("token ci created: producer"), "{text}");
    for number in [1, 9] {
        let secret = secret(number);
        assert!(!text.contains(&secret.reveal()) && !text.contains(&secret.hash().to_string()), "{text}");
    }
}

#[tokio::test]
async fn what_a_token_that_was_revoked_meanwhile_uploads_is_not_taken() {
    // (module (func (export "_start")))
    const NOOP: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Producer], None)).await;
    let ci = bench.session_with(&secret(1), 50).await.unwrap();
    let (mut sender, mut receiver) = ci.connection.open().await.unwrap();
    let (digest, size) = (Digest(Sha256::digest(NOOP).into()), NOOP.len() as u64);
    let open = StreamOpen::Upload { digest, size, name: None, signatures: vec![], namespace: None };
    sender.send(&open).await.unwrap();
    let (first, rest) = NOOP.split_at(10);
    sender.send_bytes(Bytes::from_static(first)).await.unwrap();
    admin.done(revoke("ci")).await;
    // Its connection is closed soon; whichever is first, it comes too late.
    let _ = sender.send_bytes(Bytes::from_static(rest)).await;
    let _ = sender.finish().await;
    let answer = soon(receiver.recv::<Result<ModuleManifest, Error>>()).await;
    assert!(!matches!(answer, Ok(Some(Ok(_)))), "{answer:?}");
    let listed = admin.ask(Request::ListModules { consistency: FRESH }).await;
    assert_eq!(listed, Ok(Response::Modules(vec![])));
}

#[tokio::test]
async fn who_takes_no_answer_is_not_waited_for_whether_or_not_it_may_stay() {
    let bench = Bench::start().await;
    bench.session().await.done(new("ci", &secret(1), &[ClientRole::Producer], None)).await;
    for opening in [StreamOpen::Authenticate(secret(1)), StreamOpen::Authenticate(secret(9))] {
        let (deaf, _endpoint) = bench.deaf(Some(&opening)).await;
        let ended = soon(deaf.closed()).await;
        assert!(matches!(ended, quinn::ConnectionError::ApplicationClosed(_)), "{ended}");
    }
}

#[tokio::test]
async fn a_crowd_that_shows_nothing_keeps_nobody_out() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Producer], None)).await;
    let mut crowd = Vec::new();
    for _ in 0..=UNPROVED_PER_ADDRESS_MAX {
        crowd.push(bench.deaf(None).await);
    }
    let ended = soon(crowd[0].0.closed()).await;
    assert!(ended.to_string().contains("others came after it"), "{ended}");
    bench.session_with(&secret(1), 50).await.unwrap().enqueue(Start::Now).await;
    bench.session().await;
}

#[tokio::test]
async fn who_sees_no_payloads_makes_nobody_who_does() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("app", &secret(1), &[ClientRole::Producer], None)).await;
    admin.done(new("look", &secret(2), &[ClientRole::Viewer], None)).await;
    let mut blind = bench.session_as("blind", Grant::admin().with_payloads(false), 50).await;
    for request in [new("x", &secret(3), &[ClientRole::Admin], None), rotate("app", &secret(3), 0)] {
        let error = blind.ask(request).await.unwrap_err();
        assert!(error.code == ErrorCode::Forbidden && error.message.contains("payloads"), "{error}");
    }
    blind.done(rotate("look", &secret(4), 0)).await;
    blind.done(revoke("app")).await;
}

#[tokio::test]
async fn a_secret_that_comes_back_in_another_token_is_not_the_one_that_was_shown() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    admin.done(new("ci", &secret(1), &[ClientRole::Admin], None)).await;
    let mut ci = bench.session_with(&secret(1), 50).await.unwrap();
    let (one, other) =
        (admin.send(revoke("ci")).await, admin.send(new("ci", &secret(1), &[ClientRole::Viewer], None)).await);
    assert_eq!((admin.answer(one).await, admin.answer(other).await), (Ok(Response::Done), Ok(Response::Done)));
    let answer = ci.ask(revoke("ci")).await;
    assert_eq!(code(answer), ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn tokens_outlive_a_restart_and_their_secrets_are_nowhere_on_disk() {
    let bench = Bench::start().await;
    bench.session().await.done(new("ci", &secret(1), &[ClientRole::Producer], None)).await;
    let bench = bench.restart().await;
    bench.session_with(&secret(1), 50).await.unwrap().enqueue(Start::Now).await;
    let text = secret(1).reveal();
    let mut directories = vec![bench.data_dir().to_owned()];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let raw = [1_u8; 32];
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{}", path.display());
            assert!(!bytes.windows(32).any(|window| window == raw), "{}", path.display());
            files += 1;
        }
    }
    assert!(files > 2);
}
