//! Tokens: secrets that stand for a client where it has no certificate. The cluster keeps their hashes, and what they permit.

use crate::name::{NameError, check_local};
use crate::namespace::SEPARATOR;
use crate::text::text;
use crate::{Digest, Grant, LogTime, Namespace};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// With what the text of every token begins, so that people and secret scanners know it for what it is.
pub const TOKEN_PREFIX: &str = "jrt_";
/// The longest name of a token, in bytes.
pub const TOKEN_NAME_BYTES_MAX: usize = 64;

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let local = match text.split_once(SEPARATOR) {
        Some((namespace, local)) => Namespace::new(namespace).map(|_| local)?,
        None => text,
    };
    match local.len() {
        ..=TOKEN_NAME_BYTES_MAX => check_local(what, local),
        bytes => Err(NameError::TooLong { what, bytes, max: TOKEN_NAME_BYTES_MAX }),
    }
}

text! {
    /// What a token is called, and whoever shows it: `ci`.
    TokenName, "token name", NameError, check
}

/// Not the text of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token: one is made of {TOKEN_PREFIX} and 64 hexadecimal digits")]
pub struct NotToken;

/// The secret itself: 256 bits that were drawn at random. Whoever has them is whom the token names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// A token of these bytes, which must come from a generator that is fit for keys.
    #[must_use]
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Its text, to be shown once and kept as a password is. There is no other way to it: it is in no log and no error.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{TOKEN_PREFIX}{}", Digest(self.0))
    }

    /// By what the cluster knows it: SHA-256 of its text. That tells nothing of it: it has nothing that could be guessed.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest(Sha256::digest(self.reveal()).into())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret")
    }
}

impl FromStr for TokenSecret {
    type Err = NotToken;

    fn from_str(text: &str) -> Result<Self, NotToken> {
        let digits = text.strip_prefix(TOKEN_PREFIX).ok_or(NotToken)?;
        let secret = Self(digits.parse::<Digest>().map_err(|_| NotToken)?.0);
        // One text for each: what is hashed is what was shown.
        if secret.reveal() == text { Ok(secret) } else { Err(NotToken) }
    }
}

impl TryFrom<String> for TokenSecret {
    type Error = NotToken;

    fn try_from(text: String) -> Result<Self, NotToken> {
        text.parse()
    }
}

impl From<TokenSecret> for String {
    fn from(secret: TokenSecret) -> Self {
        secret.reveal()
    }
}

/// A token to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Its name, which no other has.
    pub name: TokenName,
    /// [`TokenSecret::hash`] of its secret, which never leaves whoever made it.
    pub hash: Digest,
    /// What it permits; one role at least.
    pub grant: Grant,
    /// How long its secret counts, and each that takes its place; `None`: until it is revoked. At most
    /// [`TOKEN_TTL_MS_MAX`](crate::limits::TOKEN_TTL_MS_MAX).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// A change of the tokens that there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenChange {
    /// Makes one.
    Create(NewToken),
    /// Gives one another secret, which counts for as long as the first one did.
    Rotate {
        /// Which.
        name: TokenName,
        /// [`TokenSecret::hash`] of the other secret.
        hash: Digest,
        /// How much longer the former one counts as well, if it would; at most
        /// [`TOKEN_GRACE_MS_MAX`](crate::limits::TOKEN_GRACE_MS_MAX). The one before that ceases at once.
        grace_ms: u64,
    },
    /// Removes one, whose secrets cease to count with that.
    Revoke {
        /// Which.
        name: TokenName,
    },
}

impl TokenChange {
    /// The token that is changed.
    #[must_use]
    pub const fn name(&self) -> &TokenName {
        match self {
            Self::Create(NewToken { name, .. }) | Self::Rotate { name, .. } | Self::Revoke { name } => name,
        }
    }
}

/// A token as it is listed. Its hashes are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its name.
    pub name: TokenName,
    /// What it permits.
    pub grant: Grant,
    /// When it was made.
    pub created_at: LogTime,
    /// By whom: the name of a client, or `token/NAME`.
    pub created_by: String,
    /// When it last got another secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<LogTime>,
    /// When its secret ceases to count; `None`: when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<LogTime>,
    /// Until when the secret before counts as well, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_until: Option<LogTime>,
    /// When the leader was last asked for something with it, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<LogTime>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_secret_is_its_text_and_its_hash_is_that_of_the_text() {
        let secret = TokenSecret::new([0xab; 32]);
        let text = secret.reveal();
        assert_eq!(text, format!("jrt_{}", "ab".repeat(32)));
        assert_eq!(text.parse(), Ok(secret.clone()));
        // printf %s "$text" | sha256sum
        assert_eq!(secret.hash().to_string(), "e8cd1616b5bbb8574c0bbcc8c45440e3d2cae62f513f555d463641d0d99af19b");
        assert_eq!(format!("{secret:?}"), "TokenSecret");
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let upper = format!("jrt_{}", "AB".repeat(32));
        let short = format!("jrt_{}", "ab".repeat(31));
        for text in ["", "jrt_", "ab", upper.as_str(), short.as_str(), &"ab".repeat(32)] {
            assert_eq!(text.parse::<TokenSecret>(), Err(NotToken), "{text}");
        }
        assert!(!NotToken.to_string().contains("AB"));
    }

    #[test]
    fn a_name_is_short_enough_to_own_things() {
        assert!("a".repeat(64).parse::<TokenName>().is_ok());
        let error = "a".repeat(65).parse::<TokenName>().unwrap_err();
        assert!(error.to_string().contains("at most 64 bytes"), "{error}");
    }
}
