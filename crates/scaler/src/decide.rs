//! Decide: from what was seen to how many workers should be claiming, and why. Pure: no I/O and no clock.
//!
//! The wish comes from the pool's policy ([`waiting_time`], [`linear`]) and is bounded by its [limits]. A pool grows at
//! once. It shrinks only when fewer workers have been enough for a whole hold of unbroken, fresh readings; on what it
//! cannot see it holds. What has been [`learned`] from readings is in the [`History`], which is told of each.

pub mod waiting_time;
pub mod linear;
pub mod limits;
pub mod learned;
mod memory;
mod history;
pub mod overflow;
mod release;
mod reason;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    observe::{Observation, Unseen},
    pool::{Policy, PoolSpec},
};

pub use history::History;
pub use learned::Learned;
pub use limits::Bound;
pub use memory::Memory;
pub use overflow::Left;
pub use reason::Reason;

/// A reading of the store that is older than this many ticks is stale; younger than [`FRESH`] it never is.
const STALE_TICKS: u32 = 3;
const FRESH: Duration = Duration::from_secs(5);
/// A reading of the platform that is older than this is stale.
const STALE_PLATFORM: Duration = Duration::from_mins(2);
/// Nothing new is drained on a reading of the platform that is older than this.
pub(crate) const DRAIN_PLATFORM: Duration = Duration::from_mins(1);

/// What is to become of a pool, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub step: Step,
    /// How many workers the work and the limits call for now; `None` if that cannot be seen.
    pub wish: Option<u32>,
    /// Why.
    pub reason: Reason,
    /// The limit that kept the policy from its wish.
    pub bound: Option<Bound>,
}

/// What is to be done with the workers that claim or are about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing at all, since not everything is seen: drained workers are neither kept drained nor removed.
    Hold,
    /// There are as many as there should be.
    Keep(u32),
    /// More: draining ones are recalled first, the rest is started.
    Grow {
        /// How many there are.
        from: u32,
        /// How many there should be.
        to: u32,
    },
    /// Fewer: the surplus is drained.
    Shrink {
        /// How many there are.
        from: u32,
        /// How many there should be.
        to: u32,
    },
}

impl Step {
    /// How many workers should be claiming; `None` while holding.
    pub const fn target(self) -> Option<u32> {
        match self {
            Self::Hold => None,
            Self::Keep(to) | Self::Grow { to, .. } | Self::Shrink { to, .. } => Some(to),
        }
    }

    fn towards(from: u32, to: u32) -> Self {
        match from.cmp(&to) {
            std::cmp::Ordering::Less => Self::Grow { from, to },
            std::cmp::Ordering::Equal => Self::Keep(to),
            std::cmp::Ordering::Greater => Self::Shrink { from, to },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold => f.write_str("hold"),
            Self::Keep(size) => write!(f, "keep {size}"),
            Self::Grow { from, to } => write!(f, "grow from {from} to {to}"),
            Self::Shrink { from, to } => write!(f, "shrink from {from} to {to}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)?;
        match &self.bound {
            Some(bound) => write!(f, " ({bound})"),
            None => Ok(()),
        }
    }
}

/// Decides for one pool. `now` is the store's time; `history` what was decided before.
pub fn decide(spec: &PoolSpec, seen: &Result<Observation, Unseen>, history: &History, now: DateTime<Utc>) -> Decision {
    let seen = match seen {
        Ok(seen) => seen,
        Err(unseen) => return hold(Reason::Unseen(unseen.clone())),
    };
    let age = (now - seen.at).to_std().unwrap_or_default();
    let limit = (spec.pace() * STALE_TICKS).max(FRESH);
    if age > limit {
        return hold(Reason::StaleStore { age, limit });
    }
    let platform_age = seen.platform_age + age;
    if platform_age > STALE_PLATFORM {
        return hold(Reason::StalePlatform { age: platform_age, limit: STALE_PLATFORM });
    }
    if seen.strangers > 0 {
        return hold(Reason::Strangers { count: seen.strangers, pool: spec.name().clone() });
    }

    let current = seen.current();
    let (workers, mut reason) = wish(spec, seen, history, now);
    let overflow = matches!(reason, Reason::Overflow(..));
    let (mut wish, mut bound) = limits::clamp(spec, &seen.limits, workers);
    if wish == 0
        && current > 0
        && spec.max() > 0
        && !overflow
        && let Some(left) = history.idle_left(spec.idle_to_zero_for(), now)
    {
        wish = 1;
        bound = None;
        reason = Reason::KeepLast { left };
    }

    let decision = |step, reason, bound| Decision { step, wish: Some(wish), reason, bound };
    if wish >= current {
        let (to, capped) = limits::reach(spec, seen, wish);
        match (&seen.trouble, capped) {
            // The one way to grow is to start instances, and those do not come up.
            (Some(trouble), Some(Bound::Trouble)) => {
                decision(Step::towards(current, to), Reason::Trouble(trouble.clone()), bound)
            }
            (_, capped) => decision(Step::towards(current, to), reason, capped.or(bound)),
        }
    } else if platform_age > DRAIN_PLATFORM {
        decision(Step::Keep(current), Reason::StalePlatform { age: platform_age, limit: DRAIN_PLATFORM }, bound)
    } else {
        if let Some((release, left)) = history.memory().rollout().left(now) {
            let reason = Reason::Release { release: release.to_owned(), wish, left };
            return decision(Step::Keep(current), reason, bound);
        }
        let hold = history.hold(spec, &seen.limits);
        if let Some(left) = history.settling(spec, &seen.limits, now) {
            return decision(Step::Keep(current), Reason::Settling { wish, left }, bound);
        }
        match history.highest(hold, now) {
            Err(left) => decision(Step::Keep(current), Reason::Holding { wish, left }, bound),
            Ok(highest) if highest.min(spec.max()) >= current => decision(
                Step::Keep(current),
                Reason::Holding { wish, left: history.left_above(wish, hold, now) },
                bound,
            ),
            Ok(highest) => {
                let (to, capped) = limits::drainable(seen, highest.min(spec.max()).max(wish));
                decision(Step::towards(current, to), reason, capped.or(bound))
            }
        }
    }
}

/// How many workers the pool's policy calls for, and why.
fn wish(spec: &PoolSpec, seen: &Observation, history: &History, now: DateTime<Utc>) -> (u64, Reason) {
    let assumed = history.memory().rollout().slots(spec.assumed_slots());
    let (all, reason) = match spec.policy_in_force() {
        Policy::WaitingTime => {
            let need = history.memory().need(spec, seen, history.is_idle(spec, now));
            (need.workers().into(), Reason::Need(need))
        }
        Policy::Linear => of_work(linear::linear(seen, assumed)),
        Policy::HalfLinear => of_work(linear::half_linear(seen, assumed)),
    };
    match Left::of(seen, seen.slots(assumed), all) {
        Some(left) => (left.workers(), Reason::Overflow(left, Box::new(reason))),
        None => (all, reason),
    }
}

fn of_work(work: linear::Work) -> (u64, Reason) {
    (work.workers, Reason::Work(work))
}

fn hold(reason: Reason) -> Decision {
    Decision { step: Step::Hold, wish: None, reason, bound: None }
}

/// Whether the pool has work of any sort: waiting, or running on workers that claim.
pub(crate) fn has_work(seen: &Observation) -> bool {
    !seen.demand.is_none() || seen.running() > 0
}
