//! The client's methods for tokens: secrets that stand for clients which have no certificate.

use crate::client::Client;
use crate::error::SdkError;
use crate::requests::{answered, millis};
use crate::secret::draw;
use jobraft_protocol::limits::TOKEN_LIST_MAX;
use jobraft_protocol::{
    Consistency, Grant, NewToken, Request, Response, TokenChange, TokenName, TokenSecret, TokenView,
};
use std::time::Duration;

impl Client {
    /// Makes a token that permits `grant`, and each secret of which counts for `ttl`, or until it is revoked. The secret is
    /// made here, and only its hash is sent: what this returns is the only copy.
    ///
    /// # Errors
    /// [`Conflict`](jobraft_protocol::ErrorCode::Conflict) if there is one of that name,
    /// [`InvalidArgument`](jobraft_protocol::ErrorCode::InvalidArgument) if the grant has no role or the time is out of its
    /// bounds. If the outcome is unknown, revoke the token and make it again: the secret is lost.
    pub async fn create_token(
        &self,
        name: TokenName,
        grant: Grant,
        ttl: Option<Duration>,
    ) -> Result<TokenSecret, SdkError> {
        let secret = TokenSecret::new(draw()?);
        let token = NewToken { name, hash: secret.hash(), grant, ttl_ms: ttl.map(millis) };
        self.change_token(TokenChange::Create(token)).await?;
        Ok(secret)
    }

    /// Gives a token another secret; the one that it had counts for `grace` more, so that those who use it can change over.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is none of that name. If the outcome is unknown, rotate
    /// it again.
    pub async fn rotate_token(&self, name: TokenName, grace: Duration) -> Result<TokenSecret, SdkError> {
        let secret = TokenSecret::new(draw()?);
        self.change_token(TokenChange::Rotate { name, hash: secret.hash(), grace_ms: millis(grace) }).await?;
        Ok(secret)
    }

    /// Removes a token. From the log's next entry on its secrets do not count, and nodes close the connections that showed
    /// them.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is none of that name. [`SdkError::OutcomeUnknown`] if an
    /// answer was lost and it was not there when it was asked again: the first time may have removed it.
    pub async fn revoke_token(&self, name: TokenName) -> Result<(), SdkError> {
        self.change_token(TokenChange::Revoke { name }).await
    }

    async fn change_token(&self, change: TokenChange) -> Result<(), SdkError> {
        let revokes = matches!(change, TokenChange::Revoke { .. });
        self.change(Request::ChangeToken { change }, revokes).await
    }

    /// All tokens, by name, without their secrets. They are read in pages: what changes meanwhile may or may not be seen.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn tokens(&self, consistency: Consistency) -> Result<Vec<TokenView>, SdkError> {
        let mut tokens: Vec<TokenView> = Vec::new();
        loop {
            let after = tokens.last().map(|token| token.name.clone());
            let request = Request::ListTokens { after, limit: TOKEN_LIST_MAX, consistency };
            let page = answered!(self.ask(request).await?, Tokens(page))?;
            if page.is_empty() {
                return Ok(tokens);
            }
            tokens.extend(page);
        }
    }
}
