//! The values of keys in the file: as text as flags take them, or as TOML has them.

use crate::command::value;
use crate::command::work::keys::named;
use crate::output::human;
use jobraft_protocol::{QueueMode, Rate, Retention};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A mode by its name.
#[derive(Debug)]
pub(super) struct Mode(pub(super) QueueMode);
/// A number, a text that stands for one, or `"default"`.
#[derive(Debug)]
pub(super) struct Bound<Of> {
    pub(super) value: Option<u64>,
    of: PhantomData<Of>,
}
/// Jobs are counted.
#[derive(Debug)]
pub(super) struct Jobs;
/// A group's share.
#[derive(Debug)]
pub(super) struct Weight;
/// `"100/1m"`, `"100/1m,burst=20"`, `{ count = 100, per = "1m", burst = 20 }` or `"default"`.
#[derive(Debug)]
pub(super) struct Pace(pub(super) Option<Rate>);
/// Bytes have units.
#[derive(Debug)]
pub(super) struct Bytes;
/// `"1h"`, `"1h,1000"`, `{ age = "1h", count = 1000 }` or `"default"`.
#[derive(Debug)]
pub(super) struct Keep(pub(super) Option<Retention>);

/// How a bound is written as text.
pub(super) trait Unit {
    const EXPECTED: &'static str;
    fn parse(text: &str) -> Result<value::OrDefault<u64>, String>;
}

impl Unit for Jobs {
    const EXPECTED: &'static str = "a number of jobs such as 1000, or \"default\"";
    fn parse(text: &str) -> Result<value::OrDefault<u64>, String> {
        value::count_or_default(text)
    }
}

impl Unit for Weight {
    const EXPECTED: &'static str = "a weight such as 3, or \"default\"";
    fn parse(text: &str) -> Result<value::OrDefault<u64>, String> {
        value::weight_or_default(text).map(|weight| value::OrDefault(weight.0.map(u64::from)))
    }
}

impl Unit for Bytes {
    const EXPECTED: &'static str = "a size such as \"256MiB\", a number of bytes, or \"default\"";
    fn parse(text: &str) -> Result<value::OrDefault<u64>, String> {
        value::size_or_default(text)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const MODES: [QueueMode; 3] = [QueueMode::Open, QueueMode::Paused, QueueMode::Draining];
        Ok(Self(named(deserializer, &MODES, QueueMode::as_str)?))
    }
}

impl<'de, Of: Unit> Deserialize<'de> for Bound<Of> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundVisitor<Of>(PhantomData<Of>);
        impl<Of: Unit> Visitor<'_> for BoundVisitor<Of> {
            type Value = Option<u64>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Of::EXPECTED)
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Some(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                let number = u64::try_from(value);
                number.map(Some).map_err(|_| E::custom(format!("{value} is not {}", Of::EXPECTED)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Of::parse(text).map(|bound| bound.0).map_err(E::custom)
            }
        }
        let of = PhantomData;
        Ok(Self { value: deserializer.deserialize_any(BoundVisitor::<Of>(of))?, of })
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            age: String,
            count: Option<u64>,
        }
        struct KeepVisitor;
        impl<'de> Visitor<'de> for KeepVisitor {
            type Value = Option<Retention>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("how long to keep jobs: \"1h\", { age = \"1h\", count = 1000 }, or \"default\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                value::retention_or_default(text).map(|kept| kept.0).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let parts = Parts::deserialize(MapAccessDeserializer::new(map))?;
                let age = value::retention(&parts.age).map_err(A::Error::custom)?;
                if age.count.is_some() {
                    let age = human::one_line(&parts.age, 100);
                    return Err(A::Error::custom(format!("{age:?} is not an age alone; count has a key of its own")));
                }
                Ok(Some(Retention { count: parts.count, ..age }))
            }
        }
        deserializer.deserialize_any(KeepVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            count: u64,
            per: String,
            burst: Option<u64>,
        }
        struct PaceVisitor;
        impl<'de> Visitor<'de> for PaceVisitor {
            type Value = Option<Rate>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate: \"100/1m\", { count = 100, per = \"1m\", burst = 20 }, or \"default\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                value::rate_or_default(text).map(|rate| rate.0).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let parts = Parts::deserialize(MapAccessDeserializer::new(map))?;
                let per = value::duration(&parts.per).map_err(A::Error::custom)?;
                let rate = Rate { count: parts.count, per_ms: value::milliseconds(per), burst: parts.burst };
                rate.check().map(|()| Some(rate)).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(PaceVisitor).map(Self)
    }
}
