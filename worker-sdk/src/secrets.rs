//! The client's methods for secrets: named values that are given to the jobs of modules.

use crate::client::Client;
use crate::error::SdkError;
use crate::requests::answered;
use jobraft_protocol::{
    Consistency, LeaseRef, Request, Response, SecretChange, SecretGrant, SecretName, SecretValue, SecretView,
};

impl Client {
    /// Makes a secret, or gives one another value; `grant` says to whose jobs it is given from now on, `None` leaves that as
    /// it is. The node seals the value before it enters the log, and nobody reads it again but workers, for those jobs.
    ///
    /// # Errors
    /// [`ModuleUnknown`](jobraft_protocol::ErrorCode::ModuleUnknown) if a name points to nothing yet,
    /// [`WrongState`](jobraft_protocol::ErrorCode::WrongState) if the leader has no key for secrets.
    pub async fn put_secret(
        &self,
        name: SecretName,
        value: SecretValue,
        grant: Option<SecretGrant>,
    ) -> Result<(), SdkError> {
        self.change_secret(SecretChange::Put { name, value, grant }).await
    }

    /// Says to whose jobs a secret is given, instead of what was said before.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is no such secret, else as
    /// [`put_secret`](Self::put_secret).
    pub async fn grant_secret(&self, name: SecretName, grant: SecretGrant) -> Result<(), SdkError> {
        self.change_secret(SecretChange::Grant { name, grant }).await
    }

    /// Removes a secret. Jobs that run already keep what they were given.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is none of that name. [`SdkError::OutcomeUnknown`] if an
    /// answer was lost and it was not there when it was asked again.
    pub async fn delete_secret(&self, name: SecretName) -> Result<(), SdkError> {
        self.change_secret(SecretChange::Delete { name }).await
    }

    /// Seals anew what is not sealed under the first key of the leader's file, in all namespaces. Answers what that key is
    /// known by, as `jobraft storage keygen` wrote it beside the key.
    ///
    /// # Errors
    /// [`WrongState`](jobraft_protocol::ErrorCode::WrongState) if the leader lacks a key.
    pub async fn reseal_secrets(&self) -> Result<String, SdkError> {
        let request = Request::ChangeSecret { change: SecretChange::Reseal };
        answered!(self.ask(request).await?, Resealed(key))
    }

    async fn change_secret(&self, change: SecretChange) -> Result<(), SdkError> {
        let deletes = matches!(change, SecretChange::Delete { .. });
        self.change(Request::ChangeSecret { change }, deletes).await
    }

    /// All secrets, by name, without their values.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn secrets(&self, consistency: Consistency) -> Result<Vec<SecretView>, SdkError> {
        answered!(self.ask(Request::ListSecrets { consistency }).await?, Secrets(secrets))
    }

    /// The secrets that a job is given, by name, asked under a lease of this client's.
    ///
    /// # Errors
    /// [`LeaseLost`](jobraft_protocol::ErrorCode::LeaseLost) if the job is another worker's by now,
    /// [`WrongState`](jobraft_protocol::ErrorCode::WrongState) if the leader lacks a key.
    pub async fn job_secrets(&self, lease: LeaseRef) -> Result<Vec<(SecretName, SecretValue)>, SdkError> {
        answered!(self.ask(Request::GetSecrets { lease }).await?, JobSecrets(secrets))
    }
}
