//! The client's methods for what the cluster is set to, for the groups of its queues, for its workers, and for its state.

use crate::client::{Client, Trail};
use crate::error::SdkError;
use crate::requests::answered;
use jobraft_protocol::limits::{GROUP_LIST_MAX, STATE_LIST_MAX, WORKER_LIST_MAX};
use jobraft_protocol::{
    ClusterSettings, Consistency, ErrorCode, GroupView, QueueName, Request, Response, Setting, StateKey, StateValue,
    WorkerId, WorkerOrder, WorkerView,
};

impl Client {
    /// Changes settings, all of them or none.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] if one is out of its domain; [`ErrorCode::NotFound`] if one is of a schedule that is
    /// not there. [`SdkError::OutcomeUnknown`] if an answer was lost and a schedule was not there when it was asked again:
    /// the first time may have removed it.
    pub async fn configure(&self, settings: Vec<Setting>) -> Result<(), SdkError> {
        let removes = settings.iter().any(|setting| matches!(setting, Setting::RemoveSchedule(_)));
        let mut trail = Trail::default();
        match self.call(Request::Configure { settings }, self.config().request_timeout, &mut trail).await {
            Err(SdkError::Refused(error)) if removes && trail.maybe_done && error.code == ErrorCode::NotFound => {
                Err(SdkError::OutcomeUnknown { request: "configure", reason: error.message })
            }
            other => answered!(other?, Done),
        }
    }

    /// What the cluster as a whole is set to; queues carry theirs: see [`queues`](Self::queues).
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn settings(&self, consistency: Consistency) -> Result<ClusterSettings, SdkError> {
        answered!(self.ask(Request::GetSettings { consistency }).await?, Settings(settings))
    }

    /// All groups of a queue that have jobs or are set to something of their own, by key. They are read in pages: what
    /// changes meanwhile may or may not be seen.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is no such queue.
    pub async fn groups(&self, queue: &QueueName, consistency: Consistency) -> Result<Vec<GroupView>, SdkError> {
        let mut groups: Vec<GroupView> = Vec::new();
        loop {
            let after = groups.last().map(|view| view.group.clone());
            let request = Request::ListGroups { queue: queue.clone(), after, limit: GROUP_LIST_MAX, consistency };
            let page = answered!(self.ask(request).await?, Groups(page))?;
            if page.is_empty() {
                return Ok(groups);
            }
            groups.extend(page);
        }
    }

    /// All workers, by id. They are read in pages: what changes meanwhile may or may not be seen.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn workers(&self, consistency: Consistency) -> Result<Vec<WorkerView>, SdkError> {
        let mut workers: Vec<WorkerView> = Vec::new();
        loop {
            let after = workers.last().map(|worker| worker.id);
            let request = Request::ListWorkers { after, limit: WORKER_LIST_MAX, consistency };
            let page = answered!(self.ask(request).await?, Workers(page))?;
            if page.is_empty() {
                return Ok(workers);
            }
            workers.extend(page);
        }
    }

    /// A worker; `None` if there is none of that id.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn worker(&self, id: WorkerId, consistency: Consistency) -> Result<Option<WorkerView>, SdkError> {
        // It would be the first of those that follow the id before.
        let request = Request::ListWorkers { after: id.0.checked_sub(1).map(WorkerId), limit: 1, consistency };
        let page = answered!(self.ask(request).await?, Workers(page))?;
        Ok(page.into_iter().find(|worker| worker.id == id))
    }

    /// Tells a worker what to do. It hears of it at once if it is connected, else with its next heartbeat.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is none of that id.
    pub async fn order_worker(&self, worker: WorkerId, order: WorkerOrder) -> Result<(), SdkError> {
        answered!(self.ask(Request::OrderWorker { worker, order }).await?, Done)
    }

    /// Reads a value of the cluster's state; `None` if there is none.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn state_value(&self, key: &StateKey, consistency: Consistency) -> Result<Option<StateValue>, SdkError> {
        answered!(self.ask(Request::GetState { key: key.clone(), consistency }).await?, State(value))
    }

    /// All values of the cluster's state whose keys begin with `prefix`, by key. They are read in pages: what changes
    /// meanwhile may or may not be seen.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn state_values(&self, prefix: &str, consistency: Consistency) -> Result<Vec<StateValue>, SdkError> {
        let mut values: Vec<StateValue> = Vec::new();
        loop {
            let after = values.last().map(|value| value.key.clone());
            let request = Request::ListState { prefix: prefix.to_owned(), after, limit: STATE_LIST_MAX, consistency };
            let page = answered!(self.ask(request).await?, StateList(page))?;
            if page.is_empty() {
                return Ok(values);
            }
            values.extend(page);
        }
    }
}
