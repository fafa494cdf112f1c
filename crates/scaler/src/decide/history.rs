//! What a pool's earlier decisions say about the next one.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::limits::MAX_DELAY;

use super::{Bound, Decision, Learned, Left, Memory, has_work};
use crate::{
    driver::Limits,
    observe::Observation,
    pool::{Policy, PoolSpec},
};

/// For at least so long after it began to decide for a pool, a policy that learns lets nobody go.
const SETTLE: Duration = Duration::from_mins(1);

/// A pool's past: its wishes for as long as they matter, and when it last had work.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Since when readings have been good without a gap.
    since: Option<DateTime<Utc>>,
    /// When it last had work, or when one began to look.
    worked_at: Option<DateTime<Utc>>,
    wishes: VecDeque<(DateTime<Utc>, u32)>,
    /// When this process first saw the pool.
    began_at: Option<DateTime<Utc>>,
    memory: Memory,
}

impl History {
    /// A past of which only a memory is left, written by a process that decided for the pool before.
    pub fn remembering(memory: Memory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// What outlasts this process, if it is stored: see [`Memory::to_json`].
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What has been learned of the platform and the jobs.
    pub fn learned(&self) -> &Learned {
        self.memory.learned()
    }

    /// Learns from a reading: before it is decided upon, and once.
    pub fn learn(&mut self, spec: &PoolSpec, seen: &Observation) {
        self.began_at.get_or_insert(seen.at);
        self.memory.learn(spec, seen);
    }

    /// Notes what was decided upon that reading.
    pub fn decided(&mut self, spec: &PoolSpec, seen: &Observation, decision: &Decision) {
        let Some(mut wish) = decision.wish else { return self.lost_sight() };
        let hold = self.hold(spec, &seen.limits);
        if spec.policy_in_force() == Policy::WaitingTime {
            let need = self.memory.need(spec, seen, self.is_idle(spec, seen.at));
            // More than there are may be good to have, and too late to order.
            let slots = seen.slots(self.memory.rollout().slots(spec.assumed_slots()));
            let at_least = u64::from(need.at_least());
            let ours = Left::of(seen, slots, at_least).map_or(at_least, |left| left.workers());
            wish = wish.max(ours.try_into().unwrap_or(u32::MAX));
            self.memory.decided(spec, seen, &need);
        }
        if decision.bound.is_some_and(|bound| !matches!(bound, Bound::Min(_) | Bound::Undrainable(_))) {
            self.memory.bound(seen.at);
        }
        self.note(wish, has_work(seen) || self.memory.arrived(), hold, seen.at);
    }

    /// How long fewer workers must have been enough.
    pub(super) fn hold(&self, spec: &PoolSpec, limits: &Limits) -> Duration {
        match spec.policy_in_force() {
            Policy::WaitingTime => self.memory.hold(spec, limits),
            _ => spec.hold_for(limits),
        }
    }

    /// How much longer nobody may be let go, since this process has only just begun to decide.
    pub(super) fn settling(&self, spec: &PoolSpec, limits: &Limits, now: DateTime<Utc>) -> Option<Duration> {
        if spec.policy_in_force() != Policy::WaitingTime {
            return None;
        }
        let settle = self.hold(spec, limits).max(spec.longest_within(limits)).max(SETTLE);
        let until = self.began_at.unwrap_or(now) + delta(settle);
        (until - now).to_std().ok().filter(|left| !left.is_zero())
    }

    /// Whether there has been no work for so long that the last worker may go.
    pub(super) fn is_idle(&self, spec: &PoolSpec, now: DateTime<Utc>) -> bool {
        self.idle_left(spec.idle_to_zero_for(), now).is_none()
    }

    /// Notes what the pool wished for; wishes older than `keep` are forgotten.
    pub fn note(&mut self, wish: u32, working: bool, keep: Duration, at: DateTime<Utc>) {
        self.since.get_or_insert(at);
        if working || self.worked_at.is_none() {
            self.worked_at = Some(at);
        }
        while self.wishes.front().is_some_and(|&(noted, _)| noted < at - delta(keep)) {
            self.wishes.pop_front();
        }
        self.wishes.push_back((at, wish));
    }

    /// Nothing was seen. Only unbroken sight lets a pool shrink, and who could not look cannot say that there was no
    /// work: all of it begins anew.
    pub fn lost_sight(&mut self) {
        (self.since, self.worked_at) = (None, None);
        self.wishes.clear();
        self.memory.lost_sight();
    }

    /// The highest wish of the last `hold`. An error says how much longer one must look to know.
    pub fn highest(&self, hold: Duration, now: DateTime<Utc>) -> Result<u32, Duration> {
        let from = now - delta(hold);
        let since = self.since.unwrap_or(now);
        if since > from {
            return Err((since - from).to_std().unwrap_or_default());
        }
        Ok(self.wishes.iter().filter(|&&(at, _)| at >= from).map(|&(_, wish)| wish).max().unwrap_or(0))
    }

    /// How long a wish above `wish` is still within the last `hold`.
    pub(super) fn left_above(&self, wish: u32, hold: Duration, now: DateTime<Utc>) -> Duration {
        let last = self.wishes.iter().rev().find(|&&(_, earlier)| earlier > wish);
        last.and_then(|&(at, _)| (at + delta(hold) - now).to_std().ok()).unwrap_or_default()
    }

    /// How much longer there must be no work for the pool to have been idle for `idle`; `None` if it has been.
    pub(super) fn idle_left(&self, idle: Duration, now: DateTime<Utc>) -> Option<Duration> {
        let until = self.worked_at.unwrap_or(now) + delta(idle);
        (until - now).to_std().ok().filter(|left| !left.is_zero())
    }
}

fn delta(duration: Duration) -> TimeDelta {
    // Bounded, so that no sum with a date overflows.
    TimeDelta::from_std(duration.min(MAX_DELAY)).expect("ten years are within a TimeDelta")
}
