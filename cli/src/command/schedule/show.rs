//! `jobraft schedule show`: everything about one schedule.

use super::calendar::{TickJson, Zone};
use super::{existing, plan};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::{Output, TemplateJson, human};
use clap::Args;
use jobraft_protocol::{LogTime, ScheduleName, ScheduleView};
use serde::Serialize;

/// Next ticks that are shown.
const NEXT_SHOWN: u32 = 5;
/// Characters of an error that are shown.
const ERROR_CHARS: usize = 500;

/// Show a schedule, what became of its ticks, and the next of them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft schedule show nightly
  jobraft schedule show nightly --json | jq -r .next[0].at")]
pub(super) struct ShowArgs {
    /// The schedule
    name: ScheduleName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A schedule, for `--json`.
#[derive(Serialize)]
pub(super) struct ScheduleJson {
    name: String,
    cron: String,
    time_zone: String,
    job: TemplateJson,
    catch_up: &'static str,
    overlap: &'static str,
    paused: bool,
    created_at: String,
    ticked_to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_job: Option<String>,
    fired: u64,
    missed: u64,
    skipped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    next: Vec<TickJson>,
    /// Whether the payload was left out because the asker does not get to see it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    withheld: bool,
}

impl From<&ScheduleView> for ScheduleJson {
    fn from(view: &ScheduleView) -> Self {
        let (schedule, zone) = (&view.schedule, Zone::find(&view.schedule.time_zone));
        Self {
            name: schedule.name.to_string(),
            cron: schedule.cron.clone(),
            time_zone: schedule.time_zone.clone(),
            job: TemplateJson::from(&schedule.job),
            catch_up: schedule.catch_up.as_str(),
            overlap: schedule.overlap.as_str(),
            paused: view.paused,
            created_at: human::timestamp(view.created_at),
            ticked_to: human::timestamp(view.ticked_to),
            last_job: view.last_job.map(|job| job.to_string()),
            fired: view.fired,
            missed: view.missed,
            skipped: view.skipped,
            last_error: view.last_error.clone(),
            next: view.next.iter().map(|tick| zone.json(*tick)).collect(),
            withheld: view.withheld,
        }
    }
}

impl ShowArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let view = existing(&client, &self.name, NEXT_SHOWN).await?;
        let output = Output::new();
        if self.json {
            return output.json(&ScheduleJson::from(&view));
        }
        output.field("schedule", output.paint().strong(&view.schedule.name))?;
        lines(&view, client.log_time()).into_iter().try_for_each(|(name, value)| output.field(name, value))
    }
}

/// What there is to say of it, below its name.
fn lines(view: &ScheduleView, now: LogTime) -> Vec<(&'static str, String)> {
    let schedule = &view.schedule;
    let zone = Zone::find(&schedule.time_zone);
    let mut lines = plan::said(schedule);
    if view.withheld {
        lines.push(("withheld", "payload: not for this certificate".to_owned()));
    }
    lines.push(("catch_up", schedule.catch_up.to_string()));
    lines.push(("overlap", schedule.overlap.to_string()));
    lines.push(("created", zone.shown(view.created_at.min(now), now)));
    lines.push(("ticks", format!("{} fired, {} missed, {} skipped", view.fired, view.missed, view.skipped)));
    lines.extend(view.last_job.map(|job| ("last job", job.to_string())));
    lines.extend(view.last_error.as_deref().map(|error| ("error", human::one_line(error, ERROR_CHARS))));
    if view.paused {
        lines.push(("next", "none: it is paused".to_owned()));
    } else if view.next.is_empty() {
        lines.push(("next", "none: it never ticks again".to_owned()));
    }
    lines.extend(view.next.iter().map(|tick| ("next", zone.shown(*tick, now))));
    lines
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::plan::tests::{schedule, view};
    use super::*;

    #[test]
    fn only_what_was_said_is_shown_and_when_it_ticks() {
        let now = LogTime::from_ms(1_774_744_200_000);
        let mut shown = view(schedule("nightly", "0 3 * * *"));
        shown.next = vec![now.plus_ms(60_000)];
        shown.last_error = Some("queue_full".to_owned());
        let text: Vec<String> = lines(&shown, now).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        for line in [
            "cron=0 3 * * *",
            "time_zone=UTC",
            "task=t",
            "overlap=allow",
            "ticks=0 fired, 0 missed, 0 skipped",
            "error=queue_full",
            "next=2026-03-29 00:31:00 +00:00 (in 1 min)",
        ] {
            assert!(text.iter().any(|shown| shown == line), "{line:?} is not in {text:?}");
        }
        assert!(!text.iter().any(|line| line.starts_with("priority")), "{text:?}");
        let paused = ScheduleView { paused: true, next: Vec::new(), ..shown };
        assert!(lines(&paused, now).contains(&("next", "none: it is paused".to_owned())));
    }

    #[test]
    fn json_has_ticks_in_both_times() {
        let mut shown = view(schedule("nightly", "0 3 * * *"));
        shown.next = vec![LogTime::ZERO];
        let json = serde_json::to_value(ScheduleJson::from(&shown)).unwrap();
        assert_eq!(json["next"][0]["at"], "1970-01-01T00:00:00.000Z");
        assert_eq!((&json["job"]["task"], &json["job"]["payload"]), (&"t".into(), &"".into()));
        assert_eq!(json["paused"], false);
    }
}
