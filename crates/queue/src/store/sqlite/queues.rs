//! What each queue has to do and has done, from the counters and the heads of the lanes.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{Row, sqlite::SqliteRow};

use super::{connection::Tx, fault::fault, micros, migrate::REMEMBERS, observe::until, tally::minute, time};
use crate::{Depth, Flow, LaneState, PriorityState, QueueState, Recent, Result};

/// How far back what is recent reaches at least, from the beginning of this minute.
const RECENT: Duration = Duration::from_mins(5);

pub(super) async fn queues(tx: &mut Tx<'_>) -> Result<Vec<QueueState>> {
    let read_at = time(tx.now);
    let (begin, over) = recent(tx).await?;
    let mut queues: BTreeMap<String, QueueState> = BTreeMap::new();
    let empty = |queue: &str| QueueState {
        queue: queue.into(),
        paused: false,
        depth: Depth::default(),
        oldest: None,
        priorities: Vec::new(),
        recent: Recent { over, flow: Flow::default() },
        flow: Flow::default(),
        lanes: Vec::new(),
        read_at,
    };
    for row in sqlx::query(include_str!("queue_state.sql")).fetch_all(&mut **tx).await.map_err(fault)? {
        let lane = lane(&row);
        let queue = queues.entry(lane.queue.clone()).or_insert_with_key(|queue| empty(queue));
        queue.depth += &lane.depth;
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
        let Some(queue) = queues.get_mut(row.get::<&str, _>(0)) else { continue };
        let priority = row.get(1);
        let oldest = row.get::<Option<i64>, _>(2).map(|ready_at| until(ready_at, tx.now));
        queue.oldest = queue.oldest.max(oldest);
        let ready = queue.lanes.iter().filter(|lane| lane.priority == priority).map(|lane| lane.depth.ready).sum();
        queue.priorities.push(PriorityState { priority, ready, oldest });
    }
    for row in sqlx::query("SELECT name FROM queue WHERE paused").fetch_all(&mut **tx).await.map_err(fault)? {
        queues.entry(row.get(0)).or_insert_with_key(|queue| empty(queue)).paused = true;
    }
    for row in sqlx::query(include_str!("history.sql")).bind(begin).fetch_all(&mut **tx).await.map_err(fault)? {
        let (priority, kind): (i16, &str) = (row.get("priority"), row.get("kind"));
        let Some(queue) = queues.get_mut(row.get::<&str, _>("queue")) else { continue };
        let lane = queue.lanes.iter().find(|lane| lane.priority == priority && lane.kind == kind);
        if let Some(lane) = lane {
            add(&mut queue.recent.flow, &lane.flow.since(&remembered(&row)));
        }
    }
    Ok(queues.into_values().collect())
}

/// What is recent: since the beginning of which minute, and how much time that is; less in a store that has not
/// remembered for so long.
async fn recent(tx: &mut Tx<'_>) -> Result<(i64, Duration)> {
    let row = sqlx::query("SELECT coalesce(min(at), 0) FROM migration WHERE version >= ?1")
        .bind(REMEMBERS)
        .fetch_one(&mut **tx)
        .await
        .map_err(fault)?;
    let since = minute(tx.now - micros(RECENT)).max(row.get(0));
    Ok((minute(since), until(since, tx.now)))
}

/// A lane's flow as it stood when a minute began.
fn remembered(row: &SqliteRow) -> Flow {
    let mut flow = flow(row);
    let delays: Vec<(usize, i64)> = serde_json::from_str(row.get("delays")).unwrap_or_default();
    for (bucket, n) in delays {
        if let Some(count) = flow.delays.0.get_mut(bucket) {
            *count = n;
        }
    }
    flow
}

/// A lane's counters, without its delays.
fn lane(row: &SqliteRow) -> LaneState {
    LaneState {
        queue: row.get("queue"),
        priority: row.get("priority"),
        kind: row.get("kind"),
        depth: depth(row),
        flow: flow(row),
    }
}

/// The counters of flow, by the names of their columns, without the delays.
fn flow(row: &SqliteRow) -> Flow {
    let n = |name: &str| row.get::<i64, _>(name);
    Flow {
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
    }
}

/// The counters of depth, by the names of their columns.
pub(super) fn depth(row: &SqliteRow) -> Depth {
    let n = |name: &str| row.get::<i64, _>(name);
    Depth {
        ready: n("ready"),
        scheduled: n("scheduled"),
        held: n("held"),
        suspects: n("suspects"),
        running: n("running"),
        parked: n("parked"),
        completed: n("completed"),
        failed: n("failed"),
        cancelled: n("cancelled"),
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
