//! `jobraft bench`: how fast a cluster takes jobs from enqueue to confirmed completion, how long the steps take, and what
//! a job costs.
//!
//! - `args`: what can be asked; `schedule`: which request is sent when.
//! - `load`: one measurement, of `jobs` that `producer` enqueues and `consumer` runs along one `course`.
//! - `latency`, `moments`, `gauge`, `live`: what is written down meanwhile.
//! - `figures`, `setup`, `table`, `report/`: what comes out of it.
//! - `matrix/`: scenarios for the documentation, faults included.

mod args;
#[cfg(test)]
mod args_tests;
mod consumer;
mod course;
mod figures;
mod gauge;
mod jobs;
mod latency;
mod live;
mod load;
mod matrix;
mod moments;
mod producer;
mod report;
mod schedule;
mod setup;
mod table;

use super::demo::Processes;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{Output, human};
use crate::shutdown::Shutdown;
pub(super) use args::BenchArgs;
use figures::Line;
use gauge::Watch;
use live::Live;
use load::Load;
use report::Report;

impl BenchArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if let Some(matrix) = self.matrix()? {
            return matrix.run().await;
        }
        let (loads, own) = (self.loads()?, self.own_nodes()?);
        self.report.as_ref().map_or(Ok(()), Report::check)?;
        let mut shutdown = Shutdown::listen()?;
        let mut cluster = own.map(|nodes| Processes::prepare(nodes, self.dir.as_deref())).transpose()?;
        let connection = match &mut cluster {
            Some(cluster) => {
                cluster.start_nodes()?;
                cluster.connection()
            }
            None => self.connection.connection()?,
        };
        let mut lines = Vec::new();
        let measured = tokio::select! {
            measured = self.measure(&loads, &connection, cluster.as_ref(), &mut lines) => measured,
            reason = shutdown.requested() => Err(Failure::new("measure", format!("stopped by {reason}"))),
        };
        // What was measured until then is not lost.
        let shown = if lines.is_empty() { Ok(()) } else { self.show(&lines, own) };
        let cleared = match cluster {
            Some(cluster) => cluster.clear().await,
            None => Ok(()),
        };
        measured.and(shown).and(cleared)
    }

    async fn measure(
        &self,
        loads: &[Load],
        connection: &Connection,
        cluster: Option<&Processes>,
        lines: &mut Vec<Line>,
    ) -> Result<(), Failure> {
        let client = connection.connect().await?;
        load::wait_for_leader(&client).await?;
        client.close().await;
        let watch = Watch::start(connection, cluster.map(Processes::nodes).unwrap_or_default()).await?;
        for (place, load) in loads.iter().enumerate() {
            let mut runs = Vec::new();
            for run in 0..self.repeat() as usize {
                let (step, steps) = (place * self.repeat() as usize + run + 1, loads.len() * self.repeat() as usize);
                let live = Live::of(format!("{step}/{steps}, {} in flight", load.in_flight));
                runs.push(load.measure(connection, &watch, cluster.map(Processes::directory), &live).await?);
            }
            lines.push(Line::of(load, &runs));
        }
        watch.end().await;
        Ok(())
    }

    fn show(&self, lines: &[Line], own_nodes: Option<usize>) -> Result<(), Failure> {
        let output = Output::new();
        let nodes = match own_nodes {
            Some(nodes) => format!("{}, the load and the disk on this machine", human::count(nodes, "node")),
            None => "a cluster that ran before".to_owned(),
        };
        let about = format!("{nodes}; medians of {}; jobraft {}", self.repeat(), env!("CARGO_PKG_VERSION"));
        if let Some(report) = &self.report {
            report.write(lines, &about)?;
            output.note(format!("the report is in {}", report.path().display()))?;
        }
        if self.json {
            return output.json(&lines);
        }
        table::show(&output, lines)?;
        output.line(format!("\n{about}"))
    }
}
