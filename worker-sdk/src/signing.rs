//! Signed modules: keys that sign them, and a worker's insistence on their signatures.

use crate::client::Client;
use crate::context::JobContext;
use crate::error::SdkError;
use crate::executor::{Executor, ExecutorFuture};
use crate::modules::digest_of;
use crate::secret;
use crate::sync::lock;
use jobraft_protocol::signature::signed_text;
use jobraft_protocol::{
    Digest, Failure, FailureKind, LeasedJob, ModuleRef, ModuleSignature, SignatureBytes, Signer, Task,
};
use pem::Pem;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;

/// The tag of PKCS #8 in PEM.
const TAG: &str = "PRIVATE KEY";
/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// Modules of which it is remembered that they are signed; beyond, all are looked at again.
const REMEMBERED_MAX: usize = 1_024;

/// A key that signs modules: Ed25519.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Option<[u8; 32]>,
}

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// [`SdkError::Machine`] if this machine gives no random numbers.
    pub fn generate() -> Result<Self, SdkError> {
        let seed = secret::draw()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a key");
        Ok(Self { pair, seed: Some(seed) })
    }

    /// Reads one in PKCS #8 in PEM form, as `openssl genpkey -algorithm ed25519` makes them.
    ///
    /// # Errors
    /// [`SdkError::Invalid`] if it is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, SdkError> {
        // What the key's text has must not reach an error.
        let malformed = |why: &str| SdkError::Invalid(format!("not an Ed25519 key in PKCS #8 in PEM form: {why}"));
        let pem = pem::parse(text).map_err(|_| malformed("there is no PEM in it"))?;
        if pem.tag() != TAG {
            return Err(malformed(&format!("there is no BEGIN {TAG} in it")));
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pem.contents());
        Ok(Self { pair: pair.map_err(|error| malformed(&error.to_string()))?, seed: None })
    }

    /// Reads one from a file, which must be readable by its owner only.
    ///
    /// # Errors
    /// [`SdkError::Tls`] if it cannot be read or others can, else as [`Self::from_pem`].
    pub fn load(path: &Path) -> Result<Self, SdkError> {
        Self::from_pem(&crate::tls::secret_file("signing key", path)?)
    }

    /// A generated key in PKCS #8 in PEM form, to be kept as a password is; `None` of one that was read.
    #[must_use]
    pub fn to_pem(&self) -> Option<String> {
        let der = [&PKCS8_PREFIX[..], &self.seed?].concat();
        Some(pem::encode(&Pem::new(TAG, der)))
    }

    /// By what others know it.
    ///
    /// # Panics
    /// Never: public keys have 32 bytes.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer(self.pair.public_key().as_ref().try_into().expect("Ed25519 public keys have 32 bytes"))
    }

    /// Signs a module by its bytes, for [`Client::upload_signed_module`].
    ///
    /// # Panics
    /// Never: signatures have 64 bytes.
    #[must_use]
    pub fn sign(&self, module: &[u8]) -> ModuleSignature {
        let signature = self.pair.sign(signed_text(digest_of(module)).as_bytes());
        let bytes = signature.as_ref().try_into().expect("Ed25519 signatures have 64 bytes");
        ModuleSignature { signer: self.signer(), signature: SignatureBytes(bytes) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.signer())
    }
}

/// Runs a module only if one of these has signed it, whatever the nodes say, and all else as another executor does.
#[derive(Debug)]
pub struct SignedOnly<E> {
    executor: E,
    client: Client,
    signers: BTreeSet<Signer>,
    /// Signatures of a module come, and never go.
    signed: Mutex<BTreeSet<Digest>>,
}

impl<E> SignedOnly<E> {
    /// Asks the cluster of `client` for signatures.
    #[must_use]
    pub fn new(executor: E, client: Client, signers: impl IntoIterator<Item = Signer>) -> Self {
        Self { executor, client, signers: signers.into_iter().collect(), signed: Mutex::default() }
    }

    async fn check(&self, digest: Digest) -> Result<(), Failure> {
        if lock(&self.signed).contains(&digest) {
            return Ok(());
        }
        let manifest = self.client.resolve_module(ModuleRef::Digest(digest)).await;
        let manifest = manifest.map_err(|error| {
            Failure::retryable(format!("who has signed the module could not be found out: {error}"))
        })?;
        let counts = |one: &ModuleSignature| self.signers.contains(&one.signer) && one.is_of(digest);
        if !manifest.signatures.iter().any(counts) {
            let message = format!("nobody whom this worker trusts has signed module sha256:{digest}");
            return Err(Failure::of_kind(FailureKind::InvalidModule, false, message));
        }
        let mut signed = lock(&self.signed);
        if signed.len() >= REMEMBERED_MAX {
            signed.clear();
        }
        signed.insert(digest);
        Ok(())
    }
}

impl<E: Executor> Executor for SignedOnly<E> {
    fn name(&self) -> &str {
        self.executor.name()
    }

    fn accepts(&self, task: &Task) -> bool {
        self.executor.accepts(task)
    }

    fn run<'a>(&'a self, job: &'a LeasedJob, context: JobContext) -> ExecutorFuture<'a> {
        Box::pin(async move {
            if let Task::Module(digest) = job.task {
                self.check(digest).await?;
            }
            self.executor.run(job, context).await
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_survives_its_text_and_signs_the_same() {
        let key = SigningKey::generate().unwrap();
        let text = key.to_pem().unwrap();
        let again = SigningKey::from_pem(text.as_bytes()).unwrap();
        assert_eq!((again.signer(), again.sign(b"m")), (key.signer(), key.sign(b"m")));
        assert!(key.sign(b"m").is_of(digest_of(b"m")) && !key.sign(b"n").is_of(digest_of(b"m")));
        assert!(!format!("{key:?}").contains(&text[30..60]));
    }

    #[test]
    fn a_key_that_openssl_made_is_one() {
        // The example of RFC 8410, sections 10.1 and 10.3, in the form that OpenSSL writes.
        let text = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let signer = SigningKey::from_pem(text.as_bytes()).unwrap().signer().to_string();
        assert_eq!(signer, "ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let other = pem::encode(&Pem::new("PRIVATE KEY", "secret bytes".as_bytes()));
        let public = pem::encode(&Pem::new("PUBLIC KEY", [1; 44]));
        for text in ["", "hunter2", other.as_str(), public.as_str()] {
            let error = SigningKey::from_pem(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("Ed25519") && !error.contains("hunter2") && !error.contains("secret"), "{error}");
        }
    }
}
