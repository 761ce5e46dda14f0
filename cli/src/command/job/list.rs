//! `jobraft job list`: jobs that match, page by page.

use crate::command::filter::FilterArgs;
use crate::command::{settings, value};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Progress, SummaryJson, Table, human};
use clap::Args;
use jobraft_protocol::limits::LIST_JOBS_MAX;
use jobraft_protocol::{Consistency, JobId, JobPage, JobState, JobSummary, LogTime};
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
  jobraft job list --batch 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --state dead
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
        let filter = self.filter.filter(now)?;
        let fetch = async |listing| {
            client.list_jobs(filter.clone(), listing).await.map_err(|error| failed("list jobs", &error))
        };
        // A list that is watched is there already; to make it flicker would not help.
        let mut spinner = self.watch.is_none().then(|| Progress::spinner("finding jobs"));
        // The columns of a table are as wide as their widest cell: that needs all rows.
        let mut rows = Vec::new();
        let more = self.pages(fetch, |page| {
            if self.json {
                if !page.is_empty() {
                    spinner = None;
                }
                page.iter().try_for_each(|job| output.json_line(&SummaryJson::from(job)))?;
            } else {
                rows.extend(page);
            }
            if let Some(spinner) = &spinner {
                spinner.reach(rows.len() as u64);
            }
            Ok(())
        });
        let more = more.await?;
        drop(spinner);
        if !self.json {
            output.table(table(&rows, now), "no job matches")?;
        }
        match more {
            Some(last) => output.note(format!("there are more: go on with --after {last}, or see all with --limit 0")),
            None => Ok(()),
        }
    }

    /// Gives page after page to `show` as it comes, until as many jobs are shown as are wanted; the last one of them, if
    /// there are more.
    async fn pages(
        &self,
        fetch: impl AsyncFn(Listing) -> Result<JobPage, Failure>,
        mut show: impl FnMut(Vec<JobSummary>) -> Result<(), Failure>,
    ) -> Result<Option<JobId>, Failure> {
        let mut wanted = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut last = None;
        let mut listing = Listing {
            after: self.after,
            oldest_first: self.oldest_first,
            limit: LIST_JOBS_MAX,
            consistency: if self.stale { Consistency::Stale } else { Consistency::Linearizable },
        };
        loop {
            // One job more than is shown, to know whether there is one.
            listing.limit = u32::try_from(wanted.saturating_add(1)).unwrap_or(LIST_JOBS_MAX).min(LIST_JOBS_MAX);
            let mut page = fetch(listing).await?;
            let more = page.jobs.len() > wanted;
            page.jobs.truncate(wanted);
            wanted -= page.jobs.len();
            last = page.jobs.last().map(|job| job.id).or(last);
            show(page.jobs)?;
            match page.next {
                _ if more => return Ok(last),
                Some(next) => listing.after = Some(next),
                None => return Ok(None),
            }
        }
    }
}

fn table(jobs: &[JobSummary], now: LogTime) -> Table {
    let mut table = Table::new(&["ID", "QUEUE", "TASK", "STATE", ">ATTEMPT", ">AGE", "ERROR OR PROGRESS"]);
    for job in jobs {
        let age = human::duration(Duration::from_millis(now.ms_since(job.enqueued_at)));
        table.row([
            (job.id.to_string(), Mood::Plain),
            (job.queue.to_string(), Mood::Plain),
            (human::task(&job.task), Mood::Plain),
            (job.state.to_string(), human::mood(job.state)),
            (format!("{}/{}", job.attempt, job.max_attempts), Mood::Plain),
            (age, Mood::Plain),
            (note(job), Mood::Plain),
        ]);
    }
    table
}

/// How far a running job is, or how many a blocked one comes after; of any other what went wrong last, or why its life ended.
fn note(job: &JobSummary) -> String {
    if job.state == JobState::Blocked {
        return format!("after {}", settings::jobs(job.after_count.into()));
    }
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
pub(in crate::command) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::{EndReason, Progress, Task};
    use std::cell::{Cell, RefCell};

    /// A job that is ready after a first attempt.
    pub(in crate::command) fn job() -> JobSummary {
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
            group: None,
            batch: None,
            is_callback: false,
            label: None,
            after: Vec::new(),
            after_count: 0,
        }
    }

    fn args(limit: usize) -> ListArgs {
        ListArgs {
            filter: FilterArgs::default(),
            oldest_first: false,
            limit,
            after: None,
            stale: false,
            watch: None,
            json: true,
        }
    }

    /// Three pages of two jobs each; the second is empty. How many jobs had been shown when each was asked for, how many
    /// in the end, and whether there are more.
    async fn shown(limit: usize) -> (Vec<usize>, usize, bool) {
        let (asked, shown) = (RefCell::new(Vec::new()), Cell::new(0));
        let fetch = async |listing: Listing| {
            asked.borrow_mut().push(shown.get());
            let number = if asked.borrow().len() == 2 { 0 } else { 2.min(listing.limit as usize) };
            let next = (asked.borrow().len() < 3).then(|| job().id);
            Ok(JobPage { jobs: vec![job(); number], next })
        };
        let show = |page: Vec<JobSummary>| {
            shown.set(shown.get() + page.len());
            Ok(())
        };
        let more = args(limit).pages(fetch, show).await.unwrap();
        (asked.into_inner(), shown.get(), more.is_some())
    }

    #[tokio::test]
    async fn each_page_is_shown_before_the_next_is_asked_for() {
        assert_eq!(shown(0).await, (vec![0, 2, 2], 4, false));
        assert_eq!(shown(4).await, (vec![0, 2, 2], 4, false));
        assert_eq!(shown(3).await, (vec![0, 2, 2], 3, true));
        assert_eq!(shown(2).await, (vec![0, 2, 2], 2, true));
        assert_eq!(shown(1).await, (vec![0], 1, true));
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
        let blocked = JobSummary { state: JobState::Blocked, after_count: 3, ..job() };
        assert_eq!(note(&blocked), "after 3 jobs");
    }
}
