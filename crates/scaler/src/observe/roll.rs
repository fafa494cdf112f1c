//! The roll of a pool: which instances there are, which workers live on them, and which of them are gone.
//!
//! The platform knows instances and the store knows workers; they meet by the instance's name. The roll remembers from
//! reading to reading what a single one cannot show: since when an instance is silent, since when a drained one is
//! idle, and how often one that was listed is no longer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::{
    BootId, JobId, WorkerRecord,
    limits::MAX_DELAY,
    store::{PlaceRecord, WorkerState},
};

use super::Kinds;
use crate::driver::{Ended, Instance, InstanceId, InstanceState, Limits, PoolRef, PoolStatus};

/// A worker that has not beaten for so long has missed two beats.
const TWO_BEATS: TimeDelta = TimeDelta::seconds(6);

/// A pool without a worker is taken to know the kinds of its last ones for so long. Were they forgotten at once, a job
/// that nobody can run would boot a worker again and again; were they never, a release that can run it would not come up.
const REMEMBER_KINDS: TimeDelta = TimeDelta::hours(1);

/// An instance of a pool, with the workers that live on it. Two processes under one name are one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Member {
    /// Its name.
    pub id: InstanceId,
    /// Its number, where the platform removes the highest first.
    pub ordinal: Option<u32>,
    /// Whether the platform lists it. One that beats for the pool and is not listed was started by somebody else: it
    /// is capacity, but not this scaler's to drain or remove.
    pub listed: bool,
    /// Whether the platform is already ending it.
    pub ending: bool,
    /// Whether the platform, which is ending it, waits for word that it may.
    pub held: bool,
    /// Where it stands.
    pub standing: Standing,
    /// Whether it has had no worker for too long, drained or not.
    pub overdue: bool,
    /// The number of its place's drain, while it is drained.
    pub epoch: Option<i64>,
    /// Its live workers.
    pub boots: Vec<BootId>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many jobs it holds.
    pub running: u32,
    /// The job that it has held for longest, and for how long.
    pub oldest: Option<(JobId, Duration)>,
    /// When the platform began to start it; none if the platform does not list it.
    pub born_at: Option<DateTime<Utc>>,
    /// When its latest worker came up.
    pub started_at: Option<DateTime<Utc>>,
    /// How long its place has been drained, if it is.
    pub drained_for: Option<Duration>,
    /// How long it has been [drained](Standing::Drained) and without a job.
    pub idle_for: Option<Duration>,
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has no worker yet.
    Booting,
    /// It has had no worker for too long: it counts for nothing any more, except against the pool's max, and goes as soon
    /// as it can.
    Overdue,
    /// It claims.
    Active,
    /// Drained by the scaler: to be recalled or removed.
    Drained,
    /// Drained by a person, and left to them.
    Withheld,
    /// Being removed.
    Leaving,
}

/// Workers whose process is no more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gone {
    /// These are to be buried.
    pub boots: Vec<BootId>,
    /// So many seem gone, but they are more than half of the pool: rather the reading is wrong. They are spared.
    pub spared: usize,
    /// Instances that ended without having been told to, each reported once.
    pub lost: Vec<Ended>,
}

/// What the roll makes of one reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Muster {
    /// Who is there, by name.
    pub members: Vec<Member>,
    /// Places that the scaler drained and where nothing is any more.
    pub vacant: Vec<InstanceId>,
    /// Who is not.
    pub gone: Gone,
    /// What they can run.
    pub kinds: Kinds,
    /// How many workers of the pool or of none are on no instance that is listed: each may live on one that is silent.
    pub strays: u32,
    /// How many instances have only workers of another pool or of none, which hear of no drain.
    pub strangers: u32,
}

/// What is remembered of a pool's instances from reading to reading.
#[derive(Debug, Default)]
pub struct Roll {
    entries: HashMap<InstanceId, Entry>,
    reported: HashSet<InstanceId>,
    /// When the platform's last reading was true.
    read_at: Option<DateTime<Utc>>,
    kinds: Option<(DateTime<Utc>, Kinds)>,
}

/// What one reading consists of.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'r> {
    /// The pool.
    pub pool: &'r PoolRef,
    /// What the platform can do.
    pub limits: &'r Limits,
    /// What the platform says.
    pub status: &'r PoolStatus,
    /// Every worker.
    pub workers: &'r [WorkerRecord],
    /// The pool's drained places.
    pub places: &'r [PlaceRecord],
    /// When, by the store's clock.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Entry {
    silent_since: Option<DateTime<Utc>>,
    idle_since: Option<DateTime<Utc>>,
    missing: u32,
}

impl Roll {
    /// A reading failed: nothing that must hold from one good reading to the next holds any more.
    pub fn lost_sight(&mut self) {
        for entry in self.entries.values_mut() {
            *entry = Entry::default();
        }
    }

    /// Puts together what the platform and the store say.
    pub fn muster(&mut self, reading: &Reading<'_>) -> Muster {
        let Reading { pool, status, workers, places, at, .. } = *reading;
        let mut living = self.living(pool, status, workers);
        let populated = living.len();
        let mut muster = Muster { kinds: self.kinds(living.values().flatten().copied(), at), ..Muster::default() };
        // What a driver remembers of an earlier reading is not a second one.
        let read_at = at - TimeDelta::from_std(status.age).unwrap_or_default();
        let news = self.read_at.is_none_or(|before| read_at > before);
        self.read_at = Some(read_at);

        let nameless = |worker: &&WorkerRecord| {
            let living = worker.state != WorkerState::Dead;
            living && worker.pool.is_none() && worker.instance.is_none()
        };
        muster.strays = workers.iter().filter(nameless).count() as u32;
        for instance in listed(status) {
            let workers = living.remove(&instance.id).unwrap_or_default();
            let strange = |worker: &&WorkerRecord| worker.pool.as_deref() != Some(pool.as_str());
            muster.strangers += u32::from(!workers.is_empty() && workers.iter().all(strange));
            let entry = self.entries.entry(instance.id.clone()).or_default();
            entry.missing = 0;
            let mut member = entry.member(&instance.id, Some(instance), &workers, reading);
            member.born_at = Some(at - (status.age + instance.age).min(MAX_DELAY));
            muster.members.push(member);
        }

        let ended: HashSet<&InstanceId> = status.ended.iter().map(|ended| &ended.id).collect();
        let mut vanished = Vec::new();
        let mut unlisted = Vec::new();
        for (id, workers) in living {
            if ended.contains(&id) {
                // Certain at once, and whatever its share of the pool: the driver has seen the end of it (a local one
                // has reaped the process, and the kernel gives a wait status only for what can never run again), and
                // the name will not come again. The rules of doubt below are for lists, which may be incomplete.
                muster.gone.boots.extend(workers.iter().map(|worker| worker.boot));
                continue;
            }
            let missing = self.entries.get_mut(&id).map_or(0, |entry| entry.missed(news));
            let silent = workers.iter().all(|worker| at - worker.beat_at > TWO_BEATS);
            if missing >= 2 && silent { vanished.push((id, workers)) } else { unlisted.push((id, workers)) }
        }
        if vanished.len() * 2 > populated {
            muster.gone.spared = vanished.len();
            unlisted.append(&mut vanished);
        }
        muster.gone.boots.extend(vanished.iter().flat_map(|(_, workers)| workers).map(|worker| worker.boot));
        for (id, workers) in &unlisted {
            muster.strays += workers.len() as u32;
            muster.members.push(Entry::default().member(id, None, workers, reading));
        }

        muster.members.sort_by(|a, b| a.id.cmp(&b.id));
        for place in places.iter().filter(|place| is_a_scalers(place)) {
            let id = InstanceId::from(place.instance.as_str());
            if ended.contains(&id) {
                muster.vacant.push(id);
            } else if !muster.members.iter().any(|member| member.id == id) {
                let entry = self.entries.entry(id.clone()).or_default();
                if entry.missed(news) >= 2 {
                    muster.vacant.push(id);
                }
            }
        }
        let fresh = |ended: &&Ended| !ended.asked && !self.reported.contains(&ended.id);
        muster.gone.lost = status.ended.iter().filter(fresh).cloned().collect();
        self.reported = status.ended.iter().map(|ended| ended.id.clone()).collect();
        // One that is neither listed nor beats nor has a place is forgotten; the others are watched.
        let known: HashSet<InstanceId> = (status.instances.iter().map(|instance| instance.id.clone()))
            .chain(unlisted.into_iter().map(|(id, _)| id))
            .chain(places.iter().map(|place| InstanceId::from(place.instance.as_str())))
            .collect();
        self.entries.retain(|id, _| known.contains(id));
        muster
    }

    /// What these workers can run; without any, what the last ones could.
    fn kinds<'w>(&mut self, workers: impl Iterator<Item = &'w WorkerRecord>, at: DateTime<Utc>) -> Kinds {
        let mut workers = workers.peekable();
        if workers.peek().is_some() {
            let kinds = Kinds::of(workers);
            self.kinds = Some((at, kinds.clone()));
            return kinds;
        }
        match &self.kinds {
            Some((seen, kinds)) if at - *seen < REMEMBER_KINDS => kinds.clone(),
            _ => Kinds::Any,
        }
    }

    /// The workers of this pool that are not dead, by instance.
    fn living<'w>(
        &self,
        pool: &PoolRef,
        status: &PoolStatus,
        workers: &'w [WorkerRecord],
    ) -> BTreeMap<InstanceId, Vec<&'w WorkerRecord>> {
        let ours: HashSet<&InstanceId> = (status.instances.iter().map(|i| &i.id))
            .chain(status.ended.iter().map(|e| &e.id))
            .chain(self.entries.keys())
            .collect();
        let mut living: BTreeMap<InstanceId, Vec<&WorkerRecord>> = BTreeMap::new();
        for worker in workers.iter().filter(|worker| worker.state != WorkerState::Dead) {
            let in_pool = worker.pool.as_deref() == Some(pool.as_str());
            let id = match &worker.instance {
                Some(instance) => InstanceId::from(instance.as_str()),
                None => status
                    .instances
                    .iter()
                    .find(|instance| in_pool && instance.pid == Some(worker.pid))
                    .map_or_else(|| InstanceId::from(format!("{}/{}", worker.host, worker.pid)), |i| i.id.clone()),
            };
            if in_pool || ours.contains(&id) {
                living.entry(id).or_default().push(worker);
            }
        }
        living
    }
}

/// The instances, each name once: one that is up stands for another of its name that is ending.
fn listed(status: &PoolStatus) -> Vec<&Instance> {
    let mut instances: Vec<&Instance> = status.instances.iter().collect();
    instances.sort_by_key(|instance| (instance.id.clone(), instance.state.is_ending()));
    instances.dedup_by(|a, b| a.id == b.id);
    instances
}

impl Entry {
    /// It is not listed. Returns in how many readings in a row.
    fn missed(&mut self, news: bool) -> u32 {
        self.missing += u32::from(news || self.missing == 0);
        self.missing
    }

    fn member(
        &mut self,
        id: &InstanceId,
        listed: Option<&Instance>,
        workers: &[&WorkerRecord],
        reading: &Reading<'_>,
    ) -> Member {
        let at = reading.at;
        let since = |since: DateTime<Utc>| (at - since).to_std().unwrap_or_default();
        // Silent from when it was first seen so: an old instance that falls silent restarts, it did not vanish.
        self.silent_since = workers.is_empty().then(|| self.silent_since.unwrap_or(at));
        let overdue = self.silent_since.is_some_and(|silent| since(silent) > reading.limits.overdue);
        let ending = listed.is_some_and(|instance| instance.state.is_ending());
        let place = reading.places.iter().find(|place| place.instance == id.as_str() && is_in_force(place, at));
        let standing = match place {
            _ if ending => Standing::Leaving,
            Some(place) if place.leaving => Standing::Leaving,
            Some(place) if is_a_scalers(place) => Standing::Drained,
            None if overdue => Standing::Overdue,
            None if workers.is_empty() => Standing::Booting,
            None if workers.iter().any(|worker| claims(worker)) => Standing::Active,
            // Drained by a person, perhaps in no place that one could name.
            Some(_) | None => Standing::Withheld,
        };
        let counted: Vec<&&WorkerRecord> =
            workers.iter().filter(|worker| standing != Standing::Active || claims(worker)).collect();
        let running = counted.iter().map(|worker| worker.running).sum();
        let idle = standing == Standing::Drained && running == 0 && !workers.iter().any(|worker| claims(worker));
        self.idle_since = idle.then(|| self.idle_since.unwrap_or(at));
        let oldest = counted.iter().filter_map(|worker| worker.oldest).min_by_key(|oldest| oldest.started_at);
        Member {
            id: id.clone(),
            ordinal: listed.and_then(|instance| instance.ordinal),
            listed: listed.is_some(),
            ending,
            held: listed.is_some_and(|instance| instance.state == InstanceState::Held),
            standing,
            overdue,
            epoch: place.map(|place| place.epoch),
            boots: workers.iter().map(|worker| worker.boot).collect(),
            slots: counted.iter().map(|worker| worker.slots).sum(),
            running,
            oldest: oldest.map(|oldest| (oldest.job, since(oldest.started_at))),
            born_at: None,
            started_at: workers.iter().map(|worker| worker.started_at).max(),
            drained_for: place.map(|place| since(place.since)),
            idle_for: self.idle_since.map(since),
        }
    }
}

/// A scaler's drain is a lease; a person's has no end.
const fn is_a_scalers(place: &PlaceRecord) -> bool {
    place.until.is_some()
}

fn is_in_force(place: &PlaceRecord, at: DateTime<Utc>) -> bool {
    place.until.is_none_or(|until| until > at)
}

/// A drain whose lease has run out is none, whether or not the worker has noticed.
fn claims(worker: &WorkerRecord) -> bool {
    match worker.state {
        WorkerState::Active => true,
        WorkerState::Draining => worker.drain_until.is_some_and(|until| until <= worker.read_at),
        WorkerState::Leaving | WorkerState::Dead => false,
    }
}

#[cfg(test)]
mod tests;
