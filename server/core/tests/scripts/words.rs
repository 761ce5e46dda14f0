//! The words of a script's line, and the values in them.

use jobraft_protocol::{Digest, ModuleSignature, Namespace, SignatureBytes, Signer};

/// The words of a step: a verb, positional ones, and `key=value`.
pub(crate) struct Words<'a>(pub(crate) Vec<&'a str>);

impl<'a> Words<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn at(&self, index: usize) -> &'a str {
        let plain: Vec<_> = self.0.iter().filter(|word| !word.contains('=')).collect();
        plain.get(index).unwrap_or_else(|| panic!("a word is missing in {:?}", self.0))
    }

    /// The namespace in which something is to be: the default one unless it is named.
    pub(crate) fn namespace(&self) -> Namespace {
        self.get("in").map_or_else(Namespace::default, |name| name.parse().unwrap())
    }

    /// Whether the bare word is there.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).map(|text| text.parse().unwrap_or_else(|_| panic!("{key}={text} is no number")))
    }

    pub(crate) fn ms(&self, key: &str) -> Option<i64> {
        self.get(key).map(milliseconds)
    }

    pub(crate) fn bytes(&self, key: &str) -> bytes::Bytes {
        vec![b'x'; self.number(key).unwrap_or(0) as usize].into()
    }
}

pub(crate) fn milliseconds(text: &str) -> i64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        unit => panic!("no unit of time: {unit}"),
    };
    digits.parse::<i64>().unwrap() * unit
}

/// Modules are named by a letter.
/// One signature by each signer, who is known by a letter. Nobody in here looks whether they are good.
pub(crate) fn signatures(signers: &str) -> Vec<ModuleSignature> {
    let by = |signer| ModuleSignature { signer: Signer([signer; 32]), signature: SignatureBytes([signer; 64]) };
    signers.bytes().map(by).collect()
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest([name.as_bytes()[0]; 32])
}
