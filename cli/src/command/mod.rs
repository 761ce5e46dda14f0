//! The commands: one file each, the tree that clap parses, and what starts the one that was named.

mod apply;
mod batch;
mod bench;
mod bulk;
mod call_off;
mod certs;
mod cluster;
mod compile_module;
mod completions;
mod confirm;
mod demo;
mod dev;
mod filter;
mod fleet;
mod grant;
mod job;
mod module;
mod namespace;
mod node;
mod private;
mod queue;
mod schedule;
mod secret;
mod settings;
mod state;
mod storage;
mod token;
mod value;
mod wasm_host;
mod wasm_worker;
mod work;
mod worker;

use crate::failure::Failure;
use crate::logging::LogArgs;
use clap::{Parser, Subcommand};
use std::future::Future;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  jobraft demo                 watch a cluster survive the loss of its leader
  jobraft dev                  one node and a worker, for everyday development
  jobraft module push wordcount.wasm --name wordcount
  jobraft job enqueue --module wordcount --file README.md --wait
  jobraft job list --state dead
  jobraft cluster status

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 cluster unavailable.";

/// A job queue for work that must not be lost and code that is not trusted
///
/// Nodes agree on every step of each job through Raft; workers run jobs as sandboxed WebAssembly modules.
#[derive(Debug, Parser)]
#[command(name = "jobraft", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Bench(bench::BenchArgs),
    Dev(dev::DevArgs),
    Node(node::NodeArgs),
    Worker(worker::WorkerArgs),
    Job(job::JobArgs),
    Batch(batch::BatchArgs),
    Queue(queue::QueueArgs),
    Schedule(schedule::ScheduleArgs),
    Fleet(fleet::FleetArgs),
    State(state::StateArgs),
    Apply(apply::ApplyArgs),
    Module(module::ModuleArgs),
    Cluster(cluster::ClusterArgs),
    Namespace(namespace::NamespaceArgs),
    Secret(secret::SecretArgs),
    Token(token::TokenArgs),
    Certs(certs::CertsArgs),
    Storage(storage::StorageArgs),
    Completions(completions::CompletionsArgs),
    CompileModule(compile_module::CompileModuleArgs),
    WasmHost(wasm_host::WasmHostArgs),
}

impl Cli {
    /// Runs the command to its end.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let log = self.log;
        let done = match self.command {
            // Processes that limit themselves: no runtime, no threads, no log.
            Command::CompileModule(args) => return Ok(args.run()),
            Command::WasmHost(args) => return Ok(args.run()),
            Command::Completions(args) => args.run(),
            Command::Node(args) => args.run(&log),
            Command::Dev(args) => logged(&log, "warn", args.run()),
            Command::Worker(args) => logged(&log, "info", args.run()),
            Command::Bench(args) => logged(&log, "warn", args.run()),
            Command::Demo(args) => logged(&log, "warn", args.run()),
            Command::Certs(args) => args.run(),
            Command::Storage(args) => args.run(),
            Command::Job(args) => logged(&log, "warn", args.run()),
            Command::Batch(args) => logged(&log, "warn", args.run()),
            Command::Queue(args) => logged(&log, "warn", args.run()),
            Command::Schedule(args) => logged(&log, "warn", args.run()),
            Command::Fleet(args) => logged(&log, "warn", args.run()),
            Command::State(args) => logged(&log, "warn", args.run()),
            Command::Apply(args) => logged(&log, "warn", args.run()),
            Command::Namespace(args) => logged(&log, "warn", args.run()),
            Command::Secret(args) => logged(&log, "warn", args.run()),
            Command::Token(args) => logged(&log, "warn", args.run()),
            Command::Module(args) => logged(&log, "warn", args.run()),
            Command::Cluster(args) => logged(&log, "warn", args.run()),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// Starts logging at `level`, unless the command line says otherwise, then runs a command that waits for things.
fn logged(log: &LogArgs, level: &str, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    log.init_at(level)?;
    block_on(command)
}

/// Runs a command that waits for things.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("start the runtime", error))?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests;
