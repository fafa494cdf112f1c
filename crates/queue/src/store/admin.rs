//! What people and programs do by hand: to jobs, and to queues and kinds.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{JobId, Result, Retention, State};

/// What a cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancel {
    /// It is cancelled.
    Done,
    /// It runs: its worker is told at its next beat.
    Asked,
}

/// What an answer for a parked job did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolve {
    /// The job went where the answer says, or its deadline was moved.
    Done,
    /// The job is not parked yet: the answer is kept, and settles it when it is.
    Early,
}

/// What is done to jobs by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// [`Admin::cancel`](super::Admin::cancel); of a running job only if that has not been asked before.
    Cancel,
    /// [`Admin::retry`](super::Admin::retry).
    Retry,
    /// [`Admin::delete`](super::Admin::delete).
    Delete,
}

impl Action {
    /// The states from which it may move a job.
    pub const fn states(self) -> &'static [State] {
        match self {
            Self::Cancel => &[State::Scheduled, State::Queued, State::Running, State::WaitAsync],
            Self::Retry => &[State::Failed, State::Cancelled],
            Self::Delete => {
                &[State::Scheduled, State::Queued, State::WaitAsync, State::Completed, State::Failed, State::Cancelled]
            }
        }
    }

    /// As a participle: "retried".
    pub const fn done(self) -> &'static str {
        match self {
            Self::Cancel => "cancelled",
            Self::Retry => "retried",
            Self::Delete => "deleted",
        }
    }
}

/// What one pass of [`Admin::act`](super::Admin::act) did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acted {
    /// The jobs that were moved, or that run and whose workers will be told, by ascending id.
    pub done: Vec<JobId>,
    /// The last job that was looked at: go on after it. `None`: there is none left.
    pub last: Option<JobId>,
}

/// A queue or a kind, as something to set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This queue.
    Queue(String),
    /// This kind, in every queue.
    Kind(String),
}

impl Target {
    /// Checks the name.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Queue(name) => crate::limits::check_name("a queue", name),
            Self::Kind(name) => crate::limits::check_name("a kind", name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {name}"),
            Self::Kind(name) => write!(f, "kind {name}"),
        }
    }
}

/// Something to set for a queue or a kind, for everyone and until it is set anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Nobody may claim its jobs; those that run go on. A claim under way at that moment may still take some.
    Paused(bool),
    /// How long its finished jobs are kept, in place of what the code of the kind says; a job's own retention stands
    /// above it, and a kind's above its queue's. `None` unsets it. Known to every worker within 5 s, and applied to jobs
    /// that start after that.
    Retention(Option<Retention>),
    /// A start later than this after the job became claimable counts as late. Queues only. `None`: 1 min.
    StartWithin(Option<Duration>),
}

/// What is set for a queue or a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// For whom.
    #[serde(flatten)]
    pub target: Target,
    /// Whether nobody may claim its jobs.
    pub paused: bool,
    /// How long its finished jobs are kept.
    pub retention: Option<Retention>,
    /// When a start is late; none is 1 min.
    pub start_within: Option<Duration>,
}
