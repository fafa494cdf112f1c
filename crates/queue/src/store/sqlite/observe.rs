//! What is there: jobs, attempts, queues, workers, each read from one view of the store.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    SqliteStore,
    fault::fault,
    find, json, queues, ranges, settings, time,
    worker::{state, state_at},
};
use crate::{
    AttemptOutcome, AttemptRecord, Binding, JobId, JobRecord, Json, OldestJob, QueueState, Result, WorkerRecord,
    store::{BootId, Filter, Observe, Outstanding, Settings, WorkerState},
};

#[async_trait]
impl Observe for SqliteStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.read(async |tx| Ok(time(tx.now))).await
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.read(async |tx| {
            let row = sqlx::query("SELECT * FROM jobs WHERE id = ?1").bind(id.0).fetch_optional(&mut **tx).await;
            Ok(row.map_err(fault)?.as_ref().map(job))
        })
        .await
    }

    async fn jobs(&self, filter: &Filter, limit: u32) -> Result<Vec<JobRecord>> {
        self.read(async |tx| {
            let ids = find::find(tx, filter, limit).await?;
            let mut records = Vec::with_capacity(ids.len());
            for part in ids.chunks(find::PAGE) {
                let rows = sqlx::query(include_str!("jobs.sql")).bind(json(part)).fetch_all(&mut **tx).await;
                records.extend(rows.map_err(fault)?.iter().map(job));
            }
            Ok(records)
        })
        .await
    }

    async fn count(&self, filter: &Filter) -> Result<u64> {
        self.read(async |tx| find::count(tx, filter).await).await
    }

    async fn settings(&self) -> Result<Vec<Settings>> {
        self.read(async |tx| settings::settings(tx).await).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>> {
        self.read(async |tx| {
            let rows =
                sqlx::query(include_str!("attempts.sql")).bind(id.0).fetch_all(&mut **tx).await.map_err(fault)?;
            Ok(rows.iter().map(attempt).collect())
        })
        .await
    }

    async fn queues(&self) -> Result<Vec<QueueState>> {
        self.read(async |tx| queues::queues(tx).await).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.read(async |tx| {
            let rows = sqlx::query(include_str!("workers.sql")).fetch_all(&mut **tx).await.map_err(fault)?;
            Ok(rows.iter().map(|row| worker(row, tx.now)).collect())
        })
        .await
    }

    async fn outstanding(&self, queues: &Binding) -> Result<Outstanding> {
        let queues = ranges(queues);
        self.read(async |tx| {
            let row = sqlx::query(include_str!("outstanding.sql"))
                .bind(&queues)
                .bind(tx.now)
                .fetch_one(&mut **tx)
                .await
                .map_err(fault)?;
            Ok(Outstanding {
                ready: row.get(0),
                due: row.get(1),
                scheduled: row.get(2),
                held: row.get(3),
                running: row.get(4),
                parked: row.get(5),
            })
        })
        .await
    }

    async fn next_due(&self, queues: &Binding) -> Result<Option<Duration>> {
        let queues = ranges(queues);
        self.read(async |tx| {
            let row = sqlx::query(include_str!("next_due.sql")).bind(&queues).fetch_one(&mut **tx).await;
            Ok(row.map_err(fault)?.get::<Option<i64>, _>(0).map(|due| until(tx.now, due)))
        })
        .await
    }
}

/// The time from now until then; zero if it has passed.
pub(super) fn until(now: i64, then: i64) -> Duration {
    Duration::from_micros(u64::try_from(then - now).unwrap_or_default())
}

fn job(row: &SqliteRow) -> JobRecord {
    let moment = |name: &str| row.get::<Option<i64>, _>(name).map(time);
    JobRecord {
        id: JobId(row.get("id")),
        queue: row.get("queue"),
        kind: row.get("kind"),
        state: row.get::<&str, _>("state").parse().expect("the view has only the names of states"),
        priority: row.get("priority"),
        attempt: row.get("attempt"),
        max_attempts: row.get("max_attempts"),
        interruptions: row.get("interruptions"),
        deaths: row.get("deaths"),
        run_at: time(row.get("run_at")),
        ready_at: moment("ready_at"),
        enqueued_at: time(row.get("enqueued_at")),
        started_at: moment("started_at"),
        finished_at: moment("finished_at"),
        worker: row.get("worker"),
        payload: Json(row.get::<Option<String>, _>("payload").unwrap_or_default()),
        meta: row.get::<Option<String>, _>("meta").map(Json),
        deadline: moment("deadline"),
        key: row.get("key"),
        reason: row.get("reason"),
        error: row.get("error"),
        output: row.get("output"),
    }
}

fn attempt(row: &SqliteRow) -> AttemptRecord {
    AttemptRecord {
        job: JobId(row.get("job")),
        attempt: row.get("attempt"),
        outcome: AttemptOutcome::from_name(row.get("outcome")).expect("the table's constraint allows only the names"),
        started_at: time(row.get("started_at")),
        ended_at: time(row.get("ended_at")),
        worker: row.get("worker"),
        error: row.get("error"),
    }
}

fn worker(row: &SqliteRow, now: i64) -> WorkerRecord {
    let drain_until: Option<i64> = row.get("drain_until");
    // A drain that has ended by itself is written down by whoever acts next; it is over already.
    let state = state_at(state(row.get("state")), drain_until, row.get("leaving_until"), now);
    let drained = matches!(state, WorkerState::Draining | WorkerState::Leaving);
    WorkerRecord {
        boot: BootId(row.get("boot")),
        instance: row.get("instance"),
        host: row.get("host"),
        pid: row.get("pid"),
        pool: row.get("pool"),
        // Names were checked when they were written.
        queues: row.get::<&str, _>("queues").parse().unwrap_or_default(),
        kinds: serde_json::from_str(row.get("kinds")).unwrap_or_default(),
        slots: row.get("slots"),
        busy: row.get("busy"),
        running: row.get("running"),
        oldest: row
            .get::<Option<i64>, _>("oldest")
            .map(|id| OldestJob { job: JobId(id), started_at: time(row.get("oldest_at")) }),
        state,
        drain_epoch: row.get("drain_epoch"),
        drained_by: row.get::<Option<String>, _>("drained_by").filter(|_| drained),
        drain_until: drain_until.filter(|_| drained).map(time),
        started_at: time(row.get("started_at")),
        beat_at: time(row.get("beat_at")),
        read_at: time(now),
    }
}
