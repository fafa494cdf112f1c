//! What a scaler keeps: who acts, which pools there are, and what was decided. Drained places are [next](super::places).

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::{
    Binding, Error, Json, Result,
    store::{
        BootId, Connections, Decided, Fence, Known, Lease, LeaseRecord, LongRun, NewDecision, NewPool, Override,
        PoolRecord, Scale, Target, Waiting, Weight,
    },
};

use super::{
    MemoryStore,
    places::PlaceName,
    tables::{Hold, Place, Row, Tables},
};

/// How many steps [`Scale::known`] has.
const STEPS: u32 = 60;

/// How many jobs it counts.
const COUNTED: usize = 100_000;

/// How many jobs [`Scale::long_runs`] shows.
const LONG_RUNS: usize = 10_000;

/// A pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) new: NewPool,
    /// The lease under which it was made known.
    lease: String,
    published_at: DateTime<Utc>,
    order: Option<(Override, String)>,
    state: Option<headcount_queue::Json>,
}

/// All of it but the places.
#[derive(Debug, Default)]
pub(crate) struct Scaling {
    leases: BTreeMap<String, LeaseRecord>,
    pub(crate) pools: BTreeMap<String, Pool>,
    /// The earliest first.
    ledger: Vec<Decided>,
}

#[async_trait]
impl Scale for MemoryStore {
    async fn lease(&self, lease: &str, holder: &str, length: Duration) -> Result<Lease> {
        Ok(self.call(|tables| tables.lease(lease, holder, length)))
    }

    async fn release_lease(&self, fence: &Fence) -> Result<()> {
        self.under(fence, |tables, _| {
            let now = tables.now;
            tables.scaling.leases.entry(fence.lease.clone()).and_modify(|lease| lease.until = now);
        })
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>> {
        Ok(self.call(|tables| {
            let leases = tables.scaling.leases.values().cloned();
            leases.map(|lease| LeaseRecord { read_at: tables.now, ..lease }).collect()
        }))
    }

    async fn publish(&self, fence: &Fence, pools: &[NewPool]) -> Result<()> {
        self.under(fence, |tables, _| tables.publish(&fence.lease, pools))
    }

    async fn pools(&self, name: Option<&str>) -> Result<Vec<PoolRecord>> {
        Ok(self.call(|tables| {
            let pools = tables.scaling.pools.values().filter(|pool| name.is_none_or(|name| pool.new.name == name));
            pools.map(|pool| tables.show_pool(pool)).collect()
        }))
    }

    async fn order(&self, pool: &str, by: &str, order: &Override) -> Result<()> {
        self.call(|tables| match tables.scaling.pools.get_mut(pool) {
            Some(pool) => {
                pool.order = (*order != Override::default()).then(|| (*order, by.to_owned()));
                Ok(())
            }
            None => Err(Error::Rejected(format!("no scaler has made a pool {pool} known"))),
        })
    }

    async fn withhold(&self, fence: &Fence, pool: &str, instances: &[String], lease: Duration) -> Result<Vec<i64>> {
        self.under(fence, |tables, holder| {
            let until = tables.after(lease);
            let places = names(pool, instances);
            places.iter().map(|place| tables.drain_place(place, holder, Some(until))).collect()
        })
    }

    async fn restore(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<Vec<BootId>> {
        self.under(fence, |tables, _| {
            let places = names(pool, instances);
            places.iter().flat_map(|place| tables.restore_place(place)).collect()
        })
    }

    async fn let_go(&self, fence: &Fence, pool: &str, instance: &str, epoch: i64, lease: Duration) -> Result<bool> {
        self.under(fence, |tables, _| {
            let until = tables.after(lease);
            tables.let_place_go(&(pool.into(), instance.into()), epoch, until)
        })
    }

    async fn keep(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        self.under(fence, |tables, _| names(pool, instances).iter().for_each(|place| tables.keep_place(place)))
    }

    async fn forget(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        self.under(fence, |tables, _| {
            for place in names(pool, instances) {
                tables.places.remove(&place);
            }
        })
    }

    async fn record(&self, fence: &Fence, decisions: &[NewDecision]) -> Result<()> {
        self.under(fence, |tables, _| decisions.iter().for_each(|decision| tables.write_down(decision)))
    }

    async fn remember(&self, fence: &Fence, states: &[(String, Json)]) -> Result<()> {
        self.under(fence, |tables, _| states.iter().for_each(|(pool, state)| tables.remember(pool, state)))
    }

    async fn ledger(&self, pool: Option<&str>, at: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<Decided>> {
        Ok(self.call(|tables| {
            let entries = tables.scaling.ledger.iter().rev();
            let entries = entries.filter(|entry| pool.is_none_or(|pool| entry.pool == pool));
            let entries = entries.filter(|entry| at.is_none_or(|at| entry.first_at <= at));
            entries.take(limit as usize).cloned().collect()
        }))
    }

    async fn waiting(&self, queues: &[Binding]) -> Result<Vec<Waiting>> {
        Ok(self.call(|tables| queues.iter().map(|queues| tables.waiting(queues)).collect()))
    }

    async fn long_runs(&self, age: Duration) -> Result<Vec<LongRun>> {
        Ok(self.call(|tables| tables.long_runs(age)))
    }

    async fn known(&self, asked: &[(Binding, Duration)]) -> Result<Vec<Vec<Known>>> {
        Ok(self.call(|tables| asked.iter().map(|(queues, within)| tables.known(queues, *within)).collect()))
    }

    /// None: there is no server.
    async fn connections(&self) -> Result<Option<Connections>> {
        Ok(None)
    }
}

fn names(pool: &str, instances: &[String]) -> Vec<PlaceName> {
    instances.iter().map(|instance| (pool.to_owned(), instance.clone())).collect()
}

impl MemoryStore {
    /// One call of the lease's holder, who is named to it; refused under another number or after the lease's end.
    fn under<T>(&self, fence: &Fence, act: impl FnOnce(&mut Tables, &str) -> T) -> Result<T> {
        self.call(|tables| {
            let lease = tables.scaling.leases.get(&fence.lease);
            let held = lease.filter(|lease| lease.epoch == fence.epoch && lease.until > tables.now);
            let holder = held.ok_or(Error::Superseded)?.holder.clone();
            Ok(act(tables, &holder))
        })
    }
}

impl Tables {
    fn lease(&mut self, name: &str, holder: &str, length: Duration) -> Lease {
        let (now, until) = (self.now, self.after(length));
        let last = self.scaling.leases.get_mut(name);
        match last {
            Some(lease) if lease.until > now && lease.holder == holder => {
                lease.until = until;
                Lease::Held(Fence { lease: name.into(), epoch: lease.epoch })
            }
            Some(lease) if lease.until > now => {
                Lease::Taken { by: lease.holder.clone(), left: (lease.until - now).to_std().unwrap_or_default() }
            }
            last => {
                let epoch = last.map_or(0, |lease| lease.epoch) + 1;
                let (lease, holder) = (name.to_owned(), holder.to_owned());
                let record = LeaseRecord { lease, holder, epoch, since: now, until, read_at: now };
                self.scaling.leases.insert(name.into(), record);
                Lease::Held(Fence { lease: name.into(), epoch })
            }
        }
    }

    fn publish(&mut self, lease: &str, pools: &[NewPool]) {
        let now = self.now;
        let forgotten = |name: &String, pool: &Pool| pool.lease == lease && pools.iter().all(|new| new.name != *name);
        let (scaling, places) = (&mut self.scaling, &mut self.places);
        for (name, _) in scaling.pools.extract_if(.., |name, pool| forgotten(name, pool)) {
            places.retain(|(pool, _), _| *pool != name);
        }
        for new in pools {
            let unknown =
                || Pool { new: new.clone(), lease: lease.into(), published_at: now, order: None, state: None };
            let pool = self.scaling.pools.entry(new.name.clone()).or_insert_with(unknown);
            (pool.new, pool.lease, pool.published_at) = (new.clone(), lease.into(), now);
        }
    }

    fn show_pool(&self, pool: &Pool) -> PoolRecord {
        let order = pool.order.as_ref().filter(|(order, _)| order.until.is_none_or(|until| until > self.now));
        let new = pool.new.clone();
        let latest = self.scaling.ledger.iter().rev().find(|entry| entry.pool == new.name).cloned();
        PoolRecord {
            places: self.places_of(&new.name),
            name: new.name,
            queues: new.queues,
            ordered: new.ordered,
            spec: new.spec,
            published_at: pool.published_at,
            overridden: order.map(|(order, _)| *order),
            overridden_by: order.map(|(_, by)| by.clone()),
            state: pool.state.clone(),
            latest,
            read_at: self.now,
        }
    }

    fn remember(&mut self, pool: &str, state: &Json) {
        if let Some(pool) = self.scaling.pools.get_mut(pool) {
            pool.state = Some(state.clone());
        }
    }

    fn write_down(&mut self, new: &NewDecision) {
        let (now, id) = (self.now, self.number());
        let latest = self.scaling.ledger.iter_mut().rev().find(|entry| entry.pool == new.pool);
        match latest.filter(|entry| entry.weight == new.weight && entry.gist == new.gist) {
            Some(entry) => {
                entry.last_at = now;
                entry.count += 1;
                entry.detail = new.detail.clone();
            }
            None => self.scaling.ledger.push(Decided {
                id,
                pool: new.pool.clone(),
                weight: new.weight,
                gist: new.gist.clone(),
                detail: new.detail.clone(),
                first_at: now,
                last_at: now,
                count: 1,
            }),
        }
        if let Some(state) = &new.state {
            self.remember(&new.pool, state);
        }
    }

    /// Removes what was decided too long ago.
    pub(crate) fn forget_decisions(&mut self) {
        let now = self.now;
        self.scaling.ledger.retain(|entry| {
            let kept = match entry.weight {
                Weight::Change => TimeDelta::days(30),
                Weight::Hold => TimeDelta::days(3),
            };
            now - entry.last_at <= kept
        });
    }

    fn waiting(&self, queues: &Binding) -> Waiting {
        let mut waiting = Waiting::default();
        for row in self.jobs.values().filter(|row| queues.includes(&row.job.queue)) {
            match row.place {
                Place::Ready => waiting.ready = true,
                Place::Later if row.run_at <= self.now => waiting.due = true,
                Place::Held(Hold::Suspect) => waiting.suspects = true,
                _ => {}
            }
        }
        waiting
    }

    fn long_runs(&self, age: Duration) -> Vec<LongRun> {
        let run = |row: &Row| match &row.place {
            Place::Running(attempt) => {
                let ran = (self.now - row.started_at?).to_std().unwrap_or_default();
                let run = LongRun { boot: attempt.token.boot, kind: row.job.kind.clone(), age: ran };
                (ran >= age).then_some(run)
            }
            _ => None,
        };
        self.jobs.values().filter_map(run).take(LONG_RUNS).collect()
    }

    fn known(&self, queues: &Binding, within: Duration) -> Vec<Known> {
        let (step, end) = (within / STEPS, self.after(within));
        let jobs = self.jobs.values().filter(|row| row.place == Place::Later && row.run_at <= end);
        let jobs = jobs.filter(|row| queues.includes(&row.job.queue));
        let jobs = jobs.filter(|row| !self.is_paused(&Target::Queue(row.job.queue.clone())));
        let jobs = jobs.filter(|row| !self.is_paused(&Target::Kind(row.job.kind.clone())));
        let mut steps: BTreeMap<u32, u64> = BTreeMap::new();
        for row in jobs.take(COUNTED) {
            let wait = (row.run_at - self.now).to_std().unwrap_or_default();
            let passed = wait.as_nanos().div_ceil(step.as_nanos().max(1)) as u32;
            *steps.entry(passed.clamp(1, STEPS)).or_default() += 1;
        }
        steps.into_iter().map(|(n, count)| Known { at: self.after(step * n), count }).collect()
    }
}
