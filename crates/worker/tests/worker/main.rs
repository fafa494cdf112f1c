//! The worker against a real store and real programs.

mod common;
mod exec;
mod line;
