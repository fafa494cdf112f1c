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
use headcount_queue::{BootId, WorkerRecord, limits::MAX_DELAY, store::WorkerState};

use super::Kinds;
use crate::driver::{Ended, InstanceId, InstanceState, Limits, PoolRef, PoolStatus};

/// A worker that has not beaten for so long has missed two beats.
const TWO_BEATS: TimeDelta = TimeDelta::seconds(6);

/// A pool without a worker is taken to know the kinds of its last ones for so long. Were they forgotten at once, a job
/// that nobody can run would boot a worker again and again; were they never, a release that can run it would not come up.
const REMEMBER_KINDS: TimeDelta = TimeDelta::hours(1);

/// An instance of a pool, with the workers that live on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: InstanceId,
    /// Whether the platform lists it. One that beats for the pool and is not listed was started by somebody else: it
    /// is capacity, but not this scaler's to drain or remove.
    pub listed: bool,
    /// Whether the platform is already ending it.
    pub ending: bool,
    /// Where it stands.
    pub standing: Standing,
    /// Its live workers.
    pub boots: Vec<Boot>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many jobs it holds.
    pub running: u32,
    /// When the platform began to start it; none if the platform does not list it.
    pub born_at: Option<DateTime<Utc>>,
    /// When its latest worker came up.
    pub started_at: Option<DateTime<Utc>>,
    /// How long it has been [drained](Standing::Drained) and without a job.
    pub idle_for: Option<Duration>,
}

/// A worker process as far as draining is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Its identity.
    pub boot: BootId,
    /// Whether it claims.
    pub state: WorkerState,
    /// Whether it was this scaler that drained it.
    pub ours: bool,
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has no worker yet.
    Booting,
    /// It has had no worker for too long: it counts for nothing any more, except against the pool's max.
    Overdue,
    /// It claims.
    Active,
    /// Drained by this scaler: to be recalled or removed.
    Drained,
    /// Drained by somebody else, and left to them.
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
    /// Who is not.
    pub gone: Gone,
    /// What they can run.
    pub kinds: Kinds,
}

/// What is remembered of a pool's instances from reading to reading.
#[derive(Debug, Default)]
pub struct Roll {
    entries: HashMap<InstanceId, Entry>,
    reported: HashSet<InstanceId>,
    kinds: Option<(DateTime<Utc>, Kinds)>,
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

    /// Puts together what the platform and the store say. `by` is this scaler's name, `at` the store's time.
    pub fn muster(
        &mut self,
        pool: &PoolRef,
        by: &str,
        limits: &Limits,
        status: &PoolStatus,
        workers: &[WorkerRecord],
        at: DateTime<Utc>,
    ) -> Muster {
        let mut living = self.living(pool, status, workers);
        let populated = living.len();
        let mut muster = Muster { kinds: self.kinds(living.values().flatten().copied(), at), ..Muster::default() };

        for instance in &status.instances {
            let workers = living.remove(&instance.id).unwrap_or_default();
            let entry = self.entries.entry(instance.id.clone()).or_default();
            entry.missing = 0;
            let mut member = entry.member(&instance.id, Some(instance.state), &workers, by, limits, at);
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
            let missing = self.entries.get_mut(&id).map_or(0, |entry| {
                entry.missing += 1;
                entry.missing
            });
            let silent = workers.iter().all(|worker| at - worker.beat_at > TWO_BEATS);
            if missing >= 2 && silent { vanished.push((id, workers)) } else { unlisted.push((id, workers)) }
        }
        if vanished.len() * 2 > populated {
            muster.gone.spared = vanished.len();
            unlisted.append(&mut vanished);
        }
        muster.gone.boots.extend(vanished.iter().flat_map(|(_, workers)| workers).map(|worker| worker.boot));
        for (id, workers) in &unlisted {
            muster.members.push(Entry::default().member(id, None, workers, by, limits, at));
        }

        muster.members.sort_by(|a, b| a.id.cmp(&b.id));
        let fresh = |ended: &&Ended| !ended.asked && !self.reported.contains(&ended.id);
        muster.gone.lost = status.ended.iter().filter(fresh).cloned().collect();
        self.reported = status.ended.iter().map(|ended| ended.id.clone()).collect();
        // One that is neither listed nor beats is forgotten; one that still beats is watched.
        let known = (status.instances.iter().map(|instance| &instance.id)).chain(unlisted.iter().map(|(id, _)| id));
        let known: HashSet<&InstanceId> = known.collect();
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

impl Entry {
    fn member(
        &mut self,
        id: &InstanceId,
        listed: Option<InstanceState>,
        workers: &[&WorkerRecord],
        by: &str,
        limits: &Limits,
        at: DateTime<Utc>,
    ) -> Member {
        if !workers.is_empty() {
            self.silent_since = None;
        }
        let since = |since: DateTime<Utc>| (at - since).to_std().unwrap_or_default();
        let ending = listed == Some(InstanceState::Ending);
        let standing = if ending {
            Standing::Leaving
        } else if workers.is_empty() {
            // Silent from when it was first seen so: an old instance that falls silent restarts, it did not vanish.
            let silent = since(*self.silent_since.get_or_insert(at));
            if silent > limits.overdue { Standing::Overdue } else { Standing::Booting }
        } else {
            standing(workers, by)
        };
        let counted: Vec<&&WorkerRecord> =
            workers.iter().filter(|worker| standing != Standing::Active || claims(worker)).collect();
        let running = counted.iter().map(|worker| worker.running).sum();
        let idle = standing == Standing::Drained && running == 0;
        self.idle_since = idle.then(|| self.idle_since.unwrap_or(at));
        Member {
            id: id.clone(),
            listed: listed.is_some(),
            ending,
            standing,
            boots: workers.iter().map(|worker| Boot::of(worker, by)).collect(),
            slots: counted.iter().map(|worker| worker.slots).sum(),
            running,
            born_at: None,
            started_at: workers.iter().map(|worker| worker.started_at).max(),
            idle_for: self.idle_since.map(since),
        }
    }
}

impl Boot {
    fn of(worker: &WorkerRecord, by: &str) -> Self {
        Self { boot: worker.boot, state: state(worker), ours: worker.drained_by.as_deref() == Some(by) }
    }
}

/// Where an instance with these workers stands. It claims if any of them does.
fn standing(workers: &[&WorkerRecord], by: &str) -> Standing {
    if workers.iter().any(|worker| claims(worker)) {
        Standing::Active
    } else if workers.iter().any(|worker| worker.state == WorkerState::Leaving) {
        Standing::Leaving
    } else if workers.iter().all(|worker| worker.drained_by.as_deref() == Some(by)) {
        Standing::Drained
    } else {
        Standing::Withheld
    }
}

fn claims(worker: &WorkerRecord) -> bool {
    state(worker) == WorkerState::Active
}

/// A worker's state now: a drain whose lease has run out is none, whether or not the worker has noticed.
fn state(worker: &WorkerRecord) -> WorkerState {
    match worker.state {
        WorkerState::Draining if worker.drain_until.is_some_and(|until| until <= worker.read_at) => WorkerState::Active,
        state => state,
    }
}

#[cfg(test)]
mod tests;
