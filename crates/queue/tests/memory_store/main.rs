//! A whole store in memory, written to be read: the example beside
//! [Writing a store](../../src/store/writing_a_store.md), and the suite's own proof, for it passes every case.
//!
//! One lock around plain maps. Whatever a call does it does while it holds the lock, so it is done whole or not at all,
//! and no two calls ever meet: what is left is what a store promises, and nothing of how a database is brought to keep it.
//! It has no listeners (its workers poll), no transactions of a caller's (there is no database to share), and no roles.
//!
//! In reading order: what is kept, where a job goes when its attempt ends, who answers for one that is parked, who holds a key, and the six roles.

mod tables;
mod counters;
mod ending;
mod parking;
mod keys;
mod enqueue;
mod claim;
mod workers;
mod observe;
mod filter;
mod maintain;
mod scale;
mod places;
mod admin;
mod suite;

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, Utc};

use tables::Tables;

/// The store. A clone is another handle to the same one.
#[derive(Debug, Clone)]
pub(crate) struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryStore {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { tables: Arc::new(Mutex::new(Tables::new(clock()))) }
    }

    /// One call: a look at the clock, and whatever `act` does, as one step for all others.
    fn call<T>(&self, act: impl FnOnce(&mut Tables) -> T) -> T {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.pass_time(clock());
        act(&mut tables)
    }
}

/// The store's own clock, from which every time in it comes.
#[expect(clippy::disallowed_methods, reason = "every time is the store's, and this is the store")]
fn clock() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
