//! What a scaler keeps: who acts, which pools there are, which places are drained, what was decided.

mod lease;
pub(super) mod places;
mod pools;
pub(super) mod ledger;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row, sqlite::SqliteRow};

use self::places::Place;
use super::{
    SqliteStore,
    connection::{Durability, Tx},
    fault::fault,
    micros, ranges, time,
};
use crate::{
    Binding, Json, Result,
    store::{
        BootId, Connections, Decided, Fence, Known, Lease, LeaseRecord, LongRun, NewDecision, NewPool, Override,
        PoolRecord, Scale, Waiting,
    },
};

/// How many steps [`Scale::known`] has.
const STEPS: i64 = 60;

/// How many jobs it counts.
const COUNTED: i64 = 100_000;

/// How many jobs [`Scale::long_runs`] shows.
const LONG_RUNS: i64 = 10_000;

#[async_trait]
impl Scale for SqliteStore {
    async fn lease(&self, lease: &str, holder: &str, length: Duration) -> Result<Lease> {
        self.write(Durability::Full, async |tx| lease::take(tx, lease, holder, length).await).await
    }

    async fn release_lease(&self, fence: &Fence) -> Result<()> {
        self.under(fence, async |tx, _| lease::release(tx, fence).await).await
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>> {
        self.read(async |tx| lease::leases(tx).await).await
    }

    async fn publish(&self, fence: &Fence, pools: &[NewPool]) -> Result<()> {
        self.under(fence, async |tx, _| pools::publish(tx, &fence.lease, pools).await).await
    }

    async fn pools(&self, name: Option<&str>) -> Result<Vec<PoolRecord>> {
        self.read(async |tx| pools::pools(tx, name).await).await
    }

    async fn order(&self, pool: &str, by: &str, order: &Override) -> Result<()> {
        self.write(Durability::Full, async |tx| pools::order(tx, pool, by, order).await).await
    }

    async fn withhold(&self, fence: &Fence, pool: &str, instances: &[String], lease: Duration) -> Result<Vec<i64>> {
        let places = named(pool, instances);
        self.under(fence, async |tx, holder| {
            let until = tx.now + micros(lease);
            places::drain(tx, &places, holder, Some(until)).await
        })
        .await
    }

    async fn restore(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<Vec<BootId>> {
        let places = named(pool, instances);
        self.under(fence, async |tx, _| places::restore(tx, &places).await).await
    }

    async fn let_go(&self, fence: &Fence, pool: &str, instance: &str, epoch: i64, lease: Duration) -> Result<bool> {
        let place = (pool.to_owned(), instance.to_owned());
        self.under(fence, async |tx, _| {
            let until = tx.now + micros(lease);
            places::let_go(tx, &place, epoch, until).await
        })
        .await
    }

    async fn keep(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        let places = named(pool, instances);
        self.under(fence, async |tx, _| places::keep(tx, &places).await).await
    }

    async fn forget(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        let places = named(pool, instances);
        self.under(fence, async |tx, _| places::forget(tx, &places).await).await
    }

    async fn record(&self, fence: &Fence, decisions: &[NewDecision]) -> Result<()> {
        self.under(fence, async |tx, _| ledger::record(tx, decisions).await).await
    }

    async fn remember(&self, fence: &Fence, states: &[(String, Json)]) -> Result<()> {
        self.under(fence, async |tx, _| {
            for (pool, state) in states {
                ledger::remember(tx, pool, state).await?;
            }
            Ok(())
        })
        .await
    }

    async fn ledger(&self, pool: Option<&str>, at: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<Decided>> {
        self.read(async |tx| ledger::ledger(tx, pool, at, limit).await).await
    }

    async fn waiting(&self, queues: &[Binding]) -> Result<Vec<Waiting>> {
        self.read(async |tx| {
            let mut all = Vec::with_capacity(queues.len());
            for queues in queues {
                all.push(waiting(tx, &ranges(queues)).await?);
            }
            Ok(all)
        })
        .await
    }

    async fn long_runs(&self, age: Duration) -> Result<Vec<LongRun>> {
        self.read(async |tx| {
            let statement = include_str!("scale/long_runs.sql");
            let rows = sqlx::query(statement).bind(tx.now - micros(age)).bind(LONG_RUNS).fetch_all(&mut **tx).await;
            let run = |row: &SqliteRow| LongRun {
                boot: BootId(row.get(0)),
                kind: row.get(1),
                age: Duration::from_micros((tx.now - row.get::<i64, _>(2)).max(0) as u64),
            };
            Ok(rows.map_err(fault)?.iter().map(run).collect())
        })
        .await
    }

    async fn known(&self, asked: &[(Binding, Duration)]) -> Result<Vec<Vec<Known>>> {
        self.read(async |tx| {
            let mut all = Vec::with_capacity(asked.len());
            for (queues, within) in asked {
                all.push(known(tx, &ranges(queues), *within).await?);
            }
            Ok(all)
        })
        .await
    }

    /// None: whoever may open the file may read it.
    async fn connections(&self) -> Result<Option<Connections>> {
        Ok(None)
    }
}

impl SqliteStore {
    /// A write of the lease's holder, who is named to it. It finds only drains that are in force.
    async fn under<T>(&self, fence: &Fence, work: impl AsyncFnOnce(&mut Tx<'_>, &str) -> Result<T>) -> Result<T> {
        self.write(Durability::Full, async |tx| {
            let holder = lease::check(tx, fence).await?;
            places::end_drains(tx).await?;
            work(tx, &holder).await
        })
        .await
    }
}

fn named(pool: &str, instances: &[String]) -> Vec<Place> {
    instances.iter().map(|instance| (pool.to_owned(), instance.clone())).collect()
}

async fn waiting(tx: &mut Tx<'_>, queues: &str) -> Result<Waiting> {
    let row = sqlx::query(include_str!("scale/waiting.sql")).bind(queues).bind(tx.now).fetch_one(&mut **tx).await;
    let row = row.map_err(fault)?;
    Ok(Waiting { ready: row.get(0), due: row.get(1), suspects: row.get(2) })
}

async fn known(tx: &mut Tx<'_>, queues: &str, within: Duration) -> Result<Vec<Known>> {
    let within = micros(within);
    let (now, end) = (tx.now, tx.now + within);
    // Rounded up: sixty of them reach the end.
    let step = ((within + STEPS - 1) / STEPS).max(1);
    let rows = sqlx::query(include_str!("scale/known.sql"))
        .bind(queues)
        .bind(now)
        .bind(step)
        .bind(end)
        .bind(COUNTED)
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?;
    let at = |n: i64| time((now + n * step).min(end));
    Ok(rows.iter().map(|row| Known { at: at(row.get(0)), count: row.get::<i64, _>(1) as u64 }).collect())
}
