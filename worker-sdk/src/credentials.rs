//! The certificates, or the token, with which connections are opened: what is in the files at that moment.
//!
//! Whoever renews certificates replaces files one after the other, so what lies there may not fit together for a moment.
//! Then a connection is opened with what fitted last.

use crate::config::ClientConfig;
use crate::sync::lock;
use crate::tls::{self, Proof, TlsError};
use std::fmt;
use std::sync::Mutex;

/// See the module.
pub(crate) struct Credentials(Mutex<State>);

struct State {
    fitted: Proof,
    /// What the log was told of files that do not fit; again only when it is another thing.
    told: Option<String>,
}

impl Credentials {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// What is wrong with them: a mistake is told before anything is sent.
    pub(crate) fn load(config: &ClientConfig) -> Result<Self, TlsError> {
        Ok(Self(Mutex::new(State { fitted: tls::proof(config)?, told: None })))
    }

    /// What the next connection is opened with; reads the files anew.
    pub(crate) fn current(&self, config: &ClientConfig) -> Proof {
        let read = tls::proof(config);
        let mut state = lock(&self.0);
        match read {
            Ok(read) => {
                state.fitted = read;
                state.told = None;
            }
            Err(error) => {
                let text = error.to_string();
                if state.told.as_ref() != Some(&text) {
                    tracing::warn!("the credentials cannot be read anew, the last good ones stay in use: {text}");
                    state.told = Some(text);
                }
            }
        }
        state.fitted.clone()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}
