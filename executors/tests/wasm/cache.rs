//! What is compiled, how often, and what is believed of the files that remain.

use super::worker::{Modules, SAFETY, Worker, compiler, job, script};
use jobraft_executors::wasm::{ChildCommand, WasmConfig, WasmError, WasmExecutor};
use jobraft_protocol::FailureKind;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

const ECHO: &[u8] = include_bytes!("../../../examples/wasm/echo-c/echo.wasm");

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A directory that holds the compiled echo and nothing else.
async fn warm(dir: &Path) -> PathBuf {
    Worker::in_dir(dir, |_| {}).bytes(ECHO, b"").await.unwrap();
    let files = files(dir);
    assert_eq!(files.len(), 1, "neither the module nor a temporary file stays behind: {files:?}");
    files[0].clone()
}

#[tokio::test]
async fn compiled_module_outlives_its_executor() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("modules");
    warm(&cache).await;
    // Neither the compiler nor the module is needed any more.
    let worker = Worker::in_dir(&cache, |config| config.compiler = script("exit 1"));
    assert_eq!(&worker.bytes(ECHO, b"again").await.unwrap().result[..], b"again");
    assert_eq!(worker.modules.fetched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn damaged_file_is_compiled_again_and_never_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("modules");
    let file = warm(&cache).await;
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &whole[..8], b"", &flipped] {
        fs::write(&file, damaged).unwrap();
        let failure =
            Worker::in_dir(&cache, |config| config.compiler = script("exit 1")).bytes(ECHO, b"").await.unwrap_err();
        assert!(failure.retryable, "{}", failure.message);
        Worker::in_dir(&cache, |_| {}).bytes(ECHO, b"").await.unwrap();
        assert_eq!(fs::read(&file).unwrap().len(), whole.len());
    }
}

#[tokio::test]
async fn directory_that_others_can_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = Arc::new(Modules::default());
    let cache = dir.path().join("open");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).unwrap();
    let refused = WasmExecutor::new(WasmConfig::new(compiler(), &cache), source).unwrap_err();
    assert!(matches!(refused, WasmError::CacheShared { .. }), "{refused}");
}

#[tokio::test]
async fn new_directory_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("a/b");
    let file = warm(&cache).await;
    assert_eq!(fs::metadata(cache).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o077, 0);
}

#[tokio::test]
async fn missing_compiler_is_an_error_before_any_job() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["", "/does/not/exist"] {
        let config = WasmConfig::new(ChildCommand::new(program), dir.path().join("modules"));
        let error = WasmExecutor::new(config, Arc::new(Modules::default())).unwrap_err();
        assert!(matches!(error, WasmError::CompilerMissing { .. }), "{error}");
    }
}

#[tokio::test]
async fn setting_outside_its_domain_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = WasmConfig::new(compiler(), dir.path().join("modules"));
    config.limits.memory_bytes = 2 * 1024 * 1024 * 1024;
    let error = WasmExecutor::new(config, Arc::new(Modules::default())).unwrap_err();
    assert!(error.to_string().starts_with("limits.memory_bytes is 2147483648"), "{error}");
}

#[tokio::test]
async fn concurrent_first_uses_compile_once() {
    let worker = Worker::new();
    let (a, b, c) = tokio::join!(worker.bytes(ECHO, b"a"), worker.bytes(ECHO, b"b"), worker.bytes(ECHO, b"c"));
    assert_eq!(
        (&a.unwrap().result[..], &b.unwrap().result[..], &c.unwrap().result[..]),
        (&b"a"[..], &b"b"[..], &b"c"[..])
    );
    assert_eq!(worker.modules.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn how_the_compiler_ends_decides_whose_fault_it_is() {
    let invalid = Some(FailureKind::InvalidModule);
    for (text, kind, reason) in [
        ("echo 'bad opcode' >&2; exit 65", invalid, "bad opcode"),
        ("kill -XCPU $$", invalid, "60 s of CPU time"),
        ("echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$", invalid, "2048 MiB of memory"),
        ("kill -SEGV $$", invalid, "crashed"),
        ("kill -KILL $$", None, "the compiler failed"),
        ("echo 'disk full' >&2; exit 74", None, "disk full"),
        // It says that all is well, but has written nothing, or nonsense.
        ("exit 0", None, "damaged"),
        ("echo nonsense-nonsense-nonsense-nonsense > \"$2\"", None, "damaged"),
    ] {
        let failure = Worker::with(|config| config.compiler = script(text)).bytes(ECHO, b"").await.unwrap_err();
        assert_eq!(failure.kind, kind.unwrap_or(FailureKind::Error), "{text}: {}", failure.message);
        assert_eq!(failure.retryable, kind.is_none(), "{text}: {}", failure.message);
        assert!(failure.message.contains(reason), "{text}: {}", failure.message);
    }
}

#[tokio::test]
async fn module_known_to_be_invalid_is_not_compiled_twice() {
    let worker = Worker::new();
    for _ in 0..3 {
        worker.bytes(&b"no module"[..], b"").await.unwrap_err();
    }
    assert_eq!(worker.modules.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn module_dropped_from_memory_comes_back_from_disk() {
    let worker = Worker::with(|config| config.modules_cached = 1);
    let other = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
    for _ in 0..2 {
        worker.bytes(ECHO, b"").await.unwrap();
        worker.wat(other, b"").await.unwrap();
    }
    assert_eq!(worker.modules.fetched.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn bytes_of_another_digest_are_refused() {
    let worker = Worker::new();
    let digest = worker.modules.add(ECHO);
    worker.modules.replace(digest, b"something else");
    let failure = worker.run(&job(digest, b""), Instant::now() + SAFETY, CancellationToken::new()).await.unwrap_err();
    assert!(failure.retryable && failure.message.contains("digest"), "{}", failure.message);
}

#[tokio::test]
async fn end_of_the_lease_stops_waiting_for_the_compiler() {
    let worker = Worker::with(|config| config.compiler = script("exec sleep 3600"));
    let job = job(worker.modules.add(ECHO), b"");
    let deadline = Instant::now() + std::time::Duration::from_millis(100);
    let failure = worker.run(&job, deadline, CancellationToken::new()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::LeaseExpired);
}
