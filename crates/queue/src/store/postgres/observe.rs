//! What is there.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    Postgres, SqlStr,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{PostgresStore, claim::state, column, counters, edges, found::Found};
use crate::{
    AttemptOutcome, AttemptRecord, Binding, Error, JobId, JobRecord, Json, OldestJob, QueueState, Result, State,
    WorkerRecord,
    store::{BootId, Filter, Observe, Outstanding, Settings},
};

/// A statement and what is bound to it.
pub(super) type Asked<'q> = Query<'q, Postgres, PgArguments>;

impl PostgresStore {
    /// Runs one statement within a call's time.
    pub(super) async fn ask<'q>(
        &self,
        statement: &SqlStr,
        bind: impl Fn(Asked<'q>) -> Asked<'q> + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        self.connections.rows(self.connections.deadline(), || bind(sqlx::query(statement.clone()))).await
    }

    /// Where a job stands.
    pub(super) async fn state_of(&self, id: JobId) -> Result<Option<State>> {
        let rows = self.ask(&self.statements.state, |query| query.bind(id.0)).await?;
        rows.first().map(|row| named(column(row, "state")?)).transpose()
    }
}

#[async_trait]
impl Observe for PostgresStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        let rows = self.ask(&self.statements.now, |query| query).await?;
        column(&rows[0], "at")
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        let rows = self.ask(&self.statements.job, |query| query.bind(id.0)).await?;
        rows.first().map(job).transpose()
    }

    async fn jobs(&self, filter: &Filter, limit: u32) -> Result<Vec<JobRecord>> {
        let found = Found::by(filter)?;
        let statement = found.of(&self.statements.jobs);
        let rows = self.ask(statement, |query| found.bind(query).bind(i64::from(limit))).await?;
        rows.iter().map(job).collect()
    }

    async fn count(&self, filter: &Filter) -> Result<u64> {
        self.counted(&Found::by(filter)?).await
    }

    async fn settings(&self) -> Result<Vec<Settings>> {
        self.all_settings().await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>> {
        let rows = self.ask(&self.statements.attempts, |query| query.bind(id.0)).await?;
        rows.iter().map(attempt).collect()
    }

    async fn queues(&self) -> Result<Vec<QueueState>> {
        let rows = self.ask(&self.statements.queues, |query| query).await?;
        counters::queues(&rows)
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let rows = self.ask(&self.statements.workers, |query| query).await?;
        rows.iter().map(worker).collect()
    }

    async fn outstanding(&self, queues: &Binding) -> Result<Outstanding> {
        let edges = edges(queues);
        let rows = self.ask(&self.statements.outstanding, |query| query.bind(edges.clone())).await?;
        let row = &rows[0];
        Ok(Outstanding {
            ready: column(row, "ready")?,
            due: column(row, "due")?,
            scheduled: column(row, "scheduled")?,
            held: column(row, "held")?,
            running: column(row, "running")?,
            parked: column(row, "parked")?,
        })
    }

    async fn next_due(&self, queues: &Binding) -> Result<Option<Duration>> {
        let edges = edges(queues);
        let rows = self.ask(&self.statements.next_due, |query| query.bind(edges.clone())).await?;
        Ok(column::<Option<i64>>(&rows[0], "ms")?.map(|ms| Duration::from_millis(ms.max(0) as u64)))
    }
}

/// A state by its name in the store.
pub(super) fn named(name: &str) -> Result<State> {
    name.parse()
        .map_err(|unknown| Error::Rejected(format!("the store holds what this program does not know: {unknown}")))
}

/// A count that the store keeps as a signed number.
fn count(row: &PgRow, name: &str) -> Result<u16> {
    column::<i16>(row, name).map(|count| count as u16)
}

fn job(row: &PgRow) -> Result<JobRecord> {
    Ok(JobRecord {
        id: JobId(column(row, "id")?),
        queue: column(row, "queue")?,
        kind: column(row, "kind")?,
        state: named(column(row, "state")?)?,
        priority: column(row, "priority")?,
        attempt: count(row, "attempt")?,
        max_attempts: count(row, "max_attempts")?,
        interruptions: count(row, "interruptions")?,
        deaths: count(row, "deaths")?,
        run_at: column(row, "run_at")?,
        ready_at: column(row, "ready_at")?,
        enqueued_at: column(row, "enqueued_at")?,
        started_at: column(row, "started_at")?,
        finished_at: column(row, "finished_at")?,
        worker: column(row, "worker")?,
        payload: Json(column(row, "payload")?),
        meta: column::<Option<String>>(row, "meta")?.map(Json),
        deadline: column(row, "deadline")?,
        key: column(row, "key")?,
        reason: column(row, "reason")?,
        error: column(row, "error")?,
        output: column(row, "output")?,
    })
}

fn attempt(row: &PgRow) -> Result<AttemptRecord> {
    let outcome: &str = column(row, "outcome")?;
    Ok(AttemptRecord {
        job: JobId(column(row, "job_id")?),
        attempt: count(row, "attempt")?,
        outcome: AttemptOutcome::from_name(outcome).ok_or_else(|| {
            Error::Rejected(format!("an attempt ended as {outcome:?}, which this program does not know: update it"))
        })?,
        started_at: column(row, "started_at")?,
        ended_at: column(row, "ended_at")?,
        worker: column(row, "worker")?,
        error: column(row, "error")?,
    })
}

fn oldest(row: &PgRow) -> Result<Option<OldestJob>> {
    let job: Option<i64> = column(row, "oldest")?;
    job.map(|job| Ok(OldestJob { job: JobId(job), started_at: column(row, "oldest_at")? })).transpose()
}

fn worker(row: &PgRow) -> Result<WorkerRecord> {
    Ok(WorkerRecord {
        boot: BootId(column(row, "boot")?),
        instance: column(row, "instance")?,
        host: column(row, "host")?,
        pid: column::<i64>(row, "pid")? as u32,
        pool: column(row, "pool")?,
        queues: column::<Option<Vec<String>>>(row, "queues")?.map_or(Binding::Any, Binding::Queues),
        kinds: column(row, "kinds")?,
        slots: column::<i32>(row, "slots")? as u32,
        busy: column::<i32>(row, "busy")? as u32,
        running: column::<i64>(row, "running")? as u32,
        oldest: oldest(row)?,
        state: state(column(row, "state")?)?,
        drain_epoch: column(row, "drain_epoch")?,
        drained_by: column(row, "drained_by")?,
        drain_until: column(row, "drain_until")?,
        started_at: column(row, "started_at")?,
        beat_at: column(row, "beat_at")?,
        read_at: column(row, "read_at")?,
    })
}
