//! `jobraft fleet quiet`, `stop` and `resume`: what workers are told.

use super::{is_lost, workers};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::{Exit, Failure};
use crate::output::{Output, human};
use clap::Args;
use jobraft_protocol::{Consistency, LogTime, WorkerId, WorkerOrder, WorkerView};
use jobraft_sdk::Client;
use serde::Serialize;

/// Characters of a worker's name that are shown.
const NAME_CHARS: usize = 40;

/// Whom to tell.
#[derive(Args, Debug)]
pub(super) struct OrderArgs {
    /// The workers, by id such as w17, or by name if only one has it
    #[arg(required = true, value_name = "WORKER")]
    workers: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct OrderedJson {
    id: String,
    name: String,
    order: WorkerOrder,
}

impl OrderArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs, order: WorkerOrder) -> Result<(), Failure> {
        let client = connection.client().await?;
        // All are found before any is told.
        let found = find_all(&client, &self.workers).await?;
        let output = Output::new();
        let mut told = Vec::new();
        for worker in found {
            let ordered = client.order_worker(worker.id, order).await;
            ordered.map_err(|error| failed(format!("tell worker {} to {order}", worker.id), &error))?;
            if !self.json {
                let name = human::one_line(&worker.info.name, NAME_CHARS);
                output.line(format!("worker {} ({name}) is told to {order}", worker.id))?;
            }
            told.push(OrderedJson { id: worker.id.to_string(), name: worker.info.name.clone(), order });
        }
        if self.json { output.json(&told) } else { Ok(()) }
    }
}

/// The workers of those ids, else of those names. There may be many workers: they are listed only if one is named.
async fn find_all(client: &Client, wanted: &[String]) -> Result<Vec<WorkerView>, Failure> {
    let mut found = Vec::new();
    let mut all = None;
    for wanted in wanted {
        if let Ok(id) = wanted.parse::<WorkerId>() {
            let worker = client.worker(id, Consistency::Linearizable).await;
            // An id is an id, whoever calls himself so.
            if let Some(worker) = worker.map_err(|error| failed(format!("find worker {id}"), &error))? {
                found.push(worker);
                continue;
            }
        }
        if all.is_none() {
            all = Some(workers(client).await?);
        }
        found.push(find_named(all.as_deref().unwrap_or_default(), wanted, client.log_time())?.clone());
    }
    Ok(found)
}

/// The only worker of that name. One that is lost is not meant if another has its name.
fn find_named<'a>(all: &'a [WorkerView], wanted: &str, now: LogTime) -> Result<&'a WorkerView, Failure> {
    let doing = || format!("find worker {}", human::one_line(wanted, NAME_CHARS));
    let mut named: Vec<&WorkerView> = all.iter().filter(|worker| worker.info.name == wanted).collect();
    if named.iter().any(|worker| !is_lost(worker, now)) {
        named.retain(|worker| !is_lost(worker, now));
    }
    match named[..] {
        [worker] => Ok(worker),
        [] => Err(Failure::new(doing(), "there is none of that id or name")
            .exit(Exit::NotFound)
            .hint("see who is there with `jobraft fleet list`")),
        _ => {
            let seen = |worker: &&WorkerView| {
                format!("{} (seen {})", worker.id, human::relative(worker.last_seen.min(now), now))
            };
            let candidates: Vec<String> = named.iter().map(seen).collect();
            let cause = format!("{} have that name: {}", named.len(), candidates.join(", "));
            Err(Failure::usage(doing(), cause).hint("say which by its id"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::testing::worker;
    use super::*;

    const NOW: LogTime = LogTime::from_ms(10_000_000);

    #[test]
    fn an_ambiguous_name_lists_the_candidates() {
        let all = [worker(3, "twin", NOW), worker(4, "twin", NOW), worker(5, "other", NOW)];
        let failure = find_named(&all, "twin", NOW).unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Usage);
        assert!(failure.to_string().contains("w3 (seen now), w4 (seen now)"), "{failure}");
        assert_eq!(find_named(&all, "other", NOW).unwrap().id, WorkerId(5));
    }

    #[test]
    fn one_that_is_lost_does_not_make_a_name_ambiguous() {
        let all = [worker(3, "twin", LogTime::ZERO), worker(4, "twin", NOW)];
        assert_eq!(find_named(&all, "twin", NOW).unwrap().id, WorkerId(4));
        assert_eq!(find_named(&all[..1], "twin", NOW).unwrap().id, WorkerId(3));
    }

    #[test]
    fn an_unknown_worker_is_not_found() {
        assert_eq!(find_named(&[], "w1", NOW).unwrap_err().exit_code(), Exit::NotFound);
    }
}
