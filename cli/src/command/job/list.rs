//! `jobraft job list`: jobs that match, page by page.

use crate::command::filter::FilterArgs;
use crate::command::value;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, SummaryJson, Table, human};
use clap::Args;
use jobraft_protocol::limits::LIST_JOBS_MAX;
use jobraft_protocol::{Consistency, JobFilter, JobId, JobSummary, LogTime, Task};
use jobraft_sdk::{Client, Listing};
use std::io::{self, IsTerminal};
use std::time::Duration;

/// Characters of an error or of a progress message that fit into a row.
const NOTE_CHARS: usize = 60;

/// List jobs, the latest first
///
/// Jobs are in the order in which they were made, which never changes: pages neither repeat nor miss a job while jobs move.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job list
  jobraft job list --queue emails --state dead --error timeout
  jobraft job list --state scheduled,ready --older-than 1h --oldest-first --limit 10
  jobraft job list --state leased --watch
  jobraft job list --queue emails --limit 0 --json | jq -r .id")]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// From the oldest on
    #[arg(long)]
    oldest_first: bool,
    /// How many at most; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Go on behind this job: where the page before ended
    #[arg(long, value_name = "ID")]
    after: Option<JobId>,
    /// As any node knows it, without asking a majority: cheaper, and works without one
    #[arg(long)]
    stale: bool,
    /// Again every so many seconds, until Ctrl-C [default with --watch: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watch: Option<u64>,
    /// Print JSON, one job per line
    #[arg(long)]
    json: bool,
}

/// The jobs that are shown, and whether there are more.
struct Page {
    jobs: Vec<JobSummary>,
    more: bool,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        // Before connecting: what is wrong with the filter is wrong anywhere.
        self.filter.filter(value::far_future())?;
        let client = connection.client().await?;
        let output = Output::new();
        match self.watch {
            None => self.show(&client, &output).await,
            Some(seconds) => {
                tokio::select! {
                    ended = self.watch(&client, &output, Duration::from_secs(seconds)) => ended,
                    _ = tokio::signal::ctrl_c() => Ok(()),
                }
            }
        }
    }

    async fn watch(&self, client: &Client, output: &Output, every: Duration) -> Result<(), Failure> {
        loop {
            if io::stdout().is_terminal() {
                output.clear()?;
                output.line(output.paint().faint(format!(
                    "{} · every {} · Ctrl-C ends",
                    human::timestamp(client.log_time()),
                    human::duration(every)
                )))?;
            }
            self.show(client, output).await?;
            tokio::time::sleep(every).await;
        }
    }

    async fn show(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        let now = client.log_time();
        let page = self.page(client, self.filter.filter(now)?).await?;
        if self.json {
            page.jobs.iter().try_for_each(|job| output.json_line(&SummaryJson::from(job)))?;
        } else {
            output.table(table(&page.jobs, now), "no job matches")?;
        }
        match page.jobs.last() {
            Some(last) if page.more => {
                output.note(format!("there are more: go on with --after {}, or see all with --limit 0", last.id))
            }
            _ => Ok(()),
        }
    }

    /// Asks for one job more than is shown, to know whether there is one.
    async fn page(&self, client: &Client, filter: JobFilter) -> Result<Page, Failure> {
        let wanted = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut listing = Listing {
            after: self.after,
            oldest_first: self.oldest_first,
            limit: LIST_JOBS_MAX,
            consistency: if self.stale { Consistency::Stale } else { Consistency::Linearizable },
        };
        let mut jobs: Vec<JobSummary> = Vec::new();
        loop {
            let missing = wanted.saturating_add(1) - jobs.len();
            listing.limit = u32::try_from(missing).unwrap_or(LIST_JOBS_MAX).min(LIST_JOBS_MAX);
            let page = client.list_jobs(filter.clone(), listing).await.map_err(|error| failed("list jobs", &error))?;
            jobs.extend(page.jobs);
            if jobs.len() > wanted {
                jobs.truncate(wanted);
                return Ok(Page { jobs, more: true });
            }
            match page.next {
                Some(next) => listing.after = Some(next),
                None => return Ok(Page { jobs, more: false }),
            }
        }
    }
}

fn table(jobs: &[JobSummary], now: LogTime) -> Table {
    let mut table = Table::new(&["ID", "QUEUE", "TASK", "STATE", ">ATTEMPT", ">AGE", "ERROR OR PROGRESS"]);
    for job in jobs {
        let task = match &job.task {
            Task::Module(digest) => format!("sha256:{}", human::short_digest(*digest)),
            Task::Handler(name) => name.to_string(),
        };
        let age = human::duration(Duration::from_millis(now.ms_since(job.enqueued_at)));
        table.row([
            (job.id.to_string(), Mood::Plain),
            (job.queue.to_string(), Mood::Plain),
            (task, Mood::Plain),
            (job.state.to_string(), human::mood(job.state)),
            (format!("{}/{}", job.attempt, job.max_attempts), Mood::Plain),
            (age, Mood::Plain),
            (note(job), Mood::Plain),
        ]);
    }
    table
}

/// How far a running job is; of any other what went wrong last, or why its life ended.
fn note(job: &JobSummary) -> String {
    if let Some(progress) = job.progress.as_ref().filter(|_| job.finished_at.is_none()) {
        return human::one_line(&format!("{}% {}", progress.percent, progress.message), NOTE_CHARS);
    }
    match (&job.end_reason, &job.error) {
        (Some(reason), Some(error)) => human::one_line(&format!("{reason}: {error}"), NOTE_CHARS),
        (Some(reason), None) => reason.to_string(),
        (None, Some(error)) => human::one_line(error, NOTE_CHARS),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::{EndReason, JobState, Progress};

    fn job() -> JobSummary {
        let made = LogTime::from_ms(1_769_860_800_250);
        JobSummary {
            id: JobId::new(made, [7; 10]),
            queue: "q".parse().unwrap(),
            task: Task::Handler("t".parse().unwrap()),
            state: JobState::Ready,
            end_reason: None,
            priority: 5,
            attempt: 1,
            max_attempts: 25,
            enqueued_at: made,
            run_at: made,
            finished_at: None,
            worker: None,
            key: None,
            progress: None,
            error: None,
        }
    }

    #[test]
    fn error_cannot_break_the_table_or_steer_the_terminal() {
        let job = JobSummary { error: Some("one\ntwo \x1b[2J".to_owned()), ..job() };
        let text = table(std::slice::from_ref(&job), job.enqueued_at.plus_ms(90_000)).render(Paint::never()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(text.contains("1/25") && text.contains("1 min 30 s") && text.contains("one two"), "{text:?}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn a_running_job_shows_its_progress_and_an_ended_one_its_end() {
        let progress = Some(Progress { percent: 40, message: "page 4".to_owned() });
        let running = JobSummary { progress, error: Some("earlier".to_owned()), ..job() };
        assert_eq!(note(&running), "40% page 4");
        let ended = JobSummary {
            finished_at: Some(LogTime::from_ms(1)),
            end_reason: Some(EndReason::AttemptsExhausted),
            ..running
        };
        assert_eq!(note(&ended), "attempts_exhausted: earlier");
        assert_eq!(note(&job()), "");
    }
}
