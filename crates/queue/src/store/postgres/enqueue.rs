//! Jobs go in: all of a bulk by one statement, which takes its columns as arrays.
//!
//! That is as fast as COPY, and gives the ids back. A bulk in which some job has a key goes through a function of the
//! database, which repeats what one statement cannot see.

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
    store::{Admission, Enqueue, Enqueued, Transaction},
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
        let rows = self.connections.rows(self.connections.deadline(), || bulk.query(self, false)).await?;
        // Who sleeps is told after the commit, outside of it; also of those that are due later only: it costs nothing to
        // look once too often.
        self.notices.tell(bulk.lanes.keys().map(|lane| lane.0));
        bulk.answers(&rows)
    }

    async fn flush(&self) -> Result<()> {
        self.notices.flush().await
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
        let query = bulk.query(self, true).persistent(stays);
        // Not repeated after a collision: the application's transaction is aborted then, and it has to begin anew.
        let done = timeout_at(self.connections.deadline(), async {
            let rows = connection.fetch_all(query).await?;
            // We do not see it commit.
            if let Some(wake) = bulk.wake(self) {
                connection.execute(wake.persistent(stays)).await?;
            }
            Ok(rows)
        });
        match done.await {
            Ok(Ok(rows)) => bulk.answers(&rows),
            Ok(Err(error)) => Err(match self.connections.fault(error) {
                Fault::Conflict(error) => Error::Unavailable(error.into()),
                Fault::Other(error) => error,
            }),
            Err(_) => Err(Error::TimedOut(self.connections.timeout())),
        }
    }
}

/// An answer of the function for keys.
fn admitted(row: &PgRow) -> Result<Enqueued> {
    let id = JobId(column(row, "id")?);
    let admission = match column(row, "admission")? {
        "new" => Admission::New,
        "kept" => Admission::Kept,
        "replaced" => Admission::Replaced,
        "again" => Admission::Again { holder: JobId(column(row, "holder")?) },
        other => {
            return Err(Error::Rejected(format!(
                "a job was admitted as {other:?}, which this program does not know: update it"
            )));
        }
    };
    Ok(Enqueued::coalesced(id, admission))
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
    keys: Vec<Option<&'a str>>,
    scopes: Vec<Option<&'static str>>,
    conflicts: Vec<Option<&'static str>>,
    /// All may run at once and have short payloads, and none has a key.
    plain: bool,
    /// Some job has a key.
    keyed: bool,
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
            bulk.plain &= delay.is_none() && run_at.is_none() && payload.len() <= INLINE_BYTES && job.key.is_none();
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
            bulk.keyed |= job.key.is_some();
            bulk.keys.push(job.key.as_deref());
            bulk.scopes.push(job.key.as_ref().map(|_| job.coalesce.scope.as_str()));
            bulk.conflicts.push(job.key.as_ref().map(|_| job.coalesce.conflict.as_str()));
            *bulk.lanes.entry((&job.queue, job.priority, &job.kind)).or_default() += 1;
        }
        Ok(Some(bulk))
    }

    /// What enqueues them. `wakes`: whether it tells workers that sleep, where it can; else see [`Bulk::wake`].
    fn query<'q>(&self, store: &PostgresStore, wakes: bool) -> Query<'q, Postgres, PgArguments> {
        let statements = &store.statements;
        let statement = match (self.keyed, self.plain) {
            (true, _) => &statements.enqueue_keyed,
            (false, true) => &statements.enqueue_now,
            (false, false) => &statements.enqueue,
        };
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
            let query = query.bind(&self.delays).bind(&self.run_ats);
            let query =
                if self.keyed { query.bind(&self.keys).bind(&self.scopes).bind(&self.conflicts) } else { query };
            let query = query.bind(INLINE_BYTES as i32);
            if self.keyed { query.bind(wakes) } else { query }
        }
    }

    /// What tells workers that sleep, if the query itself does not, and some job may run at once.
    fn wake<'q>(&self, store: &PostgresStore) -> Option<Query<'q, Postgres, PgArguments>> {
        let mut queues: Vec<&str> = self
            .queues
            .iter()
            .zip(&self.delays)
            .filter(|(_, delay)| delay.is_none())
            .map(|(queue, _)| *queue)
            .collect();
        queues.sort_unstable();
        queues.dedup();
        (!self.keyed && !queues.is_empty()).then(|| sqlx::query(store.statements.wake.clone()).bind(queues))
    }

    /// The answers, in the order of the jobs.
    fn answers(&self, rows: &[PgRow]) -> Result<Vec<Enqueued>> {
        if self.keyed {
            return rows.iter().map(admitted).collect();
        }
        let mut ids = rows.iter().map(|row| column(row, "id")).collect::<Result<Vec<i64>>>()?;
        // They were given in the order of the jobs; the rows come in any.
        ids.sort_unstable();
        Ok(ids.into_iter().map(|id| Enqueued::new(JobId(id))).collect())
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
