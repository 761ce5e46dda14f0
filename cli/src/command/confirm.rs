//! Asking before something is done that cannot be undone.

use crate::failure::Failure;
use std::io::{self, BufRead, IsTerminal, Write};

/// Asks `what`, such as `delete 12 jobs`, unless `yes`. Without a terminal nobody could answer: that is refused.
///
/// Returns only if it shall be done.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !at_terminal() {
        let cause = "there is no terminal to ask at whether it shall be done; nothing was done";
        return Err(Failure::usage(what, cause).hint("--yes does it without asking"));
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "{what}? [y/N] ").and_then(|()| io::stdin().lock().read_line(&mut answer));
    asked.map_err(|error| Failure::new(what, error))?;
    if agrees(&answer) { Ok(()) } else { Err(Failure::new(what, "it was not confirmed; nothing was done")) }
}

/// Whether there is somebody to ask.
pub(super) fn at_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn agrees(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(agrees("y\n") && agrees(" YES \n"));
        assert!(!agrees("") && !agrees("\n") && !agrees("n\n") && !agrees("yeah\n"));
    }
}
