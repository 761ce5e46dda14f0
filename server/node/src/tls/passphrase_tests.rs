//! The authority's key under a passphrase, as it lies on disk.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::authority_key::AuthorityKey;
use super::{CertificateAuthority, Credentials, Overwrite, Passphrase, PassphraseError, TlsError, TlsFiles};
use jobraft_protocol::Grant;
use pkcs8::der::SecretDocument;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::pem::{LineEnding, PemLabel as _};
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt, ScryptParams};
use pkcs8::{EncryptedPrivateKeyInfo, EncryptedPrivateKeyInfoRef};
use rcgen::PublicKeyData as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Made by `openssl genpkey -algorithm ed25519 -aes-256-cbc` with the passphrase `correct horse`: PBKDF2, 2,048 times.
const OF_OPENSSL: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhgmf3HxF3lbwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEPVSm+jZOzStDc1scKImsHoEQAsI
hdSTvnbOA8xWPj1noqYvxa6TDCXnmxYnN5O7Bp4s1vppU6mIn5j94h/SjQBDiUN1
aqKrK8kxzoISYUHWiWc=
-----END ENCRYPTED PRIVATE KEY-----
";
/// The same with `-des3`, which is too weak to be read.
const OF_OPENSSL_DES: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGKME4GCSqGSIb3DQEFDTBBMCkGCSqGSIb3DQEFDDAcBAid3LGACw8WKQICCAAw
DAYIKoZIhvcNAgkFADAUBggqhkiG9w0DBwQIR9u+jEJX45cEOHQe/PU9Sl2QWmMe
bKZIZT268RXN6OrzsmFbG/wAUmUhhqcX20q94d0JPLEZSMu9RP52/Cq9H2sL
-----END ENCRYPTED PRIVATE KEY-----
";

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

/// An authority whose key is under a passphrase.
fn sealed(text: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    CertificateAuthority::create_under(directory.path(), 10, Some(&passphrase(text))).unwrap();
    directory
}

fn key(directory: &Path) -> String {
    fs::read_to_string(directory.join("ca.key")).unwrap()
}

/// A directory with this as `ca.key`.
fn with_key(text: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    write_private(&directory.path().join("ca.key"), text.as_bytes());
    directory
}

fn write_private(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

fn open(directory: &TempDir, text: &str) -> Result<AuthorityKey, TlsError> {
    AuthorityKey::open(directory.path(), Some(&passphrase(text)))
}

/// The error and nothing of the passphrase in it.
fn refusal(opened: Result<AuthorityKey, TlsError>) -> TlsError {
    let error = opened.err().unwrap();
    assert!(!format!("{error} {error:?}").contains("horse"), "{error:?}");
    error
}

#[test]
fn what_is_sealed_opens_with_its_passphrase_alone() {
    let directory = sealed("correct horse");
    assert!(key(directory.path()).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert_eq!(fs::metadata(directory.path().join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let error = CertificateAuthority::load(directory.path()).err().unwrap();
    assert!(matches!(&error, TlsError::KeySealed { path } if path.ends_with("ca.key")), "{error}");
    let error = refusal(open(&directory, "correct horse "));
    assert!(matches!(&error, TlsError::WrongPassphrase { path } if path.ends_with("ca.key")), "{error}");

    let authority = CertificateAuthority::load_under(directory.path(), Some(&passphrase("correct horse"))).unwrap();
    let pair = authority.issue_client("alice", Grant::admin(), 1).unwrap();
    pair.write(directory.path(), "alice", Overwrite::Refuse).unwrap();
    Credentials::load(&TlsFiles::in_directory(directory.path(), "alice")).unwrap();
}

#[test]
fn a_wrong_passphrase_whose_padding_fits_is_wrong_all_the_same() {
    // One in 256 does: of so many at a time scrypt would be too slow, PBKDF2 with 2,048 rounds is not.
    let directory = with_key(OF_OPENSSL);
    for number in 0..1_500 {
        let error = refusal(open(&directory, &format!("wrong horse {number}")));
        assert!(matches!(error, TlsError::WrongPassphrase { .. }), "{number}: {error}");
    }
}

#[test]
fn a_passphrase_is_set_changed_and_removed_and_the_key_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    CertificateAuthority::create(path, 10).unwrap();
    let plain = key(path);
    let (first, second) = (passphrase("first"), passphrase("second"));

    CertificateAuthority::load(path).unwrap().rewrite_key(path, Some(&first)).unwrap();
    CertificateAuthority::load_under(path, Some(&first)).unwrap().rewrite_key(path, Some(&second)).unwrap();
    let once = key(path);
    assert!(matches!(open(&directory, "first"), Err(TlsError::WrongPassphrase { .. })));
    let opened = open(&directory, "second").unwrap();
    assert_eq!(opened.der_bytes(), rcgen::KeyPair::from_pem(&plain).unwrap().der_bytes());
    opened.rewrite(path, Some(&second)).unwrap();
    assert_ne!(key(path), once, "salt and vector are drawn anew");
    open(&directory, "second").unwrap().rewrite(path, None).unwrap();
    assert_eq!(key(path), plain);
    assert_eq!(fs::metadata(path.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(path).unwrap().count(), 2, "temporary files are left");

    let error = refusal(open(&directory, "second"));
    assert!(matches!(&error, TlsError::KeyNotSealed { .. }), "{error}");
    assert!(error.to_string().contains("jobraft certs passphrase"), "{error}");
}

#[test]
fn what_openssl_has_sealed_opens_too_unless_its_cipher_is_too_weak() {
    open(&with_key(OF_OPENSSL), "correct horse").unwrap();
    let error = refusal(open(&with_key(OF_OPENSSL_DES), "correct horse"));
    assert!(matches!(&error, TlsError::KeyDamaged { .. }), "{error}");
}

#[test]
fn a_sealed_key_that_is_damaged_is_named_and_does_not_open() {
    let directory = sealed("correct horse");
    let whole = key(directory.path());
    let file = directory.path().join("ca.key");
    let lines: Vec<&str> = whole.lines().collect();
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().join("\n");
    let last = lines.len() - 1;
    for damaged in [without(1), without(last), without(last - 1), whole.replacen('M', "!", 1), whole[..200].to_owned()]
    {
        write_private(&file, damaged.as_bytes());
        let error = refusal(open(&directory, "correct horse"));
        assert!(matches!(&error, TlsError::KeyDamaged { path, .. } if *path == file), "{damaged}: {error}");
    }
    // Within what is encrypted, damage looks like another passphrase.
    let at = whole.len() - 60;
    let other = if whole.as_bytes()[at] == b'A' { "B" } else { "A" };
    write_private(&file, format!("{}{other}{}", &whole[..at], &whole[at + 1..]).as_bytes());
    let error = refusal(open(&directory, "correct horse"));
    assert!(matches!(error, TlsError::WrongPassphrase { .. }), "{error}");
    assert!(error.to_string().contains("damaged"), "{error}");
    for not_sealed in ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "\u{0}"] {
        write_private(&file, not_sealed.as_bytes());
        let error = AuthorityKey::open(directory.path(), None).err().unwrap();
        assert!(matches!(error, TlsError::KeyDamaged { .. }), "{not_sealed:?}: {error}");
    }
}

const SALT: [u8; 16] = [1; 16];

fn scrypt(cost_parameter: u64, block_size: u16, parallelization: u16) -> Kdf {
    let salt = Salt::new(SALT).unwrap();
    Kdf::Scrypt(ScryptParams { salt, cost_parameter, block_size, parallelization, key_length: None })
}

fn pbkdf2(iteration_count: u32) -> Kdf {
    let (salt, prf) = (Salt::new(SALT).unwrap(), Pbkdf2Prf::HmacWithSha256);
    Kdf::Pbkdf2(Pbkdf2Params { salt, iteration_count, key_length: None, prf })
}

/// Something that is said to be encrypted under a key that is made so.
fn sealed_by(kdf: &Kdf) -> SecretDocument {
    let parameters = Parameters { kdf: kdf.clone(), encryption: EncryptionScheme::Aes256Cbc { iv: [2; 16] } };
    let encrypted_data = OctetStringRef::new(&[3; 32]).unwrap();
    SecretDocument::try_from(EncryptedPrivateKeyInfo { encryption_algorithm: parameters.into(), encrypted_data })
        .unwrap()
}

fn pem(document: &SecretDocument) -> Zeroizing<String> {
    document.to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF).unwrap()
}

#[test]
fn a_key_whose_opening_would_take_all_memory_or_none_is_refused() {
    let costs = [
        scrypt(0, 8, 1),
        scrypt(1 << 40, 8, 1),
        scrypt(u64::MAX, u16::MAX, u16::MAX),
        scrypt(1 << 20, 8, 2),
        scrypt(3, 8, 1),
        scrypt(1 << 10, 0, 1),
        scrypt(1 << 10, 8, 0),
        pbkdf2(u32::MAX),
    ];
    for kdf in costs {
        let error = refusal(open(&with_key(&pem(&sealed_by(&kdf))), "correct horse"));
        assert!(matches!(error, TlsError::KeyDamaged { .. }), "{kdf:?}: {error}");
    }
}

#[test]
fn no_byte_that_is_damaged_makes_opening_panic() {
    for document in
        [sealed_by(&scrypt(16, 1, 1)), sealed_by(&pbkdf2(1)), SecretDocument::from_pem(OF_OPENSSL).unwrap().1]
    {
        for at in 0..document.as_bytes().len() {
            for bits in [1, 2, 0x10, 0x80, 0xff] {
                let mut bytes = document.to_bytes();
                bytes[at] ^= bits;
                let Ok(damaged) = SecretDocument::try_from(bytes.as_slice()) else { continue };
                // It may even open: any 32 bytes are an Ed25519 key. That it is another one shows beside its certificate.
                let _ = open(&with_key(&pem(&damaged)), "correct horse");
            }
        }
    }
}

#[test]
fn a_passphrase_is_the_first_line_of_a_file_that_others_cannot_read() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("passphrase");
    for text in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nanother\n"] {
        write_private(&file, text.as_bytes());
        assert!(Passphrase::load(&file).unwrap() == passphrase("correct horse"), "{text:?}");
    }
    let long = "x".repeat(1_001);
    let cases: [(&[u8], _); 5] = [
        (b"", PassphraseError::Empty),
        (b"\ncorrect horse\n", PassphraseError::Empty),
        (long.as_bytes(), PassphraseError::TooLong),
        (b"\xff\xfe\n", PassphraseError::NotText),
        (b"correct\x00horse\n", PassphraseError::NotText),
    ];
    for (bytes, expected) in cases {
        write_private(&file, bytes);
        let error = Passphrase::load(&file).unwrap_err();
        assert!(matches!(&error, TlsError::Passphrase { source, .. } if *source == expected), "{error}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let error = Passphrase::load(&file).unwrap_err();
    assert!(matches!(error, TlsError::KeyExposed { mode: 0o640, .. }), "{error}");
    let error = Passphrase::load(&directory.path().join("none")).unwrap_err();
    assert!(matches!(error, TlsError::Read { .. }), "{error}");
    assert_eq!(format!("{:?}", passphrase("correct horse")), "Passphrase(…)");
}
