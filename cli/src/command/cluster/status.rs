//! `jobraft cluster status`: every node as it sees itself.

use super::{Answer, survey};
use crate::connection::ConnectionArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Mood, Output, Table, human};
use clap::Args;
use jobraft_node::tls::ENDS_SOON;
use jobraft_protocol::{ClusterStatus, Role};
use serde::Serialize;
use time::OffsetDateTime;

/// Show every node: its role, and how far it has come
///
/// Each node is asked about itself, so this works without a majority. Exits with 4 if no node leads.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft cluster status
  jobraft cluster status --endpoint 127.0.0.1:7401,127.0.0.1:7402 --json")]
pub(super) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[derive(Serialize)]
struct NodeJson<'a> {
    node: Option<u64>,
    address: &'a str,
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a ClusterStatus>,
}

impl StatusArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let answers = survey(&connection.connection()?).await?;
        let output = Output::new();
        if self.json {
            output.json(&answers.iter().map(NodeJson::from).collect::<Vec<_>>())?;
        } else {
            show(&output, &answers)?;
        }
        if answers.iter().any(Answer::leads) {
            return Ok(());
        }
        let reachable = answers.iter().filter(|answer| answer.status.is_ok()).count();
        let cause = match reachable {
            0 => "no node can be reached".to_owned(),
            _ => format!("{reachable} of {} answer, none of them leads", human::count(answers.len(), "node")),
        };
        Err(Failure::new("find a leader", cause)
            .exit(Exit::Unavailable)
            .hint("a majority of the voters must be up and reach each other; their logs say more"))
    }
}

impl<'a> From<&'a Answer> for NodeJson<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self {
            node: answer.node.map(|node| node.0),
            address: answer.address.as_str(),
            reachable: answer.status.is_ok(),
            error: answer.status.as_ref().err().map(String::as_str),
            status: answer.status.as_ref().ok(),
        }
    }
}

fn show(output: &Output, answers: &[Answer]) -> Result<(), Failure> {
    if let Some(status) = answers.iter().find_map(|answer| answer.status.as_ref().ok()) {
        output.field("cluster", &status.cluster)?;
    }
    output.table(table(answers), "no endpoints")?;
    for answer in answers {
        if let Err(error) = &answer.status {
            output.line(output.paint().faint(format!("{}: {error}", answer.address)))?;
        }
    }
    let now_ms = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0) * 1_000;
    for ending in endings(answers, now_ms) {
        output.line(output.paint().bad(ending))?;
    }
    Ok(())
}

/// A line for each node whose certificate ends soon.
fn endings(answers: &[Answer], now_ms: u64) -> Vec<String> {
    let soon_ms = u64::try_from(ENDS_SOON.whole_milliseconds()).unwrap_or(u64::MAX);
    let statuses = answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    let ending = statuses.filter_map(|status| status.certificate_ends_at.map(|ends_at| (status.node, ends_at)));
    ending
        .filter(|(_, ends_at)| ends_at.saturating_sub(now_ms) < soon_ms)
        .map(|(node, ends_at)| {
            let when = match ends_at.saturating_sub(now_ms) {
                0 => "has ended".to_owned(),
                left if left < DAY_MS => "ends within a day".to_owned(),
                left => {
                    format!("ends in {}", human::count(usize::try_from(left / DAY_MS).unwrap_or(usize::MAX), "day"))
                }
            };
            format!("the certificate of node {node} {when}; renew it with: jobraft certs renew node-{node}")
        })
        .collect()
}

/// The nodes in a table.
pub(in crate::command) fn table(answers: &[Answer]) -> Table {
    let mut table = Table::new(&["NODE", "ADDRESS", "ROLE", ">TERM", ">LAST", ">APPLIED", ">CHECKPOINT", "VERSION"]);
    for answer in answers {
        let id = answer.node.map_or_else(|| "?".to_owned(), |node| node.to_string());
        let numbers = match &answer.status {
            Ok(status) => {
                [status.term, status.last_index, status.applied_index, status.checkpoint_index].map(|n| n.to_string())
            }
            Err(_) => [const { String::new() }; 4].map(|_| "-".to_owned()),
        };
        let (role, mood, version) = match &answer.status {
            Ok(status) => (status.role.to_string(), mood(status.role), status.version.clone()),
            Err(_) => ("unreachable".to_owned(), Mood::Bad, "-".to_owned()),
        };
        let named = [(id, Mood::Plain), (answer.address.to_string(), Mood::Plain), (role, mood)];
        let numbers = numbers.map(|number| (number, Mood::Plain));
        table.row(named.into_iter().chain(numbers).chain([(version, Mood::Plain)]));
    }
    table
}

fn mood(role: Role) -> Mood {
    match role {
        Role::Leader => Mood::Good,
        Role::Candidate | Role::Outside => Mood::Busy,
        Role::Follower | Role::Learner => Mood::Plain,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;
    use jobraft_protocol::{LogTime, NodeId};

    fn answers() -> Vec<Answer> {
        let status = ClusterStatus {
            cluster: "c".to_owned(),
            node: NodeId(1),
            role: Role::Leader,
            leader: Some(NodeId(1)),
            term: 3,
            last_index: 90,
            applied_index: 89,
            checkpoint_index: 70,
            time: LogTime::ZERO,
            version: "0.1.0".to_owned(),
            log_commits: None,
            certificate_ends_at: Some(1_900_000_000_000),
            members: Vec::new(),
        };
        let address = |port| format!("127.0.0.1:{port}").parse().unwrap();
        vec![
            Answer { address: address(1), node: Some(NodeId(1)), status: Ok(status) },
            Answer { address: address(2), node: None, status: Err("no answer".to_owned()) },
        ]
    }

    #[test]
    fn unreachable_node_is_shown_as_such() {
        let text = table(&answers()).render(Paint::never()).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["1", "127.0.0.1:1", "leader", "3", "90", "89", "70", "0.1.0"]);
        assert_eq!(rows[2], ["?", "127.0.0.1:2", "unreachable", "-", "-", "-", "-", "-"]);
    }

    #[test]
    fn a_certificate_is_told_of_from_thirty_days_before_its_end_on() {
        let answers = answers();
        let ends_at = 1_900_000_000_000;
        let lines = |days: u64| endings(&answers, ends_at - days * DAY_MS);
        assert!(lines(31).is_empty() && lines(30).is_empty());
        assert!(lines(29)[0].contains("node 1 ends in 29 days"), "{:?}", lines(29));
        assert!(lines(29)[0].contains("certs renew node-1"));
        assert!(lines(0)[0].contains("has ended"));
        assert!(endings(&answers, ends_at + DAY_MS)[0].contains("has ended"));
    }

    #[test]
    fn json_says_who_is_reachable() {
        let answers = answers();
        let json = serde_json::to_value(answers.iter().map(NodeJson::from).collect::<Vec<_>>()).unwrap();
        assert_eq!(json[0]["status"]["role"], "leader");
        assert_eq!(json[0]["status"]["certificate_ends_at"], 1_900_000_000_000_u64);
        assert_eq!(json[1]["reachable"], false);
        assert_eq!(json[1]["error"], "no answer");
    }
}
