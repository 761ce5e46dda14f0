//! A child process with its output in a file. It dies with this one, in whatever way this one ends.
#![expect(unsafe_code, reason = "signals, and what a child does between fork and exec, need system calls")]

use super::verdict::Trouble;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);
/// How long one may take to end that was killed: only the kernel is in the way.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Set once it was waited for: from then on its number may be another's.
    status: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; all its output is added to the file `log`. Where `namespace` is given, in that network namespace.
    ///
    /// To be called on a thread that lives as long as the child shall, such as the main thread: the kernel kills the child
    /// when the thread ends that started it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path, namespace: Option<&File>) -> Result<Self, Trouble> {
        let failed = |error: io::Error| Trouble::machine(&format!("start {name}"), error);
        let append = || OpenOptions::new().create(true).append(true).open(log);
        let namespace = namespace.map(AsRawFd::as_raw_fd);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("JOBRAFT_") {
                command.env_remove(variable);
            }
        }
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command.stdout(append().map_err(failed)?).stderr(append().map_err(failed)?);
        // SAFETY: between fork and exec only two system calls are made, which allocate nothing and take no locks; the
        // descriptor is open, for `namespace` is borrowed until after the start.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                match namespace {
                    Some(fd) if libc::setns(fd, libc::CLONE_NEWNET) != 0 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
        let child = command.spawn().map_err(failed)?;
        Ok(Self { name: name.to_owned(), child, status: None, log: log.to_owned() })
    }

    /// Its end, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// SIGSTOP: it stands still and keeps all it has.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// SIGKILL, and no waiting: others can be shot in the same moment.
    pub fn shoot(&self) {
        self.signal(libc::SIGKILL);
    }

    /// SIGKILL, and the wait for its end.
    ///
    /// # Errors
    /// If even that does not end it: the kernel is stuck.
    pub fn kill(mut self) -> Result<(), Trouble> {
        self.shoot();
        self.wait(KILL_TIMEOUT).map(drop)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it has not within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, Trouble> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if begun.elapsed() > timeout {
                return Err(Trouble::Machine(format!("{} has not ended within {timeout:?}", self.name)));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The last lines that it has logged, in all its lives.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: libc::c_int) {
        if self.status.is_none()
            && let Ok(pid) = libc::pid_t::try_from(self.child.id())
        {
            // SAFETY: takes no pointers, and the number is the child's own, for nobody has waited for it yet.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shoot();
        let _ = self.child.wait();
    }
}

/// The last lines of a file.
#[must_use]
pub fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_process_stands_still_goes_on_and_dies() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("sh.log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 60"]);
        let mut process = Process::start("sh", command, &log, None).unwrap();
        let begun = Instant::now();
        while process.tail(1) != "begun" && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(PAUSE);
        }
        let state = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit(')').next().unwrap().trim().chars().next().unwrap()
        };
        process.pause();
        while state(process.pid()) != 'T' && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(PAUSE);
        }
        assert_eq!(state(process.pid()), 'T');
        process.resume();
        assert_eq!(process.ended(), None);
        assert_eq!(process.tail(5), "begun");
        process.kill().unwrap();
    }
}
