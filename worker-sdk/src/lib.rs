//! The Jobraft client: enqueue jobs, run them, look at them.
//!
//! - [`Client`]: the connection to a cluster, and every request as a method. It finds the leader, follows it, and
//!   repeats what is safe to repeat.
//! - [`Producer`]: enqueues jobs of one kind from a Rust type.
//! - [`Workflow`]: enqueues jobs that come after each other, as one [`Batch`].
//! - [`Worker`]: runs jobs with async handlers, or with an [`Executor`] for other kinds of task.
//!
//! Executing is at least once: a worker may die after the work and before the report. Completing is exactly once.
//!
//! # A first worker
//! ```no_run
//! use jobraft_sdk::{Client, ClientConfig, JobContext, JobError, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Email {
//!     to: String,
//! }
//!
//! #[derive(Serialize)]
//! struct Sent {
//!     characters: usize,
//! }
//!
//! async fn send_email(_: JobContext, email: Email) -> Result<Sent, JobError> {
//!     if !email.to.contains('@') {
//!         // Would fail each time: the job is dead at once.
//!         return Err(JobError::fatal("not an address"));
//!     }
//!     println!("sending to {}", email.to);
//!     Ok(Sent { characters: email.to.len() })
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let endpoints = ["127.0.0.1:7400".parse()?, "127.0.0.1:7401".parse()?];
//!     let config = ClientConfig::new(endpoints, "certs/ca.crt", "certs/worker.crt", "certs/worker.key");
//!     let client = Client::connect(config).await?;
//!     let report = Worker::builder(client)
//!         .queues(["emails"])
//!         .concurrency(16)
//!         .handler("send_email", send_email)
//!         .build()?
//!         .run_until_signal()
//!         .await?;
//!     println!("{} jobs completed", report.completed);
//!     Ok(())
//! }
//! ```
//!
//! # A first producer
//! ```no_run
//! use jobraft_sdk::{Client, ClientConfig, Producer};
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Serialize)]
//! struct Email {
//!     to: String,
//! }
//!
//! #[derive(Deserialize)]
//! struct Sent {
//!     characters: usize,
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config =
//!         ClientConfig::new(["127.0.0.1:7400".parse()?], "certs/ca.crt", "certs/app.crt", "certs/app.key");
//!     let client = Client::connect(config).await?;
//!     let emails = Producer::new(client.clone(), "emails", "send_email")?.max_attempts(5);
//!
//!     // Durable on a quorum when this returns.
//!     let job = emails.enqueue(&Email { to: "ada@example.org".into() }).await?;
//!     println!("enqueued {job}");
//!
//!     let sent: Sent =
//!         emails.enqueue_and_wait(&Email { to: "bob@example.org".into() }, Duration::from_secs(30)).await?;
//!     println!("sent to {} characters", sent.characters);
//!     client.close().await;
//!     Ok(())
//! }
//! ```

pub mod actions;
pub mod backoff;
mod batch;
pub mod client;
pub mod clock;
pub mod config;
pub mod context;
mod credentials;
mod dial;
mod doubt;
pub mod error;
pub mod executor;
mod frames;
mod ids;
mod io_thread;
pub mod listing;
mod modules;
mod namespaces;
pub mod producer;
pub mod requests;
mod router;
mod schedules;
mod secret;
mod secrets;
mod session;
mod settings;
pub mod signing;
mod sync;
pub mod tls;
mod together;
mod tokens;
mod waiting;
pub mod worker;
pub mod workflow;
mod workflows;

pub use actions::BulkReport;
pub use backoff::{BackoffError, parse_backoff};
pub use batch::Batch;
pub use client::Client;
pub use config::{ClientConfig, Credential, Pem};
pub use context::JobContext;
pub use error::{ConnectFailure, FailedAttempt, SdkError};
pub use executor::{Executor, ExecutorFuture, ModuleSource};
pub use jobraft_protocol as protocol;
pub use listing::Listing;
pub use producer::{Producer, result_bytes_of, result_of};
pub use requests::FailOutcome;
pub use signing::{SignedOnly, SigningKey};
pub use tls::TlsError;
pub use worker::{JobError, Reported, Worker, WorkerBuilder, WorkerReport};
pub use workflow::{Step, StepOptions, Workflow};
