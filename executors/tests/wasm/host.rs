//! The process that runs modules: what it holds, and what its end does to jobs and to the worker.

use super::worker::{Modules, SAFETY, Worker, compiler, config, host, job, script};
use bytes::Bytes;
use jobraft_executors::wasm::{ChildCommand, WasmConfig, WasmError, WasmExecutor};
use jobraft_protocol::{Digest, Failure, FailureKind, SecretName, frame};
use jobraft_sdk::{Executor as _, JobContext};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const FOREVER: &str = include_str!("../../../examples/wasm/hostile/forever.wat");
const NOTHING: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// A worker whose process can be looked at.
struct Isolated {
    worker: Worker,
    executor: Arc<WasmExecutor>,
}

impl Isolated {
    fn new() -> Self {
        Self::with(host())
    }

    fn with(host: ChildCommand) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let modules = Arc::new(Modules::default());
        let config = config(&cache.path().join("modules"));
        let executor = Arc::new(WasmExecutor::isolated(config, host, modules.clone()).unwrap());
        let worker = Worker { executor: executor.clone(), modules, cache: Some(cache) };
        Self { worker, executor }
    }

    /// The process, which must be there.
    fn pid(&self) -> Pid {
        Pid::from_raw(self.executor.host_pid().unwrap().cast_signed()).unwrap()
    }

    /// Runs the endless module, once it is known to run does `then`, and waits for its end.
    async fn forever(&self, run_timeout: Duration, then: impl FnOnce(Pid)) -> Failure {
        let mut job = job(self.worker.modules.add(wat::parse_str(FOREVER).unwrap()), b"");
        // Loaded beforehand, so that what takes time is the guest.
        job.run_timeout_ms = 1;
        let _ = self.worker.run(&job, Instant::now() + SAFETY, CancellationToken::new()).await;
        job.run_timeout_ms = u64::try_from(run_timeout.as_millis()).unwrap();
        let (pid, before) = (self.pid(), ticks(self.pid()));
        let (ended, ()) =
            tokio::join!(self.worker.run(&job, Instant::now() + 2 * SAFETY, CancellationToken::new()), async {
                eventually(|| ticks(pid) > before + 2).await;
                then(pid);
            });
        ended.unwrap_err()
    }
}

fn proc(pid: Pid, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join(file)
}

/// CPU time that a process has used.
fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(proc(pid, "stat")).unwrap();
    // Its name may contain anything; utime is the 14th field, stime the 15th.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SAFETY, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn process_holds_nothing_of_the_worker() {
    // A file that whoever wrote it forgot to mark: every program that is started inherits it.
    let mode = rustix::fs::Mode::RUSR;
    let _inherited = rustix::fs::open("/etc/passwd", rustix::fs::OFlags::RDONLY, mode).unwrap();
    let _socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let isolated = Isolated::new();
    isolated.worker.wat(NOTHING, b"").await.unwrap();
    let pid = isolated.pid();

    assert_eq!(fs::read(proc(pid, "environ")).unwrap(), b"");
    let held: Vec<PathBuf> =
        fs::read_dir(proc(pid, "fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect();
    let is_harmless = |path: &PathBuf| {
        let path = path.to_string_lossy();
        path.starts_with("pipe:") || path.starts_with("/memfd:")
    };
    assert!(held.len() >= 3 && held.iter().all(is_harmless), "{held:?}");

    let status = fs::read_to_string(proc(pid, "status")).unwrap();
    let is = |name: &str, value: &str| status.lines().any(|line| line.split_whitespace().eq([name, value]));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert!(is(set, "0000000000000000"), "{status}");
    }
    assert!(is("NoNewPrivs:", "1") && is("Seccomp:", "2"), "{status}");
    let limits = fs::read_to_string(proc(pid, "limits")).unwrap();
    assert!(
        limits.lines().any(|line| line.split_whitespace().take(6).eq("Max core file size 0 0".split(' '))),
        "{limits}"
    );
}

#[tokio::test]
async fn killed_process_fails_its_jobs_alone_and_is_replaced() {
    let isolated = Isolated::new();
    let mut killed = None;
    let failure = isolated
        .forever(2 * SAFETY, |pid| {
            kill_process(pid, Signal::KILL).unwrap();
            killed = Some(pid);
        })
        .await;
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Error, true), "{}", failure.message);
    assert!(failure.message.starts_with("the process that runs modules ended"), "{}", failure.message);
    assert!(failure.message.contains("SIGKILL"), "{}", failure.message);
    isolated.worker.wat(NOTHING, b"").await.unwrap();
    assert_ne!(killed, Some(isolated.pid()));
}

#[tokio::test]
async fn process_that_hangs_is_killed_and_replaced() {
    let isolated = Isolated::new();
    let mut hung = None;
    let stop = |pid| {
        kill_process(pid, Signal::STOP).unwrap();
        hung = Some(pid);
    };
    let failure = isolated.forever(Duration::from_secs(5), stop).await;
    // What became of the job is what would have become of it.
    assert_eq!(failure.kind, FailureKind::Timeout, "{}", failure.message);
    let hung = hung.unwrap();
    eventually(|| !proc(hung, "").exists()).await;
    isolated.worker.wat(NOTHING, b"").await.unwrap();
    assert_ne!(hung, isolated.pid());
}

#[tokio::test]
async fn jobs_share_a_process_that_lives() {
    let isolated = Isolated::new();
    isolated.worker.wat(NOTHING, b"").await.unwrap();
    let first = isolated.pid();
    let failure = isolated.forever(Duration::from_millis(500), |_| {}).await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    isolated.worker.wat(NOTHING, b"").await.unwrap();
    assert_eq!(first, isolated.pid());
}

#[tokio::test]
async fn word_to_stop_is_for_the_worker() {
    let isolated = Isolated::new();
    let failure = isolated.forever(Duration::from_secs(1), |pid| kill_process(pid, Signal::TERM).unwrap()).await;
    assert_eq!(failure.kind, FailureKind::Timeout, "{}", failure.message);
}

#[tokio::test]
async fn process_goes_with_the_executor() {
    let isolated = Isolated::new();
    isolated.worker.wat(NOTHING, b"").await.unwrap();
    let pid = isolated.pid();
    drop(isolated);
    eventually(|| !proc(pid, "").exists()).await;
}

#[test]
fn process_that_cannot_give_up_its_rights_is_an_error_before_any_job() {
    let dir = tempfile::tempdir().unwrap();
    for (host, is_isolation, reason) in [
        (script("echo 'restrict system calls: no' >&2; exit 77"), true, "restrict system calls: no"),
        (script("echo 'no engine' >&2; exit 74"), false, "no engine"),
        (script("kill -KILL $$"), false, "SIGKILL"),
        (ChildCommand::new("/does/not/exist"), false, "/does/not/exist does not run"),
    ] {
        let config = WasmConfig::new(compiler(), dir.path().join("modules"));
        let error = WasmExecutor::isolated(config, host, Arc::new(Modules::default())).unwrap_err();
        let found = matches!(error, WasmError::Isolation(_));
        assert!(found == is_isolation && (found || matches!(error, WasmError::Host(_))), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn process_that_breaks_the_rules_is_not_believed() {
    // As frames: it is ready; run 9 has ended, of which nobody has heard.
    let ready = r"printf '\000\000\000\006\145Ready'; ";
    let ended = r"printf '\000\000\000\034\241\145Ended\242\142id\011\147outcome\147Unknown'; ";
    for (text, reason) in [
        ("echo broken >&2; exit 3".to_owned(), "exit status: 3: broken"),
        (r"printf '\377\377\377\377'; exec cat > /dev/null".to_owned(), "exceeds the limit"),
        ("echo 'what is this'; exec cat > /dev/null".to_owned(), "frame"),
        (format!("{ended} exec cat > /dev/null"), "answered before it was ready"),
        (format!("{ready} {ready} exec cat > /dev/null"), "ready twice"),
        (format!("{ready} {ended} exec cat > /dev/null"), "ended a job that it does not have"),
        (format!("{ready} exit 3"), "exit status: 3"),
    ] {
        // The first one is only tried out, and behaves.
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("tried-out");
        let mark = mark.display();
        let isolated =
            Isolated::with(script(&format!("[ -e {mark} ] || {{ : > {mark}; exec cat > /dev/null; }}; {text}")));
        let failure = isolated.worker.wat(NOTHING, b"").await.unwrap_err();
        assert_eq!((failure.kind, failure.retryable), (FailureKind::Error, true), "{text}: {}", failure.message);
        assert!(failure.message.contains(reason), "{text}: {}", failure.message);
    }
}

/// What a process can say, as it goes through the pipe.
#[derive(Serialize)]
enum FromHost {
    Ready,
    Loaded { digest: Digest, refused: Option<String> },
    Ended { id: u64, outcome: Outcome },
}

#[derive(Serialize)]
enum Outcome {
    Failed { kind: FailureKind, retryable: bool, message: String, log: Bytes },
}

#[tokio::test]
async fn process_that_repeats_a_secret_is_not_believed() {
    // It has taken three frames, the settings, the module and its code, before it says what it likes of the run, the fourth.
    let dir = tempfile::tempdir().unwrap();
    let modules = Arc::new(Modules::default());
    let digest = modules.add(wat::parse_str(NOTHING).unwrap());
    let said = "hunter2, and hunter2".to_owned();
    let (kind, log) = (FailureKind::Error, Bytes::from(said.clone()));
    let failed = Outcome::Failed { kind, retryable: true, message: said, log };
    for (file, said) in [
        ("ready", FromHost::Ready),
        ("loaded", FromHost::Loaded { digest, refused: None }),
        ("ended", FromHost::Ended { id: 1, outcome: failed }),
    ] {
        let mut bytes = Vec::new();
        frame::encode(&said, &mut bytes, 1_000).unwrap();
        fs::write(dir.path().join(file), bytes).unwrap();
    }
    let host = script(&format!(
        r"cd {}
          if [ ! -e tried-out ]; then : > tried-out; exec cat > /dev/null; fi
          take() {{ set -- $(head -c 4 | od -An -tu1); head -c $((($1 << 24) + ($2 << 16) + ($3 << 8) + $4)) > /dev/null; }}
          take; cat ready; take; take; cat loaded; take; cat ended; exec cat > /dev/null",
        dir.path().display()
    ));
    let executor = WasmExecutor::isolated(config(&dir.path().join("modules")), host, modules).unwrap();
    let (job, deadline) = (job(digest, b""), Instant::now() + SAFETY);
    let context = JobContext::new(job.id, CancellationToken::new(), move || deadline);
    let secret = (SecretName::new("API_KEY").unwrap(), "hunter2".parse().unwrap());
    let failure = executor.run(&job, context.with_secrets(vec![secret])).await.unwrap_err();
    assert_eq!((&failure.message[..], &failure.log[..]), ("***, and ***", &b"***, and ***"[..]));
}
