//! Secrets that this program makes.

use crate::error::SdkError;
use std::io;

/// 256 random bits, from the generator that TLS draws its keys from.
pub(crate) fn draw() -> Result<[u8; 32], SdkError> {
    let mut random = [0; 32];
    let drawn = rustls::crypto::ring::default_provider().secure_random.fill(&mut random);
    let source = || io::Error::other("its generator gives none");
    drawn.map_err(|_| SdkError::Machine { what: "random numbers", source: source() })?;
    Ok(random)
}
