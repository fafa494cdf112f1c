//! One pool of a scaler: what is seen of it, what is decided, and what is remembered from tick to tick.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use headcount_queue::{
    Binding, BootId, Json, Result,
    store::{NewPool, Store},
};
use serde::{Deserialize, Serialize};

use super::peers::Glimpse;
use crate::{
    account::{Account, ColdStarts},
    act::{Action, GivenBack, Removals},
    decide::{
        self, Decision, History, Memory,
        limits::{self, Connections, Flow, Inputs, Range, State},
    },
    driver::{Change, DriverError, InstanceState, PoolStatus, Removal, ScalerDriver},
    observe::{
        Backlog, Demand, Gone, Observation, Reading, Roll, Standing, StoreReading, Unseen, Workload,
        source::{self, Tide},
    },
    pool::{Policy, PoolSpec},
    price::Money,
};

/// What a pool remembers is written down with every change, and else so often.
const REMEMBER: Duration = Duration::from_secs(15);

/// How far beyond its target and two boots a policy looks.
const AHEAD: Duration = Duration::from_mins(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) spec: PoolSpec,
    pub(super) driver: Arc<dyn ScalerDriver>,
    pub(super) roll: Roll,
    pub(super) history: History,
    pub(super) limits: State,
    pub(super) removals: Removals,
    pub(super) cold: ColdStarts,
    pub(super) tide: Tide,
    pub(super) glimpse: Glimpse,
    pub(super) given_back: GivenBack,
    pub(super) due: Instant,
    /// It has been said that its budget does not bind.
    pub(super) unpriced: bool,
    /// When its memory was last written down.
    pub(super) remembered: Option<Instant>,
}

/// What is written down of a pool, each part a text of its own version.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    policy: String,
    limits: String,
    cold: ColdStarts,
}

impl Pool {
    pub(super) fn new(spec: PoolSpec, driver: Arc<dyn ScalerDriver>) -> Self {
        Self {
            spec,
            driver,
            roll: Roll::default(),
            history: History::default(),
            limits: State::default(),
            removals: Removals::default(),
            cold: ColdStarts::default(),
            tide: Tide::default(),
            glimpse: Glimpse::none(),
            given_back: GivenBack::default(),
            due: Instant::now(),
            unpriced: false,
            remembered: None,
        }
    }

    /// What others may know of it.
    pub(super) fn publication(&self) -> NewPool {
        NewPool {
            name: self.spec.name().to_string(),
            queues: self.spec.queues().clone(),
            ordered: self.driver.limits(self.spec.name()).removal == Removal::Highest,
            spec: self.spec.to_json(),
        }
    }

    /// Begins anew, with what an earlier scaler remembered of it.
    pub(super) fn begin(&mut self, stored: Option<&Json>, now: DateTime<Utc>) {
        let memory: Remembered = stored.and_then(|stored| serde_json::from_str(&stored.0).ok()).unwrap_or_default();
        self.history = History::remembering(Memory::restore(&memory.policy));
        let (limits, why) = State::load(&memory.limits, now);
        if let Some(why) = why.filter(|_| stored.is_some()) {
            tracing::warn!(pool = %self.spec.name(), "{why}: they begin anew");
        }
        self.limits = limits;
        self.cold = memory.cold;
        self.removals = Removals::default();
        self.tide = Tide::default();
        self.given_back = GivenBack::default();
        self.roll = Roll::default();
        self.remembered = None;
    }

    /// What the next scaler should know, if it is time to write it down.
    pub(super) fn write_down(&mut self, changed: bool) -> Option<Json> {
        if !changed && self.remembered.is_some_and(|at| at.elapsed() < REMEMBER) {
            return None;
        }
        self.remembered = Some(Instant::now());
        Some(self.memory(&self.limits))
    }

    /// What the next scaler should know if this one is killed while it asks for these changes: each may have been made.
    /// None where no person could have changed the size, or none is changed.
    pub(super) fn foretell(&self, seen: &Observation, changes: &[Change]) -> Option<Json> {
        let mut limits = self.limits.clone();
        let sizes = changes.iter().filter(|change| seen.limits.shared && change.size().is_some());
        let asked =
            sizes.map(|change| limits.asked(change, &Err(DriverError::Unknown(String::new())), seen.at)).count();
        (asked > 0).then(|| self.memory(&limits))
    }

    fn memory(&self, limits: &State) -> Json {
        let memory =
            Remembered { policy: self.history.memory().to_json(), limits: limits.save(), cold: self.cold.clone() };
        Json(serde_json::to_string(&memory).expect("texts and numbers are JSON"))
    }

    /// Its target, what it costs, and its cold starts.
    pub(super) fn account(&self) -> Account {
        let name = self.spec.name();
        let rules = self.spec.rules_in_force();
        let price = self.price();
        Account {
            target: self.spec.target_said(&self.history.learned().limits(self.driver.limits(name))),
            price,
            budget: rules.budget,
            spent_today: price.map(|price| self.limits.spent(price)),
            cold_starts_today: self.cold.today(),
        }
    }

    /// What an instance costs in an hour, where that is known.
    fn price(&self) -> Option<Money> {
        self.spec.rules_in_force().price.or_else(|| self.driver.price(self.spec.name()))
    }

    /// Says once that a budget does not bind.
    fn miss_price(&mut self, price: Option<Money>) {
        let missing = price.is_none() && self.spec.rules_in_force().budget.is_some();
        if missing && !self.unpriced {
            tracing::warn!("the budget does not bind: what an instance costs is not known; set `price`");
        }
        self.unpriced = missing;
    }

    /// Decides within the limits, and takes note of what was seen and decided.
    pub(super) fn decide(&mut self, seen: &Result<Observation, Unseen>, reading: Option<&StoreReading>) -> Decision {
        let now = reading.map(StoreReading::now).unwrap_or_default();
        let (Ok(good), Some(reading)) = (seen, reading) else {
            self.history.lost_sight();
            self.roll.lost_sight();
            return decide::decide(&self.spec, seen, &self.history, now);
        };
        self.history.learn(&self.spec, good);
        let orders = reading.orders(self.spec.name());
        let price = self.price();
        self.miss_price(price);
        let inputs = Inputs {
            now,
            platform_age: good.platform_age,
            current: good.current(),
            instances: good.members.iter().filter(|member| member.listed).count() as u32 + good.unlisted,
            price,
            desired: good.limits.shared.then_some(good.desired),
            flow: good.foreign.is_none().then(|| self.flow(good, reading)),
            // Those of another queue's workers are another database's.
            connections: (reading.connections.filter(|_| good.foreign.is_none()))
                .map(|connections| self.connections(connections.max, reading)),
            foreign: good.foreign,
            orders: &orders,
        };
        self.limits.observe(&self.spec, &inputs);
        self.cold.observe(
            good.count(Standing::Active),
            self.arrived(reading),
            self.spec.rules_in_force().schedule.timezone(),
            now,
        );
        let range = Range::of(&self.spec, &self.limits, &inputs);
        self.glimpse.look(good, &range, self.spec.max(), self.spec.assumed_slots());
        let history = &self.history;
        let decision =
            limits::bounded(&self.spec, &self.limits, &inputs, |spec| decide::decide(spec, seen, history, now));
        if decision.wish.is_some() {
            self.history.decided(&self.spec, good, &decision);
        } else {
            self.history.lost_sight();
            self.roll.lost_sight();
        }
        decision
    }

    /// Which of its queues have jobs that are going to fall due, and how far ahead their policy looks.
    pub(super) fn horizons(&self, seen: &Observation, reading: &StoreReading) -> Vec<(usize, (Binding, Duration))> {
        if self.spec.policy_in_force() != Policy::WaitingTime {
            return Vec::new();
        }
        let limits = self.driver.limits(self.spec.name());
        let within = self.spec.longest_within(&limits) + limits.boot * 2 + AHEAD;
        let scheduled =
            |name: &str| reading.queues.iter().any(|queue| queue.queue == name && queue.depth.scheduled > 0);
        let queues = seen.workload.queues.iter().enumerate();
        let queues = queues.filter(|(_, work)| !work.paused && scheduled(&work.queue));
        queues.filter_map(|(i, work)| Some((i, (Binding::queue(&work.queue).ok()?, within)))).collect()
    }

    /// The queues for which the counters show nothing at all. They may lag by a fold, and a pool is never let go on a
    /// counter's word.
    pub(super) fn doubted(&self, seen: &Observation, reading: &StoreReading) -> Option<Binding> {
        let idle = seen.running() == 0 && seen.demand.is_none();
        reading.unpaused(self.spec.queues()).filter(|_| idle)
    }

    /// How many of the pool's jobs have ever become claimable.
    fn arrived(&self, reading: &StoreReading) -> u64 {
        let ours = reading.queues.iter().filter(|queue| self.spec.queues().includes(&queue.queue));
        ours.map(|queue| queue.flow.arrived.saturating_add(queue.flow.promoted).max(0) as u64).sum()
    }

    /// What has become of the pool's jobs.
    fn flow(&self, seen: &Observation, reading: &StoreReading) -> Flow {
        let count = |number: i64| number.max(0) as u64;
        let ours = reading.queues.iter().filter(|queue| self.spec.queues().includes(&queue.queue));
        let mut sum = headcount_queue::Flow::default();
        ours.for_each(|queue| sum += &queue.flow);
        let ended = count(sum.completed) + count(sum.failed);
        Flow {
            started: count(sum.started),
            late: count(sum.late),
            finished: ended,
            busy: seen.running(),
            run_time: (ended > 0).then(|| Duration::from_millis(count(sum.run_ms) / ended)),
            boot: seen.limits.boot,
        }
    }

    /// The database's connections, as far as they are for this pool.
    fn connections(&self, server: u32, reading: &StoreReading) -> Connections {
        let mut connections = Connections::of(server);
        let others = |worker: &&headcount_queue::WorkerRecord| {
            worker.state != headcount_queue::store::WorkerState::Dead
                && worker.pool.as_deref() != Some(self.spec.name().as_str())
        };
        connections.others = reading.workers.iter().filter(others).count() as u32 * connections.per_worker;
        connections
    }

    /// Puts together what the platform says and what the pool's own source does: nobody beats there.
    pub(super) fn assume(
        &mut self,
        reading: &StoreReading,
        status: PoolStatus,
        backlog: Backlog,
    ) -> (Result<Observation, Unseen>, Gone) {
        let limits = self.driver.limits(self.spec.name());
        let roll = Reading {
            pool: self.spec.name(),
            limits: &limits,
            status: &status,
            workers: &[],
            places: &[],
            at: reading.at,
        };
        let mut muster = self.roll.muster(&roll);
        source::assume(&mut muster.members, limits.boot, self.spec.assumed_slots(), reading.at);
        let listed = status.instances.iter().filter(|i| i.state == InstanceState::Up).count() as u32;
        let seen = Observation {
            at: reading.at,
            platform_age: status.age,
            demand: Demand { ready: backlog.pending, ..Demand::default() },
            workload: self.tide.work(self.spec.queues(), backlog),
            members: muster.members,
            vacant: Vec::new(),
            desired: status.desired,
            unlisted: status.desired.saturating_sub(listed),
            trouble: status.trouble,
            strays: 0,
            strangers: 0,
            release: status.release,
            foreign: Some(backlog),
            peers: Vec::new(),
            limits,
        };
        (Ok(seen), muster.gone)
    }

    /// Puts the readings together, as far as the counters go, and frees the jobs of workers whose process is gone.
    pub(super) async fn observe(
        &mut self,
        store: &dyn Store,
        reading: &mut StoreReading,
        status: PoolStatus,
        actions: &mut Vec<Action>,
    ) -> (Result<Observation, Unseen>, Gone) {
        let limits = self.history.learned().limits(self.driver.limits(self.spec.name()));
        let muster = self.roll.muster(&Reading {
            pool: self.spec.name(),
            limits: &limits,
            status: &status,
            workers: &reading.workers,
            places: reading.places(self.spec.name()),
            at: reading.at,
        });
        let mut gone = muster.gone;
        match bury(store, &std::mem::take(&mut gone.boots)).await {
            Ok(buried) if buried.is_empty() => {}
            Ok(buried) => {
                actions.push(Action::Buried(buried));
                if let Err(error) = reading.recount(store).await {
                    return (Err(Unseen::Store(error.to_string())), gone);
                }
            }
            Err(error) => actions.push(Action::Failed(error.to_string())),
        }
        let listed = status.instances.iter().filter(|i| i.state == InstanceState::Up).count() as u32;
        let active = muster.members.iter().filter(|member| member.standing == Standing::Active);
        let claiming = active.flat_map(|member| member.boots.iter().copied()).collect();
        let mut workload =
            Workload::of(&reading.queues, self.spec.queues(), &muster.kinds).with_runs(&reading.long_runs, &claiming);
        if self.spec.policy_in_force() == Policy::WaitingTime {
            // Nothing, until the queues are asked that have anything.
            workload.queues.iter_mut().for_each(|work| work.known = Some(Vec::new()));
        }
        let seen = Observation {
            at: reading.at,
            platform_age: status.age,
            demand: reading.counted(self.spec.queues(), &muster.kinds),
            workload,
            members: muster.members,
            vacant: muster.vacant,
            desired: status.desired,
            unlisted: status.desired.saturating_sub(listed),
            trouble: status.trouble,
            strays: muster.strays,
            strangers: muster.strangers,
            release: status.release,
            foreign: None,
            peers: Vec::new(),
            limits,
        };
        (Ok(seen), gone)
    }
}

/// Marks workers dead whose process is gone, and frees their jobs. Two statements, as for any death: the second sees
/// what claims in flight took while the first waited.
async fn bury(store: &dyn Store, boots: &[BootId]) -> Result<Vec<BootId>> {
    if boots.is_empty() {
        return Ok(Vec::new());
    }
    let buried = store.bury(boots).await?;
    if !buried.is_empty() {
        store.rescue_dead(true).await?;
    }
    Ok(buried)
}
