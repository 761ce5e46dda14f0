//! Lists of short texts, read only as far as anybody could need them.
//!
//! A text of two bytes on the wire takes twenty times as much in memory, so that a frame of such texts would take far more
//! than a frame may. All other lists take little more in memory than on the wire.

use crate::limits::TEXTS_READ_MAX;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Reads a list of at most [`TEXTS_READ_MAX`].
pub(crate) fn texts<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Texts(PhantomData))
}

struct Texts<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Texts<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {TEXTS_READ_MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            if texts.len() == TEXTS_READ_MAX {
                return Err(A::Error::custom(format_args!("more than {TEXTS_READ_MAX} in one list")));
            }
            texts.push(text);
        }
        Ok(texts)
    }
}
