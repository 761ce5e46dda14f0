//! `jobraft batch list`: batches, the latest first.

use super::view::{BatchJson, mood};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_protocol::limits::BATCH_LIST_MAX;
use jobraft_protocol::{BatchId, BatchView, Consistency, LogTime};
use jobraft_sdk::Client;
use std::time::Duration;

/// List batches, the latest first: their states, and how many of their jobs are where
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft batch list
  jobraft batch list --limit 0 --json | jq -r 'select(.state == \"failed\") | .id'")]
pub(super) struct ListArgs {
    /// How many at most; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Go on behind this batch: where the page before ended
    #[arg(long, value_name = "ID")]
    after: Option<BatchId>,
    /// As any node knows it, without asking a majority: cheaper, and works without one
    #[arg(long)]
    stale: bool,
    /// Print JSON, one batch per line
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let wanted = if self.limit == 0 { usize::MAX } else { self.limit };
        // One more than is shown, to know whether there is one.
        let mut batches = self.read(&client, wanted.saturating_add(1)).await?;
        let more = batches.len() > wanted;
        batches.truncate(wanted);
        let output = Output::new();
        if self.json {
            batches.iter().try_for_each(|batch| output.json_line(&BatchJson::from(batch)))?;
        } else {
            output.table(table(&batches, client.log_time()), "no batches: `jobraft batch create` makes one")?;
        }
        match batches.last().filter(|_| more) {
            Some(last) => {
                output.note(format!("there are more: go on with --after {}, or see all with --limit 0", last.id))
            }
            None => Ok(()),
        }
    }

    async fn read(&self, client: &Client, wanted: usize) -> Result<Vec<BatchView>, Failure> {
        let consistency = if self.stale { Consistency::Stale } else { Consistency::Linearizable };
        let (mut batches, mut after): (Vec<BatchView>, _) = (Vec::new(), self.after);
        loop {
            let limit = u32::try_from(wanted - batches.len()).unwrap_or(BATCH_LIST_MAX).min(BATCH_LIST_MAX);
            let page = client.batches(after, limit, consistency).await;
            let page = page.map_err(|error| failed("list batches", &error))?;
            let is_last = page.len() < limit as usize;
            batches.extend(page);
            after = batches.last().map(|batch| batch.id);
            if is_last || batches.len() >= wanted {
                return Ok(batches);
            }
        }
    }
}

fn table(batches: &[BatchView], now: LogTime) -> Table {
    let mut table = Table::new(&[
        "ID",
        "LABEL",
        "STATE",
        ">JOBS",
        ">LIVE",
        ">COMPLETED",
        ">DEAD",
        ">CANCELLED",
        ">EXPIRED",
        ">AGE",
    ]);
    for batch in batches {
        table.row([
            (batch.id.to_string(), Mood::Plain),
            (batch.label.as_ref().map(ToString::to_string).unwrap_or_default(), Mood::Plain),
            (batch.state.to_string(), mood(batch.state)),
            human::tally(batch.jobs(), Mood::Plain),
            human::tally(batch.live, Mood::Busy),
            human::tally(batch.completed, Mood::Good),
            human::tally(batch.dead, Mood::Bad),
            human::tally(batch.cancelled, Mood::Plain),
            human::tally(batch.expired, Mood::Bad),
            (human::duration(Duration::from_millis(now.ms_since(batch.created_at))), Mood::Plain),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::view::tests::batch;
    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::BatchState;

    #[test]
    fn a_batch_is_a_line() {
        let failed = BatchView { completed: 3, dead: 1, ..batch(BatchState::Failed) };
        let text =
            table(std::slice::from_ref(&failed), failed.created_at.plus_ms(90_000)).render(Paint::never()).unwrap();
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().skip(1).collect();
        assert_eq!(cells, ["corpus", "failed", "4", "0", "3", "1", "0", "0", "1", "min", "30", "s"]);
    }
}
