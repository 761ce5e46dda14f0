//! Where logs go: stderr, for people or as JSON. Set up once, before anything runs.

use crate::failure::Failure;
use clap::{Args, ValueEnum};
use jobraft_node::config::{LogConfig, LogFormat};
use std::io;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// What every command takes about logs; it wins over a configuration file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// What to log to stderr: a level, or levels by target, such as `warn,jobraft_node=debug`
    #[arg(long = "log", env = "JOBRAFT_LOG", global = true, value_name = "FILTER", hide_env_values = true)]
    filter: Option<String>,
    /// How log lines look
    #[arg(long, env = "JOBRAFT_LOG_FORMAT", global = true, value_name = "FORMAT", hide_env_values = true)]
    log_format: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

impl LogArgs {
    /// Starts logging, by the command line or else by `otherwise`.
    pub(crate) fn init(&self, otherwise: &LogConfig) -> Result<(), Failure> {
        let level = self.filter.as_ref().unwrap_or(&otherwise.level);
        let filter = EnvFilter::try_new(with_quiet_libraries(level)).map_err(|error| {
            Failure::usage(format!("read the log filter {level:?}"), error).hint(
                "such as `info`, or `warn,jobraft_node=debug`; it comes from --log, JOBRAFT_LOG or key `log.level`",
            )
        })?;
        let format = match self.log_format {
            Some(Format::Human) => LogFormat::Human,
            Some(Format::Json) => LogFormat::Json,
            None => otherwise.format,
        };
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_timer(SystemTime);
        match format {
            LogFormat::Human => lines.with_ansi(crate::output::Paint::stderr().is_on()).try_init(),
            LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).try_init(),
        }
        .map_err(|error| Failure::new("start logging", error))
    }

    /// Starts logging with `level` unless the command line says otherwise.
    pub(crate) fn init_at(&self, level: &str) -> Result<(), Failure> {
        self.init(&LogConfig { level: level.to_owned(), format: LogFormat::Human })
    }
}

/// The consensus library tells its own inner life at every level; what matters of it the node tells itself.
fn with_quiet_libraries(filter: &str) -> String {
    const LIBRARY: &str = "openraft";
    if filter.contains(LIBRARY) { filter.to_owned() } else { format!("{LIBRARY}=error,{filter}") }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn library_is_quiet_unless_asked_for() {
        assert_eq!(with_quiet_libraries("info"), "openraft=error,info");
        assert_eq!(with_quiet_libraries("warn,openraft=debug"), "warn,openraft=debug");
        EnvFilter::try_new(with_quiet_libraries("warn,jobraft_node=debug")).unwrap();
    }
}
