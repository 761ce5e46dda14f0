//! A child process with its output in files; it dies with the test.

use super::{DEADLINE, PAUSE};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// A running `jobraft` process.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts `jobraft` in `directory`; stderr goes to `NAME.log` there, stdout to `NAME.out`, after what is in them.
    pub(crate) fn start(name: &str, directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(name, directory, arguments, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_with(name: &str, directory: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Self {
        let log = directory.join(format!("{name}.log"));
        let out = directory.join(format!("{name}.out"));
        let append = |path: &Path| -> File { OpenOptions::new().create(true).append(true).open(path).unwrap() };
        let child = super::run::command(directory)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(append(&out))
            .stderr(append(&log))
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), child, log, out }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        text(&self.out)
    }

    /// Its end, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGKILL, and no waiting.
    pub(crate) fn shoot(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
    }

    /// SIGKILL: no goodbye, no checkpoint.
    pub(crate) fn kill(mut self) {
        self.shoot();
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn signal_and_wait(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Waits until it has ended by itself; with what it has printed.
    pub(crate) fn wait_and_read(mut self) -> (ExitStatus, String) {
        (self.wait(), self.printed() + &self.log())
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "{} does not stop; it logged:\n{}", self.name, self.log());
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shoot();
        let _ = self.child.wait();
    }
}

fn text(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
}

/// A command that no setting of the caller's environment reaches.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JOBRAFT_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1")
}
