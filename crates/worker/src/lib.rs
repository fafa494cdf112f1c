//! The worker of Headcount: claim → run → settle.
//!
//! A [`Worker`] claims jobs from its queues, as many as it has free slots, runs each in a task of its own, and settles
//! what became of them. Most programs use the `headcount` crate, which re-exports this one.
//!
//! In reading order: [`Builder`] says what a worker is told, [`Handler`] what runs a job, `run` how one attempt ends,
//! `slots` what runs and what waits for it, `claim` how jobs come in and outcomes go out, `waking` how it hears of them,
//! `heartbeat` how others know that it lives, [`Stopper`] how it stops, [`ec2`] how it hears of its machine's end.

mod error;
mod config;
mod registry;
mod worker;
mod run;
mod hands;
mod settle;
mod slots;
mod claim;
mod heartbeat;
mod pulse;
mod drain;
mod waking;
mod upkeep;
mod outage;
mod nice;
mod verbosity;
#[cfg(test)]
mod sample;
pub mod ec2;
pub mod exec;
pub mod signals;

pub use config::Builder;
pub use drain::Stopper;
pub use error::Error;
pub use pulse::Pulse;
pub use registry::Handler;
pub use verbosity::Verbosity;
pub use worker::{Exit, Worker};
