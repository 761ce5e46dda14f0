//! `jobraft demo`: the whole of Jobraft in half a minute, on this machine alone, with nothing left behind.

mod documents;
mod processes;
mod story;

use crate::failure::{Exit, Failure};
use crate::shutdown::Shutdown;
use clap::Args;
pub(super) use processes::Processes;
use std::path::PathBuf;

/// Watch a cluster run sandboxed jobs and survive the loss of its leader
///
/// Starts three nodes and a worker on 127.0.0.1, runs a WebAssembly module over files, kills the leader in the middle
/// and shows that every job completed exactly once. Needs no privileges and no network; leaves nothing behind.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft demo
  jobraft demo README.md docs/guide.md --jobs 1000")]
pub(super) struct DemoArgs {
    /// Files to count the words of [default: the *.md files of this directory]
    files: Vec<PathBuf>,
    /// Jobs of the round in which the leader is killed
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    jobs: u32,
}

impl DemoArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let documents = documents::collect(&self.files)?;
        let mut shutdown = Shutdown::listen()?;
        let mut processes = Processes::prepare(processes::NODES.len(), None)?;
        let told = tokio::select! {
            told = story::tell(&mut processes, &documents, self.jobs as usize) => told,
            reason = shutdown.requested() => {
                Err(Failure::new("finish the demo", format!("stopped by {reason}")).exit(Exit::Failed))
            }
        };
        let cleared = processes.clear().await;
        told.and(cleared)
    }
}
