//! Bytes sealed under a key that is not with them, so that a disk or a backup tells nobody what they are: bodies of rows, and
//! secrets for jobs.
//!
//! AES-256-GCM of *ring*. A key of the key file seals nothing itself: each opening draws a salt, derives a key by it (HKDF), and
//! counts the bodies that it seals, so that no nonce is used twice under one key however long a node lives. Where a body belongs
//! is authenticated with it: one that was put in another place does not open there. Columns that are searched by are not sealed.
//!
//! A sealed body says of itself under which key; what does not is taken as it is, so that sealing can begin and end at any time.

use jobraft_protocol::hex::Hex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// With what a sealed body begins. No body that is not sealed does: they begin with a small number.
const MARK: u8 = 0xFF;
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const SALT_BYTES: usize = 16;
const COUNTER_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + ID_BYTES + SALT_BYTES + COUNTER_BYTES;
/// The largest key file; it has a line for each key.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// What keys are derived for.
const PURPOSE: &[&[u8]] = &[b"jobraft body at rest"];
/// Keys that were derived and are kept: one for each start of the node whose rows are read.
const DERIVED_MAX: usize = 1_024;

type Id = [u8; ID_BYTES];
type SaltOf = [u8; SALT_BYTES];

/// Why a key file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("the key file {file} can be read by others (mode {mode:03o}); run: chmod 600 {file}", file = path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line is no key, or there is none.
    #[error("the key file {}: {what}; a key is 64 hexadecimal digits on a line of its own, as `jobraft storage keygen` writes it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, and what it is.
        what: String,
    },
    /// This machine gives no random numbers.
    #[error("this machine gives no random numbers")]
    Random,
}

/// Why a body does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Under which it is sealed, the key file does not have.
    #[error("it is sealed under key {0}, which the key file does not have")]
    NoKey(String),
    /// It is not as it was written, or was written elsewhere.
    #[error("it does not open with its key")]
    Damaged,
}

/// What seals, and what opens.
pub struct Seal {
    /// `None`: nothing is sealed.
    writing: Option<Writing>,
    keys: BTreeMap<Id, Prk>,
    derived: Mutex<HashMap<(Id, SaltOf), Arc<LessSafeKey>>>,
}

struct Writing {
    id: Id,
    salt: SaltOf,
    key: LessSafeKey,
    counter: AtomicU64,
}

impl Seal {
    /// Seals nothing, and opens nothing that is sealed.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Arc::new(Self { writing: None, keys: BTreeMap::new(), derived: Mutex::default() })
    }

    /// Seals under the first key of the file, and opens what is sealed under any of them.
    ///
    /// # Errors
    /// If the file cannot be read or others can, or has no key or something else.
    pub fn load(file: &Path) -> Result<Arc<Self>, KeyFileError> {
        let (mut keys, mut first) = (BTreeMap::new(), None);
        for key in read(file)? {
            let id = id_of(&key);
            first.get_or_insert(id);
            keys.insert(id, Salt::new(HKDF_SHA256, &[]).extract(&key));
        }
        let malformed = || KeyFileError::Malformed { path: file.to_owned(), what: "there is no key in it".to_owned() };
        let id = first.ok_or_else(malformed)?;
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| KeyFileError::Random)?;
        let key = derive(&keys[&id], &salt);
        let writing = Some(Writing { id, salt, key, counter: AtomicU64::new(0) });
        Ok(Arc::new(Self { writing, keys, derived: Mutex::default() }))
    }

    /// A new key, as a line of a key file: behind it, what it is known by.
    ///
    /// # Errors
    /// [`KeyFileError::Random`].
    pub fn new_key() -> Result<String, KeyFileError> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).map_err(|_| KeyFileError::Random)?;
        Ok(format!("{} # {}", Hex(&key), Hex(&id_of(&key))))
    }

    /// What the key is known by under which it seals.
    #[must_use]
    pub fn key_id(&self) -> Option<String> {
        self.writing.as_ref().map(|writing| Hex(&writing.id).to_string())
    }

    /// A body as it is to be written at `place`.
    pub(crate) fn seal<'a>(&self, place: &[&[u8]], body: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(Writing { id, salt, key, counter }) = &self.writing else { return Cow::Borrowed(body) };
        let count = counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut sealed = Vec::with_capacity(HEADER_BYTES + body.len() + AES_256_GCM.tag_len());
        sealed.push(MARK);
        sealed.extend_from_slice(id);
        sealed.extend_from_slice(salt);
        sealed.extend_from_slice(&count);
        sealed.extend_from_slice(body);
        let tag = key
            .seal_in_place_separate_tag(nonce(count), aad(place), &mut sealed[HEADER_BYTES..])
            .expect("a body is far below the 64 GiB of AES-GCM");
        sealed.extend_from_slice(tag.as_ref());
        Cow::Owned(sealed)
    }

    /// The body that was written at `place` as this.
    pub(crate) fn open<'a>(&self, place: &[&[u8]], written: &'a [u8]) -> Result<Cow<'a, [u8]>, Unopened> {
        let Some((&MARK, rest)) = written.split_first() else { return Ok(Cow::Borrowed(written)) };
        let parts = || {
            let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
            let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
            let (count, sealed) = rest.split_first_chunk::<COUNTER_BYTES>()?;
            Some((*id, *salt, *count, sealed))
        };
        let (id, salt, count, sealed) = parts().ok_or(Unopened::Damaged)?;
        let key = self.derived(id, salt).ok_or_else(|| Unopened::NoKey(Hex(&id).to_string()))?;
        let mut body = sealed.to_vec();
        let opened = key.open_in_place(nonce(count), aad(place), &mut body).map_err(|_| Unopened::Damaged)?;
        let length = opened.len();
        body.truncate(length);
        Ok(Cow::Owned(body))
    }

    /// Refuses a body that is sealed under a key that is not there.
    pub(crate) fn check(&self, written: &[u8]) -> Result<(), Unopened> {
        match written.strip_prefix(&[MARK]).and_then(|rest| rest.first_chunk::<ID_BYTES>()) {
            Some(id) if !self.keys.contains_key(id) => Err(Unopened::NoKey(Hex(id).to_string())),
            _ => Ok(()),
        }
    }

    /// Whether it seals; if not, it has no key at all.
    pub(crate) const fn seals(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether a body is written as it would be now.
    pub(crate) fn is_current(&self, written: &[u8]) -> bool {
        let under = written.strip_prefix(&[MARK]).and_then(|rest| rest.first_chunk::<ID_BYTES>());
        under == self.writing.as_ref().map(|writing| &writing.id)
    }

    fn derived(&self, id: Id, salt: SaltOf) -> Option<Arc<LessSafeKey>> {
        let master = self.keys.get(&id)?;
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if derived.len() >= DERIVED_MAX && !derived.contains_key(&(id, salt)) {
            derived.clear();
        }
        Some(Arc::clone(derived.entry((id, salt)).or_insert_with(|| Arc::new(derive(master, &salt)))))
    }
}

fn derive(master: &Prk, salt: &SaltOf) -> LessSafeKey {
    let info = [PURPOSE[0], salt];
    let key = master.expand(&info, &AES_256_GCM).expect("a key is far shorter than HKDF gives");
    LessSafeKey::new(UnboundKey::from(key))
}

fn nonce(count: [u8; COUNTER_BYTES]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[12 - COUNTER_BYTES..].copy_from_slice(&count);
    Nonce::assume_unique_for_key(nonce)
}

/// Parts of any bytes, each behind its length, so that none can pass for others.
fn aad(place: &[&[u8]]) -> Aad<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in place {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Aad::from(bytes)
}

/// By what a key is known where it must not stand.
fn id_of(key: &[u8; KEY_BYTES]) -> Id {
    let hash = Sha256::new().chain_update("jobraft key id").chain_update(key).finalize();
    std::array::from_fn(|at| hash[at])
}

fn read(file: &Path) -> Result<Vec<[u8; KEY_BYTES]>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: file.to_owned(), source };
    let opened = File::open(file).map_err(failed)?;
    let mode = opened.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Readable { path: file.to_owned(), mode });
    }
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).enumerate();
    let keys = lines.filter(|(_, line)| !line.is_empty()).map(|(at, line)| {
        let key = line.parse::<jobraft_protocol::Digest>().map(|bytes| bytes.0);
        key.map_err(|_| KeyFileError::Malformed { path: file.to_owned(), what: format!("line {} is no key", at + 1) })
    });
    keys.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A key file with these keys, by a number each.
    pub(crate) fn key_file(directory: &Path, keys: &[u8]) -> PathBuf {
        let path = directory.join("at-rest.key");
        let lines: String = keys.iter().map(|key| format!("{} # key {key}\n", Hex(&[*key; KEY_BYTES]))).collect();
        std::fs::write(&path, format!("# Keys.\n\n{lines}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn seal_of(keys: &[u8]) -> Arc<Seal> {
        let directory = tempfile::tempdir().unwrap();
        Seal::load(&key_file(directory.path(), keys)).unwrap()
    }

    const PLACE: &[&[u8]] = &[b"job", b"1"];

    #[test]
    fn a_body_opens_where_it_was_sealed_and_nowhere_else() {
        let seal = seal_of(&[1]);
        for body in [&b""[..], b"\xffpayload", &[7; 100_000]] {
            let sealed = seal.seal(PLACE, body);
            assert!(body.is_empty() || !sealed.windows(body.len()).any(|window| window == body));
            assert_ne!(sealed, seal.seal(PLACE, body), "no two are alike");
            assert_eq!(seal.open(PLACE, &sealed).unwrap(), body);
            for place in [&[&b"job"[..], b"2"][..], &[b"job1"], &[b"jo", b"b1"], &[]] {
                assert!(seal.open(place, &sealed) == Err(Unopened::Damaged), "{place:?}");
            }
            for at in [0, 1, HEADER_BYTES, sealed.len() - 1] {
                let mut changed = sealed.to_vec();
                changed[at] ^= 1;
                assert!(at == 0 || seal.open(PLACE, &changed).is_err(), "byte {at}");
                assert!(seal.open(PLACE, &sealed[..at.max(1)]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn what_is_not_sealed_is_taken_as_it_is_and_what_is_sealed_needs_its_key() {
        let (none, one, both, other) = (Seal::none(), seal_of(&[1]), seal_of(&[2, 1]), seal_of(&[2]));
        assert_eq!(none.seal(PLACE, b"\x01x"), &b"\x01x"[..]);
        assert_eq!(one.open(PLACE, b"\x01x").unwrap(), &b"\x01x"[..]);
        let sealed = one.seal(PLACE, b"x");
        assert_eq!(both.open(PLACE, &sealed).unwrap(), &b"x"[..]);
        for seal in [none, other] {
            let error = seal.open(PLACE, &sealed).unwrap_err();
            assert!(matches!(&error, Unopened::NoKey(_)), "{error}");
        }
        assert!(one.is_current(&sealed) && !both.is_current(&sealed) && !one.is_current(b"\x01x"));
        assert!(Seal::none().is_current(b"\x01x") && !Seal::none().is_current(&sealed));
    }

    #[test]
    fn a_key_file_is_private_and_has_keys_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = key_file(directory.path(), &[1]);
        let refused = |path: &Path| Seal::load(path).err().unwrap().to_string();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refused(&path).contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, format!("{}\nhunter2\n", Hex(&[1; 32]))).unwrap();
        let text = refused(&path);
        assert!(text.contains("line 2") && !text.contains("hunter2"), "{text}");
        std::fs::write(&path, "# none\n").unwrap();
        assert!(refused(&path).contains("no key"));
        assert!(refused(&directory.path().join("absent")).contains("absent"));
    }
}
