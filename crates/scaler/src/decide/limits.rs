//! What keeps a pool from the size that its policy wishes, each limit by its name.

pub mod rules;

use std::fmt;

use crate::{
    driver::Limits,
    observe::{Observation, Standing},
    pool::PoolSpec,
};

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
        }
    }
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
    let recallable = seen.count(Standing::Drained);
    let most = seen.limits.max.map_or(spec.max(), |max| max.min(spec.max()));
    let room = most.saturating_sub(seen.existing());
    let stuck = seen.trouble.as_ref().is_some_and(|trouble| trouble.retry_in.is_none_or(|wait| !wait.is_zero()));
    let without = seen.current() + recallable;
    if wish <= without {
        (wish, None)
    } else if stuck {
        (without, Some(Bound::Trouble))
    } else if wish > without + room {
        let useless = seen.count(Standing::Overdue) + seen.count(Standing::Withheld);
        (without + room, Some(Bound::Occupied(useless)))
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
