//! `jobraft storage`: what a node keeps on disk, sealed.

use super::private::PrivateFile;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Progress};
use clap::{Args, Subcommand};
use jobraft_node::config::NodeConfig;
use jobraft_node::seal::Seal;
use std::path::PathBuf;

/// Seal what jobs carry on a node's disk, and secrets for jobs, under keys of your own
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft storage keygen --out at-rest.key
  jobraft storage keygen --out secrets.key
  jobraft storage reseal --config config/node-1.toml")]
pub(super) struct StorageArgs {
    #[command(subcommand)]
    command: StorageCommand,
}

#[derive(Debug, Subcommand)]
enum StorageCommand {
    /// Make a key file, for `key_file` in the [storage] or the [secrets] section of each node's configuration
    ///
    /// All nodes of a cluster need the same file, or one with the same keys in it: they send each other what is sealed. Keep
    /// a copy apart from backups: without the key nothing that was sealed can be read again.
    #[command(after_help = "Example:\n  jobraft storage keygen --out at-rest.key")]
    Keygen {
        /// Where to write it; only you can read it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write anew what is not sealed as the configuration has it now, while the node is stopped
    ///
    /// To begin sealing what was there before, to do without a former key, or, without `key_file`, to end it. Keys that are
    /// to be read must be in the file; the first one seals. What was interrupted can be begun again.
    #[command(after_help = "\
Examples:
  jobraft storage reseal --config config/node-1.toml
  jobraft storage reseal --config config/node-1.toml --json")]
    Reseal {
        /// The node's configuration
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl StorageArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            StorageCommand::Keygen { out } => {
                let failed = |error| Failure::usage(format!("write {}", out.display()), error);
                let key = Seal::new_key().map_err(|error| Failure::from_error("make a key", &error))?;
                let file = PrivateFile::prepare(out.clone(), false).map_err(failed)?;
                file.fill(&format!("{key}\n")).map_err(failed)?;
                let made = Seal::load(&out).map_err(|error| Failure::from_error("read the key", &error))?;
                let output = Output::new();
                output.line(format!(
                    "{} {}, key {} (keep a copy, apart from backups)",
                    output.paint().good("wrote"),
                    out.display(),
                    made.key_id().unwrap_or_default()
                ))
            }
            StorageCommand::Reseal { config, json } => {
                let config =
                    NodeConfig::load(&config).map_err(|error| Failure::usage("load the configuration", error))?;
                if !config.data_dir.exists() {
                    let doing = format!("reseal {}", config.data_dir.display());
                    return Err(Failure::new(doing, "there is no such directory").exit(Exit::NotFound));
                }
                let progress = Progress::spinner("reseal");
                let done = jobraft_node::reseal(&config, |done| {
                    progress.say(format!("{} rows, {} written anew", done.rows, done.written));
                });
                drop(progress);
                let done = done.map_err(|error| Failure::from_error("reseal", &error))?;
                let output = Output::new();
                if json {
                    return output.json(&serde_json::json!({ "rows": done.rows, "written": done.written }));
                }
                output.line(format!("looked at {} rows, wrote {} of them anew", done.rows, done.written))
            }
        }
    }
}
