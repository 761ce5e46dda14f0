//! A shell that types a page's commands, one after the other, as its reader would.

use crate::support::DEADLINE;
use crate::support::process::clean;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

/// The line that follows a command's output, with its exit code.
const END: &str = "--- the book's command has ended:";

/// Runs each file that is named to it, in this very shell: what one sets is still set for the next.
const LOOP: &str = r#"while read -r file; do . "$file" </dev/null 2>&1; printf '\n%s %s\n' "$END" $?; done"#;

/// A running shell; it and all that it has started are gone when this is.
pub(crate) struct Shell {
    child: Child,
    typed: ChildStdin,
    printed: Receiver<String>,
    command: PathBuf,
}

impl Shell {
    /// A shell in `directory` that knows `jobraft`.
    pub(crate) fn start(directory: &Path) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_jobraft"));
        let places = std::env::var_os("PATH").unwrap_or_default();
        let places = program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&places));
        let path: OsString = std::env::join_paths(places).unwrap();
        let mut child = clean(Command::new("sh").current_dir(directory))
            .args(["-c", LOOP])
            .env("PATH", path)
            .env("END", END)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (typed, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (lines, printed) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, typed, printed, command: directory.join(".command") }
    }

    /// Types a command; what it prints, errors included, and its exit code.
    pub(crate) fn run(&mut self, command: &str) -> (Vec<String>, i32) {
        std::fs::write(&self.command, command).unwrap();
        writeln!(self.typed, "{}", self.command.display()).unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut lines = Vec::new();
        loop {
            match self.printed.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix(END) {
                    Some(code) => return (lines, code.trim().parse().unwrap()),
                    None => lines.push(line),
                },
                Err(RecvTimeoutError::Timeout) => panic!("`{command}` does not end; it printed:\n{}", lines.join("\n")),
                Err(RecvTimeoutError::Disconnected) => panic!("`{command}` has ended the shell"),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // If all of it has ended already, so much the better.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
