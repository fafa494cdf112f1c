//! What the waiting-time policy remembers of a pool, and how a reading adds to it.
//!
//! A memory can be stored with a decision and read back by the next process that decides for the pool.

mod regret;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use headcount_queue::{Delays, Flow, limits::MAX_DELAY};
use serde::{Deserialize, Serialize};

use super::{
    learned::Learned,
    release::Rollout,
    waiting_time::{self, Facts, Need, Reading, Starts, Target, UNKNOWN_RUN, seconds},
};
use crate::{
    driver::Limits,
    observe::{Member, Observation, QueueWork, Standing},
    pool::PoolSpec,
};
use regret::Regret;

/// The shape of what is stored. A memory of another shape is not read.
const VERSION: u32 = 1;
/// After so many seconds unseen, the rate is read anew.
const STALE: f64 = 600.0;
/// What a store tells of less than so many seconds says little of a rate: one job in a new store is no stream.
const RECENT: f64 = 300.0;
/// A look that comes after so many ticks came too late to be blamed on a decision.
const GAP_TICKS: f64 = 3.0;

/// What is remembered of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    version: u32,
    /// When it was last added to, in seconds.
    at: Option<f64>,
    targets: BTreeMap<String, Target>,
    learned: Learned,
    regret: Regret,
    #[serde(default)]
    rollout: Rollout,
    /// When a job was last seen to start.
    started_at: Option<f64>,
    /// There was no worker at the last look.
    empty: bool,
    /// Each kind's counts at the last look, by queue. Not stored: they would be most of it.
    #[serde(skip)]
    totals: BTreeMap<String, BTreeMap<String, Flow>>,
    /// Readings have failed since.
    #[serde(skip)]
    gap: bool,
    /// Jobs have arrived since the look before the last.
    #[serde(skip)]
    arrived: bool,
    /// What is known of a target of which nothing is.
    #[serde(skip)]
    nothing: Target,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            version: VERSION,
            at: None,
            targets: BTreeMap::new(),
            learned: Learned::default(),
            regret: Regret::default(),
            rollout: Rollout::default(),
            started_at: None,
            empty: false,
            totals: BTreeMap::new(),
            gap: false,
            arrived: false,
            nothing: Target::default(),
        }
    }
}

/// What happened to the jobs of a target since the last look.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    new: f64,
    again: f64,
    started: f64,
    late: f64,
}

impl Memory {
    /// Reads a memory that was stored. One that is damaged, or of another version, is a fresh one.
    pub fn restore(stored: &str) -> Self {
        let read = serde_json::from_str::<Self>(stored).ok();
        read.filter(|memory| memory.version == VERSION && memory.is_sane()).unwrap_or_default()
    }

    /// As text, to be stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, and maps by text")
    }

    /// What it has learned of the platform and the jobs.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    fn is_sane(&self) -> bool {
        let finite = [self.at, self.started_at].into_iter().flatten().all(f64::is_finite);
        finite
            && self.targets.values().all(Target::is_sane)
            && self.learned.is_sane()
            && self.regret.is_sane()
            && self.rollout.is_sane()
    }

    /// The release that the pool runs.
    pub(super) fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// Whether jobs have arrived since the look before.
    pub(super) fn arrived(&self) -> bool {
        self.arrived
    }

    /// How long fewer workers must have been enough.
    pub(super) fn hold(&self, spec: &PoolSpec, limits: &Limits) -> Duration {
        let hold = seconds(spec.hold_for(limits)) * self.regret.factor();
        Duration::try_from_secs_f64(hold).unwrap_or(MAX_DELAY)
    }

    /// Readings fail: nothing is learned from the jobs that wait meanwhile.
    pub(super) fn lost_sight(&mut self) {
        self.gap = true;
    }

    /// Something kept the pool from the size that the work calls for.
    pub(super) fn bound(&mut self, at: DateTime<Utc>) {
        for target in self.targets.values_mut() {
            target.safety.block(epoch(at));
        }
    }

    /// How many workers there were, and whether more had to be ordered.
    pub(super) fn decided(&mut self, spec: &PoolSpec, seen: &Observation, need: &Need) {
        let hold = seconds(self.hold(spec, &seen.limits));
        let worst = self.targets.values().map(|target| target.safety.z()).fold(0.0, f64::max);
        let regrets = !self.rollout.is_under_way() && need.add > 0 && need.too_slow.is_some() && worst > 3.0;
        self.regret.note(epoch(seen.at), seen.current(), regrets, hold, seconds(seen.limits.boot));
    }

    /// Adds a reading.
    pub(super) fn learn(&mut self, spec: &PoolSpec, seen: &Observation) {
        let now = epoch(seen.at);
        if self.at.is_some_and(|at| at > now + STALE) {
            // The store's clock was set back, or this is another store: nothing remembered has a time any more.
            *self = Self { learned: std::mem::take(&mut self.learned), ..Self::default() };
        }
        let since = self.at.filter(|_| !self.totals.is_empty() || seen.workload.queues.is_empty());
        if self.at.is_some_and(|at| now <= at) {
            return;
        }
        // Where nobody beats, nobody is seen to come up.
        if seen.foreign.is_none() {
            self.learned.boots.watch(seen);
        }
        self.rollout.watch(seen, self.learned.boots.slow(seen.limits.boot));
        let changes = self.count(spec, seen);
        self.arrived = changes.values().any(|change| change.new + change.again > 0.0);
        if changes.values().any(|change| change.started > 0.0) {
            self.started_at = Some(now);
        }
        let up = seen.count(Standing::Active);
        let lasted = since.map_or(0.0, |since| now - since);
        let gap = std::mem::take(&mut self.gap) || lasted > GAP_TICKS * seconds(spec.pace()).max(20.0);
        let empty = std::mem::replace(&mut self.empty, up == 0) || up == 0;
        for name in target_names(spec, seen) {
            let group = Group::of(spec, seen, name);
            let within = seconds(spec.within(name, &seen.limits));
            let too_slow = seconds(seen.limits.boot) + seconds(spec.pace()) > within;
            let known = self.targets.contains_key(name);
            let oldest = group.oldest.map_or(0.0, seconds);
            let target = self.targets.entry(name.to_owned()).or_default();
            let Some(since) = since.filter(|_| known) else {
                // The first look, or the first of this process.
                let stale = !known || self.at.is_none_or(|at| now - at > STALE);
                target.arrivals.begin(now, stale.then_some(group.recent), group.ready, oldest);
                target.safety.block(now);
                target.safety.look(now - oldest);
                continue;
            };
            let change = changes.get(name).copied().unwrap_or_default();
            target.arrivals.add(since, now, change.new, change.new + change.again, within + 60.0);
            target.safety.learn(Starts {
                lasted: now - since,
                all: change.started,
                late: change.late,
                rate: target.arrivals.slow(),
                share: spec.late_share(),
            });
            if gap || group.paused || (empty && too_slow) || self.rollout.is_under_way() {
                target.safety.block(now);
            }
            target.safety.look(now - oldest);
        }
        self.targets.retain(|name, _| name.is_empty() || spec.has_target(name));
        self.at = Some(now);
    }

    /// What happened since the last look, by target. Run times are learned on the way.
    fn count(&mut self, spec: &PoolSpec, seen: &Observation) -> BTreeMap<String, Change> {
        let first = self.totals.is_empty();
        let mut changes: BTreeMap<String, Change> = BTreeMap::new();
        let mut totals: BTreeMap<String, BTreeMap<String, Flow>> = BTreeMap::new();
        for queue in &seen.workload.queues {
            let name = spec.target_of(&queue.queue);
            let within = spec.within(name, &seen.limits);
            let before = self.totals.remove(&queue.queue).unwrap_or_default();
            for kind in &queue.kinds {
                totals.entry(queue.queue.clone()).or_default().insert(kind.kind.clone(), kind.flow.clone());
                let flow = since(&kind.flow, before.get(&kind.kind).unwrap_or(&Flow::default()));
                let ended = count(flow.completed).saturating_add(count(flow.failed));
                let together = Duration::from_millis(count(flow.run_ms));
                if first {
                    // What happened before it looked says how long jobs run, unless it knows already.
                    if !self.learned.kinds.contains_key(&kind.kind) {
                        self.learned.ran(&kind.kind, ended, together);
                        self.targets.entry(name.to_owned()).or_default().run.add(ended, together);
                    }
                    continue;
                }
                self.learned.ran(&kind.kind, ended, together);
                self.targets.entry(name.to_owned()).or_default().run.add(ended, together);
                if queue.paused || !kind.known {
                    continue;
                }
                let change = changes.entry(name.to_owned()).or_default();
                let promoted = count(flow.promoted) as f64;
                let unforeseen = if queue.known.is_none() { promoted } else { 0.0 };
                change.new += count(flow.arrived) as f64 + unforeseen;
                change.again += promoted - unforeseen + count(flow.returned) as f64;
                change.started += count(flow.started) as f64;
                change.late += late(&flow, within) as f64;
            }
        }
        self.totals = totals;
        changes
    }

    /// How many workers the work calls for. `idle`: there has been none for so long that the last worker may go.
    pub(super) fn need(&self, spec: &PoolSpec, seen: &Observation, idle: bool) -> Need {
        let now = epoch(seen.at);
        let readings = self.readings(spec, seen, now);
        let facts = self.facts(spec, seen, now, idle, &readings);
        let mut need = waiting_time::need(&facts, &readings);
        let nearest = self.targets.get(&need.target);
        let late = nearest.and_then(|target| target.safety.late_share());
        need.late_per_mille = late.map(|share| (share * 1000.0).round() as u32);
        need.by_default = spec.is_default_within(&need.target);
        need.unknown = seen.demand.unknown;
        need
    }

    fn readings<'a>(&'a self, spec: &'a PoolSpec, seen: &Observation, now: f64) -> Vec<Reading<'a>> {
        let mut readings = Vec::new();
        for name in target_names(spec, seen) {
            let group = Group::of(spec, seen, name);
            let target = self.targets.get(name).unwrap_or(&self.nothing);
            let run = target.run.mean().unwrap_or(UNKNOWN_RUN);
            readings.push(Reading {
                name,
                within: seconds(spec.within(name, &seen.limits)).max(1e-3),
                share: spec.late_share(),
                ready: group.ready,
                oldest: group.oldest.map(seconds),
                ready_run: self.mean_run(group.kinds.iter().copied(), run),
                run: run.max(1e-3),
                known: group.known.iter().map(|(at, count)| (epoch(*at) - now, *count)).collect(),
                arrivals: &target.arrivals,
                z: target.safety.z(),
                now,
            });
        }
        // Jobs that the store found where the counters lag behind are of nobody knows which target: the tightest.
        let counted: f64 = readings.iter().map(|reading| reading.ready).sum();
        let missed = seen.demand.jobs() as f64 - counted;
        if let Some(tightest) = readings.iter_mut().min_by(|a, b| a.within.total_cmp(&b.within))
            && missed > 0.0
        {
            tightest.ready += missed;
        }
        for reading in readings.iter_mut().filter(|reading| reading.ready > 0.0 && reading.oldest.is_none()) {
            reading.oldest = Some(reading.arrivals.age(reading.ready, now));
        }
        readings
    }

    fn facts<'a>(
        &'a self,
        spec: &PoolSpec,
        seen: &Observation,
        now: f64,
        idle: bool,
        readings: &[Reading<'_>],
    ) -> Facts<'a> {
        let slots = seen.slots(self.rollout.slots(spec.assumed_slots()));
        let boot = seconds(seen.limits.boot);
        let tick = seconds(spec.pace());
        let active = seen.members.iter().filter(|member| member.standing == Standing::Active);
        let booting = seen.members.iter().filter(|member| member.standing == Standing::Booting);
        let left = |member: &Member| {
            let asked = self.learned.boots.asked_at(&member.id).or(member.born_at.map(epoch));
            // One that takes longer than usual may come up at any look.
            asked.map_or(boot, |asked| boot - (now - asked)).clamp(tick.min(boot), boot)
        };
        let mut booting: Vec<f64> = booting.map(left).collect();
        // A release silences all at once, and is no reason to grow.
        let silent = if self.rollout.is_under_way() { std::mem::take(&mut booting).len() as u32 } else { 0 };
        booting.resize(booting.len() + (seen.unlisted as usize).min(100_000), boot);
        for peer in &seen.peers {
            let more = (peer.equal(peer.booting, slots) as usize).min(100_000);
            booting.resize(booting.len() + more, seconds(peer.boot).max(tick));
        }
        let claiming: u32 = seen.peers.iter().map(|peer| peer.equal(peer.claiming, slots)).sum();
        let peers_slots: f64 = seen.peers.iter().map(|peer| f64::from(peer.claiming) * f64::from(peer.slots)).sum();
        let peers_most: u32 = seen.peers.iter().map(|peer| peer.equal(peer.most, slots)).fold(0, u32::saturating_add);
        let kinds = seen.workload.queues.iter().flat_map(|queue| &queue.kinds);
        let running = kinds.map(|kind| (kind.kind.as_str(), kind.running as f64));
        let mean = readings.iter().map(|reading| reading.run).sum::<f64>() / readings.len().max(1) as f64;
        // Since nothing has started for so long, every job that runs has run for so long.
        let unchanged = self.started_at.map_or(0.0, |started| now - started).max(0.0);
        Facts {
            up: seen.count(Standing::Active) + silent + claiming,
            up_slots: active.map(|member| f64::from(member.slots)).sum::<f64>()
                + f64::from(silent) * f64::from(slots)
                + peers_slots,
            booting,
            slots,
            running: f64::from(seen.running()) + seen.peers.iter().map(|peer| f64::from(peer.running)).sum::<f64>(),
            aged: seen
                .workload
                .running
                .iter()
                .take(seen.running() as usize)
                .map(|job| (self.learned.kinds.get(&job.kind), seconds(job.age)))
                .collect(),
            left: self.mean_run(running, mean).max(unchanged),
            boot,
            tick,
            max: spec.max().saturating_add(peers_most),
            suspects: seen.demand.suspects,
            idle: idle && spec.min() == 0,
        }
    }

    /// How long a job of these kinds runs on average, in seconds.
    fn mean_run<'k>(&self, kinds: impl Iterator<Item = (&'k str, f64)>, unknown: f64) -> f64 {
        let run = |kind: &str| self.learned.kinds.get(kind).and_then(super::learned::RunTime::mean).unwrap_or(unknown);
        let (jobs, work) = kinds.fold((0.0, 0.0), |(jobs, work), (kind, n)| (jobs + n, work + n * run(kind)));
        if jobs > 0.0 { (work / jobs).max(1e-3) } else { unknown.max(1e-3) }
    }
}

/// The queues of one target together.
#[derive(Debug, Default)]
struct Group<'a> {
    ready: f64,
    oldest: Option<Duration>,
    /// New jobs a second in the last minutes.
    recent: f64,
    /// Jobs wait in a queue that is paused.
    paused: bool,
    kinds: Vec<(&'a str, f64)>,
    known: Vec<(DateTime<Utc>, f64)>,
}

impl<'a> Group<'a> {
    fn of(spec: &PoolSpec, seen: &'a Observation, target: &str) -> Self {
        let mut group = Self::default();
        for queue in seen.workload.queues.iter().filter(|queue| spec.target_of(&queue.queue) == target) {
            group.add(queue);
        }
        group
    }

    fn add(&mut self, queue: &'a QueueWork) {
        if queue.paused {
            self.paused |= queue.kinds.iter().any(|kind| kind.ready > 0);
            return;
        }
        self.ready += queue.ready() as f64;
        // The oldest may be of a kind that nobody knows: then only the counts tell.
        if queue.ready() > 0 && queue.unknown() == 0 {
            self.oldest = self.oldest.max(queue.oldest);
        }
        self.recent += queue.recent.map_or(0.0, |(jobs, over)| jobs as f64 / seconds(over).max(RECENT));
        let known = queue.kinds.iter().filter(|kind| kind.known);
        self.kinds.extend(known.map(|kind| (kind.kind.as_str(), kind.ready as f64)));
        self.known.extend(queue.known.iter().flatten().map(|known| (known.at, known.count as f64)));
    }
}

/// The targets that have queues, and the pool's own.
fn target_names<'a>(spec: &'a PoolSpec, seen: &Observation) -> Vec<&'a str> {
    let mut names: Vec<&str> = seen.workload.queues.iter().map(|queue| spec.target_of(&queue.queue)).collect();
    if names.is_empty() {
        names.push("");
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// How many of these starts came later than `within`. The store counts against its own setting, and tells how long
/// jobs waited by powers of two: the count is right where that setting is the target, and else the nearest possible.
fn late(flow: &Flow, within: Duration) -> u64 {
    let delays = &flow.delays.0;
    let bucket = Delays::bucket(within);
    if delays.iter().all(|&n| n == 0) {
        return count(flow.late);
    }
    let surely = delays[bucket + 1..].iter().map(|&n| count(n)).fold(0, u64::saturating_add);
    count(flow.late).clamp(surely, surely.saturating_add(count(delays[bucket])))
}

/// What happened between two readings. Unlike [`Flow::since`] it takes whatever a broken source may tell.
fn since(now: &Flow, before: &Flow) -> Flow {
    let step = i64::saturating_sub;
    let mut delays = now.delays.clone();
    for (now, before) in delays.0.iter_mut().zip(before.delays.0) {
        *now = step(*now, before);
    }
    Flow {
        arrived: step(now.arrived, before.arrived),
        deferred: step(now.deferred, before.deferred),
        promoted: step(now.promoted, before.promoted),
        returned: step(now.returned, before.returned),
        started: step(now.started, before.started),
        late: step(now.late, before.late),
        completed: step(now.completed, before.completed),
        failed: step(now.failed, before.failed),
        run_ms: step(now.run_ms, before.run_ms),
        delays,
    }
}

/// Counts may lag behind each other, and start anew in a new store: a step back is none.
fn count(n: i64) -> u64 {
    n.max(0) as u64
}

pub(super) fn epoch(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}
