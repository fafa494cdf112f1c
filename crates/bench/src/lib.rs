//! What Headcount costs, beside what the same work would cost at least.
//!
//! Absolute figures say more of a disk than of a queue, and a disk's speed drifts. So whatever is measured is measured in
//! turn with its floor, the same moves by the least SQL that makes them, on tables of the same shape in the same server;
//! what is compared is each pair, and the time of a bare durable commit stands beside it.
//!
//! In reading order: [`Plan`] says what is run, [`scenario`](Scenario) what each measures, `floor` what it is measured
//! against, `labour` how worker processes are started and timed, `server` and `stage` where it all happens, and [`Report`]
//! what is printed.

mod plan;
mod cpu;
mod figure;
mod report;
mod keeper;
mod server;
mod stage;
mod floor;
mod labour;
mod scenario;

pub use figure::{Bar, Figure, Unit};
pub use labour::labour;
pub use plan::Plan;
pub use report::Report;
pub use scenario::Scenario;
