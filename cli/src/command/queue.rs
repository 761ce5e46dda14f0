//! `jobraft queue`: queues and how many jobs are where.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table};
use clap::{Args, Subcommand};
use jobraft_protocol::{Consistency, QueueStats};

/// See queues
#[derive(Args, Debug)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: QueueCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List queues with their counts of jobs by state
    #[command(after_help = "Examples:\n  jobraft queue list\n  jobraft queue list --json | jq '.[].ready'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl QueueArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let QueueCommand::List { json } = self.command;
        let client = self.connection.client().await?;
        let queues = client.queues(Consistency::Linearizable).await.map_err(|error| failed("list queues", &error))?;
        let output = Output::new();
        if json {
            output.json(&queues)
        } else {
            output.table(table(&queues), "no queues yet: one begins with its first job")
        }
    }
}

fn table(queues: &[QueueStats]) -> Table {
    let mut table = Table::new(&[
        "QUEUE",
        ">READY",
        ">LEASED",
        ">SCHEDULED",
        ">BLOCKED",
        ">COMPLETED",
        ">DEAD",
        ">CANCELLED",
        ">EXPIRED",
    ]);
    for queue in queues {
        let number = |count: u64, mood| (count.to_string(), if count == 0 { Mood::Plain } else { mood });
        table.row([
            (queue.queue.to_string(), Mood::Plain),
            number(queue.ready, Mood::Plain),
            number(queue.leased, Mood::Busy),
            number(queue.scheduled, Mood::Plain),
            number(queue.blocked, Mood::Plain),
            number(queue.completed, Mood::Good),
            number(queue.dead, Mood::Bad),
            number(queue.cancelled, Mood::Plain),
            number(queue.expired, Mood::Bad),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;

    fn queue(name: &str, ready: u64) -> QueueStats {
        let queue = name.parse().unwrap();
        QueueStats {
            queue,
            scheduled: 0,
            blocked: 0,
            ready,
            leased: 2,
            completed: 30,
            dead: 1,
            cancelled: 0,
            expired: 0,
        }
    }

    #[test]
    fn numbers_are_aligned_and_lines_have_no_trailing_space() {
        let text = table(&[queue("emails", 7), queue("q", 12_345)]).render(Paint::never()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("QUEUE") && lines[0].ends_with("EXPIRED"), "{text}");
        assert!(lines.iter().all(|line| line.trim_end() == *line), "{text:?}");
        let column = lines[0].find("READY").unwrap() + "READY".len();
        assert!(lines[1][..column].ends_with(" 7") && lines[2][..column].ends_with("12345"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn no_queues_is_no_table() {
        assert!(table(&[]).render(Paint::never()).is_none());
    }
}
