//! What is there.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    Postgres, SqlStr,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{PostgresStore, claim::state, column};
use crate::{
    AttemptOutcome, AttemptRecord, Binding, Delays, Depth, Error, Flow, JobId, JobRecord, Json, LaneState, QueueState,
    Result, State, WorkerRecord,
    store::{BootId, Filter, Observe, Outstanding, Settings},
};

impl PostgresStore {
    /// Runs one statement within a call's time.
    pub(super) async fn ask<'q>(
        &self,
        statement: &SqlStr,
        bind: impl Fn(Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> + Send + Sync,
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
        let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
        let states = Some(states).filter(|states| !states.is_empty());
        let rows = self
            .ask(&self.statements.jobs, |query| {
                query
                    .bind(&filter.queue)
                    .bind(&filter.kind)
                    .bind(&states)
                    .bind(filter.after.map_or(0, |id| id.0))
                    .bind(i64::from(limit))
            })
            .await?;
        rows.iter().map(job).collect()
    }

    async fn count(&self, _: &Filter) -> Result<u64> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn settings(&self) -> Result<Vec<Settings>> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>> {
        let rows = self.ask(&self.statements.attempts, |query| query.bind(id.0)).await?;
        rows.iter().map(attempt).collect()
    }

    async fn queues(&self) -> Result<Vec<QueueState>> {
        let rows = self.ask(&self.statements.queues, |query| query).await?;
        let mut queues: BTreeMap<String, QueueState> = BTreeMap::new();
        for row in &rows {
            let lane = lane(row)?;
            let queue = queues.entry(lane.queue.clone()).or_insert(QueueState {
                queue: lane.queue.clone(),
                paused: column(row, "paused")?,
                depth: Depth::default(),
                oldest: None,
                priorities: Vec::new(),
                recent: crate::Recent::default(),
                flow: Flow::default(),
                lanes: Vec::new(),
                read_at: column(row, "read_at")?,
            });
            let oldest = column::<Option<f64>>(row, "oldest_s")?.filter(|_| lane.depth.ready > 0);
            let oldest = oldest.map(|age| Duration::try_from_secs_f64(age).unwrap_or_default());
            queue.oldest = queue.oldest.max(oldest);
            add(queue, &lane);
            queue.lanes.push(lane);
        }
        Ok(queues.into_values().collect())
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let rows = self.ask(&self.statements.workers, |query| query).await?;
        rows.iter().map(worker).collect()
    }

    async fn outstanding(&self, queues: &Binding) -> Result<Outstanding> {
        let names = queues.entries().map(<[String]>::to_vec);
        let rows = self.ask(&self.statements.outstanding, |query| query.bind(&names)).await?;
        let row = &rows[0];
        Ok(Outstanding {
            ready: column(row, "ready")?,
            due: column(row, "due")?,
            scheduled: column(row, "scheduled")?,
            held: column(row, "held")?,
            running: column(row, "running")?,
        })
    }

    async fn next_due(&self, queues: &Binding) -> Result<Option<Duration>> {
        let names = queues.entries().map(<[String]>::to_vec);
        let rows = self.ask(&self.statements.next_due, |query| query.bind(&names)).await?;
        Ok(column::<Option<i64>>(&rows[0], "ms")?.map(|ms| Duration::from_millis(ms.max(0) as u64)))
    }
}

/// A state by its name in the store.
fn named(name: &str) -> Result<State> {
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
        state: state(column(row, "state")?)?,
        drain_epoch: column(row, "drain_epoch")?,
        drained_by: column(row, "drained_by")?,
        drain_until: column(row, "drain_until")?,
        started_at: column(row, "started_at")?,
        beat_at: column(row, "beat_at")?,
        read_at: column(row, "read_at")?,
    })
}

fn lane(row: &PgRow) -> Result<LaneState> {
    let mut delays = Delays::default();
    for (bucket, n) in delays.0.iter_mut().zip(column::<Vec<i64>>(row, "delays")?) {
        *bucket = n;
    }
    Ok(LaneState {
        queue: column(row, "queue")?,
        priority: column(row, "priority")?,
        kind: column(row, "kind")?,
        depth: depth(row, "")?,
        flow: Flow {
            arrived: column(row, "arrived")?,
            deferred: column(row, "deferred")?,
            promoted: column(row, "promoted")?,
            returned: column(row, "returned")?,
            started: column(row, "started")?,
            late: column(row, "late")?,
            completed: column(row, "done")?,
            failed: column(row, "errored")?,
            run_ms: column(row, "run_ms")?,
            delays,
        },
    })
}

/// The columns that say how many jobs stand where; their names begin with `prefix`.
pub(super) fn depth(row: &PgRow, prefix: &str) -> Result<Depth> {
    let count = |name: &str| column::<i64>(row, &format!("{prefix}{name}"));
    Ok(Depth {
        ready: count("ready")?,
        scheduled: count("scheduled")?,
        held: count("held")?,
        suspects: 0,
        running: count("running")?,
        completed: count("completed")?,
        failed: count("failed")?,
        cancelled: count("cancelled")?,
    })
}

/// Adds a lane to its queue's sum.
fn add(queue: &mut QueueState, lane: &LaneState) {
    let (sum, one) = (&mut queue.depth, &lane.depth);
    sum.ready += one.ready;
    sum.scheduled += one.scheduled;
    sum.held += one.held;
    sum.running += one.running;
    sum.completed += one.completed;
    sum.failed += one.failed;
    sum.cancelled += one.cancelled;
    let (sum, one) = (&mut queue.flow, &lane.flow);
    sum.arrived += one.arrived;
    sum.deferred += one.deferred;
    sum.promoted += one.promoted;
    sum.returned += one.returned;
    sum.started += one.started;
    sum.late += one.late;
    sum.completed += one.completed;
    sum.failed += one.failed;
    sum.run_ms += one.run_ms;
    sum.delays.merge(&one.delays);
}
