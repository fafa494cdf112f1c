//! Observe: what the store and the platform say about a pool, put together, with the time at which it was true.
//!
//! What could not be read is an [`Unseen`], never a zero.

mod peers;
pub mod roll;
pub mod source;
pub mod workload;

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use headcount_queue::{
    Binding, QueueState, Result, WorkerRecord,
    store::{Connections, LongRun, PlaceRecord, PoolRecord, Store, Waiting},
};
use serde::{Deserialize, Serialize};

use crate::{
    decide::limits::orders::{Orders, Override, Pause},
    driver::{DriverError, InstanceId, Limits, PoolRef, Trouble},
};

pub use peers::{Peer, Rank};
pub use roll::{Gone, Member, Muster, Reading, Roll, Standing};
pub use source::Backlog;
pub use workload::{KindWork, Kinds, QueueWork, RunningJob, Workload};

/// A pool as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The moment, by the store's clock.
    pub at: DateTime<Utc>,
    /// How old the platform's reading was at that moment.
    pub platform_age: Duration,
    /// The work that waits.
    pub demand: Demand,
    /// The same work and its past, queue by queue.
    pub workload: Workload,
    /// The instances of the pool, with their workers.
    pub members: Vec<Member>,
    /// Drained places where nothing is any more.
    pub vacant: Vec<InstanceId>,
    /// How many instances the platform aims for.
    pub desired: u32,
    /// Instances that were asked for and that the platform does not list yet: they boot.
    pub unlisted: u32,
    /// What keeps new instances from coming up.
    pub trouble: Option<Trouble>,
    /// How many workers of the pool or of none are on no instance that is listed: each may live on one that is silent.
    pub strays: u32,
    /// How many instances have only workers of another pool or of none, which hear of no drain.
    pub strangers: u32,
    /// The release that new instances run, where the platform knows releases.
    pub release: Option<String>,
    /// What the pool's source says, where that is not the store: nobody beats there, and nobody can be drained.
    pub foreign: Option<Backlog>,
    /// The pools that share its queues: those whose overflow it takes, and those that take its own.
    pub peers: Vec<Peer>,
    /// What the platform can do.
    pub limits: Limits,
}

impl Observation {
    /// How many members stand so.
    pub fn count(&self, standing: Standing) -> u32 {
        self.members.iter().filter(|member| member.standing == standing).count() as u32
    }

    /// Workers that were asked for and do not work yet. They count: otherwise each tick would order them anew.
    pub fn booting(&self) -> u32 {
        self.count(Standing::Booting) + self.unlisted
    }

    /// The workers that claim, and those about to. Draining ones count for nothing.
    pub fn current(&self) -> u32 {
        self.count(Standing::Active) + self.booting()
    }

    /// Every instance that is there or will be, those being removed left out: what the pool's max bounds.
    pub fn existing(&self) -> u32 {
        self.members.iter().filter(|member| member.standing != Standing::Leaving).count() as u32 + self.unlisted
    }

    /// Drained ones that may claim again: those that have a worker, or may soon have one.
    pub fn recallable(&self) -> u32 {
        self.members.iter().filter(|member| member.standing == Standing::Drained && !member.overdue).count() as u32
    }

    /// Instances that count against the pool's max, and are no help.
    pub fn useless(&self) -> u32 {
        let useless = |member: &&Member| match member.standing {
            Standing::Overdue | Standing::Withheld => true,
            Standing::Drained => member.overdue,
            Standing::Booting | Standing::Active | Standing::Leaving => false,
        };
        self.members.iter().filter(useless).count() as u32
    }

    /// Jobs that run on workers that claim. What runs on draining ones is no demand: it needs no new worker.
    pub fn running(&self) -> u32 {
        if let Some(backlog) = self.foreign {
            // What is not known to run calls for nobody; nor is anybody let go meanwhile.
            return backlog.running.unwrap_or_default().try_into().unwrap_or(u32::MAX);
        }
        self.members.iter().filter(|m| m.standing == Standing::Active).map(|m| m.running).sum()
    }

    /// How many jobs a worker of this pool runs at once: the median of those that claim, or what was assumed.
    pub fn slots(&self, assumed: u32) -> u32 {
        let mut slots: Vec<u32> =
            self.members.iter().filter(|m| m.standing == Standing::Active).map(|m| m.slots).collect();
        slots.sort_unstable();
        slots.get(slots.len() / 2).copied().unwrap_or(assumed).max(1)
    }
}

/// The work that waits for a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Demand {
    /// Jobs that could be claimed now, those of paused queues left out.
    pub ready: u64,
    /// Scheduled jobs are due: they are about to become ready.
    pub due: bool,
    /// Suspects wait, each for a worker that runs nothing else. They are demand for one worker, or they would lie for
    /// ever beside a pool at zero.
    pub suspects: bool,
    /// Jobs of kinds that no worker of the pool knows. They are no demand: a worker hired for them could not run them.
    pub unknown: u64,
}

impl Demand {
    /// Jobs that a worker could start now.
    pub fn jobs(&self) -> u64 {
        self.ready + u64::from(self.due)
    }

    /// The counters may lag by a fold. Where they know of nothing at all, this is what the store says exactly: a pool is
    /// never let go on a counter's word. Ready jobs of kinds that nobody knows are the ones that the store means.
    pub fn exactly(&mut self, waiting: Waiting) {
        self.ready = u64::from(waiting.ready && self.unknown == 0);
        self.due = waiting.due;
        self.suspects = waiting.suspects;
    }

    /// Whether there is anything to start.
    pub fn is_none(&self) -> bool {
        self.jobs() == 0 && !self.suspects
    }
}

/// What could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// The store.
    Store(String),
    /// The platform.
    Platform(DriverError),
    /// The pool's own source.
    Source(String),
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the store cannot be read: {error}"),
            Self::Platform(error) => error.fmt(f),
            Self::Source(error) => write!(f, "another queue's backlog cannot be read: {error}"),
        }
    }
}

/// What the store said, once for all pools.
#[derive(Debug, Clone)]
pub struct StoreReading {
    /// When, by the store's clock.
    pub at: DateTime<Utc>,
    /// When, by this process's, which measures how old the reading gets.
    pub taken: Instant,
    /// Every queue.
    pub queues: Vec<QueueState>,
    /// Every worker.
    pub workers: Vec<WorkerRecord>,
    /// Every pool that is known, with its drained places and the orders of operators.
    pub pools: Vec<PoolRecord>,
    /// What the database server bears, where the store has one.
    pub connections: Option<Connections>,
    /// The jobs that have run for a while.
    pub long_runs: Vec<LongRun>,
}

/// Of a job that has run for less long it makes no difference how old it is.
const LONG: Duration = Duration::from_secs(10);

impl StoreReading {
    /// Reads the store.
    pub async fn take(store: &dyn Store) -> Result<Self> {
        // In this order: the age is never understated, and a job that is claimed between the last two is counted
        // twice, which costs a worker for a tick, where the other order would miss it.
        let taken = Instant::now();
        let at = store.now().await?;
        let queues = store.queues().await?;
        let workers = store.workers().await?;
        let pools = store.pools(None).await?;
        let connections = store.connections().await?;
        let long_runs = store.long_runs(LONG).await?;
        Ok(Self { at, taken, queues, workers, pools, connections, long_runs })
    }

    /// What operators have ordered for a pool.
    pub fn orders(&self, pool: &PoolRef) -> Orders {
        let known = self.pools.iter().find(|known| known.name == pool.as_str());
        let Some(order) = known.and_then(|known| known.overridden) else { return Orders::default() };
        let bounds = Override { min: order.min, max: order.max, until: order.until };
        Orders {
            pause: order.paused.then_some(Pause { until: order.until }),
            bounds: (bounds.min.is_some() || bounds.max.is_some()).then_some(bounds),
        }
    }

    /// The drained places of a pool.
    pub fn places(&self, pool: &PoolRef) -> &[PlaceRecord] {
        let known = self.pools.iter().find(|known| known.name == pool.as_str());
        known.map_or(&[], |known| &known.places)
    }

    /// Counts the queues again, since jobs have been given back since.
    pub async fn recount(&mut self, store: &dyn Store) -> Result<()> {
        store.fold().await?;
        self.queues = store.queues().await?;
        Ok(())
    }

    /// The store's time now.
    pub fn now(&self) -> DateTime<Utc> {
        self.at + self.taken.elapsed()
    }

    /// The work that waits in these queues, as the counters know it.
    pub fn counted(&self, queues: &Binding, kinds: &Kinds) -> Demand {
        counted(&self.queues, queues, kinds)
    }

    /// These queues without the paused ones; `None` if that leaves none.
    pub fn unpaused(&self, queues: &Binding) -> Option<Binding> {
        unpaused(&self.queues, queues)
    }
}

fn counted(states: &[QueueState], queues: &Binding, kinds: &Kinds) -> Demand {
    let mut demand = Demand::default();
    for state in states.iter().filter(|state| queues.includes(&state.queue) && !state.paused) {
        // Counters are folded from deltas, and a fold may see a claim before its enqueue: a moment below zero.
        let ready = state.depth.ready.max(0) as u64;
        let strange = state.lanes.iter().filter(|lane| !kinds.include(&lane.kind));
        let unknown = strange.map(|lane| lane.depth.ready.max(0) as u64).sum::<u64>().min(ready);
        demand.ready += ready - unknown;
        demand.unknown += unknown;
        // What else is held is no demand: nothing is to be started for a job that waits for another, or whose kind is
        // paused.
        demand.suspects |= state.depth.suspects > 0;
    }
    demand
}

/// These queues without the paused ones; `None` if that leaves none.
fn unpaused(states: &[QueueState], queues: &Binding) -> Option<Binding> {
    let paused = |queue: &str| states.iter().any(|state| state.paused && state.queue == queue);
    if !states.iter().any(|state| state.paused && queues.includes(&state.queue)) {
        return Some(queues.clone());
    }
    // A prefix stands for the queues that are known; an entry that is a name, for itself.
    let known = states.iter().map(|state| &state.queue).filter(|queue| queues.includes(queue));
    let entries = queues.entries().unwrap_or_default().iter().filter(|entry| !entry.ends_with('*'));
    let names: BTreeSet<String> = known.chain(entries).filter(|queue| !paused(queue)).cloned().collect();
    (!names.is_empty()).then(|| Binding::Queues(names.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use headcount_queue::{Depth, Flow, LaneState};

    use super::*;

    fn queue(name: &str, ready: i64, suspects: i64, paused: bool) -> QueueState {
        QueueState {
            queue: name.into(),
            paused,
            depth: Depth {
                ready,
                suspects,
                held: suspects,
                scheduled: 50,
                running: 50,
                failed: 50,
                ..Depth::default()
            },
            oldest: None,
            priorities: Vec::new(),
            recent: headcount_queue::Recent::default(),
            flow: Flow::default(),
            lanes: Vec::new(),
            read_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn only_what_could_be_claimed_now_is_demand() {
        let states = [
            queue("mail", 3, 0, false),
            queue("media", 4, 0, true),
            queue("run:x", 5, 1, false),
            queue("late", -1, 0, false),
        ];
        let demand = |queues: &str| counted(&states, &queues.parse().unwrap(), &Kinds::Any);
        assert_eq!(demand(""), Demand { ready: 3, ..Demand::default() });
        assert_eq!(demand("mail,media"), Demand { ready: 3, ..Demand::default() });
        assert_eq!(demand("run:x"), Demand { ready: 5, suspects: true, ..Demand::default() });
        assert!(demand("media,late,unknown").is_none());
    }

    #[test]
    fn of_the_held_only_suspects_are_demand() {
        let mut state = queue("mail", 0, 0, false);
        state.depth.held = 2;
        assert!(
            counted(&[state.clone()], &Binding::Any, &Kinds::Any).is_none(),
            "they wait for others, or their kind is paused"
        );
    }

    #[test]
    fn what_no_worker_knows_is_no_demand_and_is_not_taken_for_what_the_counters_missed() {
        let mut state = queue("mail", 3, 0, false);
        let depth = Depth { ready: 3, ..Depth::default() };
        let lane = LaneState { queue: "mail".into(), kind: "odd".into(), depth, ..LaneState::default() };
        state.lanes = vec![lane];
        let kinds = Kinds::Only(["send".to_owned()].into());
        let demand = counted(&[state], &Binding::Any, &kinds);
        assert_eq!(demand, Demand { unknown: 3, ..Demand::default() });
        let exactly = |mut demand: Demand| {
            demand.exactly(Waiting { ready: true, ..Waiting::default() });
            demand
        };
        assert!(exactly(demand).is_none());
        assert_eq!(exactly(Demand::default()).jobs(), 1);
    }

    #[test]
    fn paused_queues_are_not_asked_about() {
        let states = [queue("mail", 0, 0, false), queue("media", 0, 0, true), queue("run:x", 0, 0, false)];
        let asked = |queues: &str| unpaused(&states, &queues.parse().unwrap()).map(|q| q.to_string());
        assert_eq!(asked("").as_deref(), Some("mail"));
        assert_eq!(asked("mail,media,new").as_deref(), Some("mail,new"));
        assert_eq!(asked("media"), None);
        assert_eq!(asked("m*, new").as_deref(), Some("mail,new"));
        assert_eq!(asked("mail*").as_deref(), Some("mail*"), "none of them is paused");
        assert_eq!(unpaused(&states[..1], &Binding::Any), Some(Binding::Any));
    }
}
