//! The file: TOML, each error with file, line and key.

use super::keys::{Bound, Bytes, Jobs, Keep, Mode, Pace, Weight};
use crate::command::schedule::plan::ScheduleSpec;
use crate::command::work::Options;
use crate::command::work::keys::{job_table, named};
use jobraft_node::config::{ConfigError, Source};
use jobraft_node::cron::Cron;
use jobraft_protocol::{
    CatchUp, GroupKey, GroupSetting, Label, Overlap, QueueName, QueueSetting, Rate, Retention, ScheduleName, limits,
};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::Path;

/// The time zone of a schedule that does not say.
const TIME_ZONE_DEFAULT: &str = "UTC";

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SettingsFile {
    /// Whether an enqueue makes a queue that is not there; absent: stays as it is.
    pub(super) create_queues: Option<bool>,
    /// The queues, by name.
    pub(super) queues: BTreeMap<QueueName, QueueWishes>,
    /// The schedules, by name.
    pub(super) schedules: BTreeMap<ScheduleName, ScheduleSpec>,
}

/// What is to be set of a queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct QueueWishes {
    /// Of the queue itself.
    pub(super) settings: Vec<QueueSetting>,
    /// Of its groups, by key.
    pub(super) groups: BTreeMap<GroupKey, Vec<GroupSetting>>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    cluster: WrittenCluster,
    #[serde(default)]
    queues: BTreeMap<String, WrittenQueue>,
    #[serde(default)]
    schedules: BTreeMap<String, WrittenSchedule>,
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
    concurrency: Option<Bound<Jobs>>,
    rate: Option<Pace>,
    group_concurrency: Option<Bound<Jobs>>,
    group_rate: Option<Pace>,
    #[serde(default)]
    groups: BTreeMap<String, WrittenGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGroup {
    weight: Option<Bound<Weight>>,
    concurrency: Option<Bound<Jobs>>,
    rate: Option<Pace>,
}

job_table! {
    /// A schedule: when, and the job.
    WrittenSchedule {
        cron: String,
        time_zone: Option<String>,
        #[serde(default, deserialize_with = "catch_up")]
        catch_up: Option<CatchUp>,
        #[serde(default, deserialize_with = "overlap")]
        overlap: Option<Overlap>,
        label: Option<Label>,
        paused: Option<bool>,
    }
}

fn catch_up<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CatchUp>, D::Error> {
    named(deserializer, &CatchUp::ALL, CatchUp::as_str).map(Some)
}

fn overlap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Overlap>, D::Error> {
    named(deserializer, &Overlap::ALL, Overlap::as_str).map(Some)
}

impl SettingsFile {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Source::read(file)?)
    }

    fn parse(source: &Source) -> Result<Self, ConfigError> {
        let written: Written = source.parse()?;
        let mut file = Self { create_queues: written.cluster.create_queues, ..Self::default() };
        for (name, queue) in written.queues {
            let parsed = QueueName::new(&name);
            let parsed = parsed.map_err(|error| source.invalid(&["queues", &name], format!("{name:?}: {error}")))?;
            file.queues.insert(parsed, queue.wishes(source, &["queues", &name])?);
        }
        for (name, schedule) in written.schedules {
            let path = ["schedules", &name];
            let parsed = ScheduleName::new(&name);
            let parsed = parsed.map_err(|error| source.invalid(&path, format!("{name:?}: {error}")))?;
            file.schedules.insert(parsed, schedule.spec(source, &path)?);
        }
        Ok(file)
    }
}

impl WrittenQueue {
    fn wishes(mut self, source: &Source, path: &[&str]) -> Result<QueueWishes, ConfigError> {
        let mut wishes = QueueWishes::default();
        for (name, group) in std::mem::take(&mut self.groups) {
            let path = [path, &["groups", &name]].concat();
            let key = GroupKey::new(&name).map_err(|error| source.invalid(&path, format!("{name:?}: {error}")))?;
            let settings = group.settings().map(|(name, setting)| {
                let within = setting.and_then(|setting| setting.check().map(|()| setting));
                within.map_err(|error| source.invalid(&[&path[..], &[name]].concat(), error))
            });
            wishes.groups.insert(key, settings.collect::<Result<_, _>>()?);
        }
        for (key, setting) in self.settings() {
            setting.check().map_err(|error| source.invalid(&[path, &[key]].concat(), error))?;
            wishes.settings.push(setting);
        }
        Ok(wishes)
    }

    /// The keys that are there, as settings.
    fn settings(self) -> impl Iterator<Item = (&'static str, QueueSetting)> {
        let keep = |key, kept: Option<Keep>, setting: fn(Option<Retention>) -> QueueSetting| {
            kept.map(|kept| (key, setting(kept.0)))
        };
        let bound = |key, bound: Option<u64>, setting: fn(Option<u64>) -> QueueSetting| (key, setting(bound));
        let pace = |key, pace: Option<Pace>, setting: fn(Option<Rate>) -> QueueSetting| {
            pace.map(|pace| (key, setting(pace.0)))
        };
        [
            self.mode.map(|mode| ("mode", QueueSetting::Mode(mode.0))),
            self.max_jobs.map(|jobs| bound("max_jobs", jobs.value, QueueSetting::DepthMax)),
            self.max_bytes.map(|bytes| bound("max_bytes", bytes.value, QueueSetting::BytesMax)),
            keep("keep_completed", self.keep_completed, QueueSetting::KeepCompleted),
            keep("keep_dead", self.keep_dead, QueueSetting::KeepDead),
            keep("keep_cancelled", self.keep_cancelled, QueueSetting::KeepCancelled),
            keep("keep_expired", self.keep_expired, QueueSetting::KeepExpired),
            self.concurrency.map(|jobs| bound("concurrency", jobs.value, QueueSetting::Concurrency)),
            pace("rate", self.rate, QueueSetting::Rate),
            self.group_concurrency.map(|jobs| bound("group_concurrency", jobs.value, QueueSetting::GroupConcurrency)),
            pace("group_rate", self.group_rate, QueueSetting::GroupRate),
        ]
        .into_iter()
        .flatten()
    }
}

impl WrittenGroup {
    /// The keys that are there, as settings; an error is of a value that no such setting can have.
    fn settings(self) -> impl Iterator<Item = (&'static str, Result<GroupSetting, String>)> {
        let weight = |bound: Bound<Weight>| match bound.value {
            None => Ok(GroupSetting::Weight(None)),
            Some(weight) => match u32::try_from(weight) {
                Ok(weight) => Ok(GroupSetting::Weight(Some(weight))),
                Err(_) => Err(format!("weight {weight} is not in 1..={}", limits::GROUP_WEIGHT_MAX)),
            },
        };
        [
            self.weight.map(|bound| ("weight", weight(bound))),
            self.concurrency.map(|bound| ("concurrency", Ok(GroupSetting::Concurrency(bound.value)))),
            self.rate.map(|pace| ("rate", Ok(GroupSetting::Rate(pace.0)))),
        ]
        .into_iter()
        .flatten()
    }
}

impl WrittenSchedule {
    fn spec(mut self, source: &Source, path: &[&str]) -> Result<ScheduleSpec, ConfigError> {
        let mut job = self.take_job().spec(source, path)?;
        job.options = Options { label: self.label, ..job.options };
        let time_zone = self.time_zone.unwrap_or_else(|| TIME_ZONE_DEFAULT.to_owned());
        Cron::parse(&self.cron, &time_zone).map_err(|error| {
            let key = if error.is_of_time_zone() { "time_zone" } else { "cron" };
            source.invalid(&[path, &[key]].concat(), error.to_string())
        })?;
        Ok(ScheduleSpec {
            cron: self.cron,
            time_zone,
            job,
            catch_up: self.catch_up.unwrap_or_default(),
            overlap: self.overlap.unwrap_or_default(),
            paused: self.paused,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::command::work::What;
    use jobraft_protocol::QueueMode;

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
            file.queues[&"emails".parse::<QueueName>().unwrap()].settings,
            [
                QueueSetting::Mode(QueueMode::Paused),
                QueueSetting::DepthMax(Some(5)),
                QueueSetting::BytesMax(Some(2 << 20)),
                QueueSetting::KeepCompleted(Some(hour)),
                QueueSetting::KeepDead(None),
                QueueSetting::KeepExpired(Some(Retention::for_ms(0))),
            ]
        );
        assert_eq!(file.queues[&"plain".parse::<QueueName>().unwrap()], QueueWishes::default());
        assert_eq!(parse("").unwrap(), SettingsFile::default());
    }

    #[test]
    fn limits_of_a_queue_and_of_its_groups_are_wishes() {
        let file = parse(
            "[queues.q]\nconcurrency = 5\nrate = \"100/1m\"\ngroup_concurrency = \"default\"\n\
             group_rate = { count = 1, per = \"2s\", burst = 3 }\n\n[queues.q.groups.\"tenant 1\"]\nweight = 4\n\
             concurrency = 2\nrate = \"default\"\n\n[queues.q.groups.idle]\n",
        )
        .unwrap();
        let wishes = &file.queues[&"q".parse::<QueueName>().unwrap()];
        assert_eq!(
            wishes.settings,
            [
                QueueSetting::Concurrency(Some(5)),
                QueueSetting::Rate(Some(Rate::new(100, 60_000))),
                QueueSetting::GroupConcurrency(None),
                QueueSetting::GroupRate(Some(Rate { burst: Some(3), ..Rate::new(1, 2_000) })),
            ]
        );
        assert_eq!(
            wishes.groups[&GroupKey::new("tenant 1").unwrap()],
            [GroupSetting::Weight(Some(4)), GroupSetting::Concurrency(Some(2)), GroupSetting::Rate(None)]
        );
        assert!(wishes.groups[&GroupKey::new("idle").unwrap()].is_empty());
    }

    #[test]
    fn a_schedule_is_all_that_its_section_says() {
        let file = parse(
            "[schedules.nightly]\ncron = \"0 3 * * *\"\ntime_zone = \"Europe/Berlin\"\nqueue = \"reports\"\n\
             module = \"report\"\npayload = \"all\"\nmax_attempts = 3\ncatch_up = \"one\"\noverlap = \"skip\"\n\
             label = \"night\"\npaused = true\n\n[schedules.hourly]\ncron = \"@hourly\"\ntask = \"t\"\n",
        )
        .unwrap();
        let nightly = &file.schedules[&"nightly".parse::<ScheduleName>().unwrap()];
        assert_eq!((nightly.cron.as_str(), nightly.time_zone.as_str()), ("0 3 * * *", "Europe/Berlin"));
        assert_eq!(nightly.job.what, What::Module("report".parse().unwrap()));
        assert_eq!((nightly.job.queue.as_str(), &nightly.job.payload[..]), ("reports", &b"all"[..]));
        assert_eq!(nightly.job.options.max_attempts, Some(3));
        assert_eq!(nightly.job.options.label, Some("night".parse().unwrap()));
        assert_eq!((nightly.catch_up, nightly.overlap, nightly.paused), (CatchUp::One, Overlap::Skip, Some(true)));
        let hourly = &file.schedules[&"hourly".parse::<ScheduleName>().unwrap()];
        assert_eq!((hourly.time_zone.as_str(), hourly.paused), ("UTC", None));
        assert_eq!((hourly.catch_up, hourly.overlap), (CatchUp::Skip, Overlap::Allow));
    }

    #[test]
    fn every_error_names_file_line_key_value_and_what_is_allowed() {
        for (text, words) in [
            ("\n[queues.q]\nmode = \"shut\"\n", &["line 3", "queues.q.mode", "shut", "open, paused, draining"][..]),
            ("[queues.q]\nmode = \"opne\"\n", &["line 2", "queues.q.mode", "did you mean \"open\"?"]),
            ("[queues.q]\nmax_job = 1\n", &["line 2", "queues.q.max_job", "did you mean `max_jobs`?"]),
            ("[queues.q]\nconcurrency = 0\n", &["line 2", "queues.q.concurrency", "0", "pause it"]),
            ("[queues.q]\ngroup_concurrency = 1000001\n", &["line 2", "queues.q.group_concurrency", "1..=1000000"]),
            ("[queues.q]\nrate = \"0/1m\"\n", &["line 2", "queues.q.rate", "0/1m", "1..=1000000"]),
            ("[queues.q]\nrate = \"fast\"\n", &["line 2", "queues.q.rate", "fast", "100/1m"]),
            ("[queues.q]\nrate = 5\n", &["line 2", "queues.q.rate", "5", "100/1m"]),
            ("[queues.q]\nrate = { count = 5, per = \"0s\" }\n", &["line 2", "queues.q.rate", "period", "1..="]),
            (
                "[queues.q]\nrate = { count = 5, pre = \"1s\" }\n",
                &["line 2", "queues.q.rate.pre", "did you mean `per`?"],
            ),
            ("[queues.q.groups.g]\nweight = 0\n", &["line 2", "queues.q.groups.g.weight", "0 is not in 1..=1000"]),
            ("[queues.q.groups.g]\nweight = 1001\n", &["line 2", "queues.q.groups.g.weight", "1001", "1..=1000"]),
            ("[queues.q.groups.g]\nweight = 5000000000\n", &["line 2", "groups.g.weight", "5000000000", "1..=1000"]),
            ("[queues.q.groups.g]\nweigth = 1\n", &["line 2", "queues.q.groups.g.weigth", "did you mean `weight`?"]),
            ("[queues.q.groups.g]\nconcurrency = -1\n", &["line 2", "queues.q.groups.g.concurrency", "-1"]),
            ("[queues.q.groups.\"\"]\nweight = 1\n", &["line 1", "queues.q.groups.", "empty"]),
            ("[queues.q.group.g]\nweight = 1\n", &["line 1", "queues.q.group", "did you mean `groups`?"]),
            ("[schedules.s]\ntask = \"t\"\n", &["line 1", "schedules.s", "missing field `cron`"]),
            ("[schedules.s]\ncron = \"0 3 * *\"\ntask = \"t\"\n", &["line 2", "schedules.s.cron", "4 fields"]),
            ("[schedules.s]\ncron = \"0 3 * * MOM\"\ntask = \"t\"\n", &["line 2", "schedules.s.cron", "MOM", "`MON`?"]),
            ("[schedules.s]\ncron = \"@hourli\"\ntask = \"t\"\n", &["line 2", "schedules.s.cron", "`@hourly`?"]),
            (
                "[schedules.s]\ntask = \"t\"\ncron = \"@hourly\"\ntime_zone = \"Europe/Berlim\"\n",
                &["line 4", "schedules.s.time_zone", "Europe/Berlim", "`Europe/Berlin`?"],
            ),
            ("[schedules.s]\ncron = \"@hourly\"\n", &["line 1", "schedules.s", "`module` or `task` is missing"]),
            ("[schedules.s]\ncron = \"@hourly\"\ntask = \"t\"\nfile = \"no.txt\"\n", &["line 4", "schedules.s.file"]),
            ("[schedules.s]\ncron = \"@hourly\"\ntask = \"t\"\noverlap = \"queued\"\n", &["line 4", "\"queue\"?"]),
            ("[schedules.s]\ncron = \"@hourly\"\ntask = \"t\"\npriority = 10\n", &["line 4", "s.priority", "0..=9"]),
            ("[schedules.s]\ncron = \"@hourly\"\ntask = \"t\"\npriorty = 1\n", &["line 4", "s.priorty", "`priority`?"]),
            ("[schedules.\"a b\"]\ncron = \"@hourly\"\ntask = \"t\"\n", &["line 1", "schedules.a b", "letters"]),
            ("[schedule.s]\n", &["line 1", "schedule", "did you mean `schedules`?"]),
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
            ("[clusters]\n", &["line 1", "clusters", "did you mean `cluster`?"]),
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
        let most = file.queues.values().map(|queue| queue.settings.len()).max().unwrap();
        assert_eq!(most, 11, "no queue of the sample shows all keys");
        let groups = file.queues.values().flat_map(|queue| queue.groups.values()).map(Vec::len).max().unwrap();
        assert_eq!(groups, 3, "no group of the sample shows all keys");
        assert!(!file.schedules.is_empty());
    }
}
