//! Jobs go in: all of a bulk by one statement, which takes its columns as arrays.
//!
//! That is as fast as COPY, and gives the ids back.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{
    Executor, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::time::timeout_at;

use super::{PostgresStore, address::Pooler, column, connection::Fault, millis};
use crate::{
    Backoff, Error, JobId, NewJob, Result, Retention, When,
    limits::INLINE_BYTES,
    store::{Enqueue, Enqueued, Transaction},
};

/// What a job has of its own beside its columns.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct JobOptions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backoff: Option<Backoff>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retention: Option<Retention>,
}

#[async_trait]
impl Enqueue for PostgresStore {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        let Some(bulk) = Bulk::of(jobs)? else { return Ok(Vec::new()) };
        let rows = self.connections.rows(self.connections.deadline(), || bulk.query(self)).await?;
        enqueued(&rows)
    }

    async fn enqueue_in(&self, tx: Transaction<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        let Transaction::Postgres(connection) = tx else {
            return Err(Error::Rejected(
                "a transaction on SQLite was given, but the queue's store is on Postgres: begin it in the store's own \
                 database"
                    .into(),
            ));
        };
        let Some(bulk) = Bulk::of(jobs)? else { return Ok(Vec::new()) };
        // The application's connection may lead through the same pooler, and a name left behind there is in the way of
        // whoever is given it next. As long as the store has made no connection of its own, nobody knows.
        let stays = self.connections.way().pooler() == Some(Pooler::None);
        let query = bulk.query(self).persistent(stays);
        // Not repeated after a collision: the application's transaction is aborted then, and it has to begin anew.
        match timeout_at(self.connections.deadline(), connection.fetch_all(query)).await {
            Ok(Ok(rows)) => enqueued(&rows),
            Ok(Err(error)) => Err(match self.connections.fault(error) {
                Fault::Conflict(error) => Error::Unavailable(error.into()),
                Fault::Other(error) => error,
            }),
            Err(_) => Err(Error::TimedOut(self.connections.timeout())),
        }
    }
}

fn enqueued(rows: &[PgRow]) -> Result<Vec<Enqueued>> {
    let mut ids = rows.iter().map(|row| column(row, "id")).collect::<Result<Vec<i64>>>()?;
    // They were given in the order of the jobs; the rows come in any.
    ids.sort_unstable();
    Ok(ids.into_iter().map(|id| Enqueued::new(JobId(id))).collect())
}

/// Jobs as columns.
#[derive(Debug, Default)]
struct Bulk<'a> {
    queues: Vec<&'a str>,
    priorities: Vec<i16>,
    kinds: Vec<&'a str>,
    payloads: Vec<&'a str>,
    max_attempts: Vec<i16>,
    timeouts: Vec<Option<i64>>,
    max_runs: Vec<Option<i64>>,
    options: Vec<Option<String>>,
    metas: Vec<Option<&'a str>>,
    delays: Vec<Option<i64>>,
    run_ats: Vec<Option<DateTime<Utc>>>,
    /// All may run at once and have short payloads.
    plain: bool,
    lanes: BTreeMap<(&'a str, i16, &'a str), i32>,
}

impl<'a> Bulk<'a> {
    /// Checks the jobs; `None` without any.
    fn of(jobs: &'a [NewJob]) -> Result<Option<Self>> {
        NewJob::check_all(jobs)?;
        if jobs.is_empty() {
            return Ok(None);
        }
        let mut bulk = Self { plain: true, ..Self::default() };
        for job in jobs {
            let payload = job.payload()?;
            let (delay, run_at) = match job.when {
                When::Now => (None, None),
                When::After(delay) => (Some(millis(delay)).filter(|&ms| ms > 0), None),
                // Postgres counts back to 4713 BC only, and whatever has passed means now.
                When::At(at) => (None, Some(at.max(DateTime::UNIX_EPOCH))),
            };
            bulk.plain &= delay.is_none() && run_at.is_none() && payload.len() <= INLINE_BYTES;
            bulk.queues.push(&job.queue);
            bulk.priorities.push(job.priority);
            bulk.kinds.push(&job.kind);
            bulk.payloads.push(payload);
            bulk.max_attempts.push(job.max_attempts as i16);
            bulk.timeouts.push(job.timeout.map(|length| millis(length).max(1)));
            bulk.max_runs.push(job.max_run_time.map(|length| millis(length).max(1)));
            bulk.options.push(options(job)?);
            bulk.metas.push(job.meta.as_deref());
            bulk.delays.push(delay);
            bulk.run_ats.push(run_at);
            *bulk.lanes.entry((&job.queue, job.priority, &job.kind)).or_default() += 1;
        }
        Ok(Some(bulk))
    }

    fn query<'q>(&self, store: &PostgresStore) -> Query<'q, Postgres, PgArguments> {
        let statements = &store.statements;
        let statement = if self.plain { &statements.enqueue_now } else { &statements.enqueue };
        let query = sqlx::query(statement.clone())
            .bind(&self.queues)
            .bind(&self.priorities)
            .bind(&self.kinds)
            .bind(&self.payloads)
            .bind(&self.max_attempts)
            .bind(&self.timeouts)
            .bind(&self.max_runs)
            .bind(&self.options)
            .bind(&self.metas);
        if self.plain {
            let lanes = || self.lanes.keys();
            query
                .bind(lanes().map(|lane| lane.0).collect::<Vec<_>>())
                .bind(lanes().map(|lane| lane.1).collect::<Vec<_>>())
                .bind(lanes().map(|lane| lane.2).collect::<Vec<_>>())
                .bind(self.lanes.values().copied().collect::<Vec<_>>())
        } else {
            query.bind(&self.delays).bind(&self.run_ats).bind(INLINE_BYTES as i32)
        }
    }
}

fn options(job: &NewJob) -> Result<Option<String>> {
    if job.backoff.is_none() && job.retention.is_none() {
        return Ok(None);
    }
    let options = JobOptions { backoff: job.backoff, retention: job.retention };
    serde_json::to_string(&options)
        .map(Some)
        .map_err(|error| Error::Rejected(format!("the job's backoff does not serialize as JSON: {error}")))
}
