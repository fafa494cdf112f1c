//! Why a decision is what it is.

use std::{fmt, time::Duration};

use super::{linear::Work, overflow::Left, waiting_time::Need};
use crate::{
    driver::{PoolRef, Trouble},
    observe::Unseen,
};

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The work calls for it.
    Work(Work),
    /// So many are needed for jobs to start in time.
    Need(Need),
    /// So many are left of what the work calls for by another pool, whose overflow this one takes.
    Overflow(Left, Box<Reason>),
    /// Fewer workers would do, but a new release is coming up: until the fleet beats again, nobody is let go.
    Release {
        /// The release.
        release: String,
        /// How many would do.
        wish: u32,
        /// How much longer it is waited for.
        left: Duration,
    },
    /// Fewer workers would do, but have not for long enough.
    Holding {
        /// How many would do.
        wish: u32,
        /// How much longer they must.
        left: Duration,
    },
    /// Fewer workers would do, but this process has only just begun to decide for the pool.
    Settling {
        /// How many would do.
        wish: u32,
        /// How much longer nobody is let go.
        left: Duration,
    },
    /// There is no work, but there was some a short while ago: the last worker waits for more.
    KeepLast {
        /// How much longer.
        left: Duration,
    },
    /// More are needed, and new ones do not come up.
    Trouble(Trouble),
    /// Something could not be read. Unknown is never zero.
    Unseen(Unseen),
    /// Workers on so many of the pool's instances beat for another pool or none. What they run is not known, nor do they
    /// hear of a drain.
    Strangers {
        /// How many.
        count: u32,
        /// The pool.
        pool: PoolRef,
    },
    /// The store was read too long ago.
    StaleStore {
        /// How long.
        age: Duration,
        /// How long would do.
        limit: Duration,
    },
    /// The platform was read too long ago.
    StalePlatform {
        /// How long.
        age: Duration,
        /// How long would do.
        limit: Duration,
    },
}

impl Reason {
    /// Its sort in a word or two, without numbers: for counting.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Work(_) => "work",
            Self::Need(_) => "need",
            Self::Overflow(..) => "overflow",
            Self::Release { .. } => "release",
            Self::Holding { .. } => "holding",
            Self::Settling { .. } => "settling",
            Self::KeepLast { .. } => "keep_last",
            Self::Trouble(_) => "trouble",
            Self::Unseen(Unseen::Store(_)) => "store_unseen",
            Self::Unseen(Unseen::Platform(_)) => "platform_unseen",
            Self::Unseen(Unseen::Source(_)) => "source_unseen",
            Self::Strangers { .. } => "strangers",
            Self::StaleStore { .. } => "store_stale",
            Self::StalePlatform { .. } => "platform_stale",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(work) => work.fmt(f),
            Self::Need(need) => need.fmt(f),
            Self::Overflow(left, why) => write!(f, "{left}; {why}"),
            Self::Release { release, wish, left } => write!(
                f,
                "{wish} would do; release {release} is coming up, and until all beat again, {left:.1?} more at most, nobody \
                 is let go"
            ),
            Self::Holding { wish, left } => write!(f, "{wish} would do; wait {left:.1?} more to be sure"),
            Self::Settling { wish, left } => {
                write!(f, "{wish} would do; this scaler is new to the pool and lets nobody go for {left:.1?}")
            }
            Self::KeepLast { left } => write!(f, "nothing to do; the last worker waits {left:.1?} more"),
            Self::Trouble(trouble) => trouble.fmt(f),
            Self::Unseen(unseen) => unseen.fmt(f),
            Self::Strangers { count, pool } => write!(
                f,
                "the workers of {count} of its instances beat for another pool or none: start them with --pool {pool} or \
                 HEADCOUNT_POOL={pool}"
            ),
            Self::StaleStore { age, limit } => {
                write!(f, "the store was read {age:.1?} ago, and {limit:.1?} is the limit")
            }
            Self::StalePlatform { age, limit } => {
                write!(f, "the platform was read {age:.1?} ago, and {limit:.1?} is the limit")
            }
        }
    }
}
