//! The client's methods for what the cluster is set to, for its workers, and for its state.

use crate::client::Client;
use crate::error::SdkError;
use crate::requests::answered;
use jobraft_protocol::limits::{STATE_LIST_MAX, WORKER_LIST_MAX};
use jobraft_protocol::{
    ClusterSettings, Consistency, Request, Response, Setting, StateKey, StateValue, WorkerId, WorkerOrder, WorkerView,
};

impl Client {
    /// Changes settings, all of them or none.
    ///
    /// # Errors
    /// [`InvalidArgument`](jobraft_protocol::ErrorCode::InvalidArgument) if one is out of its domain.
    pub async fn configure(&self, settings: Vec<Setting>) -> Result<(), SdkError> {
        answered!(self.ask(Request::Configure { settings }).await?, Done)
    }

    /// What the cluster as a whole is set to; queues carry theirs: see [`queues`](Self::queues).
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn settings(&self, consistency: Consistency) -> Result<ClusterSettings, SdkError> {
        answered!(self.ask(Request::GetSettings { consistency }).await?, Settings(settings))
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
