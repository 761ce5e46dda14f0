//! Signatures of modules: Ed25519 over a module's digest, by keys that whoever runs nodes or workers may insist on.

use crate::Digest;
use crate::hex::{self, Hex};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// With what a signer begins in its text.
const SIGNER_PREFIX: &str = "ed25519:";

/// Who signs: an Ed25519 public key. Its text is `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signer(pub [u8; 32]);

/// A module's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleSignature {
    /// By whom.
    pub signer: Signer,
    /// Over [`signed_text`].
    pub signature: SignatureBytes,
}

/// The 64 bytes of an Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignatureBytes(pub [u8; 64]);

/// Not the text of a signer or of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a signer.
    #[error("not a signer: one is {SIGNER_PREFIX} and the 64 hexadecimal digits of an Ed25519 public key")]
    Signer,
    /// Not a signature.
    #[error("not an Ed25519 signature: one has 128 hexadecimal digits")]
    Signature,
}

/// What is signed: a line that nothing else has, with the module's digest.
#[must_use]
pub fn signed_text(module: Digest) -> String {
    format!("jobraft module sha256:{module}\n")
}

impl ModuleSignature {
    /// Whether it is its signer's signature of this module.
    #[must_use]
    pub fn is_of(&self, module: Digest) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.signer.0);
        key.verify(signed_text(module).as_bytes(), &self.signature.0).is_ok()
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SIGNER_PREFIX}{}", Hex(&self.0))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signer {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        text.strip_prefix(SIGNER_PREFIX).and_then(hex::parse).map(Self).ok_or(SignatureError::Signer)
    }
}

impl TryFrom<String> for Signer {
    type Error = SignatureError;

    fn try_from(text: String) -> Result<Self, SignatureError> {
        text.parse()
    }
}

impl From<Signer> for String {
    fn from(signer: Signer) -> Self {
        signer.to_string()
    }
}

impl fmt::Debug for SignatureBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hex(&self.0), f)
    }
}

impl TryFrom<String> for SignatureBytes {
    type Error = SignatureError;

    fn try_from(text: String) -> Result<Self, SignatureError> {
        hex::parse(&text).map(Self).ok_or(SignatureError::Signature)
    }
}

impl From<SignatureBytes> for String {
    fn from(signature: SignatureBytes) -> Self {
        Hex(&signature.0).to_string()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    fn sign(seed: u8, module: Digest) -> ModuleSignature {
        let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let signer = Signer(key.public_key().as_ref().try_into().unwrap());
        let signature = key.sign(signed_text(module).as_bytes());
        ModuleSignature { signer, signature: SignatureBytes(signature.as_ref().try_into().unwrap()) }
    }

    #[test]
    fn a_signature_is_of_one_module_by_one_signer() {
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let signature = sign(7, one);
        assert!(signature.is_of(one) && !signature.is_of(other));
        let by_another = ModuleSignature { signer: sign(8, one).signer, ..signature.clone() };
        assert!(!by_another.is_of(one));
        let mut bytes = signature.signature.0;
        bytes[63] ^= 1;
        assert!(!ModuleSignature { signature: SignatureBytes(bytes), ..signature }.is_of(one));
    }

    #[test]
    fn a_signer_survives_its_text() {
        let signer = sign(7, Digest([1; 32])).signer;
        assert_eq!(signer.to_string().parse(), Ok(signer));
        for text in ["", "ed25519:", "ed25519:00", &signer.to_string()[8..], &signer.to_string().replace("ed", "rsa")] {
            assert_eq!(text.parse::<Signer>(), Err(SignatureError::Signer), "{text}");
        }
    }
}
