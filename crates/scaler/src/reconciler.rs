//! The loop: at every tick, keep the store in order, observe, decide, act, record.
//!
//! Pools share the readings of the store, and pools of one driver its calls. They share nothing else: a driver that
//! fails, hangs or panics harms no pool of another.

mod calls;
mod herald;
mod peers;
mod pool;
mod replacer;
mod sight;
mod tenure;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount_queue::{
    Error, Json, Result,
    rescue::{Rescuer, Vigil},
    store::{Fence, NewDecision, NewPool, Store, Weight},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::{
    act::{self, Action, Plan},
    decide::{Decision, Reason},
    driver::{Applied, Change, DriverError, ScalerDriver, Trouble},
    observe::{Observation, StoreReading},
    pool::PoolSpec,
    record::{Counts, TickRecord},
    watch::Watch,
    webhook::Webhook,
};
use herald::Herald;
use pool::Pool;
use replacer::{Member, check};
use sight::Sight;
use tenure::Tenure;

pub use replacer::Replacer;

/// How many due jobs one pass makes claimable.
const PROMOTE: u32 = 10_000;
/// How many parked jobs' waits one pass ends.
const EXPIRE: u32 = 1000;
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
    tenure: Tenure,
    /// The fence under which the pools were made known: a new one begins with what the store remembers.
    published: Option<Fence>,
    /// Whether there are pools that the store does not know yet.
    replaced: bool,
    pools: Vec<Pool>,
    recorder: Option<Recorder>,
    herald: Herald,
    watch: Watch,
    replacements: Option<mpsc::UnboundedReceiver<Vec<Member>>>,
    rescuer: Rescuer,
    vigil: Vigil,
    scanned: Option<Instant>,
    dry_run: bool,
    call_timeout: Duration,
    write_timeout: Duration,
    failures: u32,
}

type Recorder = Box<dyn Fn(&TickRecord) + Send + Sync>;

/// One pool's tick under way.
#[derive(Debug)]
struct Turn {
    sight: Sight,
    decision: Decision,
    changes: Vec<Change>,
}

impl Reconciler {
    /// A scaler without pools, under the lease of this name: of all scalers of one lease, one acts and the others stand
    /// by. What one of them drained, the next may recall or remove.
    pub fn new(store: Arc<dyn Store>, lease: impl Into<String>) -> Self {
        let vigil = Vigil::default();
        let holder = format!("{:08x}", rand::random::<u32>());
        Self {
            tenure: Tenure::new(store.clone(), lease.into(), holder),
            store,
            published: None,
            replaced: false,
            pools: Vec::new(),
            recorder: None,
            herald: Herald::default(),
            watch: Watch::default(),
            replacements: None,
            rescuer: Rescuer::new(vigil),
            vigil,
            scanned: None,
            dry_run: false,
            call_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
            failures: 0,
        }
    }

    /// Adds a pool on this platform.
    ///
    /// # Errors
    /// [`Error::Rejected`] if another pool has its name or serves one of its queues.
    pub fn pool(mut self, spec: PoolSpec, driver: Arc<dyn ScalerDriver>) -> Result<Self> {
        check(self.pools.iter().map(|pool| &pool.spec), &spec)?;
        self.pools.push(Pool::new(spec, driver));
        Ok(self)
    }

    /// What puts other pools into the place of these while it [runs](Self::run).
    pub fn replacer(&mut self) -> Replacer {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.replacements = Some(receiver);
        Replacer(sender)
    }

    /// Gives the record of every tick, holds too, to this function as soon as it is made.
    #[must_use]
    pub fn recorder(mut self, recorder: impl Fn(&TickRecord) + Send + Sync + 'static) -> Self {
        self.recorder = Some(Box::new(recorder));
        self
    }

    /// What it shows of itself, to the process that it runs in.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// When silent workers are taken for dead. Default: after 15 s, looked for every 5 s.
    #[must_use]
    pub fn vigil(mut self, vigil: Vigil) -> Self {
        self.vigil = vigil;
        self.rescuer = Rescuer::new(vigil);
        self
    }

    /// Tells there what a person should hear of: a pool that cannot meet its target, that is held or cannot grow, or whose
    /// budget is nearly spent, quarantined jobs, and that nobody scaled for a while. Default: nobody is told.
    #[must_use]
    pub fn webhook(mut self, webhook: Webhook) -> Self {
        self.herald = Herald::to(webhook);
        self
    }

    /// Decides and records, but changes no pool: neither drains nor asks the platform. Default false.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// How this process is called among the scalers of its lease, for people. Default: a random number.
    #[must_use]
    pub fn holder(mut self, holder: &str) -> Self {
        let holder = format!("{holder} {:08x}", rand::random::<u32>());
        self.tenure = Tenure::new(self.store.clone(), self.tenure.name().to_owned(), holder);
        self
    }

    /// The time limits of a call to a platform. A reading without an answer is one that failed; default 10 s. A change
    /// without an answer may have been made, and is believed not to have been once a reading says so after twice its limit;
    /// default 5 s. No change begins with less than its limit left of the lease.
    #[must_use]
    pub fn call_timeouts(mut self, reading: Duration, change: Duration) -> Self {
        self.call_timeout = reading;
        self.write_timeout = change;
        self
    }

    /// Goes round until told to stop. A tick under way is finished, and the lease given back; drained workers claim again
    /// when their drains end, unless another scaler takes over.
    ///
    /// Nothing that fails ends it: while the store fails, it waits longer from tick to tick, up to 30 s.
    pub async fn run(&mut self, stop: CancellationToken) {
        self.herald.begin(&*self.store, self.tenure.name()).await;
        // Who changes nothing must not keep the lease from one who does.
        let kept = (!self.dry_run).then(|| self.tenure.keep());
        self.rounds(&stop).await;
        drop(kept);
        self.watch.ended();
        self.tenure.give_back().await;
    }

    async fn rounds(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.replace();
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

    /// One round, for who goes no further: the lease is given back. Drained workers claim again when their drains end.
    pub async fn tick_once(&mut self) -> Vec<TickRecord> {
        let records = self.tick().await;
        self.tenure.give_back().await;
        records
    }

    /// Puts the latest replacement into force. A pool that stays under its name keeps its memory.
    fn replace(&mut self) {
        let mut latest = None;
        while let Some(next) = self.replacements.as_mut().and_then(|replacements| replacements.try_recv().ok()) {
            latest = Some(next);
        }
        let Some(next) = latest else { return };
        let mut before = std::mem::take(&mut self.pools);
        for (spec, driver) in next {
            let known = before.iter().position(|pool| pool.spec.name() == spec.name());
            self.pools.push(match known {
                Some(known) => Pool { spec, driver, due: Instant::now(), ..before.swap_remove(known) },
                None => Pool::new(spec, driver),
            });
        }
        self.replaced = true;
    }

    /// One round over all pools, in the order in which they were added. Empty while another scaler holds the lease.
    pub async fn tick(&mut self) -> Vec<TickRecord> {
        let all: Vec<usize> = (0..self.pools.len()).collect();
        self.tick_pools(&all).await
    }

    #[tracing::instrument(name = "tick", skip_all, fields(pools = pools.len()))]
    async fn tick_pools(&mut self, pools: &[usize]) -> Vec<TickRecord> {
        let started = Instant::now();
        self.maintain().await;
        // Who changes nothing needs no right to, and must not take it from one who acts.
        let office = if self.dry_run { Ok(true) } else { self.takes_office().await };
        if let Ok(false) = office {
            self.watch.stands_by(self.tenure.other().unwrap_or_default());
            return Vec::new();
        }
        if office.is_err() && self.tenure.fence(Duration::ZERO).is_none() {
            self.watch.unsure();
        }
        let asked = Instant::now();
        let (mut statuses, backlogs) =
            tokio::join!(calls::statuses(&self.pools, pools, self.call_timeout), calls::backlogs(&self.pools, pools));
        for status in statuses.iter_mut().flatten() {
            // Another platform may have kept this one's answer waiting.
            status.age += asked.elapsed();
        }
        let mut reading = match office {
            Ok(_) => StoreReading::take(&*self.store).await,
            Err(error) => Err(error),
        };
        if reading.is_ok() {
            self.watch.acts(self.dry_run);
        }
        self.failures = if reading.is_ok() { 0 } else { self.failures.saturating_add(1) };

        let mut sights = Vec::with_capacity(pools.len());
        for ((&index, status), backlog) in pools.iter().zip(statuses).zip(backlogs) {
            let pool = &mut self.pools[index];
            let span = info_span!("pool", name = %pool.spec.name());
            let sight = Sight::of((index, pool), span.clone(), &*self.store, &mut reading, status, backlog);
            sights.push(sight.instrument(span).await);
        }
        if let Ok(reading) = &reading {
            sight::complete(&*self.store, &self.pools, &mut sights, reading).await;
        }
        let mut turns = Vec::with_capacity(pools.len());
        for sight in sights {
            let span = sight.span.clone();
            turns.push(self.turn(sight, &reading).instrument(span).await);
        }
        let answers = self.apply(&mut turns).await;
        let at = reading.as_ref().ok().map(|reading| reading.at);
        let mut records = Vec::with_capacity(turns.len());
        for (mut turn, answers) in turns.into_iter().zip(answers) {
            let span = turn.sight.span.clone();
            self.settle(&mut turn, answers).instrument(span.clone()).await;
            let sight = turn.sight;
            let pool = &self.pools[sight.pool];
            let record = TickRecord {
                pool: pool.spec.name().clone(),
                at,
                counts: sight.seen.as_ref().ok().map(Counts::of),
                decision: turn.decision,
                actions: sight.actions,
                account: pool.account(),
                lost: sight.gone.lost,
                doubted: sight.gone.spared,
                trouble: sight.trouble,
                took: started.elapsed(),
            };
            span.in_scope(|| report(&record));
            self.watch.ticked(&record, sight.seen.as_ref().ok());
            if let Some(recorder) = &self.recorder {
                recorder(&record);
            }
            records.push(record);
        }
        self.write_down(&records).await;
        self.herald.hear(&records);
        self.herald.look(&*self.store).await;
        records
    }

    /// Whether this scaler may act: the lease is held, and its pools are known. `false`: another one does.
    async fn takes_office(&mut self) -> Result<bool> {
        let Some(fence) = self.tenure.hold().await? else {
            if self.published.take().is_some() {
                let by = self.tenure.other().unwrap_or_default();
                tracing::warn!("scaler {by} has taken over; this one stands by");
            }
            return Ok(false);
        };
        let same = self.published.as_ref() == Some(&fence);
        if same && !self.replaced {
            return Ok(true);
        }
        let pools: Vec<NewPool> = self.pools.iter().map(Pool::publication).collect();
        self.begin(&fence, &pools, same).await?;
        self.published = Some(fence);
        self.replaced = false;
        Ok(true)
    }

    /// Makes the pools known, and takes up what the scaler before remembered of them: whoever acted in between may have
    /// changed everything. `same`: it was this one, which has other pools now.
    async fn begin(&mut self, fence: &Fence, pools: &[NewPool], same: bool) -> Result<()> {
        self.store.publish(fence, pools).await?;
        if same {
            return Ok(());
        }
        let now = self.store.now().await?;
        let known = self.store.pools(None).await?;
        for pool in &mut self.pools {
            let stored = known.iter().find(|known| known.name == pool.spec.name().as_str());
            pool.begin(stored.and_then(|known| known.state.as_ref()), now);
        }
        Ok(())
    }

    /// Asks the platforms, if enough is left of the lease for the slowest answer.
    async fn apply(&self, turns: &mut [Turn]) -> Vec<Vec<Result<Applied, DriverError>>> {
        if turns.iter().all(|turn| turn.changes.is_empty()) {
            return turns.iter().map(|_| Vec::new()).collect();
        }
        // By then its holder may be another one; a call that was renewed for is worth its round trip.
        let _ = self.tenure.hold().await;
        let may_ask = || self.tenure.fence(self.write_timeout) == self.published;
        let told = if may_ask() { self.foretell(turns).await } else { Ok(()) };
        let why = match told {
            Ok(()) if may_ask() => return calls::apply(&self.pools, turns, self.write_timeout).await,
            Ok(()) => "too little is left of the scaler's lease".to_owned(),
            Err(error) => error.to_string(),
        };
        let unasked = || DriverError::Unavailable(format!("it was not asked: {why}"));
        turns.iter().map(|turn| turn.changes.iter().map(|_| Err(unasked())).collect()).collect()
    }

    /// Writes down which sizes are about to be asked for. If this process is killed before it has written the answer, the
    /// next scaler finds a size that it would else take for a person's, and respect for half an hour.
    async fn foretell(&self, turns: &[Turn]) -> Result<()> {
        let Some(fence) = &self.published else { return Ok(()) };
        let state = |turn: &Turn| {
            let pool = &self.pools[turn.sight.pool];
            Some((pool.spec.name().to_string(), pool.foretell(turn.sight.seen.as_ref().ok()?, &turn.changes)?))
        };
        let states: Vec<(String, Json)> = turns.iter().filter_map(state).collect();
        if states.is_empty() { Ok(()) } else { self.store.remember(fence, &states).await }
    }

    /// Writes the records into the ledger.
    async fn write_down(&mut self, records: &[TickRecord]) {
        let Some(fence) = self.published.clone() else { return };
        let mut decisions: Vec<NewDecision> = records.iter().map(TickRecord::entry).collect();
        for decision in &mut decisions {
            let pool = self.pools.iter_mut().find(|pool| pool.spec.name().as_str() == decision.pool);
            decision.state = pool.and_then(|pool| pool.write_down(decision.weight == Weight::Change));
        }
        match self.store.record(&fence, &decisions).await {
            Ok(()) => {}
            Err(Error::Superseded) => self.tenure.lose(),
            Err(error) => tracing::warn!(%error, "could not write the ledger"),
        }
    }

    /// What workers do for the store as well; with no worker alive, nobody else would wake a pool at zero for a job
    /// that falls due, or free a dead worker's jobs.
    async fn maintain(&mut self) {
        let now = Instant::now();
        let longest = self.pools.iter().map(|pool| pool.spec.pace()).max().unwrap_or_default();
        self.watch.alive(longest, self.pools.iter().map(|pool| pool.spec.name()));
        if self.scanned.is_none_or(|scanned| now - scanned >= self.vigil.scan) {
            self.scanned = Some(now);
            match self.rescuer.scan(&*self.store).await {
                Ok(rescued) if rescued.is_empty() => {}
                Ok(rescued) => tracing::warn!(jobs = rescued.len(), "freed the jobs of dead workers"),
                Err(error) => tracing::warn!(%error, "could not look for dead workers"),
            }
            match self.store.expire(EXPIRE).await {
                Ok(expired) if expired.is_empty() => {}
                Ok(expired) => tracing::warn!(jobs = expired.len(), "nobody answered for parked jobs in time"),
                Err(error) => tracing::warn!(%error, "could not look for parked jobs whose deadline has passed"),
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

    /// Decides about one pool, and does what the store has to do.
    async fn turn(&mut self, mut sight: Sight, reading: &Result<StoreReading>) -> Turn {
        let peers = reading.as_ref().map(|reading| peers::of(&self.pools, sight.pool, reading)).unwrap_or_default();
        let pool = &mut self.pools[sight.pool];
        if let Ok(seen) = &mut sight.seen {
            seen.peers = peers;
        }
        let decision = pool.decide(&sight.seen, reading.as_ref().ok());
        let mut plan = Plan::default();
        if let (Ok(seen), false) = (&sight.seen, self.dry_run) {
            let patience = self.write_timeout * 2;
            plan = act::plan(&pool.spec, seen, &decision, &mut pool.removals, &mut pool.given_back, patience);
            if !plan.drain.is_empty() || !plan.end.is_empty() {
                pool.limits.drained(seen.at);
            }
        }
        let changes = match &self.published {
            Some(fence) if plan != Plan::default() => {
                act::prepare(&*self.store, fence, pool.spec.name(), &plan, &mut sight.actions).await
            }
            _ => Vec::new(),
        };
        Turn { sight, decision, changes }
    }

    /// Takes the platform's answers. What it refused to remove goes back to draining; what it may have removed stays
    /// leaving until a later reading tells.
    async fn settle(&mut self, turn: &mut Turn, answers: Vec<Result<Applied, DriverError>>) {
        let sight = &mut turn.sight;
        let pool = &mut self.pools[sight.pool];
        for (change, answer) in std::mem::take(&mut turn.changes).into_iter().zip(answers) {
            if let Ok(seen) = &sight.seen {
                pool.limits.asked(&change, &answer, seen.at);
            }
            if let (Change::Remove { instances, .. }, Ok(seen @ Observation { foreign: None, .. })) =
                (&change, &sight.seen)
            {
                pool.removals.sent(instances, seen.at);
                if let (Err(DriverError::Refused(_) | DriverError::Unavailable(_)), Some(fence)) =
                    (&answer, &self.published)
                {
                    let names: Vec<String> = instances.iter().map(ToString::to_string).collect();
                    match self.store.keep(fence, pool.spec.name().as_str(), &names).await {
                        Ok(()) => pool.removals.refused(instances),
                        // They stay noted as sent, and a later tick sets them back.
                        Err(error) => sight.actions.push(Action::Failed(error.to_string())),
                    }
                }
            }
            // What is said again at every tick is worth telling when it did something.
            let repeated = matches!(change, Change::Extend { .. } | Change::Complete { .. });
            let told = !repeated || answer.as_ref().map_or(true, |applied| applied.changed);
            if told {
                sight.actions.push(Action::Asked { change, answer });
            }
        }
    }
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
        let Self { tenure, pools, rescuer, dry_run, failures, .. } = self;
        f.debug_struct("Reconciler")
            .field("tenure", tenure)
            .field("pools", pools)
            .field("rescuer", rescuer)
            .field("dry_run", dry_run)
            .field("failures", failures)
            .finish_non_exhaustive()
    }
}
