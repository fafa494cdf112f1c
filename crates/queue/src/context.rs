//! What a handler is told about the attempt it runs.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::{JobId, store::ClaimedJob};

/// Why a handler should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Someone cancelled the job. After a grace the handler is dropped.
    Cancelled,
    /// The attempt's time is up: it ends as timed out or hung, whatever its handler still does.
    TimedOut,
    /// The attempt was taken away, since this worker was taken for dead: nothing it does counts any more.
    TakenAway,
    /// The worker is stopping. A job that does not end within the grace is given back, and so is one whose handler
    /// ends now with an error that another attempt may mend: neither spends the attempt.
    Stopping,
}

/// The attempt that a handler runs: its job, the worker's state, and the wish that it stop.
pub struct Context<S> {
    job: Arc<ClaimedJob>,
    state: Arc<S>,
    stop: watch::Receiver<Option<Stop>>,
}

impl<S> Context<S> {
    /// A context for this attempt; workers and tests make it. `stop` says when and why the handler should stop.
    pub fn new(job: Arc<ClaimedJob>, state: Arc<S>, stop: watch::Receiver<Option<Stop>>) -> Self {
        Self { job, state, stop }
    }

    /// What the worker was given for its handlers.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The job's number: a good idempotency key towards others.
    pub fn id(&self) -> JobId {
        self.job.id
    }

    /// The job as it was claimed: queue, kind, priority, times, payload, meta.
    pub fn job(&self) -> &ClaimedJob {
        &self.job
    }

    /// The number of this attempt, from 1. Interruptions do not raise it.
    pub fn attempt(&self) -> u16 {
        self.job.attempt
    }

    /// Whether no further attempt follows if this one fails.
    pub fn is_last_attempt(&self) -> bool {
        self.job.attempt >= self.job.max_attempts
    }

    /// Why the handler should stop, if it should.
    pub fn stop(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    /// Waits until the handler should stop, and says why. Never returns while it may go on.
    pub async fn stopped(&self) -> Stop {
        let mut stop = self.stop.clone();
        match stop.wait_for(Option::is_some).await.map(|stop| *stop) {
            Ok(Some(stop)) => stop,
            _ => std::future::pending().await,
        }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("job", &self.job).field("stop", &self.stop()).finish_non_exhaustive()
    }
}
