//! Workers that run signed modules only, at a node that may lie about signatures.

use crate::node::{Authority, Node, leased};
use jobraft_protocol::{
    Completion, Digest, FailureKind, LeasedJob, ModuleManifest, ModuleSignature, Request, Response, SignatureBytes,
    Task,
};
use jobraft_sdk::{Executor, ExecutorFuture, JobContext, SignedOnly, SigningKey, Worker};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the modules that it is given to run.
struct Counts(Arc<AtomicUsize>);

impl Executor for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn accepts(&self, task: &Task) -> bool {
        matches!(task, Task::Module(_))
    }

    fn run<'a>(&'a self, _: &'a LeasedJob, _: JobContext) -> ExecutorFuture<'a> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(Completion::default()) })
    }
}

fn digest(module: &[u8]) -> Digest {
    Digest(Sha256::digest(module).into())
}

#[tokio::test]
async fn a_module_runs_only_if_a_trusted_key_has_signed_these_bytes_whatever_the_node_says() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let (trusted, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let client = authority.client(&[&node]).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let executor = SignedOnly::new(Counts(Arc::clone(&ran)), client.clone(), [trusted.signer()]);
    let worker = Worker::builder(client).queues(["q"]).concurrency(16).executor(executor).build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run(async { stopped.await.unwrap_or_default() }));
    let (session, _) = node.subscribed().await;

    let module = b"module";
    let garbage = ModuleSignature { signer: trusted.signer(), signature: SignatureBytes([7; 64]) };
    let as_trusted = ModuleSignature { signer: trusted.signer(), ..other.sign(module) };
    let lies = [vec![], vec![other.sign(module)], vec![trusted.sign(b"another")], vec![garbage], vec![as_trusted]];
    let mut token = 0;
    let mut push = |session: &crate::node::Session| {
        token += 1;
        let job = LeasedJob { task: Task::Module(digest(module)), ..leased("t", token, 30_000, "") };
        session.push(vec![job]);
    };
    let manifest = |signatures| {
        let (digest, names, imports, owner) = (digest(module), vec![], vec![], String::new());
        Ok(Response::Module(ModuleManifest { digest, size: 6, names, imports, owner, signatures }))
    };
    for signatures in lies {
        push(&session);
        let asked = node.until(|request| matches!(request, Request::ResolveModule { .. })).await;
        asked.answer(manifest(signatures.clone()));
        let report = node.until(|request| matches!(request, Request::Fail { .. })).await;
        let Request::Fail { failure, .. } = &report.request else { unreachable!() };
        assert_eq!((failure.kind, failure.retryable), (FailureKind::InvalidModule, false), "{signatures:?}");
        report.answer(Ok(Response::Failed { state: jobraft_protocol::JobState::Dead, retry_at: None }));
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);

    push(&session);
    let asked = node.until(|request| matches!(request, Request::ResolveModule { .. })).await;
    asked.answer(manifest(vec![other.sign(module), trusted.sign(module)]));
    let is_report = |request: &Request| matches!(request, Request::Complete { .. } | Request::Fail { .. });
    let report = node.until(is_report).await;
    assert!(matches!(report.request, Request::Complete { .. }), "{:?}", report.request);
    report.answer(Ok(Response::Acted(vec![Ok(())])));
    // It is known to be signed from then on.
    push(&session);
    let report = node.until(is_report).await;
    report.answer(Ok(Response::Acted(vec![Ok(())])));
    assert_eq!(ran.load(Ordering::SeqCst), 2);
    drop(stop);
    drop(worker);
}
