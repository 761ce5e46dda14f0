//! `jobraft fleet list`: who works.

use super::{is_lost, workers};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_protocol::{LogTime, QueueName, WorkerOrder, WorkerView};
use serde::Serialize;

/// Characters of a worker's own words that fit into a row.
const WORDS_CHARS: usize = 40;

/// List the workers: what they serve, what they hold, when they were last heard of, and what they were told
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft fleet list
  jobraft fleet list --json | jq -r '.[].id'")]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct WorkerJson {
    id: String,
    name: String,
    agent: String,
    owner: String,
    queues: Vec<String>,
    concurrency: u32,
    held: u64,
    /// Some of those that it holds.
    jobs: Vec<String>,
    registered_at: String,
    last_seen: String,
    lost: bool,
    order: WorkerOrder,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let workers = workers(&client).await?;
        let (output, now) = (Output::new(), client.log_time());
        if self.json {
            return output.json(&workers.iter().map(|worker| json(worker, now)).collect::<Vec<_>>());
        }
        output.table(table(&workers, now), "no workers: start one with `jobraft worker --queue default`")
    }
}

fn json(worker: &WorkerView, now: LogTime) -> WorkerJson {
    WorkerJson {
        id: worker.id.to_string(),
        name: worker.info.name.clone(),
        agent: worker.info.agent.clone(),
        owner: worker.info.owner.clone(),
        queues: worker.info.queues.iter().map(ToString::to_string).collect(),
        concurrency: worker.info.concurrency,
        held: worker.held,
        jobs: worker.jobs.iter().map(ToString::to_string).collect(),
        registered_at: human::timestamp(worker.registered_at),
        last_seen: human::timestamp(worker.last_seen),
        lost: is_lost(worker, now),
        order: worker.order,
    }
}

fn table(workers: &[WorkerView], now: LogTime) -> Table {
    let mut table = Table::new(&["ID", "NAME", "OWNER", "AGENT", "QUEUES", ">JOBS", "SEEN", "ORDER"]);
    for worker in workers {
        let queues: Vec<&str> = worker.info.queues.iter().map(QueueName::as_str).collect();
        let seen = human::relative(worker.last_seen.min(now), now);
        table.row([
            (worker.id.to_string(), Mood::Plain),
            (human::one_line(&worker.info.name, WORDS_CHARS), Mood::Plain),
            (human::one_line(&worker.info.owner, WORDS_CHARS), Mood::Plain),
            (human::one_line(&worker.info.agent, WORDS_CHARS), Mood::Plain),
            (human::one_line(&queues.join(","), WORDS_CHARS), Mood::Plain),
            (format!("{}/{}", worker.held, worker.info.concurrency), Mood::Plain),
            if is_lost(worker, now) { (format!("lost, {seen}"), Mood::Bad) } else { (seen, Mood::Plain) },
            (worker.order.to_string(), if worker.order == WorkerOrder::Run { Mood::Plain } else { Mood::Busy }),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::testing::worker;
    use super::*;
    use crate::output::Paint;

    #[test]
    fn who_was_not_heard_of_for_a_minute_is_lost() {
        let now = LogTime::from_ms(1_000_000);
        let workers = [worker(1, "here", LogTime::from_ms(940_000)), worker(2, "gone", LogTime::from_ms(939_999))];
        let text = table(&workers, now).render(Paint::never()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("w1") && lines[1].contains("2/4") && !lines[1].contains("lost"), "{text}");
        assert!(lines[2].contains("gone") && lines[2].contains("lost, 1 min ago"), "{text}");
        assert!(json(&workers[1], now).lost && !json(&workers[0], now).lost);
    }

    #[test]
    fn a_worker_cannot_steer_the_terminal_by_its_name() {
        let text = table(&[worker(1, "\x1b[2J", LogTime::ZERO)], LogTime::ZERO).render(Paint::never()).unwrap();
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
