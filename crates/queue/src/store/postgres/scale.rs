//! What a scaler keeps: who acts, which pools there are, which places are drained, what was decided.
//!
//! Every write under a lease is a transaction that begins with `scale/fence.sql`, which holds the lease's row to its end:
//! whoever takes the lease over comes after it.

mod lease;
pub(super) mod places;
mod pools;
mod ledger;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use self::places::Places;
use super::{
    PostgresStore, above_all, column,
    connection::{Fault, Line, transact},
    millis,
    observe::Asked,
};
use crate::{
    Binding, Error, Json, Result,
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
impl Scale for PostgresStore {
    async fn lease(&self, lease: &str, holder: &str, length: Duration) -> Result<Lease> {
        self.take_lease(lease, holder, length).await
    }

    async fn release_lease(&self, fence: &Fence) -> Result<()> {
        let release = &self.statements.release_lease;
        let rows = self.ask(release, |query| query.bind(fence.lease.clone()).bind(fence.epoch)).await?;
        if rows.is_empty() { Err(Error::Superseded) } else { Ok(()) }
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>> {
        let rows = self.ask(&self.statements.leases, |query| query.bind(None::<String>)).await?;
        rows.iter().map(lease::record).collect()
    }

    async fn publish(&self, fence: &Fence, pools: &[NewPool]) -> Result<()> {
        transact!(self.connections, line => {
            self.fenced(&mut line, fence, None).await?;
            self.published(&mut line, &fence.lease, pools).await?;
        })
    }

    async fn pools(&self, name: Option<&str>) -> Result<Vec<PoolRecord>> {
        self.known_pools(name).await
    }

    async fn order(&self, pool: &str, by: &str, order: &Override) -> Result<()> {
        self.ordered(pool, by, order).await
    }

    async fn withhold(&self, fence: &Fence, pool: &str, instances: &[String], lease: Duration) -> Result<Vec<i64>> {
        let places = Places::of(pool, instances);
        let numbers = transact!(self.connections, line => {
            let holder = self.fenced(&mut line, fence, Some(pool)).await?;
            self.drain_places(&mut line, &places, &holder, Some(lease)).await?
        });
        Ok(places.in_order(&numbers?))
    }

    async fn restore(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<Vec<BootId>> {
        let places = Places::of(pool, instances);
        transact!(self.connections, line => {
            self.fenced(&mut line, fence, Some(pool)).await?;
            self.restored(&mut line, &places).await?
        })
    }

    async fn let_go(&self, fence: &Fence, pool: &str, instance: &str, epoch: i64, lease: Duration) -> Result<bool> {
        let place = Places::of(pool, &[instance.to_owned()]);
        transact!(self.connections, line => {
            self.fenced(&mut line, fence, Some(pool)).await?;
            self.let_place_go(&mut line, &place, epoch, lease).await?
        })
    }

    async fn keep(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        let places = Places::of(pool, instances);
        transact!(self.connections, line => {
            self.fenced(&mut line, fence, Some(pool)).await?;
            self.kept(&mut line, &places).await?;
        })
    }

    async fn forget(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        let places = Places::of(pool, instances);
        transact!(self.connections, line => {
            self.fenced(&mut line, fence, Some(pool)).await?;
            line.rows(places.bind(&self.statements.forget_places)).await?;
        })
    }

    async fn record(&self, fence: &Fence, decisions: &[NewDecision]) -> Result<()> {
        transact!(self.connections, line => {
            self.fenced(&mut line, fence, None).await?;
            self.recorded(&mut line, decisions).await?;
        })
    }

    async fn remember(&self, fence: &Fence, states: &[(String, Json)]) -> Result<()> {
        transact!(self.connections, line => {
            self.fenced(&mut line, fence, None).await?;
            self.remembered(&mut line, states.iter().map(|(pool, state)| (pool, state))).await?;
        })
    }

    async fn ledger(&self, pool: Option<&str>, at: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<Decided>> {
        let rows = match pool {
            Some(pool) => {
                let ledger = &self.statements.ledger_of;
                self.ask(ledger, |query| query.bind(at).bind(i64::from(limit)).bind(pool.to_owned())).await?
            }
            None => self.ask(&self.statements.ledger, |query| query.bind(at).bind(i64::from(limit))).await?,
        };
        rows.iter().map(ledger::decided).collect()
    }

    async fn waiting(&self, queues: &[Binding]) -> Result<Vec<Waiting>> {
        let ranges = Ranges::of(queues);
        let rows = self.ask(&self.statements.waiting, |query| ranges.bind(query).bind(queues.len() as i32)).await?;
        let mut waiting = vec![Waiting::default(); queues.len()];
        for row in &rows {
            waiting[column::<i32>(row, "n")? as usize - 1] =
                Waiting { ready: column(row, "ready")?, due: column(row, "due")?, suspects: column(row, "suspects")? };
        }
        Ok(waiting)
    }

    async fn long_runs(&self, age: Duration) -> Result<Vec<LongRun>> {
        let statement = &self.statements.long_runs;
        let rows = self.ask(statement, |query| query.bind(millis(age)).bind(LONG_RUNS)).await?;
        let run = |row| {
            let age = Duration::from_millis(column::<i64>(row, "ms")?.max(0) as u64);
            Ok(LongRun { boot: BootId(column(row, "boot")?), kind: column(row, "kind")?, age })
        };
        rows.iter().map(run).collect()
    }

    async fn known(&self, asked: &[(Binding, Duration)]) -> Result<Vec<Vec<Known>>> {
        let ranges = Ranges::of(asked.iter().map(|(queues, _)| queues));
        let within: Vec<i64> = asked.iter().map(|(_, within)| millis(*within)).collect();
        let statement = &self.statements.known;
        let rows =
            self.ask(statement, |query| ranges.bind(query).bind(within.clone()).bind(STEPS).bind(COUNTED)).await?;
        let mut known = vec![Vec::new(); asked.len()];
        for row in &rows {
            let step = Known { at: column(row, "at")?, count: column::<i64>(row, "jobs")? as u64 };
            known[column::<i32>(row, "n")? as usize - 1].push(step);
        }
        Ok(known)
    }

    /// Those of the server itself, also behind a pooler, which may keep fewer.
    async fn connections(&self) -> Result<Option<Connections>> {
        let rows = self.ask(&self.statements.connections, |query| query).await?;
        let count = |name| column::<i64>(&rows[0], name).map(|count| count.max(0) as u32);
        Ok(Some(Connections { max: count("max")?, used: count("used")? }))
    }
}

/// The ranges of names of several bindings, for a statement: whose each is, from 1, where it begins, where it ends.
#[derive(Default)]
struct Ranges {
    of: Vec<i32>,
    begin: Vec<String>,
    end: Vec<String>,
}

impl Ranges {
    fn of<'b>(bindings: impl IntoIterator<Item = &'b Binding>) -> Self {
        let mut ranges = Self::default();
        for (n, binding) in (1..).zip(bindings) {
            for range in binding.ranges() {
                ranges.of.push(n);
                ranges.begin.push(range.start);
                ranges.end.push(range.end.unwrap_or_else(above_all));
            }
        }
        ranges
    }

    fn bind<'q>(&self, query: Asked<'q>) -> Asked<'q> {
        query.bind(self.of.clone()).bind(self.begin.clone()).bind(self.end.clone())
    }
}

impl PostgresStore {
    /// Begins a write of the lease's holder, whom it names; an error if the fence no longer stands. `pool`: the one whose
    /// workers or places it is about.
    async fn fenced(&self, line: &mut Line<'_>, fence: &Fence, pool: Option<&str>) -> Result<String, Fault> {
        let query = sqlx::query(self.statements.fence.clone()).bind(&fence.lease).bind(fence.epoch).bind(pool);
        let rows = line.rows(query).await?;
        let held = rows.first().ok_or(Error::Superseded)?;
        Ok(column(held, "holder")?)
    }
}
