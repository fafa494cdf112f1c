//! The counters, lane by lane, and the queues that they add up to.

use std::{collections::BTreeMap, time::Duration};

use sqlx::postgres::PgRow;

use super::column;
use crate::{Delays, Depth, Flow, LaneState, PriorityState, QueueState, Recent, Result};

/// The queues of these lanes, which come by queue and falling priority.
pub(super) fn queues(rows: &[PgRow]) -> Result<Vec<QueueState>> {
    let mut queues: BTreeMap<String, QueueState> = BTreeMap::new();
    for row in rows {
        let lane = lane(row)?;
        let queue = queues.entry(lane.queue.clone()).or_insert(QueueState {
            queue: lane.queue.clone(),
            paused: column(row, "paused")?,
            depth: Depth::default(),
            oldest: None,
            priorities: Vec::new(),
            flow: Flow::default(),
            recent: Recent { over: seconds(column(row, "since_s")?), flow: Flow::default() },
            lanes: Vec::new(),
            read_at: column(row, "read_at")?,
        });
        let oldest = column::<Option<f64>>(row, "oldest_s")?.filter(|_| lane.depth.ready > 0).map(seconds);
        queue.oldest = queue.oldest.max(oldest);
        waits(queue, &lane, oldest);
        queue.recent.flow += &recent(row, &lane.flow)?;
        queue.depth += &lane.depth;
        queue.flow += &lane.flow;
        queue.lanes.push(lane);
    }
    Ok(queues.into_values().collect())
}

/// Adds what waits in a lane to its priority. A priority's kinds have their oldest together.
fn waits(queue: &mut QueueState, lane: &LaneState, oldest: Option<Duration>) {
    if lane.depth.ready <= 0 {
        return;
    }
    match queue.priorities.last_mut().filter(|last| last.priority == lane.priority) {
        Some(last) => last.ready += lane.depth.ready,
        None => {
            queue.priorities.push(PriorityState { priority: lane.priority, ready: lane.depth.ready, oldest });
        }
    }
}

/// What happened in a lane since the earlier reading.
fn recent(row: &PgRow, now: &Flow) -> Result<Flow> {
    if column(row, "unchanged")? {
        return Ok(Flow::default());
    }
    if column::<Option<i64>>(row, "before_arrived")?.is_none() {
        return Ok(now.clone());
    }
    Ok(now.since(&flow(row, "before_")?))
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn lane(row: &PgRow) -> Result<LaneState> {
    Ok(LaneState {
        queue: column(row, "queue")?,
        priority: column(row, "priority")?,
        kind: column(row, "kind")?,
        depth: depth(row, "")?,
        flow: flow(row, "")?,
    })
}

/// The columns that say what happened; their names begin with `prefix`.
fn flow(row: &PgRow, prefix: &str) -> Result<Flow> {
    let count = |name: &str| column::<i64>(row, format!("{prefix}{name}").as_str());
    let mut delays = Delays::default();
    for (bucket, n) in delays.0.iter_mut().zip(column::<Vec<i64>>(row, format!("{prefix}delays").as_str())?) {
        *bucket = n;
    }
    Ok(Flow {
        arrived: count("arrived")?,
        deferred: count("deferred")?,
        promoted: count("promoted")?,
        returned: count("returned")?,
        started: count("started")?,
        late: count("late")?,
        completed: count("done")?,
        failed: count("errored")?,
        run_ms: count("run_ms")?,
        delays,
    })
}

/// The columns that say how many jobs stand where; their names begin with `prefix`.
pub(super) fn depth(row: &PgRow, prefix: &str) -> Result<Depth> {
    let count = |name: &str| column::<i64>(row, format!("{prefix}{name}").as_str());
    Ok(Depth {
        ready: count("ready")?,
        scheduled: count("scheduled")?,
        held: count("held")?,
        suspects: count("suspects")?,
        running: count("running")?,
        parked: count("parked")?,
        completed: count("completed")?,
        failed: count("failed")?,
        cancelled: count("cancelled")?,
    })
}
