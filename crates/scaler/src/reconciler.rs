//! The loop: at every tick, keep the store in order, observe, decide, act, record.
//!
//! Pools share the readings of the store, and pools of one driver its calls. They share nothing else: a driver that
//! fails, hangs or panics harms no pool of another.

mod calls;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount_queue::{
    BootId, Error, Result,
    rescue::{Rescuer, Vigil},
    store::Store,
};
use tokio_util::sync::CancellationToken;

use crate::{
    act::{self, Action, Plan, Removals},
    decide::{self, Decision, History, Reason},
    driver::{Applied, Change, DriverError, InstanceState, PoolStatus, ScalerDriver, Trouble},
    observe::{Demand, Gone, Observation, Roll, StoreReading, Unseen, Workload},
    pool::PoolSpec,
    record::{Counts, TickRecord},
};

/// How many due jobs one pass makes claimable.
const PROMOTE: u32 = 10_000;
/// No wait for a failing store is longer.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Resizes pools so that they follow their queues.
///
/// ```no_run
/// # async fn example(store: std::sync::Arc<dyn headcount_queue::store::Store>) -> headcount_queue::Result<()> {
/// use std::sync::Arc;
/// use headcount_scaler::{LocalConfig, LocalDriver, PoolSpec, Reconciler};
///
/// let driver = Arc::new(LocalDriver::new(LocalConfig::new(["headcount", "work"])));
/// let pool = PoolSpec::new("here", "mail".parse()?, 0..=4)?;
/// let mut reconciler = Reconciler::new(store, "scaler-1").pool(pool, driver.clone())?;
/// reconciler.run(tokio_util::sync::CancellationToken::new()).await;
/// driver.shutdown(std::time::Duration::from_secs(30)).await;
/// # Ok(())
/// # }
/// ```
pub struct Reconciler {
    store: Arc<dyn Store>,
    name: String,
    pools: Vec<Pool>,
    recorder: Option<Recorder>,
    rescuer: Rescuer,
    vigil: Vigil,
    scanned: Option<Instant>,
    dry_run: bool,
    call_timeout: Duration,
    failures: u32,
}

type Recorder = Box<dyn Fn(&TickRecord) + Send + Sync>;

#[derive(Debug)]
struct Pool {
    spec: PoolSpec,
    driver: Arc<dyn ScalerDriver>,
    roll: Roll,
    history: History,
    removals: Removals,
    due: Instant,
}

/// One pool's tick under way.
#[derive(Debug)]
struct Turn {
    /// Which pool.
    pool: usize,
    seen: Result<Observation, Unseen>,
    gone: Gone,
    trouble: Option<Trouble>,
    decision: Decision,
    actions: Vec<Action>,
    plan: Plan,
    changes: Vec<Change>,
}

impl Reconciler {
    /// A scaler of this name, without pools. The name must be its own: by it, it knows the workers that it drained.
    pub fn new(store: Arc<dyn Store>, name: impl Into<String>) -> Self {
        let vigil = Vigil::default();
        Self {
            store,
            name: name.into(),
            pools: Vec::new(),
            recorder: None,
            rescuer: Rescuer::new(vigil),
            vigil,
            scanned: None,
            dry_run: false,
            call_timeout: Duration::from_secs(10),
            failures: 0,
        }
    }

    /// Adds a pool on this platform.
    ///
    /// # Errors
    /// [`Error::Rejected`] if another pool has its name or serves one of its queues.
    pub fn pool(mut self, spec: PoolSpec, driver: Arc<dyn ScalerDriver>) -> Result<Self> {
        for pool in &self.pools {
            if pool.spec.name() == spec.name() {
                return Err(Error::Rejected(format!("there are two pools named {}", spec.name())));
            }
            if let Some(queue) = pool.spec.shares_with(&spec) {
                return Err(Error::Rejected(format!(
                    "pools {} and {} both serve {queue}: give each queue to one pool, or both hire for the same jobs",
                    pool.spec.name(),
                    spec.name(),
                )));
            }
        }
        let (roll, history, removals) = (Roll::default(), History::default(), Removals::default());
        self.pools.push(Pool { spec, driver, roll, history, removals, due: Instant::now() });
        Ok(self)
    }

    /// Gives the record of every tick, holds too, to this function as soon as it is made.
    #[must_use]
    pub fn recorder(mut self, recorder: impl Fn(&TickRecord) + Send + Sync + 'static) -> Self {
        self.recorder = Some(Box::new(recorder));
        self
    }

    /// When silent workers are taken for dead. Default: after 15 s, looked for every 5 s.
    #[must_use]
    pub fn vigil(mut self, vigil: Vigil) -> Self {
        self.vigil = vigil;
        self.rescuer = Rescuer::new(vigil);
        self
    }

    /// Decides and records, but changes no pool: neither drains nor asks the platform. Default false.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// The time limit of a call to a platform. A reading without an answer is one that failed; a change without an
    /// answer may have been made, and is believed not to have been once a reading says so after twice this time.
    /// Default 10 s.
    #[must_use]
    pub fn call_timeout(mut self, call_timeout: Duration) -> Self {
        self.call_timeout = call_timeout;
        self
    }

    /// Goes round until told to stop. A tick under way is finished; drained workers claim again when their lease ends.
    ///
    /// Nothing that fails ends it: while the store fails, it waits longer from tick to tick, up to 30 s.
    pub async fn run(&mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = Instant::now();
            let due: Vec<usize> = (0..self.pools.len()).filter(|&i| self.pools[i].due <= now).collect();
            if due.is_empty() {
                // A rescuer that looks too seldom never judges, however slow the pools are.
                self.maintain().await;
            } else {
                self.tick_pools(&due).await;
            }
            for i in due {
                self.pools[i].due = now + pause(self.pools[i].spec.pace(), self.failures);
            }
            let scan = self.scanned.map_or(now, |scanned| scanned + self.vigil.scan);
            let next = self.pools.iter().map(|pool| pool.due).fold(scan, Instant::min);
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// One round over all pools, in the order in which they were added.
    pub async fn tick(&mut self) -> Vec<TickRecord> {
        let all: Vec<usize> = (0..self.pools.len()).collect();
        self.tick_pools(&all).await
    }

    async fn tick_pools(&mut self, pools: &[usize]) -> Vec<TickRecord> {
        let started = Instant::now();
        self.maintain().await;
        let asked = Instant::now();
        let mut statuses = calls::statuses(&self.pools, pools, self.call_timeout).await;
        for status in statuses.iter_mut().flatten() {
            // Another platform may have kept this one's answer waiting.
            status.age += asked.elapsed();
        }
        let reading = StoreReading::take(&*self.store).await;
        self.failures = if reading.is_ok() { 0 } else { self.failures.saturating_add(1) };

        let mut turns = Vec::with_capacity(pools.len());
        for (&pool, status) in pools.iter().zip(statuses) {
            turns.push(self.turn(pool, status, &reading).await);
        }
        let answers = calls::apply(&self.pools, &turns, self.call_timeout).await;
        let at = reading.as_ref().ok().map(|reading| reading.at);
        let mut records = Vec::with_capacity(turns.len());
        for (mut turn, answers) in turns.into_iter().zip(answers) {
            self.settle(&mut turn, answers).await;
            let record = TickRecord {
                pool: self.pools[turn.pool].spec.name().clone(),
                at,
                counts: turn.seen.as_ref().ok().map(Counts::of),
                decision: turn.decision,
                actions: turn.actions,
                lost: turn.gone.lost,
                doubted: turn.gone.spared,
                trouble: turn.trouble,
                took: started.elapsed(),
            };
            report(&record);
            if let Some(recorder) = &self.recorder {
                recorder(&record);
            }
            records.push(record);
        }
        records
    }

    /// What workers do for the store as well; with no worker alive, nobody else would wake a pool at zero for a job
    /// that falls due, or free a dead worker's jobs.
    async fn maintain(&mut self) {
        let now = Instant::now();
        if self.scanned.is_none_or(|scanned| now - scanned >= self.vigil.scan) {
            self.scanned = Some(now);
            match self.rescuer.scan(&*self.store).await {
                Ok(rescued) if rescued.is_empty() => {}
                Ok(rescued) => tracing::warn!(jobs = rescued.len(), "freed the jobs of dead workers"),
                Err(error) => tracing::warn!(%error, "could not look for dead workers"),
            }
        }
        // Counters last, so that they show what has just been promoted.
        if let Err(error) = self.store.promote(PROMOTE).await {
            tracing::warn!(%error, "could not promote due jobs");
        }
        if let Err(error) = self.store.fold().await {
            tracing::warn!(%error, "could not fold the counters");
        }
    }

    /// Observes one pool, decides, and does what the store has to do.
    async fn turn(
        &mut self,
        pool: usize,
        status: Result<PoolStatus, DriverError>,
        reading: &Result<StoreReading>,
    ) -> Turn {
        let (store, name) = (self.store.clone(), self.name.clone());
        let (dry_run, patience, index) = (self.dry_run, self.call_timeout * 2, pool);
        let pool = &mut self.pools[index];
        let trouble = status.as_ref().ok().and_then(|status| status.trouble.clone());
        let mut actions = Vec::new();
        let (seen, gone) = match (reading, status) {
            (Ok(reading), Ok(status)) => pool.observe(&*store, &name, reading, status, &mut actions).await,
            (Err(error), _) => (Err(Unseen::Store(error.to_string())), Gone::default()),
            (_, Err(error)) => (Err(Unseen::Platform(error)), Gone::default()),
        };
        let now = reading.as_ref().map(StoreReading::now).unwrap_or_default();
        if let Ok(seen) = &seen {
            pool.history.learn(&pool.spec, seen);
        }
        let decision = decide::decide(&pool.spec, &seen, &pool.history, now);
        let mut plan = Plan::default();
        if let (Ok(seen), Some(_)) = (&seen, decision.wish) {
            pool.history.decided(&pool.spec, seen, &decision);
            if !dry_run {
                plan = act::plan(&pool.spec, seen, &decision, &mut pool.removals, patience);
            }
        } else {
            pool.history.lost_sight();
            pool.roll.lost_sight();
        }
        let changes = act::prepare(&*store, &name, pool.spec.name(), &plan, &mut actions).await;
        Turn { pool: index, seen, gone, trouble, decision, actions, plan, changes }
    }

    /// Takes the platform's answers. What it refused to remove goes back to draining; what it may have removed stays
    /// leaving until a later reading tells.
    async fn settle(&mut self, turn: &mut Turn, answers: Vec<Result<Applied, DriverError>>) {
        let pool = &mut self.pools[turn.pool];
        for (change, answer) in std::mem::take(&mut turn.changes).into_iter().zip(answers) {
            if let (Change::Remove { instances, .. }, Ok(seen)) = (&change, &turn.seen) {
                pool.removals.sent(instances, seen.at);
                if let Err(DriverError::Refused(_) | DriverError::Unavailable(_)) = answer {
                    let refused: Vec<_> =
                        turn.plan.remove.iter().filter(|member| instances.contains(&member.id)).cloned().collect();
                    match act::stay(&*self.store, &refused).await {
                        Ok(()) => pool.removals.refused(instances),
                        // They stay noted as sent, and a later tick sets them back.
                        Err(error) => turn.actions.push(Action::Failed(error.to_string())),
                    }
                }
            }
            turn.actions.push(Action::Asked { change, answer });
        }
    }
}

impl Pool {
    /// Puts the readings together, and frees the jobs of workers whose process is gone.
    async fn observe(
        &mut self,
        store: &dyn Store,
        by: &str,
        reading: &StoreReading,
        status: PoolStatus,
        actions: &mut Vec<Action>,
    ) -> (Result<Observation, Unseen>, Gone) {
        let limits = self.history.learned().limits(self.driver.limits(self.spec.name()));
        let muster = self.roll.muster(self.spec.name(), by, &limits, &status, &reading.workers, reading.at);
        let mut gone = muster.gone;
        let mut recounted = None;
        match bury(store, &std::mem::take(&mut gone.boots)).await {
            Ok(buried) if buried.is_empty() => {}
            Ok(buried) => {
                actions.push(Action::Buried(buried));
                let reading = recounted.insert(reading.clone());
                if let Err(error) = reading.recount(store).await {
                    return (Err(Unseen::Store(error.to_string())), gone);
                }
            }
            Err(error) => actions.push(Action::Failed(error.to_string())),
        }
        let reading = recounted.as_ref().unwrap_or(reading);
        let listed = status.instances.iter().filter(|i| i.state == InstanceState::Up).count() as u32;
        let mut seen = Observation {
            at: reading.at,
            platform_age: status.age,
            demand: Demand::default(),
            workload: Workload::of(&reading.queues, self.spec.queues(), &muster.kinds),
            members: muster.members,
            desired: status.desired,
            unlisted: status.desired.saturating_sub(listed),
            trouble: status.trouble,
            limits,
        };
        match reading.demand(store, self.spec.queues(), &muster.kinds, seen.running() > 0).await {
            Ok(demand) => seen.demand = demand,
            Err(error) => return (Err(Unseen::Store(error.to_string())), gone),
        }
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

/// The wait to the next tick: the pool's own pace, doubled for each failure in a row, with jitter.
fn pause(pace: Duration, failures: u32) -> Duration {
    if failures == 0 {
        return pace;
    }
    let wait = pace.saturating_mul(1 << failures.min(16)).min(MAX_WAIT.max(pace));
    wait.mul_f64(rand::random_range(0.75..1.0))
}

fn report(record: &TickRecord) {
    let failed = record.trouble.as_ref().is_some_and(Trouble::is_lasting);
    match &record.decision.reason {
        Reason::Unseen(_) => tracing::warn!("{record}"),
        Reason::Trouble(_) if failed => tracing::error!("{record}"),
        _ if !record.lost.is_empty() || record.doubted > 0 => tracing::warn!("{record}"),
        _ if record.is_notable() => tracing::info!("{record}"),
        _ => tracing::debug!("{record}"),
    }
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, pools, rescuer, dry_run, failures, .. } = self;
        f.debug_struct("Reconciler")
            .field("name", name)
            .field("pools", pools)
            .field("rescuer", rescuer)
            .field("dry_run", dry_run)
            .field("failures", failures)
            .finish_non_exhaustive()
    }
}
