//! CBOR (RFC 8949): how values travel and how they rest. The only place that names the codec.

use cbor4ii::core::enc;
use cbor4ii::core::utils::SliceReader;
use cbor4ii::serde::{DecodeError, Deserializer, EncodeError, Serializer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;

/// Why bytes are not the CBOR of a value, or a value has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes are not CBOR, or not of the expected type.
    #[error("{0}")]
    Malformed(String),
    /// Bytes are left after the value.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// Appends `value` to `to`.
///
/// # Errors
/// [`CborError::Malformed`] if its type cannot be encoded; `to` is then as it was.
pub fn write<T: Serialize>(value: &T, to: &mut Vec<u8>) -> Result<(), CborError> {
    let start = to.len();
    value.serialize(&mut Serializer::new(Appended(&mut *to))).map_err(|error| {
        to.truncate(start);
        CborError::Malformed(match error {
            EncodeError::Core(error) => error.to_string(),
            EncodeError::Custom(text) => text.into(),
        })
    })
}

/// Reads the value that all of `bytes` are.
///
/// # Errors
/// [`CborError::Malformed`] or [`CborError::Trailing`].
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let mut deserializer = Deserializer::new(SliceReader::new(bytes));
    let value = T::deserialize(&mut deserializer).map_err(|error| {
        CborError::Malformed(match error {
            DecodeError::Core(error) => error.to_string(),
            DecodeError::Custom(text) => text.into(),
        })
    })?;
    match left(deserializer.into_inner()) {
        0 => Ok(value),
        more => Err(CborError::Trailing(more)),
    }
}

fn left(mut reader: SliceReader<'_>) -> usize {
    let Ok(rest) = cbor4ii::core::dec::Read::fill(&mut reader, usize::MAX);
    rest.as_ref().len()
}

/// What is written is put behind what is there.
struct Appended<'a>(&'a mut Vec<u8>);

impl enc::Write for Appended<'_> {
    type Error = Infallible;

    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{ClientFrame, JobId, LogTime, NewJob, Request, Task};
    use serde::Deserialize;

    fn frame() -> ClientFrame {
        let task = Task::Handler("send".parse().unwrap());
        let job = NewJob::new(JobId::new(LogTime::from_ms(9), [7; 10]), "mail".parse().unwrap(), task, vec![1; 300]);
        ClientFrame { id: u64::MAX, request: Request::Enqueue { jobs: vec![job], all_or_none: true } }
    }

    #[test]
    fn another_implementation_writes_and_reads_the_same_bytes() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        write(&frame(), &mut ours).unwrap();
        ciborium::into_writer(&frame(), &mut theirs).unwrap();
        assert_eq!(ours, theirs);
        assert_eq!(ciborium::from_reader::<ClientFrame, _>(&*ours).unwrap(), frame());
        assert_eq!(read::<ClientFrame>(&theirs).unwrap(), frame());
    }

    #[test]
    fn bytes_behind_a_value_are_refused() {
        let mut bytes = Vec::new();
        write(&frame(), &mut bytes).unwrap();
        bytes.extend([0, 0]);
        assert_eq!(read::<ClientFrame>(&bytes), Err(CborError::Trailing(2)));
    }

    #[test]
    fn nesting_and_lengths_beyond_all_reason_are_refused() {
        #[derive(Debug, Deserialize)]
        struct Empty {}
        let nested = [vec![0xA1, 0x61, b'x'], vec![0x81; 1 << 20]].concat();
        assert!(matches!(read::<Empty>(&nested), Err(CborError::Malformed(_))));
        for head in [0x5B, 0x7B, 0x9B, 0xBB] {
            let endless = [&[head][..], &[0xFF; 8]].concat();
            assert!(matches!(read::<Vec<u64>>(&endless), Err(CborError::Malformed(_))));
            let hidden = [&[0xA1, 0x61, b'x'][..], &endless].concat();
            assert!(matches!(read::<Empty>(&hidden), Err(CborError::Malformed(_))));
        }
    }

    #[test]
    fn a_value_that_has_no_cbor_leaves_nothing_behind() {
        struct Odd;
        impl Serialize for Odd {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut tuple = serializer.serialize_tuple(2)?;
                serde::ser::SerializeTuple::serialize_element(&mut tuple, &1)?;
                Err(serde::ser::Error::custom("odd"))
            }
        }
        let mut bytes = vec![9];
        assert_eq!(write(&Odd, &mut bytes), Err(CborError::Malformed("odd".to_owned())));
        assert_eq!(bytes, [9]);
    }
}
