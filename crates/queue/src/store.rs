//! The store's contract, in roles: who enqueues, who claims, who looks, who maintains, who scales, who
//! administers.
//!
//! A store keeps each job as one row in exactly one table, and the table is its state. What is promised here is
//! checked by [`conformance`], which every store passes. How to write another one: [`writing_a_store`].

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(any(test, feature = "conformance"))]
pub mod faulty;
pub mod foreign;
pub mod postgres;
pub mod sqlite;
pub mod url;
#[doc = include_str!("store/writing_a_store.md")]
pub mod writing_a_store {}
mod attempt;
mod admin;
mod scale;
mod schema;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    AttemptRecord, Binding, JobId, JobRecord, NewJob, QueueState, Resolution, Result, Secret, State, WorkerRecord,
};

pub use admin::{Acted, Action, Cancel, Resolve, Setting, Settings, Target};
pub use attempt::{
    Beat, BeatAnswer, BootId, Claimed, ClaimedJob, Gate, NewWorker, Settlement, Token, Verdict, Want, WorkerState,
};
pub use scale::{
    Connections, Decided, Fence, Known, Lease, LeaseRecord, LongRun, NewDecision, NewPool, Override, PlaceRecord,
    PoolRecord, Scale, Waiting, Weight,
};
pub use schema::{Difference, Grants, Step};
pub use url::StoreUrl;

/// A place where jobs are kept.
pub trait Store: Enqueue + Claim + Observe + Maintain + Scale + Admin {}

impl<T: Enqueue + Claim + Observe + Maintain + Scale + Admin> Store for T {}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most connections it uses, at least 1; the heartbeat's own is one more. Default 3.
    pub connections: u32,
    /// The time limit of each call. Default 10 s.
    pub call_timeout: Duration,
    /// What the database shows as the client's name. Default `headcount`.
    pub application: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 3, call_timeout: Duration::from_secs(10), application: "headcount".into() }
    }
}

/// Opens the store at this address.
///
/// A Postgres store is not migrated: see [`Admin::migrate`] and [`Admin::check_version`]. An SQLite store is made and
/// migrated when it is opened.
pub async fn open(url: &StoreUrl, options: &Options) -> Result<Arc<dyn Store>> {
    match url {
        StoreUrl::Postgres(url) => Ok(Arc::new(postgres::PostgresStore::open(url, options)?)),
        StoreUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteStore::open(path.as_deref(), options).await?)),
    }
}

/// The application's own transaction, into which jobs are enqueued: they are there when it commits, and never were when
/// it rolls back.
///
/// A transaction on SQLite must have been begun with `BEGIN IMMEDIATE`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Transaction<'c> {
    /// On Postgres.
    Postgres(&'c mut sqlx::PgConnection),
    /// On SQLite.
    Sqlite(&'c mut sqlx::SqliteConnection),
}

impl<'c> From<&'c mut sqlx::PgConnection> for Transaction<'c> {
    fn from(connection: &'c mut sqlx::PgConnection) -> Self {
        Self::Postgres(connection)
    }
}

impl<'c> From<&'c mut sqlx::SqliteConnection> for Transaction<'c> {
    fn from(connection: &'c mut sqlx::SqliteConnection) -> Self {
        Self::Sqlite(connection)
    }
}

impl<'c> From<&'c mut sqlx::Transaction<'_, sqlx::Postgres>> for Transaction<'c> {
    fn from(tx: &'c mut sqlx::Transaction<'_, sqlx::Postgres>) -> Self {
        Self::Postgres(tx)
    }
}

impl<'c> From<&'c mut sqlx::Transaction<'_, sqlx::Sqlite>> for Transaction<'c> {
    fn from(tx: &'c mut sqlx::Transaction<'_, sqlx::Sqlite>) -> Self {
        Self::Sqlite(tx)
    }
}

/// What became of a job that was enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Enqueued {
    /// The job that does the work: the new one, or the one with which it coalesced.
    pub id: JobId,
    /// Whether it is a new one.
    #[serde(flatten)]
    pub admission: Admission,
}

/// Whether an enqueue made a job, or coalesced with one that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "admission", rename_all = "snake_case")]
pub enum Admission {
    /// A new job.
    New,
    /// Dropped: a job that holds its key is enough, and its id is the answer.
    Kept,
    /// Dropped, but the job that waits got its payload and its run time; its id is the answer.
    Replaced,
    /// It runs after the one that now holds its key, or another that waits for that already is to; the id is that of
    /// the one that waits.
    Again {
        /// The job that holds the key.
        holder: JobId,
    },
}

impl Enqueued {
    /// The answer for a new job; stores make it.
    pub const fn new(id: JobId) -> Self {
        Self { id, admission: Admission::New }
    }

    /// The answer for one that coalesced; stores make it.
    pub const fn coalesced(id: JobId, admission: Admission) -> Self {
        Self { id, admission }
    }

    /// Whether it is a new job.
    pub const fn is_new(self) -> bool {
        matches!(self.admission, Admission::New)
    }
}

/// Takes jobs in.
#[async_trait]
pub trait Enqueue: fmt::Debug + Send + Sync {
    /// Enqueues all of them or, on an error, none; durable when it returns. The answers stand in the order of `jobs`,
    /// and the ids of new jobs ascend in it. Refuses what [`NewJob::check_all`] refuses.
    ///
    /// Of jobs with one [key](NewJob::key) in one bulk each meets what the one before it made: the first is enqueued, and
    /// the others coalesce with it.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>>;

    /// The same inside the caller's transaction. Refuses another database's.
    async fn enqueue_in(&self, tx: Transaction<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>>;

    /// Sends what is still to be said to sleeping workers, before the process ends. Without it they find the jobs at
    /// their next poll.
    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// Hands jobs to workers and takes them back.
#[async_trait]
pub trait Claim: fmt::Debug + Send + Sync {
    /// Announces a worker. Returns the state it starts in.
    ///
    /// Again after a lost answer, it changes nothing. One that is taken for dead stays so ([`WorkerState::Dead`]): it
    /// must come back under a new [`BootId`].
    async fn register(&self, worker: &NewWorker) -> Result<WorkerState>;

    /// Takes a worker off the books. Refused (`false`) while it owns running jobs: they stay until settled or rescued.
    async fn deregister(&self, boot: BootId) -> Result<bool>;

    /// What claims for this worker: it remembers where the last claim ended.
    ///
    /// `aging`: for each such time that the first job of a lane (a queue at one priority) has waited, the lane counts as
    /// one priority higher, so that nothing starves. `None`: priorities are strict.
    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Box<dyn Claimer>;

    /// As many as can usefully be at work for this worker at the same time. Default one: where writers wait for each other,
    /// a second only waits.
    fn claimers(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Vec<Box<dyn Claimer>> {
        vec![self.claimer(boot, queues, aging)]
    }

    /// Hears when jobs come into these queues while their workers [sleep](Claim::sleep). `None` (the default): this store
    /// cannot tell, and its workers poll.
    async fn listen(&self, queues: &Binding) -> Result<Option<Box<dyn Wakes>>> {
        let _ = queues;
        Ok(None)
    }

    /// Says whether the workers of these queues sleep: only then does an enqueue tell them. Said before a worker's last
    /// look at an empty queue, or a job that comes in between is told to nobody.
    async fn sleep(&self, queues: &Binding, asleep: bool) -> Result<()> {
        let _ = (queues, asleep);
        Ok(())
    }

    /// Says that the worker lives and what it holds; brings back its orders. Spoken every few seconds, and from a
    /// connection of its own ([`Claim::heart`]).
    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer>;

    /// Notes the [digest](crate::Secret::digest) of the secret by which this attempt's job may be
    /// [resolved](Admin::resolve) once it is parked, or, early, while it still runs. Durable when it returns, and the
    /// claim with it. Said again, the last digest holds, and an answer to another one is dropped.
    ///
    /// # Errors
    /// [`Error::TakenAway`](crate::Error::TakenAway) if the token no longer holds.
    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()>;

    /// A handle for the heartbeat, with a connection of its own that nothing else uses; to be called on the runtime
    /// that will use it. A store that has only one connection returns a handle that shares it.
    async fn heart(&self) -> Result<Arc<dyn Claim>>;
}

/// One worker's hand into the queue.
#[async_trait]
pub trait Claimer: fmt::Debug + Send {
    /// Settles ended attempts and claims the next jobs: in one statement where the store can, the settling first.
    ///
    /// A settlement whose token no longer holds changes nothing and is no error. Settlements are durable when this
    /// returns. After an error that [may have taken effect](crate::Error::is_unknown), settle the same again alone;
    /// the claim's number is given up and its jobs come back by the beat.
    async fn next(&mut self, settled: &[Settlement], want: Want) -> Result<Claimed>;
}

/// What tells a worker that jobs came in.
#[async_trait]
pub trait Wakes: fmt::Debug + Send {
    /// Returns when something came in, or might have: after a connection that was lost is there again, too. Dropping the
    /// call loses nothing.
    async fn next(&mut self);
}

/// Which jobs to show or to act on; every field narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these; empty means all.
    pub ids: Vec<JobId>,
    /// In this queue.
    pub queue: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// In one of these states; empty means all.
    pub states: Vec<State>,
    /// With this coalesce key.
    pub key: Option<String>,
    /// Whose last error contains this text.
    pub error: Option<String>,
    /// Enqueued longer ago than this.
    pub older_than: Option<Duration>,
    /// Whose payload has this value at this path: keys, or places in a list from 0, joined by dots; the value as text
    /// (`("user.id", "7")`).
    pub payload: Option<(String, String)>,
    /// With an id above this one: the cursor for paging.
    pub after: Option<JobId>,
}

/// What a queue still has to do, counted without cursor, gate or skipped locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "six independent facts")]
pub struct Outstanding {
    /// Jobs that may be claimed.
    pub ready: bool,
    /// Scheduled jobs that are due.
    pub due: bool,
    /// Scheduled jobs that are not due yet.
    pub scheduled: bool,
    /// Queued jobs that something holds back.
    pub held: bool,
    /// Jobs that run, on whatever worker.
    pub running: bool,
    /// Jobs that wait for a third party's answer.
    pub parked: bool,
}

impl Outstanding {
    /// Nothing to do now; scheduled jobs may fall due later, and parked ones be answered.
    pub const fn is_idle(self) -> bool {
        !(self.ready || self.due || self.held || self.running)
    }

    /// Nothing left at all.
    pub const fn is_empty(self) -> bool {
        self.is_idle() && !self.scheduled && !self.parked
    }
}

/// Shows what is there.
#[async_trait]
pub trait Observe: fmt::Debug + Send + Sync {
    /// The store's clock.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<JobRecord>>;

    /// Jobs in the order of their ids.
    async fn jobs(&self, filter: &Filter, limit: u32) -> Result<Vec<JobRecord>>;

    /// How many jobs the filter finds. Walks over what it has to: dearer than [`Observe::queues`].
    async fn count(&self, filter: &Filter) -> Result<u64>;

    /// What was set for queues and kinds, in the order of their names; those without a setting are left out.
    async fn settings(&self) -> Result<Vec<Settings>>;

    /// A job's attempts that did not complete, in order.
    async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>>;

    /// Every queue that has ever had a job, with its lanes; costs the same at ten jobs and at ten million.
    ///
    /// Counts that have not been folded yet are included or not: see [`Maintain::fold`].
    async fn queues(&self) -> Result<Vec<QueueState>>;

    /// The workers, in the order of their start, dead ones included for as long as they own jobs.
    async fn workers(&self) -> Result<Vec<WorkerRecord>>;

    /// Whether these queues are empty. Exact, and dearer than [`Observe::queues`].
    async fn outstanding(&self, queues: &Binding) -> Result<Outstanding>;

    /// When the next scheduled job of these queues is due, as a time from now; zero if overdue.
    async fn next_due(&self, queues: &Binding) -> Result<Option<Duration>>;
}

/// What a pass of [`Maintain::promote`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promoted {
    /// How many jobs became claimable.
    pub jobs: u64,
    /// When the next one falls due, from now.
    pub next_due: Option<Duration>,
}

/// What a rescue did with a job of a dead worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rescue {
    /// Back into its place.
    Requeued,
    /// Back, to be run in a process that runs nothing else: its process has died under it repeatedly.
    Isolated,
    /// Failed: its process died under it once more while it ran alone, or it was interrupted too often.
    Quarantined,
    /// Cancelled, as had been asked.
    Cancelled,
}

/// A job taken from a dead worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rescued {
    /// The job.
    pub id: JobId,
    /// The worker.
    pub boot: BootId,
    /// What became of it.
    pub rescue: Rescue,
}

/// A parked job whose deadline passed without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// The job.
    pub id: JobId,
    /// Where it stands now: [`State::Queued`] or [`State::Failed`].
    pub state: State,
}

/// A counter that differed from a recount: a defect of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The queue.
    pub queue: String,
    /// The priority.
    pub priority: i16,
    /// The kind.
    pub kind: String,
    /// What the counters said.
    pub counted: crate::Depth,
    /// What is there.
    pub actual: crate::Depth,
}

/// Keeps the store in order. Any process may do it; each duty has one doer at a time, and a second returns at once.
#[async_trait]
pub trait Maintain: fmt::Debug + Send + Sync {
    /// Makes up to `limit` due jobs claimable, the earlier due first.
    async fn promote(&self, limit: u32) -> Result<Promoted>;

    /// Adds the counters' latest deltas to what [`Observe::queues`] reads. Returns how many deltas there were.
    async fn fold(&self) -> Result<u64>;

    /// Makes up to `limit` held jobs claimable that nothing holds back any more, holds back those whose kind is paused,
    /// and lets go of coalesce keys whose job is over. Returns how many jobs became claimable.
    ///
    /// The statements that end a job or resume a kind do this as far as they see; this catches what committed beside
    /// them.
    async fn release(&self, limit: u32) -> Result<u64>;

    /// Ends the wait of up to `limit` parked jobs whose deadline has passed without an answer: each goes where its
    /// [expiry](Verdict::Park) says, the attempt spent.
    async fn expire(&self, limit: u32) -> Result<Vec<Expired>>;

    /// Removes up to `limit` finished jobs whose retention has ended, and old bookkeeping. Returns how many jobs.
    async fn purge(&self, limit: u32) -> Result<u64>;

    /// Compares the counters with a recount, in one view of the store, and repairs them.
    async fn audit(&self) -> Result<Vec<Drift>>;

    /// Marks workers dead whose last beat is older than `window`. Waits for their claims in flight.
    async fn mark_dead(&self, window: Duration) -> Result<Vec<BootId>>;

    /// Marks these workers dead at once, on the platform's word that they are gone. Returns those that were not yet.
    async fn bury(&self, boots: &[BootId]) -> Result<Vec<BootId>>;

    /// Takes the jobs of dead workers away from them. `blame`: whether the deaths count against the jobs that had
    /// started; not when the whole machine is known to have gone down.
    async fn rescue_dead(&self, blame: bool) -> Result<Vec<Rescued>>;
}

/// Changes things by hand.
#[async_trait]
pub trait Admin: fmt::Debug + Send + Sync {
    /// Cancels a job that is scheduled, queued or running.
    async fn cancel(&self, id: JobId) -> Result<Cancel>;

    /// Queues a failed or cancelled job again, with no attempt spent, no interruption and no death counted. It takes its
    /// coalesce key again: [`Error::KeyTaken`](crate::Error::KeyTaken) if another has it.
    async fn retry(&self, id: JobId) -> Result<()>;

    /// Deletes a job in any state but running.
    async fn delete(&self, id: JobId) -> Result<()>;

    /// A third party's answer for a job that waits for it. It is durable when this returns.
    ///
    /// An answer that comes before the job is parked is kept and settles it in that moment; if the attempt ends
    /// otherwise, it is dropped. Of two answers at once one wins.
    ///
    /// # Errors
    /// Nothing was changed: [`Error::NotFound`](crate::Error::NotFound);
    /// [`Error::WrongState`](crate::Error::WrongState) if it neither waits nor is about to;
    /// [`Error::WrongSecret`](crate::Error::WrongSecret) if this is not its present secret;
    /// [`Error::Answered`](crate::Error::Answered) if it has an early answer already;
    /// [`Error::Rejected`](crate::Error::Rejected) by [`Resolution::check`].
    async fn resolve(&self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve>;

    /// Does this to up to `limit` jobs that the filter finds, by ascending id. Those whose state does not allow it, or
    /// whose key is taken, are passed over.
    ///
    /// Repeat it [after](Filter::after) [`Acted::last`] to the end, and the whole until it does nothing: jobs move
    /// meanwhile.
    async fn act(&self, action: Action, filter: &Filter, limit: u32) -> Result<Acted>;

    /// Sets something for a queue or a kind.
    async fn set(&self, target: &Target, setting: Setting) -> Result<()>;

    /// Stops these workers from claiming; returns for each that is draining now the number of its drain. When this
    /// has returned, no claim of theirs is in flight. `lease`: how long, unless it is renewed; `None` has no end.
    ///
    /// Draining a worker that drains already renews its drain, which keeps its number. A drain without end is a
    /// person's: no lease shortens it, and it stays under that person's name.
    ///
    /// The drain belongs to the place, not to the process: what registers in the same pool under the same instance
    /// while it lasts comes up draining.
    async fn drain(&self, boots: &[BootId], by: &str, lease: Option<Duration>) -> Result<Vec<(BootId, i64)>>;

    /// Lets draining workers claim again. Returns those that were; leaving ones cannot be recalled.
    async fn recall(&self, boots: &[BootId]) -> Result<Vec<BootId>>;

    /// Marks a draining worker as leaving: only if this is its drain's number and it owns no running job.
    async fn leave(&self, boot: BootId, drain: i64) -> Result<bool>;

    /// Sets a leaving worker back to draining, since the platform refused to remove it.
    async fn stay(&self, boot: BootId) -> Result<bool>;

    /// Makes or updates the store's tables. Returns the version reached.
    async fn migrate(&self) -> Result<i64>;

    /// What [`Admin::migrate`] would do.
    async fn plan(&self) -> Result<Vec<Step>>;

    /// Compares the store's tables with what the migrations make. What is there beside them is the owner's own and no
    /// difference; what is in them is.
    async fn drift(&self) -> Result<Vec<Difference>>;

    /// Gives database roles what they need. Refused by a store that has no roles.
    async fn grant(&self, grants: &Grants) -> Result<()>;

    /// Whether this program can work with the store's tables: [`Error::Unmigrated`](crate::Error::Unmigrated) if not.
    async fn check_version(&self) -> Result<()>;
}
