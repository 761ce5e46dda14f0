//! Framing: a big-endian `u32` length, then that many bytes of CBOR.
//!
//! Whoever reads a frame says how large it may be, before anything is allocated for it.

use crate::cbor::{self, CborError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a frame's length.
pub const HEADER_BYTES: usize = 4;

/// Why bytes are not a frame, or a value does not fit in one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame would be larger than this connection permits.
    #[error("a frame of {bytes} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are not CBOR, or not of the expected type.
    #[error("malformed frame: {0}")]
    Malformed(String),
    /// Bytes are left after the value.
    #[error("malformed frame: {0} bytes too many")]
    Trailing(usize),
}

impl From<CborError> for FrameError {
    fn from(error: CborError) -> Self {
        match error {
            CborError::Malformed(reason) => Self::Malformed(reason),
            CborError::Trailing(bytes) => Self::Trailing(bytes),
        }
    }
}

/// Appends `value` to `buffer` as one frame.
///
/// # Errors
/// [`FrameError::TooLarge`] if it has more than `max` bytes; `buffer` is then as it was.
pub fn encode<T: Serialize>(value: &T, buffer: &mut Vec<u8>, max: usize) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    if let Err(error) = cbor::write(value, buffer) {
        buffer.truncate(start);
        return Err(error.into());
    }
    let bytes = buffer.len() - start - HEADER_BYTES;
    match u32::try_from(bytes) {
        Ok(length) if bytes <= max => {
            buffer[start..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        _ => {
            buffer.truncate(start);
            Err(FrameError::TooLarge { bytes, max })
        }
    }
}

/// Reads a frame's length from its header.
///
/// # Errors
/// [`FrameError::TooLarge`] if the frame has more than `max` bytes.
pub fn length(header: [u8; HEADER_BYTES], max: usize) -> Result<usize, FrameError> {
    let bytes = u32::from_be_bytes(header) as usize;
    if bytes <= max { Ok(bytes) } else { Err(FrameError::TooLarge { bytes, max }) }
}

/// The first frame of `bytes` and its size with its header, if it is there whole.
///
/// # Errors
/// As [`length`], as soon as the header is there, and [`decode`].
pub fn first<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<Option<(T, usize)>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = length(*header, max)?;
    match rest.get(..length) {
        Some(body) => Ok(Some((decode(body)?, HEADER_BYTES + length))),
        None => Ok(None),
    }
}

/// Decodes a frame's body: exactly one value.
///
/// # Errors
/// [`FrameError::Malformed`] or [`FrameError::Trailing`].
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    Ok(cbor::read(body)?)
}
