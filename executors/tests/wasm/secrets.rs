//! What a module sees of its job's secrets, and what others see of them: nothing.

use super::worker::{SAFETY, Worker, job};
use jobraft_protocol::limits::{JOB_SECRETS_BYTES_MAX, JOB_SECRETS_MAX};
use jobraft_protocol::{Completion, Failure, FailureKind, SecretName, SecretValue};
use jobraft_sdk::JobContext;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

type Secrets = Vec<(SecretName, SecretValue)>;

/// A module that writes its environment to `fd`, each variable ended by NUL, and then does `then`.
fn environment(fd: u32, then: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
          (memory (export "memory") 8)
          (func $say (param $from i32) (param $bytes i32) (local $wrote i32)
            (loop $more
              (i32.store (i32.const 0) (local.get $from))
              (i32.store (i32.const 4) (local.get $bytes))
              (if (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
              (local.set $wrote (i32.load (i32.const 8)))
              (local.set $from (i32.add (local.get $from) (local.get $wrote)))
              (local.set $bytes (i32.sub (local.get $bytes) (local.get $wrote)))
              (br_if $more (local.get $bytes))))
          (func (export "_start")
            (if (call $sizes (i32.const 16) (i32.const 20)) (then unreachable))
            (if (call $environ (i32.const 1024) (i32.const 65536)) (then unreachable))
            (call $say (i32.const 65536) (i32.load (i32.const 20)))
            {then}))"#
    )
}

fn secrets(secrets: &[(&str, &str)]) -> Secrets {
    secrets.iter().map(|(name, value)| (SecretName::new(name).unwrap(), value.parse().unwrap())).collect()
}

async fn run(worker: &Worker, text: &str, secrets: Secrets) -> Result<Completion, Failure> {
    run_for(worker, text, secrets, SAFETY).await
}

async fn run_for(worker: &Worker, text: &str, secrets: Secrets, time: Duration) -> Result<Completion, Failure> {
    let mut job = job(worker.modules.add(wat::parse_str(text).unwrap()), b"");
    job.run_timeout_ms = u64::try_from(time.as_millis()).unwrap();
    let deadline = Instant::now() + 2 * SAFETY;
    let context = JobContext::new(job.id, CancellationToken::new(), move || deadline).with_secrets(secrets);
    tokio::time::timeout(SAFETY, worker.executor.run(&job, context)).await.expect("the attempt must end")
}

#[tokio::test]
async fn environment_is_the_secrets_that_are_granted() {
    let (worker, text) = (Worker::new(), environment(1, ""));
    let granted = secrets(&[("API_KEY", "hunter2"), ("_pem", "-----BEGIN\nä = b\n"), ("X9", "=")]);
    let done = run(&worker, &text, granted).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&done.result), "API_KEY=hunter2\0_pem=-----BEGIN\nä = b\n\0X9==\0");
    // The next job has its own, and one without has none.
    let done = run(&worker, &text, secrets(&[("OTHER", "swordfish")])).await.unwrap();
    assert_eq!(&done.result[..], b"OTHER=swordfish\0");
    let done = run(&worker, &text, Secrets::new()).await.unwrap();
    assert_eq!((&done.result[..], &done.log[..]), (&b""[..], &b""[..]));
}

/// So many, with as many bytes altogether as they may have, and `more`.
fn many(count: usize, more: usize) -> Secrets {
    let name = |n: usize| SecretName::new(&format!("SECRET_{n:02}")).unwrap();
    let bytes = JOB_SECRETS_BYTES_MAX / count - name(0).as_str().len();
    let value = |n: usize| SecretValue::new("x".repeat(if n == 0 { bytes + more } else { bytes })).unwrap();
    (0..count).map(|n| (name(n), value(n))).collect()
}

#[tokio::test]
async fn as_many_arrive_as_there_may_be_and_no_more() {
    let (worker, text) = (Worker::new(), environment(1, ""));
    let done = run(&worker, &text, many(JOB_SECRETS_MAX, 0)).await.unwrap();
    let variables = done.result.split(|&byte| byte == 0).filter(|variable| !variable.is_empty());
    let wanted = many(JOB_SECRETS_MAX, 0);
    let wanted = wanted.iter().map(|(name, value)| format!("{name}={}", value.reveal()));
    assert!(variables.eq(wanted.map(String::into_bytes)));
    for (too_many, reason) in [(many(JOB_SECRETS_MAX, 1), "262145 bytes"), (many(JOB_SECRETS_MAX + 1, 0), "65 with")] {
        let failure = run(&worker, &text, too_many).await.unwrap_err();
        assert_eq!((failure.kind, failure.retryable), (FailureKind::Error, true), "{}", failure.message);
        assert!(failure.message.starts_with("could not get the job's secrets: "), "{}", failure.message);
        assert!(failure.message.contains(reason), "{}", failure.message);
        assert!(!failure.message.contains("xxx"), "{}", failure.message);
    }
    // Whoever had too many has harmed nobody.
    run(&worker, &text, Secrets::new()).await.unwrap();
}

#[tokio::test]
async fn log_and_message_are_without_their_values() {
    let worker = Worker::new();
    let granted = || secrets(&[("API_KEY", "hunter2"), ("LONGER", "hunter2 and more"), ("PORT", "443")]);
    let hidden = "API_KEY=***\0LONGER=***\0PORT=443\0";
    let done = run(&worker, &environment(2, ""), granted()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&done.log), hidden);

    for (then, kind, end) in [
        ("(call $exit (i32.const 3))", FailureKind::Error, ": API_KEY=*** LONGER=*** PORT=443 "),
        ("unreachable", FailureKind::Trap, ": API_KEY=*** LONGER=*** PORT=443 "),
        ("(loop $forever (br $forever))", FailureKind::Timeout, "500ms it may"),
    ] {
        let failure = run_for(&worker, &environment(2, then), granted(), Duration::from_millis(500)).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(failure.message.ends_with(end), "{}", failure.message);
        assert_eq!(String::from_utf8_lossy(&failure.log), hidden);
    }
}

#[tokio::test]
async fn message_that_ends_within_a_value_shows_none_of_it() {
    // Its end is beyond what a message holds of a log, so no whole value is left in it.
    let value = "hunter2 ".repeat(100);
    let failure =
        run(&Worker::new(), &environment(2, "(call $exit (i32.const 3))"), secrets(&[("API_KEY", &value)])).await;
    assert_eq!(failure.unwrap_err().message, "exited with code 3: API_KEY=***  ");
}

#[tokio::test]
async fn log_that_begins_within_a_value_shows_none_of_it() {
    let worker = Worker::with(|config| config.limits.stderr_bytes = 16);
    let granted = || secrets(&[("API_KEY", "correct-horse-battery-staple")]);
    let failure = run(&worker, &environment(2, "(call $exit (i32.const 3))"), granted()).await.unwrap_err();
    assert_eq!(String::from_utf8_lossy(&failure.log), "***\0");
    assert_eq!(failure.message, "exited with code 3: *** ");
    let done = run(&worker, &environment(2, ""), granted()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&done.log), "***\0");
}
