//! A claimed job for unit tests.

use chrono::DateTime;
use headcount_queue::{
    JobId,
    store::{BootId, ClaimedJob, Token},
};

/// A job of kind `sample`, claimed by worker 7 with this claim.
pub(crate) fn job(id: i64, claim: i64) -> ClaimedJob {
    ClaimedJob {
        id: JobId(id),
        token: Token { boot: BootId(7), claim },
        queue: "default".into(),
        kind: "sample".into(),
        priority: 0,
        payload: "{}".into(),
        meta: None,
        attempt: 1,
        max_attempts: 2,
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
