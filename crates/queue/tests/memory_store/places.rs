//! Drained places: one instance's name in one pool. What a place is told holds for all workers there, and for whoever
//! comes up there.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::{
    Binding,
    limits::LATELY,
    store::{BootId, NewWorker, PlaceRecord, WorkerState},
};

use super::tables::{Tables, Worker};

/// A pool and an instance in it.
pub(crate) type PlaceName = (String, String);

/// A drain.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    epoch: i64,
    by: String,
    /// When it ends by itself; a person's does not.
    until: Option<DateTime<Utc>>,
    since: DateTime<Utc>,
    /// Its workers were let go, until then.
    leaving_until: Option<DateTime<Utc>>,
}

impl Drain {
    /// What a worker there is told.
    fn tell(&self, worker: &mut Worker) {
        worker.state = if self.leaving_until.is_some() { WorkerState::Leaving } else { WorkerState::Draining };
        worker.drain_epoch = self.epoch;
        worker.drained_by = Some(self.by.clone());
        worker.drain_until = self.until;
        worker.leaving_until = self.leaving_until;
    }
}

/// What the workers are together that are to claim before another.
#[derive(Debug, Default)]
pub(crate) struct Below {
    pub(crate) slots: u32,
    /// Those of them that hold no job.
    pub(crate) free: u32,
}

/// Where a worker is, if it is anywhere that has a name.
pub(crate) fn place_of(worker: &NewWorker) -> Option<PlaceName> {
    worker.pool.clone().zip(worker.instance.clone())
}

impl Tables {
    /// Ends what has ended by now.
    pub(crate) fn end_drains(&mut self) {
        let now = self.now;
        let over = |until: Option<DateTime<Utc>>| until.is_some_and(|until| until <= now);
        self.places.retain(|_, drain| !over(drain.until));
        for drain in self.places.values_mut().filter(|drain| over(drain.leaving_until)) {
            drain.leaving_until = None;
        }
        for worker in self.workers.values_mut() {
            if worker.state == WorkerState::Leaving && over(worker.leaving_until) {
                worker.state = WorkerState::Draining;
                worker.leaving_until = None;
            }
            if worker.state == WorkerState::Draining && over(worker.drain_until) {
                worker.recall();
            }
        }
    }

    /// Tells a worker that comes up what its place is told.
    pub(crate) fn place(&self, worker: &mut Worker) {
        if let Some(drain) = place_of(&worker.new).and_then(|place| self.places.get(&place)) {
            drain.tell(worker);
        }
    }

    /// The workers there that are not dead.
    fn there(&mut self, place: &PlaceName) -> impl Iterator<Item = &mut Worker> {
        let alive = self.workers.values_mut().filter(|worker| worker.state != WorkerState::Dead);
        alive.filter(move |worker| place_of(&worker.new).as_ref() == Some(place))
    }

    /// Drains a place or renews its drain, and says its number. One that leaves goes on leaving.
    pub(crate) fn drain_place(&mut self, place: &PlaceName, by: &str, until: Option<DateTime<Utc>>) -> i64 {
        let (now, epoch) = (self.now, self.number());
        let new = Drain { epoch, by: by.into(), until, since: now, leaving_until: None };
        let drain = self.places.entry(place.clone()).or_insert_with(|| new.clone());
        // A drain without end is a person's, which no lease shortens.
        if drain.leaving_until.is_none() && (drain.until.is_some() || until.is_none()) {
            (drain.by, drain.until) = (new.by, until);
        }
        let drain = drain.clone();
        for worker in self.there(place).filter(|worker| worker.state != WorkerState::Leaving) {
            drain.tell(worker);
        }
        drain.epoch
    }

    /// Ends a drain that is neither a person's nor a leaving place's.
    pub(crate) fn restore_place(&mut self, place: &PlaceName) -> Vec<BootId> {
        let restorable = |drain: &Drain| drain.until.is_some() && drain.leaving_until.is_none();
        if self.places.get(place).is_some_and(restorable) { self.end_drain(place) } else { Vec::new() }
    }

    /// Ends a drain, whoever's it is; leaving workers stay so.
    pub(crate) fn end_drain(&mut self, place: &PlaceName) -> Vec<BootId> {
        self.places.remove(place);
        let mut boots = Vec::new();
        for worker in self.there(place).filter(|worker| worker.state == WorkerState::Draining) {
            worker.recall();
            boots.push(worker.new.boot);
        }
        boots
    }

    /// Whether a place is leaving.
    pub(crate) fn leaves(&self, place: &PlaceName) -> bool {
        self.places.get(place).is_some_and(|drain| drain.leaving_until.is_some())
    }

    pub(crate) fn let_place_go(&mut self, place: &PlaceName, epoch: i64, until: DateTime<Utc>) -> bool {
        let there: Vec<(BootId, WorkerState)> =
            self.there(place).map(|worker| (worker.new.boot, worker.state)).collect();
        if there.iter().any(|&(boot, state)| state == WorkerState::Active || !self.owned(boot).is_empty()) {
            return false;
        }
        let Some(drain) = self.places.get_mut(place).filter(|drain| drain.epoch == epoch) else { return false };
        drain.leaving_until = Some(until);
        drain.until = drain.until.map(|_| until);
        let drain = drain.clone();
        self.there(place).for_each(|worker| drain.tell(worker));
        true
    }

    pub(crate) fn keep_place(&mut self, place: &PlaceName) {
        let Some(drain) = self.places.get_mut(place).filter(|drain| drain.leaving_until.is_some()) else { return };
        drain.leaving_until = None;
        let drain = drain.clone();
        self.there(place).for_each(|worker| drain.tell(worker));
    }

    pub(crate) fn places_of(&self, pool: &str) -> Vec<PlaceRecord> {
        let places = self.places.iter().filter(|((of, _), _)| of == pool);
        let place = |((_, instance), drain): (&PlaceName, &Drain)| PlaceRecord {
            instance: instance.clone(),
            leaving: drain.leaving_until.is_some(),
            epoch: drain.epoch,
            by: drain.by.clone(),
            until: drain.until,
            since: drain.since,
        };
        places.map(place).collect()
    }

    /// The slots of workers that are to claim before this one.
    pub(crate) fn below(&self, worker: &NewWorker) -> Option<Below> {
        let pool = self.scaling.pools.get(worker.pool.as_ref()?).filter(|pool| pool.new.ordered)?;
        let own = worker.ordinal()?;
        let workers = self.workers.values().filter(|other| {
            other.new.pool.as_ref() == Some(&pool.new.name)
                && other.new.ordinal().is_some_and(|ordinal| ordinal < own)
                && other.state == WorkerState::Active
                && self.now - other.beat_at < lately()
        });
        let mut below = Below::default();
        for Worker { new, .. } in workers {
            below.slots += new.slots;
            below.free += new.slots.saturating_sub(self.owned(new.boot).len() as u32);
        }
        Some(below)
    }

    /// The kinds that run for longer than this on average in these queues, as long as there are slots enough for all of
    /// their jobs.
    pub(crate) fn long_kinds(&self, queues: &Binding, grace: Duration, slots: u32) -> Vec<String> {
        // Of each kind: its jobs, its attempts that ended, and how long those took.
        let mut kinds: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
        for lane in self.counters.lanes.values().filter(|lane| queues.includes(&lane.queue)) {
            let (jobs, ends, ms) = kinds.entry(&lane.kind).or_default();
            *jobs += lane.depth.ready + lane.depth.running;
            *ends += lane.flow.completed + lane.flow.failed;
            *ms += lane.flow.run_ms;
        }
        kinds.retain(|_, (_, ends, ms)| *ends > 0 && i128::from(*ms) > grace.as_millis() as i128 * i128::from(*ends));
        let jobs: i64 = kinds.values().map(|(jobs, ..)| jobs).sum();
        if jobs > i64::from(slots) { Vec::new() } else { kinds.into_keys().map(str::to_owned).collect() }
    }
}

fn lately() -> TimeDelta {
    TimeDelta::from_std(LATELY).expect("seconds fit")
}
