//! Somebody who sits at a terminal, types what is asked for, and sees what a terminal shows.

use crate::support::process::clean;
use crate::support::{DEADLINE, Run, eventually};
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Where the session leaves the name of its terminal.
const NAME: &str = ".terminal";

/// Runs `jobraft` in `directory` at a terminal of its own, of util-linux's `script`. To each prompt, in turn, its answer is typed,
/// once the terminal no longer shows what is typed. All that was shown is in the run's `stdout`.
pub(crate) async fn jobraft_at_terminal(directory: &Path, arguments: &str, answers: &[(&str, &str)]) -> Run {
    let name = directory.join(NAME);
    // A terminal of an earlier session is gone.
    let _ = fs::remove_file(&name);
    let session = format!("tty > {NAME}; exec {} {arguments}", env!("CARGO_BIN_EXE_jobraft"));
    let mut command = std::process::Command::new("script");
    clean(command.current_dir(directory).args(["-qe", "-E", "always", "-c", &session, "/dev/null"]));
    let mut command = Command::from(command);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let what = format!("jobraft {arguments} at a terminal");
    let typed = tokio::time::timeout(DEADLINE, answer(child, &name, answers)).await;
    typed.unwrap_or_else(|_| panic!("{what} neither asks nor ends"))
}

async fn answer(mut child: Child, name: &Path, answers: &[(&str, &str)]) -> Run {
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut seen = 0;
    for (prompt, answer) in answers {
        while !text(&shown[seen..]).contains(prompt) {
            let more = screen.read_buf(&mut shown).await.unwrap();
            assert_ne!(more, 0, "it does not ask {prompt:?} but says {}", text(&shown));
        }
        seen = shown.len();
        let terminal = PathBuf::from(fs::read_to_string(name).unwrap().trim());
        eventually("what is typed is hidden", async || hides(&terminal).then_some(())).await;
        keyboard.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }
    screen.read_to_end(&mut shown).await.unwrap();
    let code = child.wait().await.unwrap().code();
    Run { code, stdout: text(&shown), stderr: String::new() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a terminal does not show what is typed.
fn hides(terminal: &Path) -> bool {
    let terminal = open(terminal, OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    !tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO)
}
