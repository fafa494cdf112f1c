//! Jobs come in: numbered, split into those that are claimable and those that are due later, and written in bulk.

use async_trait::async_trait;
use serde::Serialize;
use sqlx::{Row, SqliteConnection};

use super::{
    SqliteStore,
    admit::admit,
    coalesce,
    connection::{Durability, Held, Tx},
    fault::{fault, is_busy},
    json, micros, migrate, settle,
    tally::{Lane, Place},
};
use crate::{
    Backoff, Error, JobId, NewJob, Result, Retention, When,
    limits::INLINE_BYTES,
    store::{Enqueue, Enqueued, Transaction},
};

/// Statements take their rows as JSON, in parts of at most so many rows or bytes: larger ones are no faster, and SQLite
/// bounds the length of a value.
pub(super) const PART_ROWS: usize = 1000;
const PART_BYTES: usize = 8 << 20;

#[async_trait]
impl Enqueue for SqliteStore {
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        NewJob::check_all(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.write(Durability::Full, async |tx| enqueue(tx, jobs).await).await
    }

    async fn enqueue_in(&self, tx: Transaction<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        let Transaction::Sqlite(connection) = tx else {
            return Err(Error::Rejected(
                "the transaction is on Postgres and this store is SQLite: open the store at the application's database"
                    .into(),
            ));
        };
        NewJob::check_all(jobs)?;
        self.within(async {
            self.check_same_file(connection).await?;
            let mut tx = Tx::new(Held::Callers(connection)).await?;
            let enqueued = enqueue(&mut tx, jobs).await?;
            tx.commit().await?;
            Ok(enqueued)
        })
        .await
    }
}

impl SqliteStore {
    /// Refuses another file's transaction: its jobs would never be seen by this store's workers.
    async fn check_same_file(&self, connection: &mut SqliteConnection) -> Result<()> {
        let Some(path) = &self.path else {
            return Err(Error::Rejected(
                "a store in memory has no connection but its own, so no transaction can be on it: use a file".into(),
            ));
        };
        let file: String = sqlx::query("SELECT file FROM pragma_database_list WHERE name = 'main'")
            .fetch_one(connection)
            .await
            .map_err(fault)?
            .get(0);
        if std::fs::canonicalize(&file).is_ok_and(|file| file == **path) {
            return Ok(());
        }
        Err(Error::Rejected(format!("the transaction is on {file:?} and this store is {}", path.display())))
    }
}

/// Takes `count` numbers and returns the first.
pub(super) async fn allocate(tx: &mut Tx<'_>, count: usize) -> Result<i64> {
    let row = sqlx::query(include_str!("allocate.sql")).bind(count as i64).fetch_one(&mut **tx).await;
    let last: i64 = row.map_err(unbegun)?.get(0);
    Ok(last - count as i64 + 1)
}

/// The first write in an application's transaction: the lock must be there already, since waiting for it inside a
/// transaction that has read cannot succeed.
fn unbegun(error: sqlx::Error) -> Error {
    if is_busy(&error) {
        return Error::Rejected(
            "the transaction cannot take SQLite's write lock now: begin it with BEGIN IMMEDIATE".into(),
        );
    }
    migrate::unmigrated(error)
}

/// In the order of the placeholders of `enqueue.sql`, `enqueue_later.sql` and `enqueue_again.sql`.
#[derive(Serialize)]
struct NewRow<'a>(
    i64,
    &'a str,
    i16,
    &'a str,
    Option<&'a str>,
    u16,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i64,
    Option<&'a str>,
    Option<String>,
);

#[derive(Serialize)]
struct JobOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Retention>,
}

async fn enqueue(tx: &mut Tx<'_>, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let first = allocate(tx, jobs.len()).await?;
    let admitted = admit(tx, jobs, first).await?;
    let mut part = Part::default();
    for (job, answer) in jobs.iter().zip(&admitted.answers) {
        if answer.is_new() {
            part.add(tx, answer.id, job, false).await?;
        }
    }
    part.write(tx).await?;
    admitted.apply(tx, jobs).await?;
    Ok(admitted.answers)
}

/// New jobs on their way into the tables.
#[derive(Default)]
pub(super) struct Part<'j> {
    ready: Vec<NewRow<'j>>,
    later: Vec<NewRow<'j>>,
    again: Vec<NewRow<'j>>,
    bodies: Vec<(JobId, &'j str)>,
    bytes: usize,
}

impl<'j> Part<'j> {
    /// Adds a job, and writes when there are many; `again`: it waits for the end of the holder of its key.
    pub(super) async fn add(&mut self, tx: &mut Tx<'_>, id: JobId, job: &'j NewJob, again: bool) -> Result<()> {
        let (inline, apart) = split(job)?;
        self.bodies.extend(apart.map(|payload| (id, payload)));
        self.bytes += job.payload()?.len() + job.meta.as_ref().map_or(0, String::len);
        let run_at = due(tx.now, job.when);
        let row = NewRow(
            id.0,
            &job.queue,
            job.priority,
            &job.kind,
            inline,
            job.max_attempts,
            job.timeout.map(millis),
            job.max_run_time.map(millis),
            options(job),
            run_at,
            job.meta.as_deref(),
            coalesce::extra(job),
        );
        let waits = run_at > tx.now;
        let change = tx.tally.lane(&lane(job));
        if waits {
            change.flow.deferred += 1;
        } else {
            change.flow.arrived += 1;
        }
        let (place, rows) = match (again, waits) {
            (true, _) => (Place::Held, &mut self.again),
            (false, true) => (Place::Later, &mut self.later),
            (false, false) => (Place::Ready, &mut self.ready),
        };
        change.enter(place);
        rows.push(row);
        if self.ready.len() + self.later.len() + self.again.len() == PART_ROWS || self.bytes > PART_BYTES {
            self.write(tx).await?;
        }
        Ok(())
    }

    /// Writes what was added.
    pub(super) async fn write(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        settle::run(tx, include_str!("enqueue.sql"), &std::mem::take(&mut self.ready)).await?;
        settle::run(tx, include_str!("enqueue_later.sql"), &std::mem::take(&mut self.later)).await?;
        settle::run(tx, include_str!("enqueue_again.sql"), &std::mem::take(&mut self.again)).await?;
        for (id, payload) in self.bodies.drain(..) {
            put_apart(tx, id, payload).await?;
        }
        self.bytes = 0;
        Ok(())
    }
}

/// Which counters count a job.
pub(super) fn lane(job: &NewJob) -> Lane {
    Lane { queue: job.queue.clone(), priority: job.priority, kind: job.kind.clone() }
}

/// The payload as it lies in the job's row, and as it lies apart.
pub(super) fn split(job: &NewJob) -> Result<(Option<&str>, Option<&str>)> {
    let payload = job.payload()?;
    Ok(if payload.len() > INLINE_BYTES { (None, Some(payload)) } else { (Some(payload), None) })
}

/// Writes a payload that lies apart.
pub(super) async fn put_apart(tx: &mut Tx<'_>, id: JobId, payload: &str) -> Result<()> {
    sqlx::query("INSERT INTO body (job, part, data) VALUES (?1, 'payload', ?2)")
        .bind(id.0)
        .bind(payload)
        .execute(&mut **tx)
        .await
        .map_err(fault)
        .map(drop)
}

/// When it may first run: a time that has passed means now.
pub(super) fn due(now: i64, when: When) -> i64 {
    match when {
        When::Now => now,
        When::After(delay) => now + micros(delay),
        When::At(at) => at.timestamp_micros().max(now),
    }
}

/// Rounded up: a timeout of less than a millisecond is still one.
fn millis(length: std::time::Duration) -> i64 {
    i64::try_from(length.as_micros().div_ceil(1000)).unwrap_or(i64::MAX)
}

fn options(job: &NewJob) -> Option<String> {
    let options = JobOptions { backoff: job.backoff, retention: job.retention };
    (options.backoff.is_some() || options.retention.is_some()).then(|| json(&options))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_that_has_passed_means_now() {
        let now = 1_800_000_000_000_000;
        assert_eq!(due(now, When::Now), now);
        assert_eq!(due(now, When::At(super::super::time(now - 1))), now);
        assert_eq!(due(now, When::At(super::super::time(now + 1))), now + 1);
        assert_eq!(due(now, When::After(Duration::from_millis(5))), now + 5000);
        assert_eq!(millis(Duration::from_micros(1)), 1);
    }
}
