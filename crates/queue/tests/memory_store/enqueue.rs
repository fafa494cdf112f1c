//! Jobs come in.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use headcount_queue::{
    Error, JobId, NewJob, Result, When,
    store::{Enqueue, Enqueued, Transaction},
};

use super::{
    MemoryStore,
    tables::{Hold, Place, Row, Tables},
};

#[async_trait]
impl Enqueue for MemoryStore {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        // Before anything is touched: all of a bulk or none of it.
        NewJob::check_all(jobs)?;
        self.call(|tables| jobs.iter().map(|job| tables.admit(job)).collect())
    }

    async fn enqueue_in(&self, _: Transaction<'_>, _: &[NewJob]) -> Result<Vec<Enqueued>> {
        Err(Error::Rejected("a store in memory is in no database, so no transaction can be on it".into()))
    }
}

impl Tables {
    /// A new job. `again`: it waits for its key.
    pub(crate) fn take_in(&mut self, job: &NewJob, again: bool) -> Result<JobId> {
        let number = self.number();
        let (now, run_at) = (self.now, self.due(job.when));
        let place = match again {
            true => Place::Held(Hold::Again),
            false if run_at > now => Place::Later,
            false => Place::Ready,
        };
        let row = Row {
            id: JobId(number),
            payload: job.payload()?.to_owned(),
            job: job.clone(),
            place,
            seq: number,
            attempt: 0,
            interruptions: 0,
            deaths: 0,
            enqueued_at: now,
            run_at,
            ready_at: (place == Place::Ready).then_some(now),
            started_at: None,
            finished_at: None,
            expires_at: None,
            worker: None,
            error: None,
            output: None,
            callback: None,
        };
        self.counters.lane(&row).happens(|flow| {
            *(if place == Place::Later { &mut flow.deferred } else { &mut flow.arrived }) += 1;
        });
        self.insert(row);
        Ok(JobId(number))
    }

    /// When it may first run: a time that has passed means now.
    pub(crate) fn due(&self, when: When) -> DateTime<Utc> {
        match when {
            When::Now => self.now,
            When::After(delay) => self.after(delay),
            When::At(at) => at.max(self.now),
        }
    }
}
