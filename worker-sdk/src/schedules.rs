//! The client's methods for schedules: jobs that the cluster enqueues by the calendar.

use crate::client::Client;
use crate::error::SdkError;
use crate::producer::stands_for;
use crate::requests::answered;
use jobraft_protocol::limits::SCHEDULE_LIST_MAX;
use jobraft_protocol::{Consistency, JobId, Request, Response, Schedule, ScheduleName, ScheduleView, Setting};

impl Client {
    /// Puts a schedule, in the place of another of its name if there is one.
    ///
    /// # Errors
    /// [`InvalidArgument`](jobraft_protocol::ErrorCode::InvalidArgument) if its expression, its time zone or its job is none: the message says what is wrong
    /// and what is near it.
    pub async fn put_schedule(&self, schedule: Schedule) -> Result<(), SdkError> {
        self.configure(vec![Setting::PutSchedule(Box::new(schedule))]).await
    }

    /// Passes over a schedule's ticks from now on.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound). Pausing again is no error.
    pub async fn pause_schedule(&self, name: &ScheduleName) -> Result<(), SdkError> {
        self.configure(vec![Setting::PauseSchedule(name.clone(), true)]).await
    }

    /// Lets a paused schedule tick again. What it passed over is not made up for.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound). Resuming again is no error.
    pub async fn resume_schedule(&self, name: &ScheduleName) -> Result<(), SdkError> {
        self.configure(vec![Setting::PauseSchedule(name.clone(), false)]).await
    }

    /// Removes a schedule. What it enqueued lives on.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound).
    pub async fn remove_schedule(&self, name: &ScheduleName) -> Result<(), SdkError> {
        match self.configure(vec![Setting::RemoveSchedule(name.clone())]).await {
            // Whether by the attempt whose answer was lost or not: it is not there.
            Err(SdkError::OutcomeUnknown { .. }) => Ok(()),
            other => other,
        }
    }

    /// Enqueues a schedule's job now, whether or not it is paused. Gives the id of the job that stands for it: its own, or
    /// that of the job that holds its unique key.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound); what an enqueue of its job would be refused for.
    pub async fn run_schedule(&self, name: &ScheduleName) -> Result<JobId, SdkError> {
        let job = self.job_id();
        let request = Request::RunSchedule { name: name.clone(), job };
        match answered!(self.ask(request).await?, Enqueued(outcomes))?.pop() {
            Some(outcome) => stands_for(job, outcome).map_err(SdkError::Refused),
            None => Err(SdkError::Protocol("it answered no outcome".to_owned())),
        }
    }

    /// Reads a schedule, with its `next` ticks; at most
    /// [`NEXT_TICKS_MAX`](jobraft_protocol::limits::NEXT_TICKS_MAX) of them.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound).
    pub async fn schedule(
        &self,
        name: &ScheduleName,
        next: u32,
        consistency: Consistency,
    ) -> Result<ScheduleView, SdkError> {
        let request = Request::GetSchedule { name: name.clone(), next, consistency };
        Ok(*answered!(self.ask(request).await?, Schedule(view))?)
    }

    /// All schedules, by name, each with its next tick. They are read in pages: what changes meanwhile may or may not be
    /// seen.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn schedules(&self, consistency: Consistency) -> Result<Vec<ScheduleView>, SdkError> {
        let mut schedules: Vec<ScheduleView> = Vec::new();
        loop {
            let after = schedules.last().map(|view| view.schedule.name.clone());
            let request = Request::ListSchedules { after, limit: SCHEDULE_LIST_MAX, consistency };
            let page = answered!(self.ask(request).await?, Schedules(page))?;
            if page.is_empty() {
                return Ok(schedules);
            }
            schedules.extend(page);
        }
    }
}
