//! The keys that describe a job in a TOML file, the same wherever one stands: in a workflow, behind it, or in a schedule.
//!
//! [`job_table`] declares a table that has them and some of its own, so that each error, an unknown key among them, knows
//! its line and all keys that could have been meant.

use super::{JobSpec, Options, What};
use crate::command::job::{payload, unique};
use crate::command::value;
use crate::failure::Failure;
use bytes::Bytes;
use jobraft_node::config::{ConfigError, Source, nearest};
use jobraft_protocol::limits::{ATTEMPTS_MAX, CRASHES_MAX, PRIORITY_MAX};
use jobraft_protocol::{Backoff, GroupKey, ModuleRef, OnConflict, QueueName, TaskName, Unique, UniqueKey};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Where a job waits that does not say.
const QUEUE_DEFAULT: &str = "default";

/// Declares a table that describes a job, with keys of its own besides.
macro_rules! job_table {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            queue: Option<jobraft_protocol::QueueName>,
            #[serde(default, deserialize_with = "crate::command::work::keys::module")]
            module: Option<jobraft_protocol::ModuleRef>,
            task: Option<jobraft_protocol::TaskName>,
            payload: Option<String>,
            file: Option<std::path::PathBuf>,
            #[serde(default, deserialize_with = "crate::command::work::keys::priority")]
            priority: Option<u8>,
            group: Option<jobraft_protocol::GroupKey>,
            #[serde(default, deserialize_with = "crate::command::work::keys::wait")]
            ttl: Option<std::time::Duration>,
            #[serde(default, deserialize_with = "crate::command::work::keys::wait")]
            start_deadline: Option<std::time::Duration>,
            #[serde(default, deserialize_with = "crate::command::work::keys::max_attempts")]
            max_attempts: Option<u32>,
            #[serde(default, deserialize_with = "crate::command::work::keys::backoff")]
            backoff: Option<jobraft_protocol::Backoff>,
            #[serde(default, deserialize_with = "crate::command::work::keys::max_crashes")]
            max_crashes: Option<u32>,
            #[serde(default, deserialize_with = "crate::command::work::keys::run_time")]
            timeout: Option<std::time::Duration>,
            #[serde(default, deserialize_with = "crate::command::work::keys::unique_key")]
            unique: Option<jobraft_protocol::Unique>,
            $($(#[$attribute])* $field: $kind,)*
        }

        impl $name {
            /// Takes out what describes the job.
            fn take_job(&mut self) -> crate::command::work::JobKeys {
                crate::command::work::JobKeys {
                    queue: self.queue.take(),
                    module: self.module.take(),
                    task: self.task.take(),
                    payload: self.payload.take(),
                    file: self.file.take(),
                    priority: self.priority,
                    group: self.group.take(),
                    ttl: self.ttl,
                    start_deadline: self.start_deadline,
                    max_attempts: self.max_attempts,
                    backoff: self.backoff.take(),
                    max_crashes: self.max_crashes,
                    timeout: self.timeout,
                    unique: self.unique.take(),
                }
            }
        }
    };
}
pub(in crate::command) use job_table;

/// What a table says of a job, each value within its domain. Each field means what the flag of its name does.
#[derive(Clone, Debug)]
pub(in crate::command) struct JobKeys {
    pub(in crate::command) queue: Option<QueueName>,
    pub(in crate::command) module: Option<ModuleRef>,
    pub(in crate::command) task: Option<TaskName>,
    pub(in crate::command) payload: Option<String>,
    pub(in crate::command) file: Option<PathBuf>,
    pub(in crate::command) priority: Option<u8>,
    pub(in crate::command) group: Option<GroupKey>,
    pub(in crate::command) ttl: Option<Duration>,
    pub(in crate::command) start_deadline: Option<Duration>,
    pub(in crate::command) max_attempts: Option<u32>,
    pub(in crate::command) backoff: Option<Backoff>,
    pub(in crate::command) max_crashes: Option<u32>,
    pub(in crate::command) timeout: Option<Duration>,
    pub(in crate::command) unique: Option<Unique>,
}

impl JobKeys {
    /// The job; `path` is where its table stands in the file. Reads its payload if that is in a file of its own.
    pub(in crate::command) fn spec(self, source: &Source, path: &[&str]) -> Result<JobSpec, ConfigError> {
        let invalid = |key: &str, message: String| source.invalid(&[path, &[key]].concat(), message);
        let what = match (self.module, self.task) {
            (Some(module), None) => What::Module(module),
            (None, Some(task)) => What::Task(task),
            (Some(_), Some(_)) => return Err(invalid("task", "a job runs a module or a task, not both".to_owned())),
            (None, None) => {
                return Err(source.invalid(path, "nothing says what to run: `module` or `task` is missing"));
            }
        };
        let told = |failure: Failure| failure.to_string();
        let payload = match (self.payload, self.file) {
            (None, None) => Bytes::new(),
            (Some(text), None) => payload::from_text(text).map_err(|failure| invalid("payload", told(failure)))?,
            (None, Some(file)) => {
                payload::from_file(&source.resolve(&file)).map_err(|failure| invalid("file", told(failure)))?
            }
            (Some(_), Some(_)) => {
                return Err(invalid("file", "a payload stands here or in a file, not in both".to_owned()));
            }
        };
        let queue = match self.queue {
            Some(queue) => queue,
            None => QueueName::new(QUEUE_DEFAULT).map_err(|error| invalid("queue", error.to_string()))?,
        };
        let options = Options {
            priority: self.priority,
            max_attempts: self.max_attempts,
            run_timeout_ms: self.timeout.map(value::milliseconds),
            ttl_ms: self.ttl.map(value::milliseconds),
            start_deadline_ms: self.start_deadline.map(value::milliseconds),
            backoff: self.backoff,
            max_crashes: self.max_crashes,
            unique: self.unique,
            group: self.group,
            label: None,
        };
        Ok(JobSpec { queue, what, payload, options })
    }
}

/// Reads a text as `parse` takes it.
fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map(Some).map_err(D::Error::custom)
}

/// Reads a number within `allowed`.
fn number<'de, D: Deserializer<'de>>(deserializer: D, allowed: RangeInclusive<u32>) -> Result<u32, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let within = u32::try_from(number).ok().filter(|number| allowed.contains(number));
    within.ok_or_else(|| D::Error::custom(format!("{number} is not in {}..={}", allowed.start(), allowed.end())))
}

/// Reads one of a few by its name.
pub(in crate::command) fn named<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    let value = all.iter().find(|value| name(**value) == text);
    value.copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|value| name(*value)).collect();
        let meant = nearest(&text, names.iter().copied()).map(|meant| format!("; did you mean {meant:?}?"));
        D::Error::custom(format!("{text:?} is none of {}{}", names.join(", "), meant.unwrap_or_default()))
    })
}

pub(in crate::command) fn module<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ModuleRef>, D::Error> {
    text(deserializer, str::parse)
}

pub(in crate::command) fn priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    Ok(u8::try_from(number(deserializer, 0..=PRIORITY_MAX.into())?).ok())
}

pub(in crate::command) fn max_attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    number(deserializer, 1..=ATTEMPTS_MAX).map(Some)
}

pub(in crate::command) fn max_crashes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    number(deserializer, 1..=CRASHES_MAX).map(Some)
}

pub(in crate::command) fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text(deserializer, value::wait)
}

pub(in crate::command) fn delay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text(deserializer, value::delay)
}

pub(in crate::command) fn run_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text(deserializer, value::run_time)
}

pub(in crate::command) fn backoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backoff>, D::Error> {
    text(deserializer, |text| jobraft_sdk::parse_backoff(text).map_err(|error| error.to_string()))
}

/// `"key"`, or `{ key = "key", scope = "10m", on_conflict = "reject" }`.
pub(in crate::command) fn unique_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Unique>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parts {
        key: UniqueKey,
        scope: Option<String>,
        on_conflict: Option<String>,
    }
    struct UniqueVisitor;
    impl<'de> Visitor<'de> for UniqueVisitor {
        type Value = Unique;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(
                "a unique key: \"reindex\", or { key = \"reindex\", scope = \"10m\", on_conflict = \"reject\" }",
            )
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Unique, E> {
            Ok(Unique {
                key: UniqueKey::new(text).map_err(E::custom)?,
                scope: Default::default(),
                on_conflict: OnConflict::default(),
            })
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Unique, A::Error> {
            let parts = Parts::deserialize(MapAccessDeserializer::new(map))?;
            let scope = parts.scope.map(|text| unique::scope(&text)).transpose().map_err(A::Error::custom)?;
            let conflict = parts.on_conflict.map(|text| unique::on_conflict(&text)).transpose();
            Ok(Unique {
                key: parts.key,
                scope: scope.unwrap_or_default(),
                on_conflict: conflict.map_err(A::Error::custom)?.unwrap_or_default(),
            })
        }
    }
    deserializer.deserialize_any(UniqueVisitor).map(Some)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::UniqueScope;

    job_table! {
        /// A table with a key of its own.
        Table {
            own: Option<u8>,
        }
    }

    fn read(text: &str) -> Result<(JobSpec, Option<u8>), ConfigError> {
        let source = Source::from_text("dir/job.toml", text);
        let mut table: Table = source.parse()?;
        Ok((table.take_job().spec(&source, &[])?, table.own))
    }

    #[test]
    fn every_key_reaches_the_job() {
        let (spec, own) = read(
            "queue = \"q\"\nmodule = \"m@1\"\npayload = \"text\"\npriority = 0\ngroup = \"g\"\nttl = \"1s\"\n\
             start_deadline = \"2s\"\nmax_attempts = 3\nbackoff = \"fixed:4s\"\nmax_crashes = 5\ntimeout = \"6s\"\n\
             unique = { key = \"k\", scope = \"10m\", on_conflict = \"reject\" }\nown = 7\n",
        )
        .unwrap();
        assert_eq!((spec.queue.as_str(), &spec.payload[..], own), ("q", &b"text"[..], Some(7)));
        assert_eq!(spec.what, What::Module("m@1".parse().unwrap()));
        let unique =
            Unique { key: "k".parse().unwrap(), scope: UniqueScope::ForMs(600_000), on_conflict: OnConflict::Reject };
        let options = Options {
            priority: Some(0),
            max_attempts: Some(3),
            run_timeout_ms: Some(6_000),
            ttl_ms: Some(1_000),
            start_deadline_ms: Some(2_000),
            backoff: Some(jobraft_sdk::parse_backoff("fixed:4s").unwrap()),
            max_crashes: Some(5),
            unique: Some(unique),
            group: Some("g".parse().unwrap()),
            label: None,
        };
        assert_eq!(spec.options, options);
        let (spec, _) = read("task = \"t\"\nunique = \"k\"\n").unwrap();
        assert_eq!((spec.queue.as_str(), spec.what), ("default", What::Task("t".parse().unwrap())));
        assert_eq!(spec.options.unique.unwrap().scope, UniqueScope::UntilDone);
    }

    #[test]
    fn every_error_names_line_key_and_what_is_allowed() {
        for (text, words) in [
            ("queue = \"q\"\n", &["`module` or `task` is missing"][..]),
            ("module = \"m\"\ntask = \"t\"\n", &["line 2", "`task`", "not both"]),
            ("task = \"t\"\npayload = \"p\"\nfile = \"f\"\n", &["line 3", "`file`", "not in both"]),
            ("task = \"t\"\nfile = \"none.txt\"\n", &["line 2", "`file`", "dir/none.txt"]),
            ("task = \"a b\"\n", &["line 1", "`task`", "letters, digits"]),
            ("module = \"sha256:12\"\n", &["line 1", "`module`", "64 hexadecimal"]),
            ("task = \"t\"\npriority = 10\n", &["line 2", "`priority`", "10 is not in 0..=9"]),
            ("task = \"t\"\npriority = \"high\"\n", &["line 2", "`priority`", "high"]),
            ("task = \"t\"\nmax_attempts = 0\n", &["line 2", "`max_attempts`", "0 is not in 1..=1000"]),
            ("task = \"t\"\nmax_crashes = -1\n", &["line 2", "`max_crashes`", "-1 is not in 1..=100"]),
            ("task = \"t\"\ntimeout = \"13h\"\n", &["line 2", "`timeout`", "13h", "12 h"]),
            ("task = \"t\"\nttl = \"0s\"\n", &["line 2", "`ttl`", "0s", "366 d"]),
            ("task = \"t\"\nstart_deadline = 5\n", &["line 2", "`start_deadline`", "5"]),
            ("task = \"t\"\nbackoff = \"often\"\n", &["line 2", "`backoff`", "often"]),
            ("task = \"t\"\nunique = \"\"\n", &["line 2", "`unique`", "empty"]),
            ("task = \"t\"\nunique = { key = \"k\", scope = \"ever\" }\n", &["line 2", "unique", "ever", "done"]),
            (
                "task = \"t\"\nunique = { key = \"k\", on_conflict = \"replce\" }\n",
                &["line 2", "replce", "\"replace\"?"],
            ),
            ("task = \"t\"\nunique = { kye = \"k\" }\n", &["line 2", "unique.kye", "did you mean `key`?"]),
            ("task = \"t\"\nprioritty = 1\n", &["line 2", "`prioritty`", "did you mean `priority`?"]),
            ("task = \"t\"\nonw = 1\n", &["line 2", "`onw`", "own"]),
        ] {
            let error = read(text).unwrap_err().to_string();
            for word in words.iter().chain(&["job.toml"]) {
                assert!(error.contains(word), "{word:?} is not in {error:?} for {text:?}");
            }
        }
    }
}
