//! What the tests share: jobs, deadlines, and waiting for a condition.

use std::{future::Future, sync::Arc, time::Duration};

use chrono::DateTime;
use headcount_queue::{
    Attempt, JobId, Queue, Stop,
    store::{BootId, Claim, ClaimedJob, Token},
};
use tokio::sync::watch;

/// Long enough for anything that is not broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A job as a worker hands it to a handler.
pub(crate) fn claimed(payload: &str) -> ClaimedJob {
    ClaimedJob {
        id: JobId(41),
        token: Token { boot: BootId(7), claim: 3 },
        queue: "media".into(),
        kind: "sample".into(),
        priority: 0,
        payload: payload.into(),
        meta: None,
        attempt: 2,
        max_attempts: 5,
        interruptions: 0,
        deaths: 0,
        timeout: None,
        max_run_time: None,
        backoff: None,
        retention: None,
        enqueued_at: DateTime::UNIX_EPOCH,
        run_at: DateTime::UNIX_EPOCH,
        ready_at: DateTime::UNIX_EPOCH,
        started_at: DateTime::UNIX_EPOCH,
    }
}

/// The same as an attempt, on a store of its own that does not know it.
pub(crate) async fn attempt(payload: &str, told: watch::Receiver<Option<Stop>>) -> Attempt {
    let queue = Queue::connect("sqlite::memory:").await.unwrap();
    let store: Arc<dyn Claim> = queue.store().clone();
    Attempt::new(Arc::new(claimed(payload)), told, store)
}

/// Waits for a condition that no event tells of, and fails the test at the deadline.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    headcount_tests::eventually(what, DEADLINE, async || look().await.ok_or("not yet")).await
}

/// Awaits something that must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}
