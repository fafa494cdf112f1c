//! A scaler seen from outside its loop: what it does, what it saw last, and what it has done since it began.
//!
//! These are values. Whoever has the scaler in a process of its own shows them as it likes: in a health check, on a page,
//! or, with the feature `prometheus`, as metrics in a registry of its own.

mod health;
#[cfg(feature = "prometheus")]
mod prometheus;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::{
    act::Action,
    decide::{Reason, Step},
    driver::{Change, DriverError, PoolRef},
    observe::{Observation, Unseen},
    record::TickRecord,
};

pub use health::Verdict;

/// What a scaler shows of itself, up to now. Cheap to clone; clones show the same scaler.
///
/// ```no_run
/// # fn example(scaler: headcount_scaler::Reconciler) {
/// let watch = scaler.watch();
/// // …, and in a handler of the process that it runs in:
/// let verdict = watch.look().ready();
/// println!("{}: {}", verdict.ok, verdict.why);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Scaler>>);

/// What has become known of the scaler; times by this process's clock.
#[derive(Debug, Default)]
struct Scaler {
    standing: Standing,
    alive: Option<Instant>,
    read: Option<Instant>,
    interval: Duration,
    last_tick: Option<DateTime<Utc>>,
    pools: BTreeMap<PoolRef, Pool>,
}

/// What a scaler is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Standing {
    /// It does not know, or not any more, whether it may act: the store does not tell.
    #[default]
    Unsure,
    /// It acts: of all scalers of its lease, it is the one.
    Acts,
    /// Another one acts.
    StandsBy {
        /// Which, for people.
        by: String,
    },
    /// It decides and changes nothing, as it was told.
    DryRun,
    /// It has stopped.
    Ended,
}

/// A scaler at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// What it is doing.
    pub standing: Standing,
    /// How long ago its loop last went round; none: it has not begun.
    pub alive: Option<Duration>,
    /// How long ago the store last answered it; none: it never has.
    pub read: Option<Duration>,
    /// The longest of its pools' intervals.
    pub interval: Duration,
    /// When it last decided for a pool, by the store's clock.
    pub last_tick: Option<DateTime<Utc>>,
    /// Its pools.
    pub pools: BTreeMap<PoolRef, Pool>,
}

/// A pool, as its scaler knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// The latest tick; none while another scaler acts, whose word counts then.
    pub latest: Option<TickRecord>,
    /// What the latest tick saw of the queues; none if it saw nothing.
    pub queues: Option<Queues>,
    /// What has been counted since this process began.
    pub totals: Totals,
}

/// The queues of a pool, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queues {
    /// How long the oldest claimable job has waited; none if none waits. Paused queues are left out.
    pub oldest: Option<Duration>,
    /// Jobs that were started since the store was made.
    pub started: u64,
    /// Those of them that started too late.
    pub late: u64,
}

/// What a scaler has done for a pool since its process began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Ticks.
    pub ticks: u64,
    /// The time that they took, all pools of the tick included.
    pub took: Duration,
    /// Decisions, by what was to be done (`hold`, `keep`, `grow`, `shrink`) and the class of the reason.
    pub decisions: BTreeMap<(&'static str, &'static str), u64>,
    /// Readings that failed, by whose (`store`, `platform`).
    pub unseen: BTreeMap<&'static str, u64>,
    /// The platform's answers, by what was asked (`grow`, `remove`, `extend`, `complete`) and what came of it (`ok`, `refused`, `unavailable`,
    /// `unknown`).
    pub answers: BTreeMap<(&'static str, &'static str), u64>,
    /// Instances that ended by themselves.
    pub lost: u64,
}

impl Watch {
    /// The scaler as it is now.
    pub fn look(&self) -> Snapshot {
        let scaler = self.lock();
        Snapshot {
            standing: scaler.standing.clone(),
            alive: scaler.alive.map(|at| at.elapsed()),
            read: scaler.read.map(|at| at.elapsed()),
            interval: scaler.interval,
            last_tick: scaler.last_tick,
            pools: scaler.pools.clone(),
        }
    }

    /// The loop goes round, over these pools.
    pub(crate) fn alive<'p>(&self, interval: Duration, pools: impl Iterator<Item = &'p PoolRef>) {
        let mut scaler = self.lock();
        scaler.alive = Some(Instant::now());
        scaler.interval = interval;
        let mut before = std::mem::take(&mut scaler.pools);
        scaler.pools = pools.map(|pool| (pool.clone(), before.remove(pool).unwrap_or_default())).collect();
    }

    /// The store was read, by one who acts, or only looks.
    pub(crate) fn acts(&self, dry_run: bool) {
        let mut scaler = self.lock();
        scaler.standing = if dry_run { Standing::DryRun } else { Standing::Acts };
        scaler.read = Some(Instant::now());
    }

    /// The store does not tell whether this one may act, and it may not go on without that.
    pub(crate) fn unsure(&self) {
        self.lock().standing = Standing::Unsure;
    }

    /// The store has said that another acts.
    pub(crate) fn stands_by(&self, by: String) {
        let mut scaler = self.lock();
        scaler.standing = Standing::StandsBy { by };
        scaler.read = Some(Instant::now());
        for pool in scaler.pools.values_mut() {
            pool.latest = None;
            pool.queues = None;
        }
    }

    /// The loop is over.
    pub(crate) fn ended(&self) {
        self.lock().standing = Standing::Ended;
    }

    /// A pool has had its tick.
    pub(crate) fn ticked(&self, record: &TickRecord, seen: Option<&Observation>) {
        let mut scaler = self.lock();
        scaler.last_tick = record.at.or(scaler.last_tick);
        let pool = scaler.pools.entry(record.pool.clone()).or_default();
        pool.queues = seen.map(Queues::of);
        pool.totals.count(record);
        pool.latest = Some(record.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Scaler> {
        // What a panic left half counted is off by one, and no decision hangs on it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn of(seen: &Observation) -> Self {
        let queues = &seen.workload.queues;
        let sum = |of: fn(&headcount_queue::Flow) -> i64| {
            let flows = queues.iter().flat_map(|queue| &queue.kinds).map(|kind| of(&kind.flow));
            flows.map(|count| count.max(0) as u64).sum()
        };
        Self {
            oldest: queues.iter().filter(|queue| !queue.paused).filter_map(|queue| queue.oldest).max(),
            started: sum(|flow| flow.started),
            late: sum(|flow| flow.late),
        }
    }
}

impl Totals {
    fn count(&mut self, record: &TickRecord) {
        self.ticks += 1;
        self.took += record.took;
        self.lost += record.lost.len() as u64;
        let step = match record.decision.step {
            Step::Hold => "hold",
            Step::Keep(_) => "keep",
            Step::Grow { .. } => "grow",
            Step::Shrink { .. } => "shrink",
        };
        *self.decisions.entry((step, record.decision.reason.class())).or_default() += 1;
        if let Reason::Unseen(unseen) = &record.decision.reason {
            let whose = match unseen {
                Unseen::Store(_) => "store",
                Unseen::Platform(_) => "platform",
                Unseen::Source(_) => "source",
            };
            *self.unseen.entry(whose).or_default() += 1;
        }
        for action in &record.actions {
            if let Action::Asked { change, answer } = action {
                let asked = match change {
                    Change::GrowTo { .. } => "grow",
                    Change::Remove { .. } => "remove",
                    Change::Extend { .. } => "extend",
                    Change::Complete { .. } => "complete",
                };
                let outcome = match answer {
                    Ok(_) => "ok",
                    Err(DriverError::Refused(_)) => "refused",
                    Err(DriverError::Unavailable(_)) => "unavailable",
                    Err(DriverError::Unknown(_)) => "unknown",
                };
                *self.answers.entry((asked, outcome)).or_default() += 1;
            }
        }
    }
}
