//! The SQLite store where it differs from others: one file for several processes, memory, the application's own
//! transactions. What every store does is in the conformance suite.

mod ground;
mod opening;
mod life;
mod transactions;
mod sharing;
mod calls;
mod releases;
mod recent;
