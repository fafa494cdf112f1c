//! Where a pool's numbers come from: the store, or a query against another queue's database.
//!
//! A source that is not the store knows no workers, and nobody beats: no worker can be asked to claim nothing more, so
//! there is no drain. Such a pool shrinks only while nothing runs and nothing waits ([`Backlog::is_still`]), and says so.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use headcount_queue::{
    Binding, Flow, Result,
    store::{
        Store,
        foreign::{ForeignBacklog, ForeignQueue},
    },
};

use super::{KindWork, Member, QueueWork, Standing, Workload};

/// How much a pool has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Jobs that could start now.
    pub pending: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Jobs that run, on whatever worker; `None`: not known.
    pub running: Option<u64>,
}

impl Backlog {
    /// Whether nothing runs and nothing is about to: only then may a worker that cannot be drained be removed. What is
    /// not known may be running.
    pub fn is_still(&self) -> bool {
        self.pending == 0 && self.running == Some(0)
    }
}

/// What successive backlogs tell of arrivals: so many at least.
#[derive(Debug, Clone, Default)]
pub struct Tide {
    before: Option<u64>,
    arrived: i64,
}

impl Tide {
    /// The work of a pool of these queues, whose source tells no more than this. What arrives and ends between two looks
    /// is not seen, and how long jobs run is not known.
    pub fn work(&mut self, queues: &Binding, backlog: Backlog) -> Workload {
        let there = backlog.pending + backlog.running.unwrap_or_default();
        let more = self.before.replace(there).map_or(0, |before| there.saturating_sub(before));
        self.arrived = self.arrived.saturating_add(more.try_into().unwrap_or(i64::MAX));
        let kind = KindWork {
            known: true,
            ready: backlog.pending,
            running: backlog.running.unwrap_or_default(),
            flow: Flow { arrived: self.arrived, ..Flow::default() },
            ..KindWork::default()
        };
        let name = queues.entries().and_then(|entries| entries.iter().find(|entry| !entry.ends_with('*')));
        let queue = QueueWork {
            queue: name.cloned().unwrap_or_default(),
            oldest: backlog.oldest,
            kinds: vec![kind],
            known: Some(Vec::new()),
            ..QueueWork::default()
        };
        Workload { queues: vec![queue], running: Vec::new() }
    }
}

/// Has instances stand whose workers nobody hears: they work once they have had the time to boot.
pub fn assume(members: &mut [Member], boot: Duration, slots: u32, at: DateTime<Utc>) {
    for member in members.iter_mut().filter(|member| member.standing != Standing::Leaving) {
        let age = member.born_at.map_or(Duration::ZERO, |born| (at - born).to_std().unwrap_or_default());
        member.standing = if age < boot { Standing::Booting } else { Standing::Active };
        member.slots = if age < boot { 0 } else { slots };
    }
}

/// Tells how much a pool has to do.
#[async_trait]
pub trait Source: fmt::Debug + fmt::Display + Send + Sync {
    /// What waits and runs in these queues. What cannot be read is an error, never a zero.
    async fn read(&self, queues: &Binding) -> Result<Backlog>;

    /// Whether it knows the pool's workers by their beats, so that they can be drained.
    fn beats(&self) -> bool;
}

/// The store: its counters.
#[derive(Debug, Clone)]
pub struct StoreSource(Arc<dyn Store>);

impl StoreSource {
    /// Reads from this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl Source for StoreSource {
    async fn read(&self, queues: &Binding) -> Result<Backlog> {
        let states = self.0.queues().await?;
        // Counters are folded from deltas, and may be below zero for a moment.
        let count = |number: i64| number.max(0) as u64;
        let ours = states.iter().filter(|state| queues.includes(&state.queue));
        let mut backlog = Backlog { pending: 0, oldest: None, running: Some(0) };
        for state in ours {
            backlog.running = backlog.running.map(|running| running + count(state.depth.running));
            // Paused queues boot nobody.
            if !state.paused {
                backlog.pending += count(state.depth.ready);
                backlog.oldest = backlog.oldest.max(state.oldest);
            }
        }
        Ok(backlog)
    }

    fn beats(&self) -> bool {
        true
    }
}

impl fmt::Display for StoreSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("the store")
    }
}

/// A query of the user's own against another queue's Postgres database: see [`ForeignQueue`]. It is one pool's, and the
/// names of the pool's queues mean nothing to it.
#[derive(Debug)]
pub struct SqlSource(ForeignQueue);

impl SqlSource {
    /// Asks the database at this URL with this query; each reading may take so long.
    ///
    /// # Errors
    /// [`Error::Rejected`](headcount_queue::Error::Rejected) when the URL cannot be read.
    pub fn new(url: &str, query: &str, limit: Duration) -> Result<Self> {
        ForeignQueue::new(url, query, limit).map(Self)
    }
}

#[async_trait]
impl Source for SqlSource {
    async fn read(&self, _: &Binding) -> Result<Backlog> {
        let ForeignBacklog { pending, oldest, running } = self.0.read().await?;
        Ok(Backlog { pending, oldest, running })
    }

    fn beats(&self) -> bool {
        false
    }
}

impl fmt::Display for SqlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("another queue's database")
    }
}

#[cfg(test)]
mod tests;
