//! Where the `jobraft` binary is that is put to the test.

use super::verdict::Trouble;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "jobraft";

/// The binary that was named, or the one beside this program.
///
/// # Errors
/// [`Trouble::Usage`] if there is none; it says how to get one.
pub fn find(named: Option<&Path>) -> Result<PathBuf, Trouble> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join(NAME));
    let Some(path) = named.map(Path::to_owned).or_else(beside) else {
        return Err(Trouble::Usage("it is not known where this program lies; say --jobraft PATH".to_owned()));
    };
    // Processes are started in other directories than this one.
    path.canonicalize().map_err(|error| {
        let path = path.display();
        Trouble::Usage(format!(
            "there is no jobraft binary at {path} ({error}); build it with `cargo build -p jobraft`, with --release if \
             this program was built so, or say where it is with --jobraft PATH"
        ))
    })
}

/// What it says of its version.
///
/// # Errors
/// If it cannot be run.
pub fn version(jobraft: &Path) -> Result<String, Trouble> {
    let failed =
        |why: String| Trouble::Usage(format!("{} cannot be run ({why}); say --jobraft PATH", jobraft.display()));
    let output = Command::new(jobraft).arg("--version").output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
