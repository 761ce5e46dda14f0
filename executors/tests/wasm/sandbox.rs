//! What a module sees of the world, and how it tells how it went.

use super::worker::{SAFETY, Worker, job};
use jobraft_executors::wasm::Clocks;
use jobraft_protocol::FailureKind;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

const ECHO: &[u8] = include_bytes!("../../../examples/wasm/echo-c/echo.wasm");
const WORDCOUNT: &[u8] = include_bytes!("../../../examples/wasm/wordcount/wordcount.wasm");

/// A module whose `_start` is `body`; it can call any of these, and keeps its strings at 1,024.
fn command(data: &str, body: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 1024) "{data}")
          (func $say (param $fd i32) (param $bytes i32)
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (local.get $bytes))
            (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func (export "_start") {body}))"#
    )
}

#[tokio::test]
async fn stdin_is_the_payload_and_stdout_the_result() {
    let done = Worker::new().bytes(ECHO, b"hello, world").await.unwrap();
    assert_eq!((&done.result[..], &done.log[..]), (&b"hello, world"[..], &b"echoed 12 bytes\n"[..]));
}

#[tokio::test]
async fn the_rust_example_counts_words() {
    let done = Worker::new().bytes(WORDCOUNT, b"# Title\n\nthree short words\n```\n# code\n```\n").await.unwrap();
    let result = String::from_utf8(done.result.to_vec()).unwrap();
    assert_eq!(result, "{\"lines\":6,\"words\":5,\"bytes\":42,\"longest_word\":\"Title\",\"headings\":1}\n");
    let failure = Worker::new().bytes(WORDCOUNT, b"\xff\xfe").await.unwrap_err();
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Error, false), "{}", failure.message);
    assert!(failure.message.contains("not a text document"), "{}", failure.message);
}

#[tokio::test]
async fn exit_code_says_whether_to_retry() {
    let worker = Worker::new();
    for (code, retryable) in [(75, true), (65, false), (3, true), (-1, true), (126, true)] {
        let exit = command(
            "out of luck\\n",
            &format!("(call $say (i32.const 2) (i32.const 12)) (call $exit (i32.const {code}))"),
        );
        let failure = worker.wat(&exit, b"").await.unwrap_err();
        assert_eq!((failure.kind, failure.retryable), (FailureKind::Error, retryable), "{}", failure.message);
        assert!(failure.message.starts_with(&format!("exited with code {code}")), "{}", failure.message);
        assert!(failure.message.ends_with("out of luck"), "{}", failure.message);
        assert_eq!(&failure.log[..], b"out of luck\n");
    }
    let zero = command("", "(call $exit (i32.const 0))");
    worker.wat(&zero, b"").await.unwrap();
}

#[tokio::test]
async fn trap_names_what_and_where() {
    let text = r#"(module $accounts (memory (export "memory") 1)
        (func $_ZN5audit7balance17h0123456789abcdefE (result i32) (i32.div_s (i32.const 1) (i32.const 0)))
        (func (export "_start") (drop (call $_ZN5audit7balance17h0123456789abcdefE))))"#;
    let failure = Worker::new().wat(text, b"").await.unwrap_err();
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Trap, true));
    assert!(failure.message.starts_with("trapped: integer divide by zero, in audit::balance"), "{}", failure.message);
}

#[tokio::test]
async fn nothing_is_preopened_and_no_path_opens() {
    // Each of these must fail, or the exit code says which did not.
    let mut body = String::from("(local $fd i32) (local.set $fd (i32.const 3)) (loop $next ");
    body += "(if (i32.eqz (call $prestat (local.get $fd) (i32.const 0))) (then (call $exit (i32.const 1)))) ";
    body += "(if (i32.eqz (call $open (local.get $fd) (i32.const 0) (i32.const 1024) (i32.const 11) (i32.const 0)
              (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 0))) (then (call $exit (i32.const 2)))) ";
    body += "(local.set $fd (i32.add (local.get $fd) (i32.const 1)))
             (br_if $next (i32.lt_u (local.get $fd) (i32.const 64))))";
    Worker::new().wat(&command("/etc/passwd", &body), b"").await.unwrap();
}

#[tokio::test]
async fn environment_is_empty() {
    let body = "(drop (call $environ (i32.const 0) (i32.const 4))) (call $exit (i32.load (i32.const 0)))";
    Worker::new().wat(&command("", body), b"").await.unwrap();
}

/// Writes both clocks to stdout, the wall clock first.
fn clocks() -> String {
    command(
        "",
        "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 1024)))
         (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 1032)))
         (call $say (i32.const 1) (i32.const 16))",
    )
}

#[tokio::test]
async fn clocks_stand_still_unless_granted() {
    let read = |result: &[u8]| {
        let (wall, monotonic) = result.split_at(8);
        (u64::from_le_bytes(wall.try_into().unwrap()), u64::from_le_bytes(monotonic.try_into().unwrap()))
    };
    let frozen = Worker::new().wat(&clocks(), b"").await.unwrap();
    assert_eq!(read(&frozen.result), (1_700_000_000_123_000_000, 0));
    let real = Worker::with(|config| config.clocks = Clocks::Real).wat(&clocks(), b"").await.unwrap();
    assert!(read(&real.result).0 > 1_700_000_000_123_000_000);
    assert!(read(&real.result).1 > 0);
}

#[tokio::test]
async fn two_jobs_draw_different_randomness_and_share_no_memory() {
    let worker = Worker::new();
    // Fails if what an earlier run left in memory is still there.
    let body = "(if (i32.load (i32.const 2000)) (then (call $exit (i32.const 1))))
        (i32.store (i32.const 2000) (i32.const 1))
        (drop (call $random (i32.const 1024) (i32.const 16))) (call $say (i32.const 1) (i32.const 16))";
    let first = worker.wat(&command("", body), b"").await.unwrap();
    let second = worker.wat(&command("", body), b"").await.unwrap();
    assert_ne!(first.result, second.result);
}

#[tokio::test]
async fn what_is_not_a_command_is_refused_for_good() {
    let worker = Worker::new();
    let imports_more = r#"(module (import "env" "launch_missiles" (func)) (func (export "_start")))"#;
    for (wasm, reason) in [
        (b"#!/bin/sh\necho no module".to_vec(), "magic header"),
        (Vec::new(), "unexpected end"),
        (ECHO[..ECHO.len() / 2].to_vec(), "unexpected end"),
        (b"(module (func (export \"_start\")))".to_vec(), "magic header"),
        (wat::parse_str(imports_more).unwrap(), "env.launch_missiles"),
        (wat::parse_str("(module)").unwrap(), "_start"),
        (wat::parse_str("(module (func (export \"_start\") (param i32)))").unwrap(), "_start"),
        (wat::parse_str("(component)").unwrap(), "component"),
    ] {
        let failure = worker.bytes(wasm, b"").await.unwrap_err();
        assert_eq!((failure.kind, failure.retryable), (FailureKind::InvalidModule, false), "{}", failure.message);
        assert!(failure.message.contains(reason), "{reason:?} is not in {:?}", failure.message);
    }
}

#[tokio::test]
async fn commands_of_before_preview_1_run_too() {
    let text = r#"(module (import "wasi_unstable" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
        (func (export "_start") (call $exit (i32.const 9))))"#;
    let failure = Worker::new().wat(text, b"").await.unwrap_err();
    assert_eq!(failure.message, "exited with code 9");
}

#[tokio::test]
async fn module_that_nobody_has_may_be_tried_again() {
    let worker = Worker::new();
    let unknown = job(jobraft_protocol::Digest([9; 32]), b"");
    let failure = worker.run(&unknown, Instant::now() + SAFETY, CancellationToken::new()).await.unwrap_err();
    assert!(failure.retryable);
    assert!(failure.message.contains("no such module"), "{}", failure.message);
}
