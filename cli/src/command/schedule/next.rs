//! `jobraft schedule next`: when a schedule ticks, or when an expression would.

use super::calendar::{self, Zone};
use super::existing;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::{ArgGroup, Args};
use jobraft_protocol::limits::NEXT_TICKS_MAX;
use jobraft_protocol::{LogTime, ScheduleName};

/// Show the next ticks of a schedule, or of an expression without asking any cluster
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("of").required(true).args(["name", "cron"]), after_help = "\
Examples:
  jobraft schedule next nightly
  jobraft schedule next nightly -n 100 --json
  jobraft schedule next --cron '0 9 * * MON-FRI' --tz America/New_York -n 5")]
pub(super) struct NextArgs {
    /// The schedule
    name: Option<ScheduleName>,
    /// An expression
    #[arg(long, value_name = "EXPR")]
    cron: Option<String>,
    /// The expression's time zone
    #[arg(long, value_name = "ZONE", default_value = "UTC", conflicts_with = "name")]
    tz: String,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(NEXT_TICKS_MAX)))]
    count: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl NextArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let output = Output::new();
        let (ticks, zone, now, none) = match (&self.name, &self.cron) {
            (Some(name), _) => {
                let client = connection.client().await?;
                let view = existing(&client, name, self.count).await?;
                let none = if view.paused {
                    "none: it is paused; `jobraft schedule resume` lets it tick"
                } else {
                    "none: it never ticks again"
                };
                (view.next, Zone::find(&view.schedule.time_zone), client.log_time(), none)
            }
            (None, expression) => {
                let cron = calendar::cron(expression.as_deref().unwrap_or_default(), &self.tz)?;
                let now = human::now();
                (
                    calendar::ticks(&cron, now, self.count as usize),
                    Zone::find(&self.tz),
                    now,
                    "none: it never ticks again",
                )
            }
        };
        if self.json {
            return output.json(&ticks.iter().map(|tick| zone.json(*tick)).collect::<Vec<_>>());
        }
        output.table(table(&ticks, &zone, now), none)
    }
}

fn table(ticks: &[LogTime], zone: &Zone, now: LogTime) -> Table {
    let mut table = Table::new(&["TICK", "FROM NOW"]);
    for tick in ticks {
        table.row([zone.local(*tick), human::relative(*tick, now)].map(|cell| (cell, Mood::Plain)));
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;

    #[test]
    fn each_tick_is_a_line() {
        let ticks = [LogTime::from_ms(60_000), LogTime::from_ms(120_000)];
        let text = table(&ticks, &Zone::find("UTC"), LogTime::ZERO).render(Paint::never()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[2].starts_with("1970-01-01 00:02:00 +00:00") && lines[2].ends_with("in 2 min"), "{text}");
    }
}
