//! `jobraft namespace list`: which namespaces there are, what they have and may have.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_protocol::{Consistency, NamespaceView, Rate};
use serde::Serialize;

/// List the namespaces that this client may enter: what they have, and how much they may have
///
/// JOBS counts those that have not ended, BYTES what waiting jobs and values hold; behind a slash stands the quota.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft namespace list
  jobraft namespace list --json | jq '.[] | {name, jobs}'")]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct NamespaceJson<'a> {
    name: &'a str,
    jobs: u64,
    jobs_max: Option<u64>,
    bytes: u64,
    bytes_max: Option<u64>,
    queues: u64,
    queues_max: Option<u64>,
    modules: u64,
    modules_max: Option<u64>,
    rate: Option<Rate>,
    created_at: Option<String>,
    created_by: &'a str,
}

impl ListArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let read = client.namespaces(Consistency::Linearizable).await;
        let namespaces = read.map_err(|error| failed("list namespaces", &error))?;
        let output = Output::new();
        if self.json {
            return output.json(&namespaces.iter().map(json).collect::<Vec<_>>());
        }
        output.table(table(&namespaces), "no namespace that this client may enter")
    }
}

fn json(namespace: &NamespaceView) -> NamespaceJson<'_> {
    let NamespaceView { name, created_at, created_by, quota, jobs, bytes, queues, modules } = namespace;
    NamespaceJson {
        name: name.as_str(),
        jobs: *jobs,
        jobs_max: quota.jobs,
        bytes: *bytes,
        bytes_max: quota.bytes,
        queues: *queues,
        queues_max: quota.queues,
        modules: *modules,
        modules_max: quota.modules,
        rate: quota.rate,
        created_at: created_at.map(human::timestamp),
        created_by,
    }
}

fn table(namespaces: &[NamespaceView]) -> Table {
    let mut table = Table::new(&["NAMESPACE", ">JOBS", ">BYTES", ">QUEUES", ">MODULES", "RATE", "BY"]);
    for namespace in namespaces {
        let quota = &namespace.quota;
        let of = |has: u64, most: Option<u64>, told: fn(u64) -> String| {
            let is_full = most.is_some_and(|most| has >= most);
            let most = most.map_or_else(String::new, |most| format!("/{}", told(most)));
            (format!("{}{most}", told(has)), if is_full { Mood::Bad } else { Mood::Plain })
        };
        let number = |number: u64| number.to_string();
        table.row([
            (namespace.name.to_string(), Mood::Plain),
            of(namespace.jobs, quota.jobs, number),
            of(namespace.bytes, quota.bytes, human::bytes),
            of(namespace.queues, quota.queues, number),
            of(namespace.modules, quota.modules, number),
            (quota.rate.as_ref().map_or_else(|| "-".to_owned(), human::rate), Mood::Plain),
            // The one that is always there was made by nobody.
            (if namespace.created_by.is_empty() { "-".to_owned() } else { namespace.created_by.clone() }, Mood::Plain),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::NamespaceQuota;

    #[test]
    fn what_it_has_stands_before_what_it_may_have() {
        let quota = NamespaceQuota { jobs: Some(10), bytes: Some(1 << 30), ..NamespaceQuota::default() };
        let namespace = NamespaceView {
            name: "acme".parse().unwrap(),
            created_at: None,
            created_by: "alice".to_owned(),
            quota,
            jobs: 10,
            bytes: 512,
            queues: 2,
            modules: 0,
        };
        let text = table(&[namespace]).render(Paint::never()).unwrap();
        assert!(text.contains("10/10") && text.contains("/1.0 GiB") && text.contains("alice"), "{text}");
    }
}
