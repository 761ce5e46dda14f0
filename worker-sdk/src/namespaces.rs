//! The client's methods for namespaces: parts of the cluster that know nothing of each other.

use crate::client::Client;
use crate::error::SdkError;
use crate::requests::answered;
use jobraft_protocol::limits::NAMESPACE_LIST_MAX;
use jobraft_protocol::{Consistency, Namespace, NamespaceChange, NamespaceSetting, NamespaceView, Request, Response};

impl Client {
    /// Makes a namespace with this quota; what is not named is not bounded.
    ///
    /// # Errors
    /// [`Conflict`](jobraft_protocol::ErrorCode::Conflict) if there is or was one of that name,
    /// [`InvalidArgument`](jobraft_protocol::ErrorCode::InvalidArgument) if a part of the quota is out of its bounds,
    /// [`Forbidden`](jobraft_protocol::ErrorCode::Forbidden) unless this client administers the cluster.
    pub async fn create_namespace(&self, name: Namespace, quota: Vec<NamespaceSetting>) -> Result<(), SdkError> {
        self.change_namespace(NamespaceChange::Create { name, quota }).await
    }

    /// Changes the quota of a namespace. What it has beyond a lower one it keeps.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is none of that name, else as
    /// [`create_namespace`](Self::create_namespace).
    pub async fn set_namespace(&self, name: Namespace, quota: Vec<NamespaceSetting>) -> Result<(), SdkError> {
        self.change_namespace(NamespaceChange::Set { name, quota }).await
    }

    /// Removes a namespace with all that is in it: tokens, schedules, batches, values, secrets, modules, and what there was
    /// to read of jobs that have ended. Its name is not given again.
    ///
    /// # Errors
    /// [`WrongState`](jobraft_protocol::ErrorCode::WrongState) while a job of it lives,
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is none of that name. [`SdkError::OutcomeUnknown`] if an
    /// answer was lost and it was not there when it was asked again.
    pub async fn delete_namespace(&self, name: Namespace) -> Result<(), SdkError> {
        self.change_namespace(NamespaceChange::Delete { name }).await
    }

    async fn change_namespace(&self, change: NamespaceChange) -> Result<(), SdkError> {
        let deletes = matches!(change, NamespaceChange::Delete { .. });
        self.change(Request::ChangeNamespace { change }, deletes).await
    }

    /// The namespaces that this client may enter, by name, with what they have and may have.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn namespaces(&self, consistency: Consistency) -> Result<Vec<NamespaceView>, SdkError> {
        let mut namespaces: Vec<NamespaceView> = Vec::new();
        loop {
            let after = namespaces.last().map(|namespace| namespace.name.clone());
            let request = Request::ListNamespaces { after, limit: NAMESPACE_LIST_MAX, consistency };
            let page = answered!(self.ask(request).await?, Namespaces(page))?;
            let is_last = page.len() < NAMESPACE_LIST_MAX as usize;
            namespaces.extend(page);
            if is_last {
                return Ok(namespaces);
            }
        }
    }
}
