//! What can go wrong, by what the caller can do about it.

use std::time::Duration;

use crate::{JobId, State};

/// An error of a queue or a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store did not answer, or broke off. The call may have taken effect; try again later.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The call's time limit passed. It may have taken effect; try again later.
    #[error("the store did not answer within {0:?}")]
    TimedOut(Duration),
    /// What was asked cannot be done as asked: fix the input or the configuration.
    #[error("{0}")]
    Rejected(String),
    /// No job has this id.
    #[error("no job has the id {0}; it may have completed, been deleted or expired")]
    NotFound(JobId),
    /// The job is in a state from which this move is not legal. Nothing was changed.
    #[error("job {id} is {state}: it cannot be {wanted}")]
    WrongState {
        /// The job.
        id: JobId,
        /// The state it is in.
        state: State,
        /// What was asked, as a participle: "retried".
        wanted: &'static str,
    },
    /// The job cannot be queued again, for another holds its coalesce key. Nothing was changed.
    #[error("job {id} cannot be retried: job {holder} of its queue holds its coalesce key")]
    KeyTaken {
        /// The job.
        id: JobId,
        /// The job that holds the key.
        holder: JobId,
    },
    /// The job moved each time it was looked for. Nothing was changed; try again.
    #[error("job {0} is moving too fast to catch: try again")]
    Busy(JobId),
    /// This is not the secret by which the job can be resolved now. Nothing was changed.
    #[error("job {0} cannot be resolved by this secret: each attempt has its own, and an answer uses it up")]
    WrongSecret(JobId),
    /// The job has been answered for already, and will go where that answer says once it is parked. Nothing was changed.
    #[error("job {0} has been answered for already")]
    Answered(JobId),
    /// The attempt no longer holds its job: nothing that it does counts any more. Stop.
    #[error("job {0} was taken away from this attempt: nothing it does counts any more")]
    TakenAway(JobId),
    /// Another scaler has taken over, or this one's lease has run out: nothing was written. Act no more until the lease is
    /// held again.
    #[error("another scaler has taken over")]
    Superseded,
    /// The store has no tables yet, or those of an older version.
    #[error("the store is at version {found} and this program needs {needed}: run `headcount migrate`")]
    Unmigrated {
        /// The version found; 0 means none.
        found: i64,
        /// The version that this program needs.
        needed: i64,
    },
    /// This worker is not, or no longer, known to the store: register anew.
    #[error("this worker is not registered, or was taken for dead")]
    Unregistered,
}

impl Error {
    /// Whether the call may have taken effect although it returned an error.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }
}

/// The result of a call to a queue or a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;
