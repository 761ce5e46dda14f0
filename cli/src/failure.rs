//! How a command fails: what it was doing, why that failed, what to do about it, and the exit code that says it to scripts.

use jobraft_protocol::{Error, ErrorCode};
use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// The exit codes, besides 0 for success. They are part of the interface: scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was tried and failed, or a job that was waited for did not complete.
    Failed = 1,
    /// The command line, a file that it names, or the environment is not right.
    Usage = 2,
    /// There is no such job, module, node or queue.
    NotFound = 3,
    /// No node answered, there is no leader, or the answer did not come in time.
    Unavailable = 4,
    /// Whoever read the output has gone away; nothing is said and nothing is wrong.
    OutputClosed = 0,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}: {cause}")]
pub(crate) struct Failure {
    doing: String,
    cause: String,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure of what was being done, with exit code 1.
    pub(crate) fn new(doing: impl Into<String>, cause: impl Display) -> Self {
        Self { doing: doing.into(), cause: cause.to_string(), hint: None, exit: Exit::Failed }
    }

    /// A failure that the caller of the command can mend, with exit code 2.
    pub(crate) fn usage(doing: impl Into<String>, cause: impl Display) -> Self {
        Self { exit: Exit::Usage, ..Self::new(doing, cause) }
    }

    /// A failure whose cause has causes of its own: all are told.
    pub(crate) fn from_error(doing: impl Into<String>, error: &(dyn StdError + 'static)) -> Self {
        let mut cause = error.to_string();
        let mut next = error.source();
        while let Some(inner) = next {
            let text = inner.to_string();
            // Many errors repeat their source in their own text.
            if !cause.contains(&text) {
                cause = format!("{cause}: {text}");
            }
            next = inner.source();
        }
        Self::new(doing, cause)
    }

    /// What the cluster answered; the exit code and the hint follow from its code.
    pub(crate) fn refused(doing: impl Into<String>, error: &Error) -> Self {
        let failure = Self::new(doing, error).exit(exit_of(error.code));
        match hint_of(error.code) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// Of things that were all done, whatever became of the others: every failure is told, and the last one is returned.
    pub(crate) fn of_all(outcomes: impl IntoIterator<Item = Result<(), Self>>) -> Result<(), Self> {
        let last = outcomes.into_iter().filter_map(Result::err).reduce(|before, next| {
            before.report();
            next
        });
        last.map_or(Ok(()), Err)
    }

    /// The same failure, with a line that says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, with another exit code.
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> Exit {
        self.exit
    }

    /// Tells the person at the terminal, on stderr.
    pub(crate) fn report(&self) {
        if self.exit == Exit::OutputClosed {
            return;
        }
        let paint = crate::output::Paint::stderr();
        // If stderr is gone too there is nobody left to tell.
        let mut text = format!("{} {self}\n", paint.bad("error:"));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{} {hint}\n", paint.strong(" hint:")));
        }
        let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
    }
}

/// Output that nobody reads any longer (`jobraft job get … | head -1`) ends a command quietly.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::BrokenPipe { Exit::OutputClosed } else { Exit::Failed };
        Self::new("write the output", error).exit(exit)
    }
}

fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::NotFound | ErrorCode::ModuleUnknown => Exit::NotFound,
        ErrorCode::NotLeader
        | ErrorCode::Unavailable
        | ErrorCode::OutcomeUnknown
        | ErrorCode::Overloaded
        | ErrorCode::ShuttingDown => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

fn hint_of(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::NotLeader | ErrorCode::Unavailable => {
            "see who is there with `jobraft cluster status`; a majority of the voters must be up"
        }
        ErrorCode::OutcomeUnknown => "it may have been done; look before trying again",
        ErrorCode::Overloaded | ErrorCode::ShuttingDown => "nothing was done; try again later",
        ErrorCode::QueueFull => {
            "try again later, or let `job enqueue --wait-when-full 1m` do so; `jobraft queue set` raises the limit"
        }
        ErrorCode::QuotaExceeded => {
            "see what there is with `jobraft namespace list`; an administrator raises the quota with `jobraft namespace set`"
        }
        ErrorCode::QueueDraining => "open it again with `jobraft queue resume`",
        ErrorCode::QueueUnknown => {
            "see which there are with `jobraft queue list`; make one with `jobraft apply` or `jobraft queue set`"
        }
        ErrorCode::ModuleUnknown => {
            "list what is there with `jobraft module list`; upload with `jobraft module push FILE --name NAME`"
        }
        ErrorCode::Unauthenticated => {
            "an administrator makes tokens with `jobraft token create`, and another secret with `jobraft token rotate`"
        }
        ErrorCode::Forbidden => {
            "`jobraft certs show` says what a certificate permits, `jobraft token list` what a token does; another one is \
             given with --cert and --key, or with --token-file"
        }
        ErrorCode::Protocol | ErrorCode::Unknown => {
            "client and nodes may be of different versions: `jobraft --version`"
        }
        ErrorCode::Internal => "this is a defect; the log of the node that answered says more",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_absent_from_unavailable() {
        let exit = |code| Failure::refused("x", &Error::new(code, "y")).exit_code();
        assert_eq!(exit(ErrorCode::NotFound), Exit::NotFound);
        assert_eq!(exit(ErrorCode::Unavailable), Exit::Unavailable);
        assert_eq!(exit(ErrorCode::WrongState), Exit::Failed);
        assert_eq!(
            [Exit::Failed as u8, Exit::Usage as u8, Exit::NotFound as u8, Exit::Unavailable as u8],
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn message_reads_as_a_sentence() {
        let failure = Failure::new("read payload a.txt", "no such file");
        assert_eq!(failure.to_string(), "failed to read payload a.txt: no such file");
    }

    #[test]
    fn closed_output_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit_code() as u8, 0);
    }
}
