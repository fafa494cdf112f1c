//! What keeps a pool from the size that its policy wishes, each limit by its name.
//!
//! # Which wins
//! From the weakest to the strongest; each may narrow what those above it leave, and none widens it again:
//!
//! 1. the pool's min and max; instead of them those of its schedule, and instead of these those that an operator set
//! 2. a size raised by hand is a floor for a while, within max
//! 3. growth that does not help is stopped, not below the floor
//! 4. a budget that is spent brings the pool down to its min (of 1.), whatever was raised by hand
//! 5. the connections that the database has
//! 6. what the platform gives ([`clamp`])
//! 7. a pause: the size stays as it is
//!
//! The wish is brought into that [`Range`]. Only then does the [pace] count: tolerance, cool-downs and steps delay a
//! change within the range, and never the way back into it. A limit only ever lowers the number of workers that claim:
//! those too many are drained, and what runs on them is finished. Where nobody can be drained, since the pool's numbers
//! come from another queue, it does not shrink at all while anything waits or runs, whatever else is said.
//!
//! [`bounded`] puts all of this around a policy's decision. What must be remembered is a [`State`], which is told
//! [what is seen](State::observe) and [what was really done](State::asked).

mod bounded;
pub mod budget;
pub mod connections;
pub mod futile;
pub mod manual;
pub mod orders;
pub mod pace;
pub mod range;
pub mod rules;
pub mod state;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    driver::Limits,
    observe::{Observation, Standing},
    pool::PoolSpec,
    price::Money,
};

pub use bounded::bounded;
pub use connections::Connections;
pub use orders::Orders;
pub use range::Range;
pub use state::{Flow, Inputs, State};

pub use rules::{Rules, Share};

/// The limit that bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// The pool's min.
    Min(u32),
    /// The pool's max.
    Max(u32),
    /// What the platform gives.
    Platform(u32),
    /// The pool's max, of which so many instances are taken that do not work: drained by a person, or overdue.
    Occupied(u32),
    /// New instances do not come up.
    Trouble,
    /// So many workers cannot be drained: they boot, or somebody else started them.
    Undrainable(u32),
    /// The min of the schedule's entry that holds.
    ScheduledMin(u32),
    /// The max of the schedule's entry that holds.
    ScheduledMax(u32),
    /// The min that an operator set, until then.
    OrderedMin(u32, Option<DateTime<Utc>>),
    /// The max that an operator set, until then.
    OrderedMax(u32, Option<DateTime<Utc>>),
    /// An operator has paused the pool, until then.
    Paused(Option<DateTime<Utc>>),
    /// Somebody raised the size by hand, and that is a floor for a while.
    RaisedByHand {
        /// To this size.
        size: u32,
        /// Until then.
        until: DateTime<Utc>,
    },
    /// Somebody lowered the size by hand, and the work needs more.
    LoweredByHand {
        /// From this size.
        from: u32,
        /// To this one.
        to: u32,
    },
    /// Growing did not help: more slots were busy, and no more jobs were finished.
    Futile {
        /// The size at which that showed.
        size: u32,
        /// When it is tried again.
        until: DateTime<Utc>,
    },
    /// The day's budget is spent.
    Budget {
        /// What may be spent in a day.
        budget: Money,
        /// What has been.
        spent: Money,
        /// When the next day begins.
        until: DateTime<Utc>,
        /// How many jobs have started late since it is spent, and of how many.
        late: Option<(u64, u64)>,
    },
    /// The database has no connections for more.
    Connections {
        /// For so many workers there are.
        workers: u32,
        /// How it was reckoned.
        of: Connections,
    },
    /// No worker of the pool can be drained, and it is not known that none has work.
    NoDrain {
        /// How many jobs wait.
        pending: u64,
        /// How many run, if that is known.
        running: Option<u64>,
    },
    /// The change is too small for the pool's tolerance.
    Tolerance(Share),
    /// The pool grew a short while ago; so much is left.
    GrowCooldown(Duration),
    /// The pool's size changed a short while ago; so much is left.
    ShrinkCooldown(Duration),
    /// The pool grows by no more in one tick.
    GrowStep(u32),
    /// The pool shrinks by no more in one tick.
    ShrinkStep(u32),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Min(min) => write!(f, "at least {min}"),
            Self::Max(max) => write!(f, "at most {max}"),
            Self::Platform(max) => write!(f, "the platform gives at most {max}"),
            Self::Occupied(n) => {
                write!(f, "at most the pool's max, and {n} of it do not work: they are overdue or drained by hand")
            }
            Self::Trouble => f.write_str("new instances do not come up"),
            Self::Undrainable(n) => write!(f, "{n} cannot be drained: they boot, or are not this scaler's"),
            Self::ScheduledMin(min) => write!(f, "at least {min} by the schedule"),
            Self::ScheduledMax(max) => write!(f, "at most {max} by the schedule"),
            Self::OrderedMin(min, until) => write!(f, "at least {min} by order{}", Until(*until)),
            Self::OrderedMax(max, until) => write!(f, "at most {max} by order{}", Until(*until)),
            Self::Paused(until) => write!(f, "paused{}; `headcount pools resume` ends it", Until(*until)),
            Self::RaisedByHand { size, until } => write!(f, "raised to {size} by hand: a floor{}", Until(Some(*until))),
            Self::LoweredByHand { from, to } => write!(f, "undoes that it was lowered from {from} to {to} by hand"),
            Self::Futile { size, until } => write!(
                f,
                "the work is not short of workers: growing to {size} finished no more jobs; tried again after {}",
                shown(*until)
            ),
            Self::Budget { budget, spent, until, late } => {
                write!(f, "the day's budget of {budget} is spent ({spent}){}", Until(Some(*until)))?;
                match late {
                    Some((late, started)) if *started > 0 => {
                        let share = *late as f64 * 100.0 / *started as f64;
                        write!(f, "; {share:.1} % of the {started} jobs started since were late")
                    }
                    _ => Ok(()),
                }
            }
            Self::Connections { workers, of } => write!(f, "at most {workers}, for {of}"),
            Self::NoDrain { pending, running } => {
                f.write_str("without heartbeats no worker can be drained: it shrinks only when nothing runs, and ")?;
                match running {
                    Some(running) => write!(f, "{running} run and {pending} wait"),
                    None => write!(f, "how many run is not known"),
                }
            }
            Self::Tolerance(share) => write!(f, "a change of less than {share} is not made"),
            Self::GrowCooldown(left) => write!(f, "it grew a short while ago; cools down for {left:.1?} more"),
            Self::ShrinkCooldown(left) => write!(f, "it changed a short while ago; cools down for {left:.1?} more"),
            Self::GrowStep(step) => write!(f, "at most {step} more in a tick"),
            Self::ShrinkStep(step) => write!(f, "at most {step} fewer in a tick"),
        }
    }
}

/// " until …", or nothing.
struct Until(Option<DateTime<Utc>>);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |until| write!(f, " until {}", shown(until)))
    }
}

fn shown(at: DateTime<Utc>) -> impl fmt::Display {
    at.format("%Y-%m-%d %H:%M UTC")
}

/// The wish within the pool's bounds and the platform's. The platform's most wins over the pool's least.
pub fn clamp(spec: &PoolSpec, limits: &Limits, workers: u64) -> (u32, Option<Bound>) {
    let (most, bound) = match limits.max {
        Some(max) if max < spec.max() => (max, Bound::Platform(max)),
        _ => (spec.max(), Bound::Max(spec.max())),
    };
    match u32::try_from(workers) {
        Ok(wish) if wish <= most && wish >= spec.min() => (wish, None),
        Ok(wish) if wish <= most => (spec.min().min(most), Some(Bound::Min(spec.min()))),
        _ => (most, Some(bound)),
    }
}

/// How far a pool can grow towards `wish`: draining workers can be recalled; new instances must come up, and fit into
/// the pool's max beside every instance that exists, whether it works or not.
pub fn reach(spec: &PoolSpec, seen: &Observation, wish: u32) -> (u32, Option<Bound>) {
    let most = seen.limits.max.map_or(spec.max(), |max| max.min(spec.max()));
    let room = most.saturating_sub(seen.existing());
    let stuck = seen.trouble.as_ref().is_some_and(|trouble| trouble.retry_in.is_none_or(|wait| !wait.is_zero()));
    let without = seen.current() + seen.recallable();
    if wish <= without {
        (wish, None)
    } else if stuck {
        (without, Some(Bound::Trouble))
    } else if wish > without + room {
        (without + room, Some(Bound::Occupied(seen.useless())))
    } else {
        (wish, None)
    }
}

/// How far a pool can shrink towards `target` by draining: not those that boot, nor those that somebody else started.
pub fn drainable(seen: &Observation, target: u32) -> (u32, Option<Bound>) {
    let listed = seen.members.iter().filter(|m| m.standing == Standing::Active && m.listed).count() as u32;
    let fixed = seen.current() - listed;
    if target < fixed { (fixed, Some(Bound::Undrainable(fixed))) } else { (target, None) }
}
