//! What is there: jobs, attempts, queues, workers, each read from one view of the store.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteStore, connection::Tx, fault::fault, json, time, worker::state};
use crate::{
    AttemptOutcome, AttemptRecord, Binding, Depth, Error, Flow, JobId, JobRecord, Json, LaneState, QueueState, Result,
    State, WorkerRecord,
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
        self.read(async |tx| jobs(tx, filter, limit).await).await
    }

    async fn count(&self, _: &Filter) -> Result<u64> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn settings(&self) -> Result<Vec<Settings>> {
        Err(Error::Rejected("not built yet".into()))
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
        self.read(async |tx| queues(tx).await).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.read(async |tx| {
            let rows = sqlx::query(include_str!("workers.sql")).fetch_all(&mut **tx).await.map_err(fault)?;
            Ok(rows.iter().map(|row| worker(row, tx.now)).collect())
        })
        .await
    }

    async fn outstanding(&self, queues: &Binding) -> Result<Outstanding> {
        let queues = queues.entries().map(json);
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
            })
        })
        .await
    }

    async fn next_due(&self, queues: &Binding) -> Result<Option<Duration>> {
        let queues = queues.entries().map(json);
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

/// A page of jobs. SQLite does not walk the view by id and stop, but does so in its tables: they say where the page
/// ends, and the view is read up to there.
async fn jobs(tx: &mut Tx<'_>, filter: &Filter, limit: u32) -> Result<Vec<JobRecord>> {
    let after = filter.after.map_or(i64::MIN, |id| id.0);
    let all = filter.states.is_empty();
    let states = json(&filter.states);
    let end = sqlx::query(include_str!("page.sql"))
        .bind(after)
        .bind(&filter.queue)
        .bind(&filter.kind)
        .bind(all || filter.states.contains(&State::Queued))
        .bind(all || filter.states.contains(&State::Running))
        .bind(all || filter.states.contains(&State::Scheduled))
        .bind(all || filter.states.iter().any(|state| state.is_final()))
        .bind((!all).then_some(&states))
        .bind(limit)
        .fetch_one(&mut **tx)
        .await
        .map_err(fault)?;
    let Some(end) = end.get::<Option<i64>, _>(0) else {
        return Ok(Vec::new());
    };
    let rows = sqlx::query(include_str!("jobs.sql"))
        .bind(after)
        .bind(&filter.queue)
        .bind(&filter.kind)
        .bind((!all).then_some(&states))
        .bind(end)
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(rows.iter().map(job).collect())
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
        key: None,
        reason: None,
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
    let stored = state(row.get("state"));
    // A drain that has ended by itself is written down by the worker's next claim or beat; it is over already.
    let lapsed = stored == WorkerState::Draining && drain_until.is_some_and(|until| until <= now);
    let state = if lapsed { WorkerState::Active } else { stored };
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
        state,
        drain_epoch: row.get("drain_epoch"),
        drained_by: row.get::<Option<String>, _>("drained_by").filter(|_| drained),
        drain_until: drain_until.filter(|_| drained).map(time),
        started_at: time(row.get("started_at")),
        beat_at: time(row.get("beat_at")),
        read_at: time(now),
    }
}

async fn queues(tx: &mut Tx<'_>) -> Result<Vec<QueueState>> {
    let read_at = time(tx.now);
    let mut queues: BTreeMap<String, QueueState> = BTreeMap::new();
    let empty = |queue: &str| QueueState {
        queue: queue.into(),
        paused: false,
        depth: Depth::default(),
        oldest: None,
        priorities: Vec::new(),
        recent: crate::Recent::default(),
        flow: Flow::default(),
        lanes: Vec::new(),
        read_at,
    };
    for row in sqlx::query(include_str!("queue_state.sql")).fetch_all(&mut **tx).await.map_err(fault)? {
        let lane = lane(&row);
        let queue = queues.entry(lane.queue.clone()).or_insert_with_key(|queue| empty(queue));
        queue.depth = sum(queue.depth, lane.depth);
        add(&mut queue.flow, &lane.flow);
        queue.lanes.push(lane);
    }
    for row in sqlx::query("SELECT queue, priority, kind, bucket, n FROM queue_delay")
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?
    {
        let (priority, kind, bucket): (i16, &str, u8) = (row.get(1), row.get(2), row.get(3));
        let Some(queue) = queues.get_mut(row.get::<&str, _>(0)) else { continue };
        let lane = queue.lanes.iter_mut().find(|lane| lane.priority == priority && lane.kind == kind);
        for flow in [Some(&mut queue.flow), lane.map(|lane| &mut lane.flow)].into_iter().flatten() {
            if let Some(n) = flow.delays.0.get_mut(usize::from(bucket)) {
                *n += row.get::<i64, _>(4);
            }
        }
    }
    for row in sqlx::query(include_str!("oldest.sql")).fetch_all(&mut **tx).await.map_err(fault)? {
        if let (Some(queue), Some(ready_at)) = (queues.get_mut(row.get::<&str, _>(0)), row.get::<Option<i64>, _>(1)) {
            queue.oldest = Some(until(ready_at, tx.now));
        }
    }
    for row in sqlx::query("SELECT name FROM queue WHERE paused").fetch_all(&mut **tx).await.map_err(fault)? {
        queues.entry(row.get(0)).or_insert_with_key(|queue| empty(queue)).paused = true;
    }
    Ok(queues.into_values().collect())
}

/// A lane's counters, without its delays.
fn lane(row: &SqliteRow) -> LaneState {
    let n = |name: &str| row.get::<i64, _>(name);
    LaneState {
        queue: row.get("queue"),
        priority: row.get("priority"),
        kind: row.get("kind"),
        depth: depth(row),
        flow: Flow {
            arrived: n("arrived"),
            deferred: n("deferred"),
            promoted: n("promoted"),
            returned: n("returned"),
            started: n("started"),
            late: n("late"),
            completed: n("runs_completed"),
            failed: n("runs_failed"),
            run_ms: n("run_ms"),
            ..Flow::default()
        },
    }
}

/// The counters of depth, by the names of their columns.
pub(super) fn depth(row: &SqliteRow) -> Depth {
    let n = |name: &str| row.get::<i64, _>(name);
    Depth {
        ready: n("ready"),
        scheduled: n("scheduled"),
        held: n("held"),
        suspects: 0,
        running: n("running"),
        completed: n("completed"),
        failed: n("failed"),
        cancelled: n("cancelled"),
    }
}

fn sum(a: Depth, b: Depth) -> Depth {
    Depth {
        ready: a.ready + b.ready,
        scheduled: a.scheduled + b.scheduled,
        held: a.held + b.held,
        suspects: 0,
        running: a.running + b.running,
        completed: a.completed + b.completed,
        failed: a.failed + b.failed,
        cancelled: a.cancelled + b.cancelled,
    }
}

fn add(to: &mut Flow, more: &Flow) {
    to.arrived += more.arrived;
    to.deferred += more.deferred;
    to.promoted += more.promoted;
    to.returned += more.returned;
    to.started += more.started;
    to.late += more.late;
    to.completed += more.completed;
    to.failed += more.failed;
    to.run_ms += more.run_ms;
    to.delays.merge(&more.delays);
}
