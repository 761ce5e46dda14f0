//! What becomes of a job that wants more than it may have: a clear failure of that job alone.

use super::worker::{SAFETY, Worker, job};
use jobraft_executors::wasm::WasmConfig;
use jobraft_protocol::{Failure, FailureKind};
use jobraft_sdk::JobContext;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const FOREVER: &str = include_str!("../../../examples/wasm/hostile/forever.wat");
const ALLOCATE: &str = include_str!("../../../examples/wasm/hostile/allocate.wat");
const FLOOD: &str = include_str!("../../../examples/wasm/hostile/flood.wat");
/// Sleeps for an hour in one host call.
const SLEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))))"#;
const NOTHING: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// Runs the module with a run timeout, a lease, or both.
async fn bounded(text: &str, run_timeout: Duration, lease: Duration) -> Failure {
    let worker = Worker::new();
    let mut job = job(worker.modules.add(wat::parse_str(text).unwrap()), b"");
    // Compiled beforehand, so that the lease is not over before the guest has begun.
    job.run_timeout_ms = 1;
    let _ = worker.run(&job, Instant::now() + SAFETY, CancellationToken::new()).await;
    job.run_timeout_ms = u64::try_from(run_timeout.as_millis()).unwrap();
    let started = Instant::now();
    let failure = worker.run(&job, started + lease, CancellationToken::new()).await.unwrap_err();
    assert!(started.elapsed() >= run_timeout.min(lease));
    failure
}

#[tokio::test]
async fn run_timeout_stops_a_busy_and_a_sleeping_guest() {
    for text in [FOREVER, SLEEP] {
        let failure = bounded(text, Duration::from_millis(60), SAFETY).await;
        assert_eq!((failure.kind, failure.retryable), (FailureKind::Timeout, true), "{}", failure.message);
        assert!(failure.message.contains("60ms"), "{}", failure.message);
    }
}

#[tokio::test]
async fn end_of_the_lease_stops_a_busy_and_a_sleeping_guest() {
    for text in [FOREVER, SLEEP] {
        let failure = bounded(text, SAFETY, Duration::from_millis(60)).await;
        assert_eq!((failure.kind, failure.retryable), (FailureKind::LeaseExpired, true), "{}", failure.message);
    }
}

#[tokio::test]
async fn extended_lease_is_noticed() {
    let worker = Worker::new();
    let mut job = job(worker.modules.add(wat::parse_str(FOREVER).unwrap()), b"");
    job.run_timeout_ms = 400;
    // The lease always ends soon, but never comes to its end.
    let context = JobContext::new(job.id, CancellationToken::new(), || Instant::now() + Duration::from_millis(50));
    let failure = tokio::time::timeout(SAFETY, worker.executor.run(&job, context)).await.unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout, "{}", failure.message);
}

#[tokio::test]
async fn cancellation_stops_a_busy_and_a_sleeping_guest() {
    let worker = Worker::new();
    for text in [FOREVER, SLEEP] {
        let job = job(worker.modules.add(wat::parse_str(text).unwrap()), b"");
        let cancelled = CancellationToken::new();
        cancelled.clone().cancel();
        worker.run(&job, Instant::now() + SAFETY, cancelled).await.unwrap_err();

        let cancelled = CancellationToken::new();
        let (run, ()) = tokio::join!(worker.run(&job, Instant::now() + SAFETY, cancelled.clone()), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            cancelled.cancel();
        });
        assert!(run.unwrap_err().message.starts_with("stopped: "));
    }
}

#[tokio::test]
async fn dropping_the_attempt_frees_its_slot() {
    let worker = Worker::with(|config| config.concurrency = 1);
    for text in [FOREVER, SLEEP] {
        let endless = job(worker.modules.add(wat::parse_str(text).unwrap()), b"");
        // Asked for its deadline, the guest runs, or is about to.
        let began = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&began);
        let context = JobContext::new(endless.id, CancellationToken::new(), move || {
            seen.store(true, Ordering::SeqCst);
            Instant::now() + 2 * SAFETY
        });
        let attempt = worker.executor.run(&endless, context);
        tokio::time::timeout(Duration::from_millis(100), attempt).await.unwrap_err();
        assert!(began.load(Ordering::SeqCst));
        worker.wat(NOTHING, b"").await.unwrap();
    }
}

#[tokio::test]
async fn busy_guests_starve_neither_each_other_nor_the_worker() {
    let worker = Worker::with(|config| config.threads = 1);
    let mut endless = job(worker.modules.add(wat::parse_str(FOREVER).unwrap()), b"");
    endless.run_timeout_ms = 300;
    let busy = || worker.run(&endless, Instant::now() + SAFETY, CancellationToken::new());
    let (a, b, c, short) = tokio::join!(busy(), busy(), busy(), worker.wat(NOTHING, b""));
    for failure in [a, b, c] {
        assert_eq!(failure.unwrap_err().kind, FailureKind::Timeout);
    }
    short.unwrap();
}

#[tokio::test]
async fn memory_without_end_is_out_of_memory() {
    let failure = Worker::new().wat(ALLOCATE, b"").await.unwrap_err();
    assert_eq!((failure.kind, failure.retryable), (FailureKind::OutOfMemory, true));
    assert!(failure.message.contains("its limit is 256 MiB"), "{}", failure.message);
}

#[tokio::test]
async fn memory_beyond_the_limit_from_the_start_is_out_of_memory() {
    let worker = Worker::with(|config: &mut WasmConfig| config.limits.memory_bytes = 1024 * 1024);
    let failure =
        worker.wat(r#"(module (memory (export "memory") 17) (func (export "_start")))"#, b"").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::OutOfMemory, "{}", failure.message);
    worker.wat(r#"(module (memory (export "memory") 16) (func (export "_start")))"#, b"").await.unwrap();
}

#[tokio::test]
async fn asking_beyond_its_own_maximum_only_fails_as_the_author_expects() {
    let text = r#"(module (memory (export "memory") 1 2)
        (func (export "_start") (if (i32.ne (memory.grow (i32.const 60000)) (i32.const -1)) (then unreachable))))"#;
    Worker::new().wat(text, b"").await.unwrap();
}

#[tokio::test]
async fn stdout_without_end_is_output_limit() {
    let failure = Worker::new().wat(FLOOD, b"").await.unwrap_err();
    assert_eq!((failure.kind, failure.retryable), (FailureKind::OutputLimit, false));
    assert!(failure.message.contains("1024 KiB"), "{}", failure.message);
}

#[tokio::test]
async fn of_a_long_log_the_end_is_kept() {
    // Stops at stderr what `FLOOD` writes to stdout, then says a last word.
    let text = FLOOD
        .replace("$fd_write (i32.const 1)", "$fd_write (i32.const 2)")
        .replace("(i32.const 16384)", "(i32.const 4)")
        .replace(
            "(br_if $more (local.get $left))",
            r#"(br_if $more (local.get $left))
               (i32.store (i32.const 4) (i32.const 4)) (i32.store (i32.const 65536) (i32.const 0x0a656e6f))
               (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))"#,
        );
    let done = Worker::new().wat(&text, b"").await.unwrap();
    assert_eq!(done.log.len(), jobraft_protocol::limits::LOG_TAIL_BYTES_MAX);
    assert!(done.log.ends_with(b"\0one\n"));
    assert!(done.result.is_empty());
}

#[tokio::test]
async fn endless_recursion_traps() {
    let text = r#"(module (memory (export "memory") 1) (func $f (call $f)) (func (export "_start") (call $f)))"#;
    let failure = Worker::new().wat(text, b"").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(failure.message.contains("call stack exhausted"), "{}", failure.message);
}

#[tokio::test]
async fn polling_for_millions_of_things_is_refused() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1600)
      (func (export "_start")
        (drop (call $poll (i32.const 0) (i32.const 0) (i32.const 1000000) (i32.const 104857500)))))"#;
    let worker = Worker::new();
    // Whether it traps or is told of an error: it ends, and the next job runs.
    let _ = worker.wat(text, b"").await;
    worker.wat(NOTHING, b"").await.unwrap();
}
