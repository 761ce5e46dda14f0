//! `jobraft worker`: runs WebAssembly jobs from queues until it is told to stop.

use super::wasm_worker::{WasmWorker, concurrency_default};
use crate::connection::{ConnectionArgs, ServedQueue, WorkerContext, failed};
use crate::failure::Failure;
use crate::output::human;
use crate::shutdown::Shutdown;
use clap::Args;
use jobraft_protocol::Signer;
use jobraft_protocol::limits::{LEASE_MS_MAX, LEASE_MS_MIN};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Run jobs that are WebAssembly modules
///
/// SIGTERM or Ctrl-C lets the running jobs end, gives the others back and stops; a second one stops at once, and the
/// cluster gives the jobs to others when their leases end. `jobraft fleet stop` is as good as SIGTERM.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft worker --queue default
  jobraft worker --queue urgent,default --concurrency 8 --memory 512MiB
  jobraft worker --queue urgent=3 --queue default=1 --name worker-1
  jobraft worker --queue default --signer ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1
  jobraft worker --queue uploads --isolate
  jobraft worker --context config/worker.toml")]
pub(super) struct WorkerArgs {
    /// Where jobs come from, the first with work first; repeat it, or separate several by commas. With weights, which
    /// all must have then, jobs are taken in these proportions
    #[arg(long = "queue", short, value_delimiter = ',', value_name = "QUEUE[=WEIGHT]")]
    queues: Vec<ServedQueue>,
    /// How many jobs run at once [default: one for each processor]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Its name in `jobraft fleet list` and in the logs [default: worker-PID]
    #[arg(long)]
    name: Option<String>,
    /// Where compiled modules are kept; nobody else may have access [default: ~/.cache/jobraft]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// How much memory one job may use, such as 256MiB
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<usize>,
    /// Run modules in a process of their own that holds no key and may do nothing but compute; Linux only
    #[arg(long)]
    isolate: bool,
    /// For how long it holds a job before it must say that it is still at it, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = lease)]
    lease: Option<Duration>,
    /// Run only modules that this key has signed: what `jobraft module keygen` calls signer; repeat it for several
    #[arg(long = "signer", value_name = "ed25519:HEX")]
    signers: Vec<Signer>,
    /// Stop when stdin ends
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl WorkerArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut shutdown = Shutdown::listen()?;
        if self.exit_with_stdin {
            shutdown = shutdown.with_stdin();
        }
        let context = self.connection.context()?;
        let connection = self.connection.resolve(&context)?;
        let worker = self.settings(context.worker)?;
        let queues: Vec<String> = worker.queues.iter().map(ToString::to_string).collect();
        let concurrency = worker.concurrency;
        let client = tokio::select! {
            client = connection.connect() => client?,
            _ = shutdown.requested() => return Ok(()),
        };
        let worker = worker.build(client.clone())?;
        tracing::info!(queues = queues.join(","), concurrency, "worker is up");
        let stop = CancellationToken::new();
        let mut run = std::pin::pin!(worker.run(stop.clone().cancelled_owned()));
        let ended = tokio::select! {
            ended = &mut run => ended,
            reason = shutdown.requested() => {
                tracing::info!(reason, "draining; once more to stop at once");
                stop.cancel();
                tokio::select! {
                    ended = &mut run => ended,
                    _ = shutdown.requested() => return Ok(()),
                }
            }
        };
        let report = ended.map_err(|error| failed("run the worker", &error))?;
        client.close().await;
        tracing::info!(completed = report.completed, failed = report.failed, lost = report.lost, "worker stopped");
        Ok(())
    }

    /// Flags first, then the context's `[worker]` section.
    fn settings(&self, context: WorkerContext) -> Result<WasmWorker, Failure> {
        let bad = |key: &str, error: String| Failure::usage(format!("read key `worker.{key}` of the context"), error);
        let queues = if self.queues.is_empty() { context.queues } else { self.queues.clone() };
        if queues.is_empty() {
            return Err(Failure::usage("start the worker", "nothing says which queues: --queue QUEUE is missing")
                .hint("such as `jobraft worker --queue default`"));
        }
        if queues.iter().any(|queue| queue.weight.is_some())
            && let Some(plain) = queues.iter().find(|queue| queue.weight.is_none())
        {
            return Err(Failure::usage("start the worker", format!("queue {plain} has no weight, but others have"))
                .hint(format!("give all queues a weight, such as {plain}=1, or none")));
        }
        let lease = match self.lease {
            Some(lease) => Some(lease),
            None => context.lease.as_deref().map(lease).transpose().map_err(|error| bad("lease", error))?,
        };
        let memory_bytes = match self.memory {
            Some(bytes) => Some(bytes),
            None => context.memory.as_deref().map(memory).transpose().map_err(|error| bad("memory", error))?,
        };
        let signers = match context.signers {
            _ if !self.signers.is_empty() => self.signers.clone(),
            // Whoever writes a list wants one of it; none is said by leaving it out.
            Some(signers) if signers.is_empty() => return Err(bad("signers", "it names nobody".to_owned())),
            signers => signers.unwrap_or_default(),
        };
        Ok(WasmWorker {
            queues,
            concurrency: self.concurrency.or(context.concurrency).map_or_else(concurrency_default, usize::from),
            name: self.name.clone().or(context.name),
            lease,
            memory_bytes,
            signers,
            isolate: self.isolate || context.isolate,
            cache_dir: match self.cache_dir.clone().or(context.cache_dir) {
                Some(directory) => directory,
                None => cache_dir_default()?,
            },
        })
    }
}

fn memory(text: &str) -> Result<usize, String> {
    usize::try_from(human::parse_bytes(text)?).map_err(|error| error.to_string())
}

fn lease(text: &str) -> Result<Duration, String> {
    let (shortest, longest) = (Duration::from_millis(LEASE_MS_MIN), Duration::from_millis(LEASE_MS_MAX));
    let lease = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (shortest..=longest).contains(&lease) {
        Ok(lease)
    } else {
        Err(format!("a lease lasts {} to {}", human::duration(shortest), human::duration(longest)))
    }
}

/// Where the user's caches are, by the XDG Base Directory Specification.
fn cache_dir_default() -> Result<PathBuf, Failure> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("jobraft")).ok_or_else(|| {
        Failure::usage("find a place for compiled modules", "neither HOME nor XDG_CACHE_HOME is set")
            .hint("name a directory of your own with --cache-dir")
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn args() -> WorkerArgs {
        WorkerArgs {
            queues: Vec::new(),
            concurrency: None,
            name: None,
            cache_dir: Some("cache".into()),
            memory: None,
            isolate: false,
            lease: None,
            signers: Vec::new(),
            exit_with_stdin: false,
            connection: ConnectionArgs::default(),
        }
    }

    #[test]
    fn flags_win_over_the_context() {
        let context = WorkerContext {
            queues: vec!["a".parse().unwrap()],
            concurrency: Some(3),
            lease: Some("10s".to_owned()),
            memory: Some("1MiB".to_owned()),
            isolate: true,
            ..WorkerContext::default()
        };
        let worker = WorkerArgs { concurrency: Some(7), ..args() }.settings(context).unwrap();
        assert_eq!((worker.concurrency, worker.queues[0].name.as_str()), (7, "a"));
        assert_eq!((worker.lease, worker.memory_bytes), (Some(Duration::from_secs(10)), Some(1 << 20)));
        assert!(worker.isolate);
    }

    #[test]
    fn all_queues_have_a_weight_or_none() {
        let queues = |text: &str| text.split(',').map(|queue| queue.parse().unwrap()).collect();
        let settings = |text| WorkerArgs { queues: queues(text), ..args() }.settings(WorkerContext::default());
        let weighted = settings("a=3,b=1").unwrap();
        assert_eq!(weighted.queues[0].weight, Some(3));
        let failure = settings("a=3,b").unwrap_err();
        assert!(failure.to_string().contains("queue b has no weight"), "{failure}");
    }

    #[test]
    fn malformed_setting_of_the_context_is_named() {
        let queues = vec!["a".parse().unwrap()];
        let context = WorkerContext { queues, lease: Some("soon".to_owned()), ..WorkerContext::default() };
        let failure = args().settings(context).unwrap_err();
        assert!(failure.to_string().contains("worker.lease"), "{failure}");
        let context = WorkerContext { queues: vec!["a".parse().unwrap()], signers: Some(vec![]), ..Default::default() };
        let failure = args().settings(context).unwrap_err();
        assert!(failure.to_string().contains("worker.signers"), "{failure}");
    }

    #[test]
    fn worker_without_queue_is_refused() {
        let failure = args().settings(WorkerContext::default()).unwrap_err();
        assert!(failure.to_string().contains("--queue"), "{failure}");
    }
}
