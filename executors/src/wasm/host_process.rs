//! The process that runs guests as a process: how it starts, what goes through its pipes, how it ended.

use super::WasmError;
use super::config::ChildCommand;
use super::host_main::EXIT_UNCONFINED;
use super::verdict;
use super::wire::{self, FROM_HOST_BYTES_MAX, FromHost, Settings, TO_HOST_BYTES_MAX, ToHost};
use jobraft_protocol::frame;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long it may take to start.
pub(super) const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long it may take to end once it has closed its pipes.
const END_TIME_MAX: Duration = Duration::from_secs(1);
/// How much of what it says on stderr is read.
const LAST_WORDS_BYTES_MAX: u64 = 2 * 1024;

/// How it is started: with nothing of the worker's but its program.
fn command(program: &ChildCommand) -> std::process::Command {
    let mut command = std::process::Command::new(&program.program);
    command
        .args(&program.args)
        .env_clear()
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for the worker: it drains.
        .process_group(0);
    command
}

/// Starts one that has nothing to do: it gives up its rights, sets up its engine, and ends.
///
/// # Errors
/// [`WasmError::Isolation`] if it cannot do the first, [`WasmError::Host`] for all else.
pub(super) fn try_out(program: &ChildCommand, settings: &Settings) -> Result<(), WasmError> {
    let name = program.program.display();
    let unstarted = |error: std::io::Error| WasmError::Host(format!("{name} does not run: {error}"));
    let mut process = command(program).stdout(Stdio::null()).spawn().map_err(unstarted)?;
    let started = Instant::now();
    if let Some(mut stdin) = process.stdin.take() {
        let frame = encode(&ToHost::Settings(settings.clone())).map_err(WasmError::Host)?;
        // A pipe has room for so little. If it is gone already, how it ended says why.
        let _ = stdin.write_all(&frame);
    }
    let status = loop {
        if let Some(status) = process.try_wait().map_err(unstarted)? {
            break status;
        }
        if started.elapsed() > START_TIME_MAX {
            // It ends now, or has.
            let _ = process.kill().and_then(|()| process.wait().map(|_| ()));
            return Err(WasmError::Host(format!("{name} does not end although stdin has ended")));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    if status.success() {
        return Ok(());
    }
    let mut words = Vec::new();
    if let Some(stderr) = process.stderr.take() {
        stderr.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut words).map_err(unstarted)?;
    }
    let words = printable(&words);
    Err(match status.code() {
        Some(code) if code == i32::from(EXIT_UNCONFINED) => WasmError::Isolation(words),
        _ if words.is_empty() => WasmError::Host(format!("{name} ended at once: {status}")),
        _ => WasmError::Host(words),
    })
}

/// A process that was started; killed if this is dropped.
pub(super) struct HostProcess {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    last_words: JoinHandle<String>,
}

/// What is to be said to it.
pub(super) struct Outgoing {
    /// What goes first.
    pub(super) urgent: mpsc::UnboundedReceiver<ToHost>,
    /// What may wait.
    pub(super) code: mpsc::Receiver<ToHost>,
}

impl HostProcess {
    /// Starts it.
    pub(super) fn start(program: &ChildCommand) -> Result<Self, String> {
        let unstarted = |error: std::io::Error| format!("{} does not run: {error}", program.program.display());
        let mut command = tokio::process::Command::from(command(program));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().map_err(unstarted)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("it has no pipes: this is a defect of Jobraft".to_owned());
        };
        let last_words = tokio::spawn(last_words(stderr));
        Ok(Self { child, stdin, stdout: BufReader::new(stdout), last_words })
    }

    /// Which it is.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Says how guests run, and waits until it is ready. The error is what it did wrong; none if it is just gone.
    pub(super) async fn begin(&mut self, settings: Settings) -> Result<(), Option<String>> {
        let begin = async {
            write(&mut self.stdin, &ToHost::Settings(settings)).await?;
            match wire::next(&mut self.stdout, FROM_HOST_BYTES_MAX).await {
                Ok(Some(FromHost::Ready)) => Ok(()),
                Ok(Some(_)) => Err(Some("it answered before it was ready".to_owned())),
                Ok(None) => Err(None),
                Err(error) => Err(Some(error.to_string())),
            }
        };
        let late = |_| Err(Some(format!("it was not ready within {} s", START_TIME_MAX.as_secs())));
        timeout(START_TIME_MAX, begin).await.unwrap_or_else(late)
    }

    /// Carries frames both ways, until it is gone or breaks the rules, of which `take` decides: what it did wrong then.
    pub(super) async fn serve(
        &mut self,
        outgoing: &mut Outgoing,
        take: impl Fn(FromHost) -> Result<(), &'static str>,
    ) -> Option<String> {
        let Self { stdin, stdout, .. } = self;
        let write = async {
            loop {
                let next = tokio::select! {
                    biased;
                    Some(frame) = outgoing.urgent.recv() => frame,
                    Some(frame) = outgoing.code.recv() => frame,
                    else => return None,
                };
                if let Err(why) = write(stdin, &next).await {
                    return why;
                }
            }
        };
        let read = async {
            loop {
                match wire::next(stdout, FROM_HOST_BYTES_MAX).await {
                    Ok(Some(frame)) => {
                        if let Err(breach) = take(frame) {
                            return Some(breach.to_owned());
                        }
                    }
                    Ok(None) => return None,
                    Err(error) => return Some(error.to_string()),
                }
            }
        };
        tokio::select! {
            why = write => why,
            why = read => why,
        }
    }

    /// Ends it if it has not ended, and says how it did. `why` is what it did wrong, if anything.
    pub(super) async fn end(mut self, why: Option<String>) -> String {
        if why.is_none() {
            // It ends by itself: how, is worth knowing.
            let _ = timeout(END_TIME_MAX, self.child.wait()).await;
        }
        // Fails if it has ended.
        let _ = self.child.start_kill();
        let status = self.child.wait().await;
        let words = timeout(END_TIME_MAX, self.last_words).await.ok().and_then(Result::ok).unwrap_or_default();
        let colon = if words.is_empty() { "" } else { ": " };
        match (why, status) {
            (Some(why), _) => ended(&format!("{why}{colon}{words}")),
            (None, Ok(status)) => ended(&format!("{status}{colon}{words}")),
            (None, Err(error)) => ended(&format!("{error}{colon}{words}")),
        }
    }
}

/// What is said of one that has ended.
pub(super) fn ended(how: &str) -> String {
    format!("the process that runs modules ended ({how})")
}

fn encode(frame: &ToHost) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    frame::encode(frame, &mut bytes, TO_HOST_BYTES_MAX).map_err(|error| error.to_string())?;
    Ok(bytes)
}

async fn write(pipe: &mut ChildStdin, frame: &ToHost) -> Result<(), Option<String>> {
    let bytes = encode(frame).map_err(Some)?;
    // It is gone; how it ended says more than the pipe does.
    pipe.write_all(&bytes).await.map_err(|_| None)
}

/// Reads what it says on stderr until it ends.
async fn last_words(mut stderr: ChildStderr) -> String {
    let mut words = Vec::new();
    let _ = (&mut stderr).take(LAST_WORDS_BYTES_MAX).read_to_end(&mut words).await;
    // Whatever else it says must not block it.
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    printable(&words)
}

fn printable(words: &[u8]) -> String {
    verdict::printable(String::from_utf8_lossy(words).trim())
}
