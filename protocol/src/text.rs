//! Checked texts: what names and keys have in common.

use crate::namespace::{SEPARATOR, SEPARATOR_SHOWN};
use serde::de::Visitor;
use std::borrow::Cow;
use std::fmt;

/// A full name as people see it in the logs of nodes.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.contains(SEPARATOR) {
        text.replace(SEPARATOR, SEPARATOR_SHOWN.encode_utf8(&mut [0; 4])).into()
    } else {
        text.into()
    }
}

/// A type that holds a text which `$check` let through, and is cheap to clone.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $error:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) std::sync::Arc<str>);

        impl $name {
            #[doc = concat!("Checks `text` and makes it a ", $what, ".")]
            ///
            /// # Errors
            #[doc = concat!("A [`", stringify!($error), "`], which says what is permitted.")]
            pub fn new(text: &str) -> Result<Self, $error> {
                $check($what, text)?;
                Ok(Self(text.into()))
            }

            #[doc = concat!("The ", $what, " as text.")]
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::text::Texts($what, Self::new))
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.as_ref().into()
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&crate::text::shown(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", crate::text::shown(&self.0))
            }
        }
    };
}
pub(crate) use text;

/// Reads a text of that kind, without a copy but the one that is made of it.
pub(crate) struct Texts<T, E>(pub(crate) &'static str, pub(crate) fn(&str) -> Result<T, E>);

impl<T, E: fmt::Display> Visitor<'_> for Texts<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.0)
    }

    fn visit_str<F: serde::de::Error>(self, text: &str) -> Result<T, F> {
        self.1(text).map_err(F::custom)
    }
}
