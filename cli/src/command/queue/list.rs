//! `jobraft queue list`: queues and how many jobs are where.

use crate::command::settings;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_protocol::{Consistency, QueueMode, QueueStats};

/// List queues: their modes, their counts of jobs by state, and the limits that were set
///
/// Jobs that are not over are counted as they stand. COMPLETED, DEAD, CANCELLED and EXPIRED count how often jobs of the queue
/// ended so since it exists, whether or not they are still kept, deleted or retried; `jobraft job list` shows those that are
/// there. WAITING is the bytes that waiting jobs hold. What is kept for how long is in the --json output.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue list
  jobraft queue list --json | jq '.[].ready'")]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let queues = client.queues(Consistency::Linearizable).await.map_err(|error| failed("list queues", &error))?;
        let output = Output::new();
        if self.json {
            output.json(&queues)
        } else {
            output.table(table(&queues), "no queues yet: one begins with its first job")
        }
    }
}

fn table(queues: &[QueueStats]) -> Table {
    // Most queues are never set to anything.
    let limited = queues.iter().any(|queue| limits(queue).is_some());
    let mut columns = vec![
        "QUEUE",
        "MODE",
        ">READY",
        ">LEASED",
        ">SCHEDULED",
        ">BLOCKED",
        ">COMPLETED",
        ">DEAD",
        ">CANCELLED",
        ">EXPIRED",
        ">WAITING",
    ];
    if limited {
        columns.push("LIMITS");
    }
    let mut table = Table::new(&columns);
    for queue in queues {
        let mode = queue.settings.mode;
        let mut cells = vec![
            (queue.queue.to_string(), Mood::Plain),
            (mode.to_string(), if mode == QueueMode::Open { Mood::Plain } else { Mood::Busy }),
            human::tally(queue.ready, Mood::Plain),
            human::tally(queue.leased, Mood::Busy),
            human::tally(queue.scheduled, Mood::Plain),
            human::tally(queue.blocked, Mood::Plain),
            human::tally(queue.completed, Mood::Good),
            human::tally(queue.dead, Mood::Bad),
            human::tally(queue.cancelled, Mood::Plain),
            human::tally(queue.expired, Mood::Bad),
            (human::bytes(queue.waiting_bytes), Mood::Plain),
        ];
        if limited {
            cells.push((limits(queue).unwrap_or_default(), Mood::Plain));
        }
        table.row(cells);
    }
    table
}

/// How much may wait, and how much may run, where that was set. Those of its groups are for `queue limit show`.
fn limits(queue: &QueueStats) -> Option<String> {
    let set = &queue.settings;
    let at_once = |jobs| format!("{jobs} at once");
    let parts = [
        set.depth_max.map(settings::jobs),
        set.bytes_max.map(human::bytes),
        set.concurrency.map(at_once),
        set.rate.as_ref().map(human::rate),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::{QueueSettings, Rate};

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
            waiting_bytes: 2_048,
            settings: QueueSettings::default(),
        }
    }

    #[test]
    fn numbers_are_aligned_and_lines_have_no_trailing_space() {
        let text = table(&[queue("emails", 7), queue("q", 12_345)]).render(Paint::never()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("QUEUE") && lines[0].ends_with("WAITING"), "{text}");
        assert!(lines.iter().all(|line| line.trim_end() == *line), "{text:?}");
        let column = lines[0].find("READY").unwrap() + "READY".len();
        assert!(lines[1][..column].ends_with(" 7") && lines[2][..column].ends_with("12345"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn limits_and_modes_are_shown_where_they_are_set() {
        let mut set = queue("set", 1);
        set.settings.depth_max = Some(100);
        set.settings.concurrency = Some(5);
        set.settings.rate = Some(Rate::new(10, 1_000));
        set.settings.mode = QueueMode::Paused;
        let text = table(&[queue("plain", 1), set]).render(Paint::never()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("LIMITS") && lines[1].ends_with("2.0 KiB"), "{text}");
        assert!(lines[2].contains("paused") && lines[2].ends_with("100 jobs, 5 at once, 10/1s"), "{text}");
    }

    #[test]
    fn no_queues_is_no_table() {
        assert!(table(&[]).render(Paint::never()).is_none());
    }
}
