//! What is kept. A job is one row, in one place, and the place is its state: [`Tables::go`] is the only way from one to
//! another, so that the line of claimable jobs, the waiting ones and the counters are always right.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::{
    AttemptRecord, Expiry, JobId, NewJob, Resolution, Retention, State,
    limits::{MAX_DEATHS, MAX_DELAY},
    store::{BootId, NewWorker, Settings, Target, Token, WorkerState},
};

use super::{
    counters::Counters,
    places::{Drain, PlaceName},
    scale::Scaling,
};

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Ready,
    Later,
    Held(Hold),
    Running(Attempt),
    Parked(Wait),
    Finished(State),
}

/// What holds back a job that is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Suspect,
    Again,
    Paused,
}

/// An attempt under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) token: Token,
    /// A beat has said that its handler started.
    pub(crate) begun: bool,
    /// Someone asked that it be cancelled.
    pub(crate) cancel: bool,
}

/// A wait for a third party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) since: DateTime<Utc>,
    pub(crate) deadline: DateTime<Utc>,
    /// What becomes of the job when the deadline passes.
    pub(crate) expiry: Expiry,
    /// How long the job is kept once it is over.
    pub(crate) keep: Retention,
    /// The wait before it is tried again, where the answer names none.
    pub(crate) retry: Duration,
}

/// What a third party's secret is known by, and what was said by it before the job was parked.
#[derive(Debug)]
pub(crate) struct Callback {
    pub(crate) digest: String,
    pub(crate) early: Option<Resolution>,
}

impl Place {
    pub(crate) const fn state(&self) -> State {
        match self {
            Self::Ready | Self::Held(_) => State::Queued,
            Self::Later => State::Scheduled,
            Self::Running(_) => State::Running,
            Self::Parked(_) => State::WaitAsync,
            Self::Finished(state) => *state,
        }
    }
}

/// A job.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: JobId,
    /// As it was enqueued: queue, kind, priority, key and all that was set for it.
    pub(crate) job: NewJob,
    pub(crate) payload: String,
    pub(crate) place: Place,
    /// Its place in the line; it keeps it when it comes back without having failed.
    pub(crate) seq: i64,
    /// Attempts spent.
    pub(crate) attempt: u16,
    pub(crate) interruptions: u16,
    pub(crate) deaths: u16,
    pub(crate) enqueued_at: DateTime<Utc>,
    pub(crate) run_at: DateTime<Utc>,
    pub(crate) ready_at: Option<DateTime<Utc>>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) worker: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) output: Option<String>,
    /// Who may answer for the attempt that runs or waits.
    pub(crate) callback: Option<Callback>,
}

impl Row {
    /// The name of its key: keys belong to the queue.
    pub(crate) fn key(&self) -> Option<KeyName> {
        self.job.key.clone().map(|key| (self.job.queue.clone(), key))
    }

    /// Where it goes when nothing but its own past holds it back.
    pub(crate) const fn claimable(&self) -> Place {
        if self.deaths + 1 >= MAX_DEATHS { Place::Held(Hold::Suspect) } else { Place::Ready }
    }

    pub(crate) const fn attempt_under_way(&self) -> Option<Attempt> {
        if let Place::Running(attempt) = self.place { Some(attempt) } else { None }
    }

    pub(crate) const fn wait(&self) -> Option<Wait> {
        if let Place::Parked(wait) = self.place { Some(wait) } else { None }
    }

    /// Whether no attempt is left.
    pub(crate) const fn is_spent(&self) -> bool {
        self.attempt >= self.job.max_attempts
    }
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) new: NewWorker,
    pub(crate) state: WorkerState,
    pub(crate) busy: u32,
    pub(crate) drain_epoch: i64,
    pub(crate) drained_by: Option<String>,
    pub(crate) drain_until: Option<DateTime<Utc>>,
    /// It leaves with its place, until then.
    pub(crate) leaving_until: Option<DateTime<Utc>>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) beat_at: DateTime<Utc>,
}

/// A queue and a key in it.
pub(crate) type KeyName = (String, String);

/// Everything.
#[derive(Debug)]
pub(crate) struct Tables {
    /// The time of the call under way.
    pub(crate) now: DateTime<Utc>,
    /// The last number given: ids and places in line come from it, so that a new job's place is its id.
    last: i64,
    pub(crate) jobs: BTreeMap<JobId, Row>,
    /// What may be claimed, in the order in which it is: queue by queue, the highest priority first, then by seq.
    pub(crate) ready: BTreeMap<String, BTreeMap<(Reverse<i16>, i64), JobId>>,
    /// Who holds a key.
    pub(crate) keys: BTreeMap<KeyName, JobId>,
    /// Who waits for it: [`Hold::Again`].
    pub(crate) waiting: BTreeMap<KeyName, JobId>,
    pub(crate) attempts: BTreeMap<JobId, Vec<AttemptRecord>>,
    pub(crate) workers: BTreeMap<BootId, Worker>,
    pub(crate) settings: BTreeMap<Target, Settings>,
    pub(crate) counters: Counters,
    pub(crate) places: BTreeMap<PlaceName, Drain>,
    pub(crate) scaling: Scaling,
}

impl Tables {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            last: 0,
            jobs: BTreeMap::new(),
            ready: BTreeMap::new(),
            keys: BTreeMap::new(),
            waiting: BTreeMap::new(),
            attempts: BTreeMap::new(),
            workers: BTreeMap::new(),
            settings: BTreeMap::new(),
            counters: Counters::new(now),
            places: BTreeMap::new(),
            scaling: Scaling::default(),
        }
    }

    /// Sets the time of a call; never back.
    pub(crate) fn pass_time(&mut self, now: DateTime<Utc>) {
        let now = now.max(self.now);
        self.counters.pass_time(self.now, now);
        self.now = now;
        // A drain ends with its lease, whoever looks first.
        self.end_drains();
    }

    /// So long from now; a length that no calendar holds is cut.
    pub(crate) fn after(&self, length: Duration) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(length.min(2 * MAX_DELAY)).expect("twenty years fit")
    }

    /// A number that was never given before.
    pub(crate) const fn number(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn row(&mut self, id: JobId) -> &mut Row {
        self.jobs.get_mut(&id).expect("the caller has just found it")
    }

    /// A new row, in its place.
    pub(crate) fn insert(&mut self, row: Row) {
        let (id, place) = (row.id, row.place);
        self.jobs.insert(id, row);
        self.enter(id, place);
    }

    /// Moves a job to another place.
    pub(crate) fn go(&mut self, id: JobId, place: Place) {
        self.leave(id);
        let row = self.row(id);
        row.place = place;
        if row.wait().is_none() {
            // A secret, and what was said by it, belong to the attempt: they go with it, whatever its end.
            row.callback = None;
        }
        self.enter(id, place);
    }

    /// Moves a job to the end of the line.
    pub(crate) fn line_up(&mut self, id: JobId, since: DateTime<Utc>) {
        let seq = self.number();
        let row = self.row(id);
        row.ready_at = Some(since);
        let place = row.claimable();
        // Its old place must be left by its old number.
        self.leave(id);
        let row = self.row(id);
        row.seq = seq;
        row.place = place;
        self.enter(id, place);
    }

    /// Removes a job with all that belongs to it.
    pub(crate) fn remove(&mut self, id: JobId) {
        self.leave(id);
        self.attempts.remove(&id);
        if let Some(row) = self.jobs.remove(&id)
            && let Some(key) = row.key()
        {
            self.let_go(&key, id);
        }
    }

    fn enter(&mut self, id: JobId, place: Place) {
        let row = &self.jobs[&id];
        self.counters.lane(row).stands(place, 1);
        match place {
            Place::Ready => {
                let line = self.ready.entry(row.job.queue.clone()).or_default();
                line.insert((Reverse(row.job.priority), row.seq), id);
            }
            Place::Held(Hold::Again) => {
                self.waiting.extend(row.key().map(|key| (key, id)));
            }
            _ => {}
        }
    }

    fn leave(&mut self, id: JobId) {
        let row = &self.jobs[&id];
        self.counters.lane(row).stands(row.place, -1);
        match row.place {
            Place::Ready => {
                let line = self.ready.entry(row.job.queue.clone()).or_default();
                line.remove(&(Reverse(row.job.priority), row.seq));
            }
            Place::Held(Hold::Again) => {
                self.waiting.retain(|_, waiting| *waiting != id);
            }
            _ => {}
        }
    }

    /// Whether nobody may claim from this queue, or jobs of this kind.
    pub(crate) fn is_paused(&self, target: &Target) -> bool {
        self.settings.get(target).is_some_and(|settings| settings.paused)
    }
}
