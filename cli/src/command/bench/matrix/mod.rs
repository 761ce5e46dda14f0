//! `jobraft bench --matrix`: what `docs/performance.md` is made of, scenario after scenario, each on nodes of its own.
//!
//! - `scenario`: which there are; `throughput`, `recovery`, `idle`: what they do.
//! - `site`: the nodes of one run; `pressure`: load in the background.
//! - `rows`: medians, ranges, and the table.

mod idle;
mod pressure;
mod recovery;
mod rows;
mod scenario;
mod site;
mod throughput;

use super::gauge::fdatasync_p50;
use super::load::wait_for_leader;
use crate::command::demo::Processes;
use crate::failure::Failure;
use crate::output::{Output, Progress};
use crate::shutdown::Shutdown;
use rows::Rows;
pub(super) use scenario::Scenario;
use site::Site;
use std::path::PathBuf;
use std::time::Duration;

/// What is to be measured.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub(super) scenarios: Vec<Scenario>,
    pub(super) repeat: u32,
    /// Jobs that wait where a scenario has many.
    pub(super) waiting: u64,
    /// How long each load goes on, after its warm-up.
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
    pub(super) dir: Option<PathBuf>,
    pub(super) json: bool,
}

impl Matrix {
    /// Measures everything, and prints what there is however that ends.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut shutdown = Shutdown::listen()?;
        let (mut rows, mut nodes) = (Rows::default(), None);
        let measured = tokio::select! {
            measured = self.measure(&mut nodes, &mut rows) => measured,
            reason = shutdown.requested() => Err(Failure::new("measure", format!("stopped by {reason}"))),
        };
        let cleared = match nodes {
            Some(nodes) => nodes.clear().await,
            None => Ok(()),
        };
        let output = Output::new();
        let shown = if self.json {
            output.json(&rows)
        } else {
            output.line(rows.markdown()).and_then(|()| {
                output.line(format!(
                    "\nMedians of {} (range), each on new nodes; {} jobs wait where many do. All nodes, the load and the disk \
                     are on one machine; the probe is the median of 100 fdatasyncs of 4 KiB, right before each load or start. jobraft {}.",
                    rows.repetitions(),
                    self.waiting,
                    env!("CARGO_PKG_VERSION")
                ))
            })
        };
        measured.and(shown).and(cleared)
    }

    /// A scenario that fails does not keep the others from being measured.
    async fn measure(&self, nodes: &mut Option<Processes>, rows: &mut Rows) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for scenario in &self.scenarios {
            for run in 1..=self.repeat {
                let name = format!("{} {run}/{}", scenario.name(), self.repeat);
                if let Err(failure) = self.measure_once(*scenario, name, nodes, rows).await {
                    failure.report();
                    outcome = Err(Failure::new("measure", format!("{} failed", scenario.name())));
                    break;
                }
            }
        }
        outcome
    }

    async fn measure_once(
        &self,
        scenario: Scenario,
        name: String,
        nodes: &mut Option<Processes>,
        rows: &mut Rows,
    ) -> Result<(), Failure> {
        if let Some(before) = nodes.take() {
            before.clear().await?;
        }
        let nodes = nodes.insert(Processes::prepare(scenario.nodes(), self.dir.as_deref())?);
        let fdatasync = fdatasync_p50(Some(nodes.directory()))?;
        nodes.start_nodes()?;
        let connection = nodes.connection();
        let client = connection.connect().await?;
        wait_for_leader(&client).await?;
        let mut site = Site {
            nodes,
            connection,
            client,
            waiting: self.waiting,
            seconds: self.seconds,
            warm_up: self.warm_up,
            name,
        };
        let found = {
            // Loads show how they come along by themselves.
            let progress = (!scenario.is_load()).then(|| Progress::percent("bench"));
            progress.iter().for_each(|progress| progress.say(site.name.clone()));
            scenario.run(&mut site).await?
        };
        site.client.close().await;
        rows.add(found, fdatasync);
        Ok(())
    }
}
