//! `jobraft dev`: a cluster of one node with a worker inside, for everyday development.

mod home;

use super::wasm_worker::{WORDCOUNT, WORDCOUNT_NAME, WasmWorker, concurrency_default};
use crate::connection::{Connection, ServedQueue, failed};
use crate::failure::Failure;
use crate::output::{Output, human, program, quoted};
use crate::shutdown::Shutdown;
use bytes::Bytes;
use clap::Args;
use home::Home;
use jobraft_node::Node;
use jobraft_protocol::{ErrorCode, ModuleRef, QueueName};
use jobraft_sdk::{Client, SdkError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long the worker's jobs may go on once the node is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Run one node and a worker, for everyday development
///
/// Makes certificates on the first start. Everything is kept in one directory: delete it to start afresh. Commands
/// started where this was started find the cluster by themselves.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft dev
  jobraft dev --queue emails,reports --data /tmp/jobraft")]
pub(super) struct DevArgs {
    /// Where to keep everything
    #[arg(long, value_name = "DIR", default_value = "jobraft-data")]
    data: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Queues of the worker inside; repeat it, or separate several by commas
    #[arg(long = "queue", short, value_delimiter = ',', value_name = "QUEUE", default_value = "default")]
    queues: Vec<QueueName>,
    /// Stop when stdin ends
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl DevArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let began = Instant::now();
        let mut shutdown = Shutdown::listen()?;
        if self.exit_with_stdin {
            shutdown = shutdown.with_stdin();
        }
        let home = Home::prepare(&self.data, self.listen)?;
        let node =
            Node::start(home.node_config()).await.map_err(|error| Failure::from_error("start the node", &error))?;
        let connection = home.connection();
        let client = tokio::select! {
            client = ready(&connection) => client?,
            _ = shutdown.requested() => return Ok(()),
        };
        let worker = WasmWorker {
            queues: self.queues.iter().map(|name| ServedQueue { name: name.clone(), weight: None }).collect(),
            concurrency: concurrency_default(),
            name: Some("dev".to_owned()),
            lease: None,
            memory_bytes: None,
            isolate: false,
            cache_dir: home.cache_dir(),
            signers: Vec::new(),
        };
        let worker = worker.build(client.clone())?;
        welcome(&self, began.elapsed())?;
        let stop = CancellationToken::new();
        let mut run = std::pin::pin!(worker.run(stop.clone().cancelled_owned()));
        let mut working = true;
        loop {
            tokio::select! {
                ended = &mut run, if working => match ended {
                    Err(error) => return Err(failed("keep the worker running", &error)),
                    Ok(_) => {
                        working = false;
                        Output::new().line("the worker was told to stop (`jobraft fleet stop`); the node goes on")?;
                    }
                },
                ended = node.stopped() => return Err(match ended {
                    Err(error) => Failure::from_error("keep the node running", &error),
                    Ok(()) => Failure::new("keep the node running", "it stopped by itself"),
                }),
                _ = shutdown.requested() => break,
            }
        }
        Output::new().line("stopping; Ctrl-C once more to stop at once")?;
        stop.cancel();
        let drain = async {
            if working {
                // What is still running then goes on at the next start: its lease ends.
                let _ = tokio::time::timeout(GRACE, &mut run).await;
            }
            client.close().await;
            node.shutdown().await;
        };
        tokio::select! {
            () = drain => {}
            _ = shutdown.requested() => {}
        }
        Ok(())
    }
}

/// Connects once the node leads, and sees to it that there is a module to try.
async fn ready(connection: &Connection) -> Result<Client, Failure> {
    let client = connection.connect().await?;
    let doing = "push the module to try";
    let name = WORDCOUNT_NAME.parse::<jobraft_protocol::ModuleName>().map_err(|error| Failure::new(doing, error))?;
    match client.resolve_module(ModuleRef::Name(name.clone())).await {
        Ok(_) => Ok(client),
        Err(SdkError::Refused(error)) if matches!(error.code, ErrorCode::ModuleUnknown | ErrorCode::NotFound) => {
            let pushed = client.upload_module(Bytes::from_static(WORDCOUNT), Some(name), |_, _| {}).await;
            pushed.map(|_| client).map_err(|error| failed(doing, &error))
        }
        Err(error) => Err(failed("see whether the node leads", &error)),
    }
}

fn welcome(args: &DevArgs, took: Duration) -> Result<(), Failure> {
    let output = Output::new();
    let (paint, program) = (output.paint(), program());
    let queues: Vec<&str> = args.queues.iter().map(QueueName::as_str).collect();
    output.line(format!("{} in {}", paint.good("Jobraft is ready"), human::duration(took)))?;
    output.field("node", args.listen)?;
    output.field("worker", format!("runs modules from {}", queues.join(", ")))?;
    output.field("data", args.data.display())?;
    output.line("")?;
    output.line("Try, in another terminal, in this directory:")?;
    let context = match args.data.join("client.toml") {
        file if file.as_os_str() == crate::connection::DEFAULT_CONTEXT => String::new(),
        file => format!(" --context {}", quoted(&file)),
    };
    let queue = match queues.first() {
        Some(&"default") | None => String::new(),
        Some(queue) => format!(" --queue {queue}"),
    };
    for command in [
        format!("job enqueue --module {WORDCOUNT_NAME}{queue} --wait 'the quick brown fox'"),
        "queue list".to_owned(),
        "module push my-job.wasm --name my-job".to_owned(),
        "--help".to_owned(),
    ] {
        let context = if command == "--help" { "" } else { &context };
        output.line(format!("  {}", paint.command(format!("{program} {command}{context}"))))?;
    }
    output.line("")?;
    output.line(paint.faint("Ctrl-C stops it; what was enqueued is kept."))
}
