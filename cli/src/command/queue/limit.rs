//! `jobraft queue limit`: how much of a queue runs at once, how fast, and how its groups share it.

use super::{existing, find};
use crate::command::settings::{self, Change, UNLIMITED};
use crate::command::value::{self, OrDefault};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::{Args, Subcommand};
use jobraft_protocol::{
    Consistency, GroupKey, GroupSetting, GroupSettings, GroupView, QueueName, QueueSetting, QueueSettings, Rate,
};
use serde::Serialize;

/// Characters of a group's key that fit into a row.
const KEY_CHARS: usize = 60;

/// Limit how many jobs of a queue run at once and how fast, as a whole and for each group
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue limit set emails --concurrency 50 --rate 100/1m
  jobraft queue limit set emails --group-concurrency 5
  jobraft queue limit set emails --group tenant-1 --weight 4 --concurrency 20
  jobraft queue limit show emails")]
pub(super) struct LimitArgs {
    #[command(subcommand)]
    command: LimitCommand,
}

#[derive(Debug, Subcommand)]
enum LimitCommand {
    Set(SetArgs),
    Show(ShowArgs),
}

/// Set limits of a queue, of each of its groups, or of one group
///
/// What is not named stays as it is; `default` takes a limit away, or of one group, lets it have what all have. A queue that
/// is not there is made. Limits hold in the whole cluster, whatever the number of workers.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue limit set emails --concurrency 50 --rate 100/1m,burst=20
  jobraft queue limit set emails --group-concurrency 5 --group-rate 10/1s
  jobraft queue limit set emails --group tenant-1 --weight 4 --concurrency 20
  jobraft queue limit set emails --group tenant-1 --concurrency default")]
struct SetArgs {
    /// The queue
    name: QueueName,
    /// Of this group alone
    #[arg(long, value_name = "KEY")]
    group: Option<GroupKey>,
    #[command(flatten)]
    wishes: Wishes,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = true)]
struct Wishes {
    /// How many of its jobs may run at once
    #[arg(long, value_name = "N|default", value_parser = value::count_or_default)]
    concurrency: Option<OrDefault<u64>>,
    /// How many attempts may begin in how much time, such as 100/1m; ,burst=20 is how many at once after a pause
    #[arg(long, value_name = "RATE|default", value_parser = value::rate_or_default)]
    rate: Option<OrDefault<Rate>>,
    /// How many jobs of each group may run at once
    #[arg(long, value_name = "N|default", value_parser = value::count_or_default, conflicts_with = "group")]
    group_concurrency: Option<OrDefault<u64>>,
    /// How many attempts of each group may begin in how much time
    #[arg(long, value_name = "RATE|default", value_parser = value::rate_or_default, conflicts_with = "group")]
    group_rate: Option<OrDefault<Rate>>,
    /// The group's share of the turns, in proportion to the others', which are 1
    #[arg(long, value_name = "N|default", value_parser = value::weight_or_default, requires = "group")]
    weight: Option<OrDefault<u32>>,
}

/// Show the limits of a queue, and its groups: how many jobs of each are where, and what they are set to
///
/// OPEN is how many of a group's ready jobs its own limits let run now. A limit in parentheses is that of all groups.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue limit show emails
  jobraft queue limit show emails --json | jq '.groups[] | select(.ready > 1000)'")]
struct ShowArgs {
    /// The queue
    name: QueueName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct LimitsJson<'a> {
    queue: &'a QueueName,
    concurrency: Option<u64>,
    rate: Option<Rate>,
    group_concurrency: Option<u64>,
    group_rate: Option<Rate>,
    groups: &'a [GroupView],
}

impl LimitArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        match self.command {
            LimitCommand::Set(args) => args.run(connection).await,
            LimitCommand::Show(args) => args.run(connection).await,
        }
    }
}

impl Wishes {
    /// Of the queue, each within its domain.
    fn of_queue(&self) -> Result<Vec<QueueSetting>, Failure> {
        let settings = [
            self.concurrency.map(|wish| QueueSetting::Concurrency(wish.0)),
            self.rate.map(|wish| QueueSetting::Rate(wish.0)),
            self.group_concurrency.map(|wish| QueueSetting::GroupConcurrency(wish.0)),
            self.group_rate.map(|wish| QueueSetting::GroupRate(wish.0)),
        ];
        checked(settings, QueueSetting::check)
    }

    /// Of a group, each within its domain.
    fn of_group(&self) -> Result<Vec<GroupSetting>, Failure> {
        let settings = [
            self.weight.map(|wish| GroupSetting::Weight(wish.0)),
            self.concurrency.map(|wish| GroupSetting::Concurrency(wish.0)),
            self.rate.map(|wish| GroupSetting::Rate(wish.0)),
        ];
        checked(settings, GroupSetting::check)
    }
}

fn checked<T>(
    settings: impl IntoIterator<Item = Option<T>>,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>, Failure> {
    let settings: Vec<T> = settings.into_iter().flatten().collect();
    let wrong = |error| Failure::usage("read what to set", error);
    settings.iter().try_for_each(check).map(|()| settings).map_err(wrong)
}

impl SetArgs {
    async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let (of_queue, of_group) = (self.wishes.of_queue()?, self.wishes.of_group()?);
        let client = connection.client().await?;
        let doing = format!("set the limits of queue {}", self.name);
        let now = find(&client, &self.name).await?;
        let changes = match &self.group {
            None => settings::changes(&self.name, now.as_ref(), &of_queue),
            Some(key) => {
                let groups = match now {
                    Some(_) => client.groups(&self.name, Consistency::Linearizable).await,
                    None => Ok(Vec::new()),
                };
                let groups = groups.map_err(|error| failed(&doing, &error))?;
                let set = groups.iter().find(|view| view.group == *key).map(|view| view.settings);
                settings::group_changes(&self.name, key, set, &of_group)
            }
        };
        if !changes.is_empty() {
            let set = client.configure(settings::wishes(&changes)?).await;
            set.map_err(|error| failed(&doing, &error))?;
        }
        let output = Output::new();
        if self.json {
            return output.json(&changes);
        }
        if changes.is_empty() {
            return output.line("nothing to change");
        }
        changes.iter().map(Change::told).try_for_each(|line| output.line(line))
    }
}

impl ShowArgs {
    async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let queue = existing(&client, &self.name).await?;
        let groups = client.groups(&self.name, Consistency::Linearizable).await;
        let groups = groups.map_err(|error| failed(format!("list the groups of queue {}", self.name), &error))?;
        let (output, set) = (Output::new(), &queue.settings);
        if self.json {
            return output.json(&LimitsJson {
                queue: &self.name,
                concurrency: set.concurrency,
                rate: set.rate,
                group_concurrency: set.group_concurrency,
                group_rate: set.group_rate,
                groups: &groups,
            });
        }
        output.table(limits(set), UNLIMITED)?;
        output.line("")?;
        output.table(table(&groups, set), "no groups: a job names one with `jobraft job enqueue --group KEY`")
    }
}

/// What the queue is limited to.
fn limits(set: &QueueSettings) -> Table {
    let mut table = Table::new(&["LIMIT", "VALUE"]);
    let rate = |rate: &Option<Rate>| rate.as_ref().map(human::rate);
    for (name, value) in [
        ("concurrency", set.concurrency.map(settings::jobs)),
        ("rate", rate(&set.rate)),
        ("group_concurrency", set.group_concurrency.map(settings::jobs)),
        ("group_rate", rate(&set.group_rate)),
    ] {
        table.row([name.to_owned(), value.unwrap_or_else(|| UNLIMITED.to_owned())].map(|cell| (cell, Mood::Plain)));
    }
    table
}

fn table(groups: &[GroupView], queue: &QueueSettings) -> Table {
    let mut table =
        Table::new(&["GROUP", ">WEIGHT", ">READY", ">LEASED", ">WAITING", ">OPEN", ">CONCURRENCY", ">RATE"]);
    // What is not the group's own holds for all of them.
    let own = |own: Option<String>, all: Option<String>| own.or_else(|| all.map(|all| format!("({all})")));
    for view in groups {
        let GroupSettings { concurrency, rate, .. } = view.settings;
        let concurrency =
            own(concurrency.map(|jobs| jobs.to_string()), queue.group_concurrency.map(|jobs| jobs.to_string()));
        let rate = own(rate.as_ref().map(human::rate), queue.group_rate.as_ref().map(human::rate));
        let held_back = view.ready > 0 && view.open == 0;
        table.row([
            (human::one_line(view.group.as_str(), KEY_CHARS), Mood::Plain),
            (view.settings.weight().to_string(), Mood::Plain),
            (view.ready.to_string(), Mood::Plain),
            (view.leased.to_string(), if view.leased == 0 { Mood::Plain } else { Mood::Busy }),
            (view.waiting.to_string(), Mood::Plain),
            (view.open.to_string(), if held_back { Mood::Busy } else { Mood::Plain }),
            (concurrency.unwrap_or_default(), Mood::Plain),
            (rate.unwrap_or_default(), Mood::Plain),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;

    fn group(key: &str, settings: GroupSettings) -> GroupView {
        GroupView { group: GroupKey::new(key).unwrap(), ready: 7, leased: 2, waiting: 1, open: 3, settings }
    }

    #[test]
    fn a_groups_own_limits_are_told_from_those_of_all() {
        let queue = QueueSettings {
            group_concurrency: Some(5),
            group_rate: Some(Rate::new(10, 1_000)),
            ..QueueSettings::default()
        };
        let own = GroupSettings { weight: Some(4), concurrency: Some(20), rate: None };
        let groups = [group("tenant-1", own), group("tenant 2", GroupSettings::default())];
        let text = table(&groups, &queue).render(Paint::never()).unwrap();
        let cells: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[0], ["GROUP", "WEIGHT", "READY", "LEASED", "WAITING", "OPEN", "CONCURRENCY", "RATE"]);
        assert_eq!(cells[1], ["tenant-1", "4", "7", "2", "1", "3", "20", "(10/1s)"]);
        assert_eq!(cells[2], ["tenant", "2", "1", "7", "2", "1", "3", "(5)", "(10/1s)"]);
        let text = table(&groups, &QueueSettings::default()).render(Paint::never()).unwrap();
        assert!(text.lines().nth(2).unwrap().ends_with("3"), "{text}");
        assert!(table(&[], &queue).render(Paint::never()).is_none());
    }

    #[test]
    fn every_limit_of_a_queue_is_shown_set_or_not() {
        let queue = QueueSettings { concurrency: Some(1), ..QueueSettings::default() };
        let text = limits(&queue).render(Paint::never()).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["concurrency", "1", "job"]);
        assert_eq!(lines[4], ["group_rate", "unlimited"]);
    }

    #[test]
    fn a_value_outside_its_domain_is_refused_by_name() {
        let none = Wishes { concurrency: Some(OrDefault(Some(0))), ..Wishes::default() };
        assert!(none.of_queue().unwrap_err().to_string().contains("pause it"));
        let heavy = Wishes { weight: Some(OrDefault(Some(1_001))), ..Wishes::default() };
        let failure = heavy.of_group().unwrap_err();
        assert!(failure.to_string().contains("weight 1001 is not in 1..=1000"), "{failure}");
    }
}
