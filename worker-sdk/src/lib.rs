//! The Jobraft client.

pub mod executor;

pub use executor::{Executor, ExecutorFuture, JobContext, ModuleSource};
