//! What a scaler keeps in the store: who acts, which pools there are, which places are drained, what was decided.
//!
//! Workers and scaler never know each other: a worker reads its place's drain when it registers and at every claim, and
//! its queues from what was published for its pool.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::BootId;
use crate::{Binding, Json, Result};

/// The right to act, as a number that only grows: what is written under an older one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The lease's name.
    pub lease: String,
    /// The number of this holder's time.
    pub epoch: i64,
}

/// The answer to [`Scale::lease`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// It is ours, for as long as was asked, from before the call was sent.
    Held(Fence),
    /// Another has it.
    Taken {
        /// Who.
        by: String,
        /// For how much longer, unless it is renewed.
        left: Duration,
    },
}

/// A lease as it stands: who acts, or acted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseRecord {
    /// Its name.
    pub lease: String,
    /// Who holds it or held it last.
    pub holder: String,
    /// The number of that holder's time.
    pub epoch: i64,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it ends, or ended, unless it is renewed.
    pub until: DateTime<Utc>,
    /// The time by the store's clock when this was read.
    pub read_at: DateTime<Utc>,
}

/// A pool as its scaler makes it known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPool {
    /// Its name.
    pub name: String,
    /// The queues that its workers serve.
    pub queues: Binding,
    /// Whether its platform removes the highest ordinals first, so that the lower ones are to claim first.
    pub ordered: bool,
    /// All its settings, for whoever looks: JSON.
    pub spec: Json,
}

/// What a person has ordered for a pool; it stands above the pool's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Override {
    /// Whether the scaler leaves it as it is: neither grown nor shrunk.
    pub paused: bool,
    /// The fewest workers.
    pub min: Option<u32>,
    /// The most workers.
    pub max: Option<u32>,
    /// When all this ends; none: when it is undone.
    pub until: Option<DateTime<Utc>>,
}

/// A pool as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolRecord {
    /// Its name.
    pub name: String,
    /// The queues that its workers serve.
    pub queues: Binding,
    /// Whether the lower ordinals claim first.
    pub ordered: bool,
    /// All its settings.
    pub spec: Json,
    /// When its scaler last made it known.
    pub published_at: DateTime<Utc>,
    /// What a person has ordered, if it has not ended.
    #[serde(rename = "override")]
    pub overridden: Option<Override>,
    /// Who ordered it.
    pub overridden_by: Option<String>,
    /// What its scaler remembers: JSON.
    #[serde(skip)]
    pub state: Option<Json>,
    /// Its drained places, by name.
    pub places: Vec<PlaceRecord>,
    /// What was decided last.
    pub latest: Option<Decided>,
    /// The time by the store's clock when this was read.
    pub read_at: DateTime<Utc>,
}

/// A place (one instance's name in one pool) whose workers claim nothing, whichever process comes up there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceRecord {
    /// The instance's name.
    pub instance: String,
    /// Whether its workers were let go: the platform was told to remove it, or is about to be.
    pub leaving: bool,
    /// The number of its drain.
    pub epoch: i64,
    /// Who drained it.
    pub by: String,
    /// When the drain ends by itself; none is a person's, which does not.
    pub until: Option<DateTime<Utc>>,
    /// Since when it is drained.
    pub since: DateTime<Utc>,
}

/// How much a decision weighs: it decides how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Something was changed, or tried to be. Kept for 30 days.
    Change,
    /// Nothing was changed: nothing needed to be, or not everything could be seen. Kept for 3 days.
    Hold,
}

/// What one tick decided for one pool.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDecision {
    /// The pool.
    pub pool: String,
    /// How much it weighs.
    pub weight: Weight,
    /// What makes it the same as the one before: without numbers that change from tick to tick.
    pub gist: String,
    /// All of it: what was seen, decided, asked, answered. JSON.
    pub detail: Json,
    /// What the scaler is to remember of the pool from now on: JSON.
    pub state: Option<Json>,
}

/// An entry of the ledger: a decision, or equal ones in a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decided {
    /// Its number, ascending.
    pub id: i64,
    /// The pool.
    pub pool: String,
    /// How much it weighs.
    pub weight: Weight,
    /// What the equal ones have in common.
    pub gist: String,
    /// The latest of them.
    pub detail: Json,
    /// When the first was taken.
    pub first_at: DateTime<Utc>,
    /// When the last was taken.
    pub last_at: DateTime<Utc>,
    /// How many there were.
    pub count: i64,
}

/// What waits for a worker in some queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// Jobs can be claimed.
    pub ready: bool,
    /// Scheduled jobs are due: the next pass of promotion makes them claimable.
    pub due: bool,
    /// Suspects wait, each for a worker that runs nothing else.
    pub suspects: bool,
}

/// A job that has run for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LongRun {
    /// The worker that holds it.
    pub boot: BootId,
    /// Its kind.
    pub kind: String,
    /// For how long.
    pub age: Duration,
}

/// Jobs that will become claimable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// When at the latest.
    pub at: DateTime<Utc>,
    /// How many.
    pub count: u64,
}

/// How many connections the database server bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// The most, those reserved for administrators left out.
    pub max: u32,
    /// How many there are now.
    pub used: u32,
}

/// What a scaler needs of the store beside [`Observe`](super::Observe). Every write names its [`Fence`], and under one
/// that is no longer the latest, or whose lease has run out, changes nothing:
/// [`Error::Superseded`](crate::Error::Superseded).
#[async_trait]
pub trait Scale: std::fmt::Debug + Send + Sync {
    /// Takes the lease of this name, or renews it, for `length` from now. One that another holds is taken once it has run
    /// out. `holder` is this process's own name, new at each start.
    async fn lease(&self, lease: &str, holder: &str, length: Duration) -> Result<Lease>;

    /// Gives the lease back, so that another need not wait for its end.
    async fn release_lease(&self, fence: &Fence) -> Result<()>;

    /// The leases there are or were.
    async fn leases(&self) -> Result<Vec<LeaseRecord>>;

    /// Makes these pools known. Others that were known stay; those that this lease's scalers made known before and that
    /// are not among these are forgotten, their places and orders with them.
    async fn publish(&self, fence: &Fence, pools: &[NewPool]) -> Result<()>;

    /// The pools, by name. `None`: all.
    async fn pools(&self, name: Option<&str>) -> Result<Vec<PoolRecord>>;

    /// What a person orders for a pool, in place of what was ordered before. Refused for a pool that is not known
    /// ([`Error::Rejected`](crate::Error::Rejected)). Needs no fence: the scaler reads it at its next tick.
    async fn order(&self, pool: &str, by: &str, order: &Override) -> Result<()>;

    /// Drains these places of a pool for `lease` from now, or renews their drains: all workers there now, and whatever
    /// registers there until it ends. When this has returned, no claim of theirs is in flight. Returns each place's number,
    /// in their order; a renewed drain keeps it, and so does a person's, which is not shortened.
    async fn withhold(&self, fence: &Fence, pool: &str, instances: &[String], lease: Duration) -> Result<Vec<i64>>;

    /// Ends the drains of these places, a person's and those of places that are leaving excepted. Returns the workers that
    /// may claim again.
    async fn restore(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<Vec<BootId>>;

    /// Lets a place go, for `lease` from now: only if its drain has this number and is in force, and no worker that
    /// registered there and is not dead owns a running job or could claim one. Its workers are leaving from then on, and so
    /// is whatever registers there: no recall reaches them.
    async fn let_go(&self, fence: &Fence, pool: &str, instance: &str, epoch: i64, lease: Duration) -> Result<bool>;

    /// Sets leaving places back to drained, since they are not removed after all. Places that are not leaving stay as they
    /// are.
    async fn keep(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()>;

    /// Forgets these places: their instances are gone, or somebody else's.
    async fn forget(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()>;

    /// Writes decisions into the ledger, all or none, and remembers the pools' states. A decision of the same weight and
    /// gist as the pool's latest is counted with it.
    async fn record(&self, fence: &Fence, decisions: &[NewDecision]) -> Result<()>;

    /// Remembers these pools' states, without a decision.
    async fn remember(&self, fence: &Fence, states: &[(String, Json)]) -> Result<()>;

    /// The ledger's entries, the latest first: of one pool or of all, and those that began no later than `at`.
    async fn ledger(&self, pool: Option<&str>, at: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<Decided>>;

    /// For each of these bindings: whether anything waits in its queues that a worker could start now. Exact, at one
    /// moment for all, whatever the counters have not folded yet; gates and pauses are left out of account.
    async fn waiting(&self, queues: &[Binding]) -> Result<Vec<Waiting>>;

    /// The jobs that have run for at least so long, on whatever worker; of more than 10,000 the others are left out.
    async fn long_runs(&self, age: Duration) -> Result<Vec<LongRun>>;

    /// For each of these: the scheduled jobs of its queues that fall due within its time, paused queues and kinds left
    /// out, in at most 60 steps of equal length. Counts up to 100,000 of them.
    async fn known(&self, asked: &[(Binding, Duration)]) -> Result<Vec<Vec<Known>>>;

    /// What the database server bears. `None`: this store has no connections to run out of.
    async fn connections(&self) -> Result<Option<Connections>>;
}
