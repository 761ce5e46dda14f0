//! `jobraft schedule list`: all schedules, and when each ticks next.

use super::calendar::Zone;
use super::show::ScheduleJson;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_protocol::{Consistency, LogTime, ScheduleView};

/// Characters of an expression, or of an error, that fit into a row.
const TEXT_CHARS: usize = 40;

/// List schedules: when each ticks next, and what became of its ticks
///
/// FIRED counts the ticks that enqueued a job, MISSED those that were late and passed over, SKIPPED those that were passed over
/// because the job before still lived or another one held the job's key.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft schedule list
  jobraft schedule list --json | jq -r '.[] | select(.paused) | .name'")]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let read = client.schedules(Consistency::Linearizable).await;
        let schedules = read.map_err(|error| failed("list schedules", &error))?;
        let output = Output::new();
        if self.json {
            return output.json(&schedules.iter().map(ScheduleJson::from).collect::<Vec<_>>());
        }
        output.table(table(&schedules, client.log_time()), "no schedules: `jobraft schedule put` makes one")
    }
}

fn table(schedules: &[ScheduleView], now: LogTime) -> Table {
    let failing = schedules.iter().any(|view| view.last_error.is_some());
    let mut columns = vec!["NAME", "CRON", "ZONE", "QUEUE", "TASK", ">FIRED", ">MISSED", ">SKIPPED", "NEXT"];
    if failing {
        columns.push("ERROR");
    }
    let mut table = Table::new(&columns);
    for view in schedules {
        let schedule = &view.schedule;
        let zone = Zone::find(&schedule.time_zone);
        let next = match view.next.first() {
            _ if view.paused => ("paused".to_owned(), Mood::Busy),
            Some(tick) => (zone.shown(*tick, now), Mood::Plain),
            None => ("never".to_owned(), Mood::Busy),
        };
        let mut cells = vec![
            (schedule.name.to_string(), Mood::Plain),
            (human::one_line(&schedule.cron, TEXT_CHARS), Mood::Plain),
            (human::one_line(&schedule.time_zone, TEXT_CHARS), Mood::Plain),
            (schedule.job.queue.to_string(), Mood::Plain),
            (human::task(&schedule.job.task), Mood::Plain),
            human::tally(view.fired, Mood::Good),
            human::tally(view.missed, Mood::Bad),
            human::tally(view.skipped, Mood::Busy),
            next,
        ];
        if failing {
            let error = view.last_error.as_deref().unwrap_or_default();
            cells.push((human::one_line(error, TEXT_CHARS), Mood::Bad));
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::plan::tests::{schedule, view};
    use super::*;
    use crate::output::Paint;

    #[test]
    fn the_next_tick_is_told_in_the_schedules_zone() {
        let now = LogTime::from_ms(1_774_744_200_000);
        let mut berlin = schedule("nightly", "30 1 * * *");
        berlin.time_zone = "Europe/Berlin".to_owned();
        let mut nightly = view(berlin);
        nightly.next = vec![now.plus_ms(90_000)];
        let mut paused = view(schedule("old", "@hourly"));
        (paused.paused, paused.missed) = (true, 3);
        let text = table(&[nightly.clone(), paused], now).render(Paint::never()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("NEXT"), "{text}");
        assert!(lines[1].ends_with("2026-03-29 01:31:30 +01:00 (in 1 min 30 s)"), "{text}");
        assert!(lines[2].contains(" 3 ") && lines[2].ends_with("paused"), "{text}");
        nightly.last_error = Some("queue_full:\x1b[2J no\nroom".to_owned());
        let text = table(&[nightly], now).render(Paint::never()).unwrap();
        assert!(text.contains("ERROR") && text.contains("no room") && !text.contains('\u{1b}'), "{text:?}");
    }
}
