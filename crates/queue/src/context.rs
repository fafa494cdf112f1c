//! What a handler is told about the attempt it runs.

use std::{fmt, sync::Arc};

use tokio::sync::{OnceCell, watch};

use crate::{
    Callback, JobId, Result, Secret,
    store::{Claim, ClaimedJob},
};

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

/// An attempt at a job, as a worker hands it to what runs it. Cheap to clone; clones are the same attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    job: Arc<ClaimedJob>,
    stop: watch::Receiver<Option<Stop>>,
    store: Arc<dyn Claim>,
    callback: Arc<OnceCell<Callback>>,
}

impl Attempt {
    /// The attempt under this job's token; workers and tests make it. `stop` says when and why it should end.
    pub fn new(job: Arc<ClaimedJob>, stop: watch::Receiver<Option<Stop>>, store: Arc<dyn Claim>) -> Self {
        Self { job, stop, store, callback: Arc::default() }
    }

    /// The job as it was claimed.
    pub fn job(&self) -> &Arc<ClaimedJob> {
        &self.job
    }

    /// When and why it should end.
    pub fn stop(&self) -> watch::Receiver<Option<Stop>> {
        self.stop.clone()
    }

    /// See [`Context::callback`].
    pub async fn callback(&self) -> Result<Callback> {
        let make = async || {
            let secret = Secret::random();
            self.store.callback(self.job.id, self.job.token, &secret.digest()).await?;
            Ok(Callback { id: self.job.id, secret })
        };
        self.callback.get_or_try_init(make).await.cloned()
    }

    /// Whether somebody may have been given the callback.
    pub fn has_callback(&self) -> bool {
        self.callback.initialized()
    }
}

/// The attempt that a handler runs: its job, the worker's state, and the wish that it stop.
pub struct Context<S> {
    attempt: Attempt,
    state: Arc<S>,
}

impl<S> Context<S> {
    /// A context for this attempt; workers and tests make it.
    pub fn new(attempt: Attempt, state: Arc<S>) -> Self {
        Self { attempt, state }
    }

    /// What the worker was given for its handlers.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The job's number: a good idempotency key towards others.
    pub fn id(&self) -> JobId {
        self.attempt.job.id
    }

    /// The job as it was claimed: queue, kind, priority, times, payload, meta.
    pub fn job(&self) -> &ClaimedJob {
        &self.attempt.job
    }

    /// The number of this attempt, from 1. Interruptions do not raise it.
    pub fn attempt(&self) -> u16 {
        self.attempt.job.attempt
    }

    /// Whether no further attempt follows if this one fails.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt.job.attempt >= self.attempt.job.max_attempts
    }

    /// What a third party needs to answer for this job: hand it over, then return
    /// [`Outcome::Waiting`](crate::Outcome::Waiting). The store knows of it, durably, when this returns, so that an answer
    /// may come before the handler has returned. Of one attempt it is always the same, and it ends with the attempt.
    ///
    /// # Errors
    /// [`Error::TakenAway`](crate::Error::TakenAway) if the attempt no longer holds its job; the store's. Hand nothing over
    /// then.
    pub async fn callback(&self) -> Result<Callback> {
        self.attempt.callback().await
    }

    /// Why the handler should stop, if it should.
    pub fn stop(&self) -> Option<Stop> {
        *self.attempt.stop.borrow()
    }

    /// Waits until the handler should stop, and says why. Never returns while it may go on.
    pub async fn stopped(&self) -> Stop {
        let mut stop = self.attempt.stop();
        match stop.wait_for(Option::is_some).await.map(|stop| *stop) {
            Ok(Some(stop)) => stop,
            _ => std::future::pending().await,
        }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("job", &self.attempt.job).field("stop", &self.stop()).finish_non_exhaustive()
    }
}
