//! Whole clusters of real nodes in one thread, with virtual time and every chance from one seed.

pub mod adversary;
pub mod campaign;
pub mod chronicle;
pub mod clients;
pub mod cluster;
pub mod environment;
pub mod errands;
pub mod faults;
pub mod host;
pub mod ledger;
pub mod logs;
pub mod machines;
pub mod network;
pub mod operator;
pub mod patrons;
pub mod rules;
pub mod run;
mod wishes;
pub mod world;
