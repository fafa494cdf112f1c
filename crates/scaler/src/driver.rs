//! What a platform does for a pool: say what is there, start more, remove the ones that are named.
//!
//! A driver obeys and reports; it takes no decision about sizes. Its calls are for a whole account or machine at once,
//! so that one call may serve many pools.

#[cfg(feature = "aws")]
pub mod aws_asg;
pub mod command;
pub mod heroku;
pub mod local;
pub mod noop;

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::price::Money;

/// A platform on which pools of workers live.
#[async_trait]
pub trait ScalerDriver: fmt::Debug + fmt::Display + Send + Sync {
    /// What the platform can do and cannot, for this pool. Asked at every tick; no call to the platform.
    fn limits(&self, pool: &PoolRef) -> Limits;

    /// What an instance of this pool costs in an hour, where the platform's prices are known. Asked at every tick; no call
    /// to the platform. A price that the pool itself names goes before it.
    fn price(&self, pool: &PoolRef) -> Option<Money> {
        let _ = pool;
        None
    }

    /// What is there, one answer for each pool in their order.
    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>>;

    /// Makes the changes, one answer for each in their order.
    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>>;
}

/// A pool, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct PoolRef(String);

impl PoolRef {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PoolRef {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for PoolRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What the platform calls one instance of a pool; its workers register under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(String);

impl InstanceId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for InstanceId {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl From<&str> for InstanceId {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a platform can do and cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most instances that it gives this pool.
    pub max: Option<u32>,
    /// What an instance costs at least, as a time; zero where it is paid by use or not at all.
    pub min_bill: Duration,
    /// How long a worker usually takes from being asked for to its first claim.
    pub boot: Duration,
    /// An instance without a worker for longer than this is no longer booting but lost.
    pub overdue: Duration,
    /// Which instances it removes when a pool shrinks.
    pub removal: Removal,
    /// How long it lets an instance finish once it has told it to end, before it kills it.
    pub grace: Duration,
    /// Whether people may change the pool's size beside the scaler, at the platform.
    pub shared: bool,
}

impl Limits {
    /// Those of a platform that starts and removes at once what it is told to, and for free.
    pub const DEFAULT: Self = Self {
        max: None,
        min_bill: Duration::ZERO,
        boot: Duration::ZERO,
        overdue: Duration::from_mins(1),
        removal: Removal::Chosen,
        grace: Duration::from_secs(30),
        shared: false,
    };
}

/// Which instances a platform removes when a pool shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// Those that the scaler names.
    Chosen,
    /// Those with the highest [ordinals](Instance::ordinal): it takes a number only.
    Highest,
    /// Nobody knows which: nothing may run anywhere in the pool when it shrinks.
    Unknown,
}

/// What is there of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolStatus {
    /// How many instances the platform aims for; those that are being removed do not count.
    pub desired: u32,
    /// The instances that exist.
    pub instances: Vec<Instance>,
    /// Instances that have certainly ended, the latest last, and whose names never come again. A driver that cannot be
    /// certain leaves this empty, and the scaler judges by what is no longer listed.
    pub ended: Vec<Ended>,
    /// What keeps new instances from coming up.
    pub trouble: Option<Trouble>,
    /// The release that new instances run, where the platform knows releases. When it changes, the whole pool restarts:
    /// instances that are silent then are booting, not gone.
    pub release: Option<String>,
    /// What an operator should know: a process that is suspended, bounds narrower than the pool's. Told once each.
    pub warnings: Vec<String>,
    /// How old this reading is.
    pub age: Duration,
}

/// One instance of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub id: InstanceId,
    /// Its process on this machine, where it is one.
    pub pid: Option<u32>,
    /// Its number, where the platform numbers instances and removes the highest first. Two may share one for a while.
    pub ordinal: Option<u32>,
    /// How long it has existed.
    pub age: Duration,
    /// Where it stands.
    pub state: InstanceState,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstanceState {
    /// It boots or runs: where the platform does not tell these apart.
    Up,
    /// It was told to end.
    Ending,
    /// The same, and the platform waits for word that it may: [`Change::Complete`], or [`Change::Extend`] for more time.
    Held,
}

impl InstanceState {
    /// Whether it was told to end.
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Ending | Self::Held)
    }
}

/// An instance that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub id: InstanceId,
    /// How it ended: "exit status 1", "signal 9".
    pub how: String,
    /// Whether it had been told to.
    pub asked: bool,
}

/// What keeps new instances from coming up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong and what to do about it.
    pub message: String,
    /// How many starts in a row have failed.
    pub failures: u32,
    /// When the next start is due, from now; `None`: never, as starting again would not help.
    pub retry_in: Option<Duration>,
}

impl Trouble {
    /// After so many failed starts in a row it is not bad luck.
    pub const LASTING: u32 = 5;

    /// Whether a person has to look: starting again does not help, or has not helped [`Trouble::LASTING`] times.
    pub fn is_lasting(&self) -> bool {
        self.retry_in.is_none() || self.failures >= Self::LASTING
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.retry_in {
            None => f.write_str("; it is not started again"),
            Some(wait) if wait.is_zero() => Ok(()),
            Some(wait) => write!(f, "; failed starts in a row: {}, next in {wait:.1?}", self.failures),
        }
    }
}

/// A change of a pool, in absolute numbers, so that saying it twice is no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Have so many instances, if there are fewer; remove none.
    GrowTo {
        /// The pool.
        pool: PoolRef,
        /// How many instances, those being removed not counted.
        size: u32,
    },
    /// Remove exactly these instances: the scaler has drained them and seen them idle.
    Remove {
        /// The pool.
        pool: PoolRef,
        /// Which.
        instances: Vec<InstanceId>,
        /// How many instances remain.
        size: u32,
    },
    /// The platform ends these and [waits](InstanceState::Held) for word: nothing runs there, and nothing will. Only asked
    /// of a driver that shows such.
    Complete {
        /// The pool.
        pool: PoolRef,
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// The platform ends these and waits for word: jobs still run there, so it is to go on waiting. Asked at every tick; a
    /// driver passes it on as often as the platform needs it, and answers that nothing was changed in between.
    Extend {
        /// The pool.
        pool: PoolRef,
        /// Which.
        instances: Vec<InstanceId>,
    },
}

impl Change {
    /// The pool that is changed.
    pub fn pool(&self) -> &PoolRef {
        match self {
            Self::GrowTo { pool, .. }
            | Self::Remove { pool, .. }
            | Self::Complete { pool, .. }
            | Self::Extend { pool, .. } => pool,
        }
    }

    /// The size that it leads to; none if it is about instances that count no longer.
    pub fn size(&self) -> Option<u32> {
        match self {
            Self::GrowTo { size, .. } | Self::Remove { size, .. } => Some(*size),
            Self::Complete { .. } | Self::Extend { .. } => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GrowTo { size, .. } => write!(f, "grow to {size}"),
            Self::Remove { instances, size, .. } => {
                list(f, "remove", instances)?;
                write!(f, ", leaving {size}")
            }
            Self::Complete { instances, .. } => list(f, "let the platform end", instances),
            Self::Extend { instances, .. } => list(f, "have the platform wait for", instances),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, instances: &[InstanceId]) -> fmt::Result {
    f.write_str(what)?;
    instances.iter().enumerate().try_for_each(|(i, id)| write!(f, "{} {id}", if i == 0 { "" } else { "," }))
}

/// The platform has taken a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// How many instances it aims for now.
    pub desired: u32,
    /// Whether anything changed: what was there already starts no cool-down.
    pub changed: bool,
}

/// What went wrong at the platform, by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// It could not be asked: nothing happened; try again later.
    #[error("the platform does not answer: {0}")]
    Unavailable(String),
    /// It said no: nothing happened.
    #[error("the platform refuses: {0}")]
    Refused(String),
    /// It may have happened: read before asking again.
    #[error("it is not known whether the platform did it: {0}")]
    Unknown(String),
}
