//! The worker against a real store and real programs.

mod common;
mod stage;
mod verdicts;
mod stop;
mod orders;
mod parking;
mod suspects;
mod faults;
mod exec;
mod line;
mod program;
mod options;
mod signals;
mod waking;
mod two_claims;
