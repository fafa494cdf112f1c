//! What is left for a pool that takes another's overflow.
//!
//! Both see the same jobs. Each asks its policy how many workers the work of all of them calls for, as if they were one
//! pool: what waits, and what runs on any of them. The first takes as many of these as it may have, the next the rest. So
//! their sum is what is needed, the overflow is empty while the first suffices, and when the load falls it is the overflow
//! that shrinks first, whoever of them has claimed the jobs.
//!
//! A pool may have what its bounds in force allow: its max, or what a schedule, an order, a budget or the database's
//! connections leave of it; less the instances that are there and do not work. Where its platform does not start any, or
//! cannot be read for a while, it may have those that work: jobs are to start in time, and that is what an overflow is for.

use std::fmt;

use crate::{
    driver::PoolRef,
    observe::{Observation, Rank},
};

/// What is left of the work for a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The pool that comes first; the nearest, if there are several.
    pub of: PoolRef,
    /// How many workers the work of all of them calls for, in workers of this pool.
    pub all: u64,
    /// How many of these are those above it.
    pub room: u64,
}

impl Left {
    /// Of so many workers for all; `None` where no pool comes first. `slots`: of a worker of this pool.
    pub(super) fn of(seen: &Observation, slots: u32, all: u64) -> Option<Self> {
        let above = || seen.peers.iter().filter(|peer| peer.rank == Rank::Above);
        let jobs: u64 = above().map(|peer| u64::from(peer.most) * u64::from(peer.slots)).sum();
        Some(Self { of: above().next()?.name.clone(), all, room: jobs / u64::from(slots.max(1)) })
    }

    /// How many are left.
    pub fn workers(&self) -> u64 {
        self.all.saturating_sub(self.room)
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, all, room } = self;
        match self.workers() {
            0 => write!(f, "nothing is left for the overflow: {of} can have the {all} that it takes"),
            left => write!(f, "{left} are left for the overflow, since it takes {all} and {of} has at most {room}"),
        }
    }
}

#[cfg(test)]
mod tests;
