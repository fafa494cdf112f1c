//! What passes between a worker and a store: who the worker is, what it claims, how it settles, what its heart says.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Backoff, Binding, Expiry, JobId, Retention};

/// The identity of a worker process: random, new at each start, positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub i64);

impl BootId {
    /// A new identity.
    pub fn random() -> Self {
        // 52 bits: a number that JSON readers of every language keep exactly.
        Self(rand::random_range(1..1 << 52))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a claim gives for each job: only its holder settles the attempt.
///
/// Two tokens are the same attempt or they are not; they have no order. A worker counts its own claims, so a token
/// never comes again, not even after a server crash that loses an asynchronously committed claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The worker.
    pub boot: BootId,
    /// The number of its claim, from 1.
    pub claim: i64,
}

/// A worker that announces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorker {
    /// Its identity.
    pub boot: BootId,
    /// What its platform calls the instance it runs on.
    pub instance: Option<String>,
    /// Its host.
    pub host: String,
    /// Its process number.
    pub pid: u32,
    /// Its pool.
    pub pool: Option<String>,
    /// Its queues.
    pub queues: Binding,
    /// The kinds it can run; empty means any.
    pub kinds: Vec<String>,
    /// How many jobs it runs at once.
    pub slots: u32,
}

impl NewWorker {
    /// The number at the end of its instance's name, where it has one: 3 of `worker.3`.
    pub fn ordinal(&self) -> Option<u32> {
        let (_, number) = self.instance.as_deref()?.rsplit_once('.')?;
        number.parse().ok()
    }
}

/// Whether a worker claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It claims.
    Active,
    /// It claims nothing, keeps what it runs, and may be recalled.
    Draining,
    /// It is being removed and cannot be recalled.
    Leaving,
    /// It was taken for dead: what it held is taken away, and it must register anew.
    Dead,
}

impl WorkerState {
    /// Its stable name, as in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
            Self::Dead => "dead",
        }
    }

    /// Reads the name from a store.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Draining, Self::Leaving, Self::Dead].into_iter().find(|s| s.as_str() == name)
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one call of [`Claimer::next`](super::Claimer::next) should bring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Want {
    /// The number of this claim: the worker counts them from 1 and never uses one twice. 0 claims nothing.
    pub claim: i64,
    /// The most jobs wanted.
    pub jobs: u32,
    /// The worker holds no job at all: a suspect, if one waits, is given first, and alone.
    pub alone: bool,
    /// Look at the whole queue, not only from where the last claim ended.
    pub sweep: bool,
    /// Kinds whose jobs are left to others, as [`BeatAnswer::spares`] has named them: passed over, each in its place,
    /// until it has waited for half of its queue's `start_within`. Suspects are not passed over. Default none.
    pub spares: Vec<String>,
}

/// Whether the worker may claim, as the claim itself found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Something held the worker's row for a moment: ask again at once. Not a sign of an empty queue.
    Busy,
    /// It is draining: ask again at the next poll, for it may be recalled.
    Draining,
    /// It is being removed.
    Leaving,
    /// The store does not know it, or takes it for dead: register anew.
    Gone,
}

/// The answer to [`Claimer::next`](super::Claimer::next).
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The jobs, in the order in which they are to start.
    pub jobs: Vec<ClaimedJob>,
    /// Whether the worker could claim at all.
    pub gate: Gate,
    /// A suspect waits in one of the worker's queues for a process that runs nothing else.
    pub suspects: bool,
    /// Whether enqueues into the worker's queues are told to their workers: see [`Claim::sleep`](super::Claim::sleep).
    pub asleep: bool,
}

/// A job in a worker's hands.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedJob {
    /// Its number.
    pub id: JobId,
    /// What settles it.
    pub token: Token,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Its priority.
    pub priority: i16,
    /// Its data: JSON text, byte for byte as enqueued.
    pub payload: String,
    /// Its labels (JSON text).
    pub meta: Option<String>,
    /// The number of this attempt, from 1.
    pub attempt: u16,
    /// Attempts it has in all.
    pub max_attempts: u16,
    /// How often it was interrupted.
    pub interruptions: u16,
    /// How often its process died under it. At [`MAX_DEATHS`](crate::limits::MAX_DEATHS) − 1 it is a suspect.
    pub deaths: u16,
    /// Its own timeout.
    pub timeout: Option<Duration>,
    /// Its own maximum run time.
    pub max_run_time: Option<Duration>,
    /// Its own backoff.
    pub backoff: Option<Backoff>,
    /// Its own retention.
    pub retention: Option<Retention>,
    /// When it was enqueued.
    pub enqueued_at: DateTime<Utc>,
    /// Not before this time.
    pub run_at: DateTime<Utc>,
    /// When it last became claimable.
    pub ready_at: DateTime<Utc>,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
}

impl ClaimedJob {
    /// Whether its process died under it so often that it may only run alone.
    pub const fn is_suspect(&self) -> bool {
        self.deaths + 1 >= crate::limits::MAX_DEATHS
    }
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The job.
    pub id: JobId,
    /// The attempt.
    pub token: Token,
    /// What becomes of the job.
    pub verdict: Verdict,
    /// How long it ran.
    pub ran: Duration,
}

/// What becomes of a job whose attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Completed; kept with its output for this long, or removed at once (zero).
    Completed {
        /// What it has to show.
        output: Option<String>,
        /// How long it is kept.
        keep: Duration,
    },
    /// The attempt failed and is spent; scheduled again after the wait.
    Retry {
        /// Why.
        error: String,
        /// The wait.
        after: Duration,
    },
    /// Failed for good.
    Failed {
        /// Why.
        error: String,
        /// How long it is kept; `None` until someone retries or deletes it.
        keep: Option<Duration>,
    },
    /// Scheduled again after the wait, no attempt spent.
    Snooze {
        /// Why, where the user should know.
        reason: Option<String>,
        /// The wait.
        after: Duration,
    },
    /// Handed to a third party: parked until it is [resolved](super::Admin::resolve) or the deadline passes. If an answer
    /// has come already, that is what becomes of it.
    Park {
        /// The deadline, from now.
        wait: Duration,
        /// What becomes of it when the deadline passes.
        expiry: Expiry,
        /// How long it is kept once it is over.
        keep: Retention,
        /// The wait before it is tried again, where the answer asks for that and names none.
        retry: Duration,
    },
    /// Back into its place in the queue, no attempt spent and no interruption counted: it had not started.
    Return,
    /// Back into its place in the queue, no attempt spent, an interruption counted. At
    /// [`MAX_INTERRUPTIONS`](crate::limits::MAX_INTERRUPTIONS) it is failed as quarantined instead.
    Interrupt {
        /// Why.
        reason: String,
    },
    /// Cancelled while it ran.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// A sign of life, with everything that the worker believes it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The worker.
    pub boot: BootId,
    /// What it holds: running, buffered, and settled without an answer yet.
    pub holds: Vec<(JobId, i64)>,
    /// Those of them whose handler has started. Only they are counted against by a death.
    pub started: Vec<JobId>,
    /// Every claim up to this number has been answered or given up: what the store shows under those and `holds` does
    /// not name was lost on the way, and is given back.
    pub through: i64,
    /// How long its jobs may go on once it is told to stop: what runs for longer holds up its removal. `None`: it leaves
    /// no kinds to others, and is told of none.
    pub grace: Option<Duration>,
}

/// The answer to a [`Beat`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeatAnswer {
    /// The worker's state. [`WorkerState::Dead`], also for a worker that the store does not know: nothing was changed;
    /// drop all jobs and register anew.
    pub state: WorkerState,
    /// Jobs whose handler should be told to stop, since someone cancelled them.
    pub cancelled: Vec<(JobId, i64)>,
    /// Those of `holds` that this worker no longer holds: settled by now, or taken away.
    pub lost: Vec<(JobId, i64)>,
    /// How many jobs were given back because their claim's answer was lost.
    pub given_back: u32,
    /// How many slots are free on workers of its pool with lower ordinals, where those are to claim first. While there are
    /// any, it claims only what they have left lying.
    pub free_below: Option<u32>,
    /// The kinds that it leaves to workers of its pool with lower ordinals, where those are to claim first: see
    /// [`Want::spares`]. Those are the long ones, whose attempts in the queues of its binding have taken longer than its
    /// [`grace`](Beat::grace) on average; and all of them, or none where more of their jobs wait and run there than
    /// workers below it have slots, free or not. In the order of their names.
    pub spares: Vec<String>,
}

impl BeatAnswer {
    /// Nothing but the worker's state.
    pub const fn of(state: WorkerState) -> Self {
        Self { state, cancelled: Vec::new(), lost: Vec::new(), given_back: 0, free_below: None, spares: Vec::new() }
    }
}
