//! What a store shows: jobs, attempts, workers, queues, in one shape for every reader.

use std::{ops::AddAssign, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{
    Binding, Delays, JobId, State,
    store::{BootId, WorkerState},
};

/// JSON text, kept byte for byte; serialized as the JSON it is, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(pub String);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A line break in valid JSON is always between tokens, since strings must escape it.
        let line = self.0.replace(['\n', '\r'], " ");
        match RawValue::from_string(line) {
            Ok(raw) => raw.serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRecord {
    /// Its number.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Where it stands.
    pub state: State,
    /// Higher runs first.
    pub priority: i16,
    /// Attempts spent; while it runs or is parked, the number of the one under way, and once completed, of the one that completed
    /// it.
    pub attempt: u16,
    /// Attempts it has in all.
    pub max_attempts: u16,
    /// How often it was interrupted.
    pub interruptions: u16,
    /// How often its process died under it.
    pub deaths: u16,
    /// Not before this time.
    pub run_at: DateTime<Utc>,
    /// When it last became claimable; none while it is scheduled for the first time.
    pub ready_at: Option<DateTime<Utc>>,
    /// When it was enqueued.
    pub enqueued_at: DateTime<Utc>,
    /// When its last attempt was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it completed, failed or was cancelled.
    pub finished_at: Option<DateTime<Utc>>,
    /// The worker that runs it or ran it last: its instance, or host and process.
    pub worker: Option<String>,
    /// Its data.
    pub payload: Json,
    /// Its labels.
    pub meta: Option<Json>,
    /// Of a job that waits for a third party: when its wait ends without an answer.
    pub deadline: Option<DateTime<Utc>>,
    /// Its coalesce key.
    pub key: Option<String>,
    /// What holds it back although it is queued: `suspect` (its process died under it; it runs only alone), `again` (it
    /// runs when the job that holds its key is over), `paused` (its kind is).
    pub reason: Option<String>,
    /// Why its last attempt failed, or why it waits.
    pub error: Option<String>,
    /// What it had to show.
    pub output: Option<String>,
}

/// An attempt that did not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// The job.
    pub job: JobId,
    /// Its number; an interrupted one's number comes again.
    pub attempt: u16,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// The worker that ran it.
    pub worker: String,
    /// Why it ended so.
    pub error: String,
}

/// How an attempt ended that did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Failed: an error, a panic, a timeout. The attempt is spent.
    Failed,
    /// Interrupted by a stop or a hung verdict. No attempt is spent.
    Interrupted,
    /// Its process died. No attempt is spent.
    Died,
    /// Cancelled while it ran.
    Cancelled,
}

impl AddAssign<&Self> for Depth {
    fn add_assign(&mut self, other: &Self) {
        self.ready += other.ready;
        self.scheduled += other.scheduled;
        self.held += other.held;
        self.suspects += other.suspects;
        self.running += other.running;
        self.parked += other.parked;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

impl AddAssign<&Self> for Flow {
    fn add_assign(&mut self, other: &Self) {
        self.arrived += other.arrived;
        self.deferred += other.deferred;
        self.promoted += other.promoted;
        self.returned += other.returned;
        self.started += other.started;
        self.late += other.late;
        self.completed += other.completed;
        self.failed += other.failed;
        self.run_ms += other.run_ms;
        self.delays.merge(&other.delays);
    }
}

impl Flow {
    /// What happened since an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut delays = self.delays.clone();
        for (now, then) in delays.0.iter_mut().zip(before.delays.0) {
            *now -= then;
        }
        Self {
            arrived: self.arrived - before.arrived,
            deferred: self.deferred - before.deferred,
            promoted: self.promoted - before.promoted,
            returned: self.returned - before.returned,
            started: self.started - before.started,
            late: self.late - before.late,
            completed: self.completed - before.completed,
            failed: self.failed - before.failed,
            run_ms: self.run_ms - before.run_ms,
            delays,
        }
    }
}

impl AttemptOutcome {
    /// Its stable name, as in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Died => "died",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the name from a store.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Failed, Self::Interrupted, Self::Died, Self::Cancelled].into_iter().find(|o| o.as_str() == name)
    }
}

/// A worker process as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerRecord {
    /// The process's identity: random, new at each start.
    pub boot: BootId,
    /// What the platform calls the instance it runs on.
    pub instance: Option<String>,
    /// Its host.
    pub host: String,
    /// Its process number there.
    pub pid: u32,
    /// Its pool.
    pub pool: Option<String>,
    /// The queues it is bound to.
    pub queues: Binding,
    /// The kinds it can run; empty means any.
    pub kinds: Vec<String>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many jobs it ran at its last beat.
    pub busy: u32,
    /// How many jobs it holds now, counted: zero in a draining worker means idle.
    pub running: u32,
    /// The one of them that it has held for longest.
    pub oldest: Option<OldestJob>,
    /// Whether it claims.
    pub state: WorkerState,
    /// The number of its latest drain.
    pub drain_epoch: i64,
    /// Who ordered the drain.
    pub drained_by: Option<String>,
    /// When the drain ends by itself; none is a person's, which does not.
    pub drain_until: Option<DateTime<Utc>>,
    /// When it came up.
    pub started_at: DateTime<Utc>,
    /// When it last beat.
    pub beat_at: DateTime<Utc>,
    /// The time by the store's clock when this was read.
    pub read_at: DateTime<Utc>,
}

/// The job that a worker has held for longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OldestJob {
    /// The job.
    pub job: JobId,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
}

/// One kind's share of one lane (a queue at one priority): what is there and what has happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LaneState {
    /// The queue.
    pub queue: String,
    /// The priority.
    pub priority: i16,
    /// The kind.
    pub kind: String,
    /// How many jobs stand where.
    pub depth: Depth,
    /// What happened since the store was made.
    pub flow: Flow,
}

/// How many jobs stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Depth {
    /// Claimable now.
    pub ready: i64,
    /// Not due yet.
    pub scheduled: i64,
    /// Queued, but held back.
    pub held: i64,
    /// Those of the held that any worker takes once it holds nothing else.
    pub suspects: i64,
    /// Claimed.
    pub running: i64,
    /// Waiting for a third party's answer.
    pub parked: i64,
    /// Kept as completed.
    pub completed: i64,
    /// Failed.
    pub failed: i64,
    /// Cancelled.
    pub cancelled: i64,
}

/// What happened since the store was made, as ever-growing counts; a rate is the difference of two readings.
///
/// What a person does by hand (retry, cancel, delete) is seen in the [`Depth`]s and is no flow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Jobs enqueued to run at once.
    pub arrived: i64,
    /// Jobs enqueued with a delay.
    pub deferred: i64,
    /// Scheduled jobs that fell due.
    pub promoted: i64,
    /// Jobs given back or rescued.
    pub returned: i64,
    /// Attempts started.
    pub started: i64,
    /// Attempts started later than the queue's `start_within` after their job became claimable.
    pub late: i64,
    /// Attempts that completed.
    pub completed: i64,
    /// Attempts that failed.
    pub failed: i64,
    /// The run time of attempts that completed, failed or were parked, in milliseconds.
    pub run_ms: i64,
    /// How long jobs waited for their start.
    pub delays: Delays,
}

/// A queue as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueState {
    /// The queue.
    pub queue: String,
    /// Whether nobody may claim from it.
    pub paused: bool,
    /// How many jobs stand where.
    #[serde(flatten)]
    pub depth: Depth,
    /// The age of the oldest claimable job, in seconds, as of `read_at`.
    #[serde(rename = "oldest_s", serialize_with = "seconds")]
    pub oldest: Option<Duration>,
    /// Its priorities that have claimable jobs, the highest first.
    pub priorities: Vec<PriorityState>,
    /// What happened since the store was made.
    pub flow: Flow,
    /// What happened lately.
    pub recent: Recent,
    /// Its kinds and priorities apart.
    #[serde(skip)]
    pub lanes: Vec<LaneState>,
    /// When this was true, by the store's clock.
    pub read_at: DateTime<Utc>,
}

/// What waits in a queue at one priority.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PriorityState {
    /// The priority.
    pub priority: i16,
    /// How many jobs may be claimed.
    pub ready: i64,
    /// The age of the oldest of them, in seconds.
    #[serde(rename = "oldest_s", serialize_with = "seconds")]
    pub oldest: Option<Duration>,
}

/// What happened in the last minutes: the difference of two readings of a [`Flow`].
///
/// The store keeps one reading a minute, so this covers between five and six minutes, or the whole time since the store
/// was made, if that is less.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Recent {
    /// How much time it covers, in seconds; zero: nothing is known.
    #[serde(rename = "over_s", serialize_with = "whole_seconds")]
    pub over: Duration,
    /// What happened in it.
    pub flow: Flow,
}

impl Recent {
    /// So many of these happened each second.
    pub fn rate(&self, count: i64) -> f64 {
        if self.over.is_zero() { 0.0 } else { count as f64 / self.over.as_secs_f64() }
    }

    /// The share of starts that were late, 0 to 1. `None` without starts.
    pub fn late_share(&self) -> Option<f64> {
        (self.flow.started > 0).then(|| self.flow.late as f64 / self.flow.started as f64)
    }
}

fn whole_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    duration.as_secs_f64().serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde's shape")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|d| d.as_secs_f64()).serialize(serializer)
}
