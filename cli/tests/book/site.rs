//! What a reader of the book has: a directory with `jobraft dev` running in it.

use crate::support::{DEADLINE, Process, eventually, free_address};
use jobraft_sdk::protocol::{Consistency, JobId, JobState, JobView, NodeAddress};
use jobraft_sdk::{Client, ClientConfig, Worker};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// A job that never ends, for those pages that stop one.
const FOREVER: &str = include_str!("../../../examples/wasm/hostile/forever.wat");

/// A cluster for development, and where it was started; all of it is gone when this is.
pub(crate) struct Site {
    node: NodeAddress,
    // Before its directory: they are dropped in this order.
    _dev: Process,
    directory: TempDir,
}

impl Site {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("jobraft-book-").tempdir().unwrap();
        let path = directory.path();
        // A reader types in a checkout of the repository.
        for name in ["config", "examples", "README.md"] {
            symlink(Path::new(REPOSITORY).join(name), path.join(name)).unwrap();
        }
        std::fs::write(path.join("forever.wasm"), wat::parse_str(FOREVER).unwrap()).unwrap();
        let address = free_address();
        let dev = Process::start("dev", path, &["dev", "--listen", &address.to_string(), "--exit-with-stdin"]);
        eventually("jobraft dev is ready", async || dev.printed().contains("Jobraft is ready").then_some(())).await;
        Self { node: address.into(), _dev: dev, directory }
    }

    /// Where it was started.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the node is.
    pub(crate) fn node(&self) -> NodeAddress {
        self.node.clone()
    }

    /// Where its certificates are.
    pub(crate) fn certs(&self) -> PathBuf {
        self.directory().join("jobraft-data/certs")
    }

    /// A client that waits out a busy machine.
    pub(crate) async fn client(&self) -> Client {
        let file = |name| self.certs().join(name);
        let config = ClientConfig::new([self.node()], file("ca.crt"), file("dev.crt"), file("dev.key"));
        Client::connect(config.request_timeout(DEADLINE).connect_timeout(DEADLINE)).await.unwrap()
    }
}

/// Lets `worker` work while `body` goes on.
pub(crate) async fn during<T>(worker: Worker, body: impl Future<Output = T>) -> T {
    tokio::select! {
        ended = worker.run(std::future::pending()) => panic!("the worker has ended: {ended:?}"),
        done = body => done,
    }
}

/// The job at its end.
pub(crate) async fn ended(client: &Client, job: JobId) -> JobView {
    client.wait_job(job, DEADLINE).await.unwrap()
}

/// The job once it is in this state.
pub(crate) async fn once(client: &Client, id: JobId, state: JobState) -> JobView {
    eventually(&format!("{id} is {state}"), async || {
        let job = client.get_job(id, Consistency::Linearizable).await.unwrap();
        (job.state == state).then_some(job)
    })
    .await
}
