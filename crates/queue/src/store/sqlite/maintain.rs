//! Keeping the store in order: promotion, retention, the counters' audit, and the jobs of the dead.
//!
//! The write lock is the duty: whoever holds it is the only one who does anything.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;

use super::{
    SqliteStore, coalesce,
    connection::{Durability, Tx},
    ending::Ending,
    enqueue::allocate,
    fault::fault,
    json, micros,
    observe::until,
    parking,
    queues::depth,
    release,
    scale::ledger,
    settle::{self, RUNNING},
    tally::{Lane, Place},
    worker::horizon,
};
use crate::{
    JobId, Result,
    store::{BootId, Drift, Expired, Maintain, Promoted, Rescued},
};

/// How long the counters of each minute are remembered: a week, and a day to look back from its beginning.
const HISTORY: Duration = Duration::from_hours(8 * 24);

#[async_trait]
impl Maintain for SqliteStore {
    async fn promote(&self, limit: u32) -> Result<Promoted> {
        // Looked at without the lock first: many ask, and it is rarely time.
        let waits = self.read(async |tx| next_due(tx).await).await?;
        if limit == 0 || waits != Some(Duration::ZERO) {
            return Ok(Promoted { jobs: 0, next_due: waits });
        }
        self.write(Durability::Process, async |tx| {
            let jobs = promote(tx, limit).await?;
            Ok(Promoted { jobs, next_due: next_due(tx).await? })
        })
        .await
    }

    /// There is nothing to fold: the counters are kept in place.
    async fn fold(&self) -> Result<u64> {
        Ok(0)
    }

    async fn release(&self, limit: u32) -> Result<u64> {
        release::release(self, limit).await
    }

    async fn expire(&self, limit: u32) -> Result<Vec<Expired>> {
        parking::expire(self, limit).await
    }

    async fn purge(&self, limit: u32) -> Result<u64> {
        self.write(Durability::Process, async |tx| purge(tx, limit).await).await
    }

    async fn audit(&self) -> Result<Vec<Drift>> {
        self.write(Durability::Process, async |tx| audit(tx).await).await
    }

    async fn mark_dead(&self, window: Duration) -> Result<Vec<BootId>> {
        self.write(Durability::Full, async |tx| {
            let horizon = horizon(tx, window);
            let rows = sqlx::query(include_str!("mark_dead.sql")).bind(horizon).fetch_all(&mut **tx).await;
            Ok(rows.map_err(fault)?.iter().map(|row| BootId(row.get(0))).collect())
        })
        .await
    }

    async fn bury(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        let boots = json(boots);
        self.write(Durability::Full, async |tx| {
            let rows = sqlx::query(include_str!("bury.sql")).bind(&boots).fetch_all(&mut **tx).await;
            Ok(rows.map_err(fault)?.iter().map(|row| BootId(row.get(0))).collect())
        })
        .await
    }

    async fn rescue_dead(&self, blame: bool) -> Result<Vec<Rescued>> {
        self.write(Durability::Full, async |tx| rescue_dead(tx, blame).await).await
    }
}

async fn next_due(tx: &mut Tx<'_>) -> Result<Option<Duration>> {
    let row = sqlx::query("SELECT run_at FROM later ORDER BY run_at LIMIT 1").fetch_optional(&mut **tx).await;
    Ok(row.map_err(fault)?.map(|row| until(tx.now, row.get(0))))
}

async fn promote(tx: &mut Tx<'_>, limit: u32) -> Result<u64> {
    let rows = sqlx::query(include_str!("due.sql")).bind(tx.now).bind(limit).fetch_all(&mut **tx).await;
    let due = rows.map_err(fault)?;
    if due.is_empty() {
        return Ok(0);
    }
    let first = allocate(tx, due.len()).await?;
    let mut moves: Vec<(i64, i64)> = Vec::with_capacity(due.len());
    for (seq, row) in (first..).zip(&due) {
        moves.push((row.get(0), seq));
        let lane = Lane { queue: row.get(1), priority: row.get(2), kind: row.get(3) };
        let change = tx.tally.lane(&lane);
        change.leave(Place::Later);
        change.enter(Place::Ready);
        change.flow.promoted += 1;
    }
    let moves = json(&moves);
    for statement in
        [include_str!("promote.sql"), "DELETE FROM later WHERE id IN (SELECT value ->> 0 FROM json_each(?1))"]
    {
        sqlx::query(statement).bind(&moves).execute(&mut **tx).await.map_err(fault)?;
    }
    Ok(due.len() as u64)
}

async fn purge(tx: &mut Tx<'_>, limit: u32) -> Result<u64> {
    let rows = sqlx::query(include_str!("purge.sql")).bind(tx.now).bind(limit).fetch_all(&mut **tx).await;
    let (mut gone, mut keys) = (Vec::new(), Vec::new());
    for row in rows.map_err(fault)? {
        let lane = Lane { queue: row.get(1), priority: row.get(2), kind: row.get(3) };
        let state = row.get::<&str, _>(4).parse().expect("the table's constraint allows only the names of states");
        tx.tally.lane(&lane).leave(Place::Finished(state));
        let id = JobId(row.get(0));
        keys.extend(row.get::<Option<String>, _>(5).map(|key| (lane.queue, key, id)));
        gone.push(id);
    }
    settle::forget(tx, &gone).await?;
    coalesce::let_go(tx, &keys).await?;
    sqlx::query(include_str!("forget_history.sql"))
        .bind(tx.now - micros(HISTORY))
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    ledger::forget(tx).await?;
    forget_dead(tx).await?;
    Ok(gone.len() as u64)
}

/// Dead workers that own nothing.
async fn forget_dead(tx: &mut Tx<'_>) -> Result<()> {
    sqlx::query(include_str!("forget_dead.sql")).execute(&mut **tx).await.map_err(fault)?;
    Ok(())
}

async fn audit(tx: &mut Tx<'_>) -> Result<Vec<Drift>> {
    let rows = sqlx::query(include_str!("recount.sql")).fetch_all(&mut **tx).await.map_err(fault)?;
    let mut drifts = Vec::new();
    for row in &rows {
        let lane = Lane { queue: row.get("queue"), priority: row.get("priority"), kind: row.get("kind") };
        let counted = sqlx::query(include_str!("counted.sql"))
            .bind(&lane.queue)
            .bind(lane.priority)
            .bind(&lane.kind)
            .fetch_optional(&mut **tx)
            .await
            .map_err(fault)?
            .as_ref()
            .map(depth)
            .unwrap_or_default();
        let actual = depth(row);
        if counted != actual {
            let depth = &mut tx.tally.lane(&lane).depth;
            depth.ready = actual.ready - counted.ready;
            depth.scheduled = actual.scheduled - counted.scheduled;
            depth.held = actual.held - counted.held;
            depth.suspects = actual.suspects - counted.suspects;
            depth.running = actual.running - counted.running;
            depth.parked = actual.parked - counted.parked;
            depth.completed = actual.completed - counted.completed;
            depth.failed = actual.failed - counted.failed;
            depth.cancelled = actual.cancelled - counted.cancelled;
            drifts.push(Drift { queue: lane.queue, priority: lane.priority, kind: lane.kind, counted, actual });
        }
    }
    Ok(drifts)
}

async fn rescue_dead(tx: &mut Tx<'_>, blame: bool) -> Result<Vec<Rescued>> {
    let dead = sqlx::query("SELECT boot FROM worker WHERE state = 'dead'").fetch_all(&mut **tx).await.map_err(fault)?;
    let (mut rescued, mut endings) = (Vec::new(), Vec::new());
    for boot in dead.iter().map(|row| BootId(row.get(0))) {
        for held in settle::owned(tx, boot).await? {
            let id = held.job.id;
            let (ending, rescue) = Ending::of_the_dead(held, blame);
            endings.push(ending);
            rescued.push(Rescued { id, boot, rescue });
        }
    }
    settle::apply(tx, &RUNNING, endings).await?;
    forget_dead(tx).await?;
    Ok(rescued)
}
