//! `jobraft queue drain`: no new jobs, until those that are there are done.

use super::{existing, mode};
use crate::command::{settings, value};
use crate::connection::ConnectionArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Progress};
use clap::Args;
use jobraft_protocol::{QueueMode, QueueName, QueueStats};
use jobraft_sdk::Client;
use std::time::{Duration, Instant};

/// How often what is left is counted.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Stands for `--wait` without a time.
const FOR_EVER: Duration = Duration::MAX;

/// Refuse new jobs for a queue while workers empty it; `resume` opens it again
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue drain reports
  jobraft queue drain reports --wait
  jobraft queue drain reports --wait 10m

Ctrl-C ends the waiting, not the draining.")]
pub(super) struct DrainArgs {
    /// The queue
    name: QueueName,
    /// Wait until it is empty, for so long at most [default with --wait: for ever]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "forever", value_parser = patience)]
    wait: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn patience(text: &str) -> Result<Duration, String> {
    if text == "forever" { Ok(FOR_EVER) } else { value::duration(text) }
}

impl DrainArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let changed = mode::set_mode(&client, &self.name, QueueMode::Draining).await?;
        let Some(patience) = self.wait else {
            return mode::tell(&self.name, QueueMode::Draining, changed, self.json);
        };
        let doing = || format!("wait until queue {} is empty", self.name);
        let goes_on = "it goes on draining; `jobraft queue list` tells what is left, `jobraft queue resume` opens it";
        tokio::select! {
            emptied = self.emptied(&client, patience) => match emptied? {
                0 => {}
                left => {
                    let cause = format!("{} left after the time allowed", settings::jobs(left));
                    return Err(Failure::new(doing(), cause).exit(Exit::Unavailable).hint(goes_on));
                }
            },
            _ = tokio::signal::ctrl_c() => return Err(Failure::new(doing(), "interrupted").hint(goes_on)),
        }
        mode::tell(&self.name, QueueMode::Draining, changed, self.json)?;
        if self.json { Ok(()) } else { Output::new().line(format!("queue {} is empty", self.name)) }
    }

    /// Waits until nothing is left, or `patience` is at its end; how much is left then.
    async fn emptied(&self, client: &Client, patience: Duration) -> Result<u64, Failure> {
        let deadline = Instant::now().checked_add(patience);
        let at_first = left(&existing(client, &self.name).await?);
        let progress = Progress::counting("drain", at_first);
        loop {
            let left = left(&existing(client, &self.name).await?);
            progress.reach(at_first.saturating_sub(left));
            if left == 0 || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(left);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Jobs whose life goes on.
fn left(queue: &QueueStats) -> u64 {
    queue.scheduled + queue.blocked + queue.ready + queue.leased
}
