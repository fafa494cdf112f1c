//! Jobs come in: numbered, split into those that are claimable and those that are due later, and written in bulk.

use async_trait::async_trait;
use serde::Serialize;
use sqlx::{Row, SqliteConnection};

use super::{
    SqliteStore,
    connection::{Durability, Held, Tx},
    fault::{fault, is_busy},
    json, micros, migrate,
    tally::{Lane, Place},
};
use crate::{
    Backoff, Error, JobId, NewJob, Result, Retention, When,
    limits::INLINE_BYTES,
    store::{Enqueue, Enqueued, Transaction},
};

/// Statements take their rows as JSON, in parts of at most so many rows or bytes: larger ones are no faster, and SQLite
/// bounds the length of a value.
const PART_ROWS: usize = 1000;
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

/// In the order of the placeholders of `enqueue.sql` and `enqueue_later.sql`.
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
    let (mut ready, mut later, mut bodies, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (id, job) in (first..).zip(jobs) {
        let payload = job.payload()?;
        let apart = payload.len() > INLINE_BYTES;
        if apart {
            bodies.push((id, payload));
        }
        bytes += payload.len() + job.meta.as_ref().map_or(0, String::len);
        let run_at = due(tx.now, job.when);
        let row = NewRow(
            id,
            &job.queue,
            job.priority,
            &job.kind,
            (!apart).then_some(payload),
            job.max_attempts,
            job.timeout.map(millis),
            job.max_run_time.map(millis),
            options(job),
            run_at,
            job.meta.as_deref(),
        );
        let lane = Lane { queue: job.queue.clone(), priority: job.priority, kind: job.kind.clone() };
        let change = tx.tally.lane(&lane);
        if run_at > tx.now {
            change.enter(Place::Later);
            change.flow.deferred += 1;
            later.push(row);
        } else {
            change.enter(Place::Ready);
            change.flow.arrived += 1;
            ready.push(row);
        }
        if ready.len() + later.len() == PART_ROWS || bytes > PART_BYTES {
            write(tx, &mut ready, &mut later, &mut bodies).await?;
            bytes = 0;
        }
    }
    write(tx, &mut ready, &mut later, &mut bodies).await?;
    Ok((first..).take(jobs.len()).map(|id| Enqueued::new(JobId(id))).collect())
}

async fn write<'j>(
    tx: &mut Tx<'_>,
    ready: &mut Vec<NewRow<'j>>,
    later: &mut Vec<NewRow<'j>>,
    bodies: &mut Vec<(i64, &str)>,
) -> Result<()> {
    for (rows, statement) in [(ready, include_str!("enqueue.sql")), (later, include_str!("enqueue_later.sql"))] {
        if !rows.is_empty() {
            sqlx::query(statement).bind(json(rows)).bind(tx.now).execute(&mut **tx).await.map_err(fault)?;
            rows.clear();
        }
    }
    for (id, payload) in bodies.drain(..) {
        sqlx::query("INSERT INTO body (job, part, data) VALUES (?1, 'payload', ?2)")
            .bind(id)
            .bind(payload)
            .execute(&mut **tx)
            .await
            .map_err(fault)?;
    }
    Ok(())
}

/// When it may first run: a time that has passed means now.
fn due(now: i64, when: When) -> i64 {
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
