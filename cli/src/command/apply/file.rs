//! The file: TOML, each error with file, line and key.

use crate::command::value;
use crate::output::human;
use jobraft_node::config::{ConfigError, Source};
use jobraft_protocol::{QueueMode, QueueName, QueueSetting, Retention};
use serde::de::{self, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, de::value::MapAccessDeserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SettingsFile {
    /// Whether an enqueue makes a queue that is not there; absent: stays as it is.
    pub(super) create_queues: Option<bool>,
    /// The queues, by name, each with what is to be set of it.
    pub(super) queues: BTreeMap<QueueName, Vec<QueueSetting>>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    cluster: WrittenCluster,
    #[serde(default)]
    queues: BTreeMap<String, WrittenQueue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCluster {
    create_queues: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQueue {
    mode: Option<Mode>,
    max_jobs: Option<Bound<Jobs>>,
    max_bytes: Option<Bound<Bytes>>,
    keep_completed: Option<Keep>,
    keep_dead: Option<Keep>,
    keep_cancelled: Option<Keep>,
    keep_expired: Option<Keep>,
}

/// A mode by its name.
struct Mode(QueueMode);
/// A number, a text that stands for one, or `"default"`.
struct Bound<Of> {
    value: Option<u64>,
    of: std::marker::PhantomData<Of>,
}
/// Jobs are counted.
struct Jobs;
/// Bytes have units.
struct Bytes;
/// `"1h"`, `"1h,1000"`, `{ age = "1h", count = 1000 }` or `"default"`.
struct Keep(Option<Retention>);

/// How a bound is written as text.
trait Unit {
    const EXPECTED: &'static str;
    fn parse(text: &str) -> Result<value::OrDefault<u64>, String>;
}

impl Unit for Jobs {
    const EXPECTED: &'static str = "a number of jobs such as 1000, or \"default\"";
    fn parse(text: &str) -> Result<value::OrDefault<u64>, String> {
        value::count_or_default(text)
    }
}

impl Unit for Bytes {
    const EXPECTED: &'static str = "a size such as \"256MiB\", a number of bytes, or \"default\"";
    fn parse(text: &str) -> Result<value::OrDefault<u64>, String> {
        value::size_or_default(text)
    }
}

impl SettingsFile {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Source::read(file)?)
    }

    fn parse(source: &Source) -> Result<Self, ConfigError> {
        let written: Written = source.parse()?;
        let mut queues = BTreeMap::new();
        for (name, queue) in written.queues {
            let parsed = QueueName::new(&name);
            let parsed = parsed.map_err(|error| source.invalid(&["queues", &name], format!("{name:?}: {error}")))?;
            let mut settings = Vec::new();
            for (key, setting) in queue.settings() {
                setting.check().map_err(|error| source.invalid(&["queues", &name, key], error))?;
                settings.push(setting);
            }
            queues.insert(parsed, settings);
        }
        Ok(Self { create_queues: written.cluster.create_queues, queues })
    }
}

impl WrittenQueue {
    /// The keys that are there, as settings.
    fn settings(self) -> impl Iterator<Item = (&'static str, QueueSetting)> {
        let keep = |key, kept: Option<Keep>, setting: fn(Option<Retention>) -> QueueSetting| {
            kept.map(|kept| (key, setting(kept.0)))
        };
        [
            self.mode.map(|mode| ("mode", QueueSetting::Mode(mode.0))),
            self.max_jobs.map(|bound| ("max_jobs", QueueSetting::DepthMax(bound.value))),
            self.max_bytes.map(|bound| ("max_bytes", QueueSetting::BytesMax(bound.value))),
            keep("keep_completed", self.keep_completed, QueueSetting::KeepCompleted),
            keep("keep_dead", self.keep_dead, QueueSetting::KeepDead),
            keep("keep_cancelled", self.keep_cancelled, QueueSetting::KeepCancelled),
            keep("keep_expired", self.keep_expired, QueueSetting::KeepExpired),
        ]
        .into_iter()
        .flatten()
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const MODES: [QueueMode; 3] = [QueueMode::Open, QueueMode::Paused, QueueMode::Draining];
        let text = String::deserialize(deserializer)?;
        let mode = MODES.into_iter().find(|mode| mode.as_str() == text);
        mode.map(Self).ok_or_else(|| D::Error::custom(format!("{text:?} is none of open, paused, draining")))
    }
}

impl<'de, Of: Unit> Deserialize<'de> for Bound<Of> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundVisitor<Of>(std::marker::PhantomData<Of>);
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
        let of = std::marker::PhantomData;
        Ok(Self { value: deserializer.deserialize_any(BoundVisitor::<Of>(of))?, of })
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn parse(text: &str) -> Result<SettingsFile, ConfigError> {
        SettingsFile::parse(&Source::from_text("queues.toml", text))
    }

    #[test]
    fn only_keys_that_are_there_are_wishes() {
        let file = parse(
            "[cluster]\ncreate_queues = false\n\n[queues.emails]\nmode = \"paused\"\nmax_jobs = 5\nmax_bytes = \"2MiB\"\n\
             keep_completed = { age = \"1h\", count = 7 }\nkeep_dead = \"default\"\nkeep_expired = \"0s\"\n\n[queues.plain]\n",
        )
        .unwrap();
        assert_eq!(file.create_queues, Some(false));
        let hour = Retention { age_ms: 3_600_000, count: Some(7) };
        assert_eq!(
            file.queues[&"emails".parse::<QueueName>().unwrap()],
            [
                QueueSetting::Mode(QueueMode::Paused),
                QueueSetting::DepthMax(Some(5)),
                QueueSetting::BytesMax(Some(2 << 20)),
                QueueSetting::KeepCompleted(Some(hour)),
                QueueSetting::KeepDead(None),
                QueueSetting::KeepExpired(Some(Retention::for_ms(0))),
            ]
        );
        assert!(file.queues[&"plain".parse::<QueueName>().unwrap()].is_empty());
        assert_eq!(parse("").unwrap(), SettingsFile { create_queues: None, queues: BTreeMap::new() });
    }

    #[test]
    fn every_error_names_file_line_key_value_and_what_is_allowed() {
        for (text, words) in [
            ("\n[queues.q]\nmode = \"shut\"\n", &["line 3", "queues.q.mode", "shut", "open, paused, draining"][..]),
            ("[queues.q]\nmax_job = 1\n", &["line 2", "queues.q", "max_job", "max_jobs"]),
            ("[queues.q]\nmax_jobs = 0\n", &["line 2", "queues.q.max_jobs", "0", "1..="]),
            ("[queues.q]\nmax_jobs = -1\n", &["line 2", "queues.q.max_jobs", "-1", "a number of jobs"]),
            ("[queues.q]\nmax_jobs = true\n", &["line 2", "queues.q.max_jobs", "true", "a number of jobs"]),
            ("[queues.q]\nmax_bytes = \"lots\"\n", &["line 2", "queues.q.max_bytes", "lots", "256MiB"]),
            ("[queues.q]\nmax_bytes = 10\n", &["line 2", "queues.q.max_bytes", "10", "1048576..="]),
            ("[queues.q]\nkeep_dead = \"soon\"\n", &["line 2", "queues.q.keep_dead", "soon", "24h"]),
            ("[queues.q]\nkeep_dead = 5\n", &["line 2", "queues.q.keep_dead", "5", "1h"]),
            ("[queues.q]\nkeep_dead = { ages = \"1h\" }\n", &["line 2", "queues.q.keep_dead", "ages", "age"]),
            ("[queues.q]\nkeep_dead = { age = \"1h,5\" }\n", &["line 2", "queues.q.keep_dead", "1h,5", "count"]),
            ("[queues.\"a b\"]\nmode = \"open\"\n", &["line 1", "queues.a b", "a b", "letters, digits"]),
            ("[cluster]\ncreate_queues = \"no\"\n", &["line 2", "cluster.create_queues", "no", "a boolean"]),
            ("[clusters]\n", &["line 1", "clusters", "cluster"]),
            ("[queues.q\n", &["line 1", "TOML"]),
        ] {
            let error = parse(text).unwrap_err().to_string();
            for word in words.iter().chain(&["queues.toml"]) {
                assert!(error.contains(word), "{word:?} is not in {error:?} for {text:?}");
            }
        }
    }

    #[test]
    fn the_sample_is_right_and_holds_every_key() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/queues.toml");
        let file = SettingsFile::read(&sample).unwrap();
        assert!(file.create_queues.is_some());
        let most = file.queues.values().map(Vec::len).max().unwrap();
        assert_eq!(most, 7, "no queue of the sample shows all keys");
    }
}
