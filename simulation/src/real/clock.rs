//! The wall clock of one process, moved while it runs. The machine's own stays as it is.
//!
//! A shared object stands before libc's `clock_gettime` and adds what a file says. It is built by the system's C compiler at
//! run time; where there is none, what needs it is left out.

use super::verdict::Trouble;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("clock.c");
/// What the shared object reads its file's name from.
const VARIABLE: &str = "SIMULATED_CLOCK";

/// The shared object.
#[derive(Clone, Debug)]
pub struct ClockLibrary {
    object: PathBuf,
}

impl ClockLibrary {
    /// Builds it in `directory`.
    ///
    /// # Errors
    /// If there is no C compiler, or it does not like the source.
    pub fn build(directory: &Path) -> Result<Self, Trouble> {
        let (source, object) = (directory.join("clock.c"), directory.join("clock.so"));
        std::fs::write(&source, SOURCE).map_err(|error| Trouble::machine("write clock.c", error))?;
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&object).arg(&source).arg("-ldl");
        let output = command.output().map_err(|error| Trouble::machine("run the C compiler `cc`", error))?;
        if output.status.success() {
            return Ok(Self { object });
        }
        Err(Trouble::machine("build a clock with `cc`", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// A clock that shows the machine's time for now, its file at `path`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn clock(&self, path: PathBuf) -> Result<Clock, Trouble> {
        let failed = |error| Trouble::machine("make a clock's file", error);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).map_err(failed)?;
        let clock = Clock { object: self.object.clone(), path, file };
        clock.shift(0)?;
        Ok(clock)
    }
}

/// The wall clock of the processes that were given it.
#[derive(Debug)]
pub struct Clock {
    object: PathBuf,
    path: PathBuf,
    file: File,
}

impl Clock {
    /// Lets it show the machine's time and so many milliseconds more, from now on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn shift(&self, ms: i64) -> Result<(), Trouble> {
        let ns = ms.saturating_mul(1_000_000);
        self.file.write_all_at(&ns.to_ne_bytes(), 0).map_err(|error| Trouble::machine("move a clock", error))
    }

    /// Gives the clock to what `command` will start.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.object).env(VARIABLE, &self.path);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_process_sees_the_time_that_it_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let library = ClockLibrary::build(directory.path()).unwrap();
        let clock = library.clock(directory.path().join("clock")).unwrap();
        let seen = || {
            let mut command = Command::new("date");
            clock.give(command.arg("+%s"));
            String::from_utf8(command.output().unwrap().stdout).unwrap().trim().parse::<i64>().unwrap()
        };
        let before = seen();
        clock.shift(-3_600_000).unwrap();
        let (shifted, after) = (seen() + 3_600, seen() + 3_600);
        assert!((before..=after).contains(&shifted), "{before} {shifted} {after}");
    }
}
