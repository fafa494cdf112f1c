//! Pools that share queues: one has the others' overflow.

use std::time::Duration;

use crate::driver::PoolRef;

/// A pool that serves queues of the observed one, as it was when last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: PoolRef,
    /// Which of the two comes first.
    pub rank: Rank,
    /// Its workers that claim.
    pub claiming: u32,
    /// Its workers that were asked for and do not work yet, and how long a boot takes them.
    pub booting: u32,
    /// See [`Peer::booting`].
    pub boot: Duration,
    /// How many jobs each runs at once.
    pub slots: u32,
    /// Jobs that run on those that claim.
    pub running: u32,
    /// How many workers it may come to, by its bounds in force and as far as its platform gives them.
    pub most: u32,
}

/// Which of two pools that share queues comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It comes first: the observed pool gets what it cannot meet.
    Above,
    /// It gets what the observed pool cannot meet.
    Below,
}

impl Peer {
    /// As many workers of `slots` jobs each as so many of this pool's, rounded up.
    pub fn equal(&self, workers: u32, slots: u32) -> u32 {
        let jobs = u64::from(workers) * u64::from(self.slots);
        u32::try_from(jobs.div_ceil(u64::from(slots.max(1)))).unwrap_or(u32::MAX)
    }
}
