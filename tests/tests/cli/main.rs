//! The `headcount` command as its users meet it: the real program, its output and its exit statuses.

mod heavy;
mod enqueue;
mod jobs;
mod migrate;
mod queues;
mod rescue;
mod resolve;
mod stores;
mod work;
mod workers;

use std::time::Duration;

pub(crate) use headcount_tests::{Place, on_each_store};

/// Within which time a command that asks one thing is over. Only a failing test waits that long.
const SOON: Duration = Duration::from_secs(30);
