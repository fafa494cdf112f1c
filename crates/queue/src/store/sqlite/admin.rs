//! By hand: cancel, retry, delete, one job or many, and the drains of workers.
//!
//! A move by id needs no second look here: in one transaction with the write lock a job is in one table, and stays.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    SqliteStore,
    coalesce::{self, Claim},
    connection::{Durability, Tx},
    drift,
    enqueue::allocate,
    fault::fault,
    json, micros, migrate, parking,
    scale::places,
    settings,
    settle::{self},
    tally::{Lane, Place},
};
use crate::{
    Error, JobId, Resolution, Result, Scope, Secret, State,
    store::{Acted, Action, Admin, BootId, Cancel, Difference, Filter, Grants, Resolve, Setting, Step, Target},
};

#[async_trait]
impl Admin for SqliteStore {
    async fn cancel(&self, id: JobId) -> Result<Cancel> {
        self.write(Durability::Full, async |tx| cancel(tx, id).await).await
    }

    async fn retry(&self, id: JobId) -> Result<()> {
        self.write(Durability::Full, async |tx| retry(tx, id).await).await
    }

    async fn resolve(&self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve> {
        resolution.check()?;
        let digest = secret.digest();
        self.write(Durability::Full, async |tx| parking::resolve(tx, id, &digest, resolution).await).await
    }

    async fn delete(&self, id: JobId) -> Result<()> {
        self.write(Durability::Full, async |tx| delete(tx, id).await).await
    }

    async fn act(&self, action: Action, filter: &Filter, limit: u32) -> Result<Acted> {
        act(self, action, filter, limit).await
    }

    async fn set(&self, target: &Target, setting: Setting) -> Result<()> {
        self.write(Durability::Full, async |tx| settings::set(tx, target, setting).await).await
    }

    async fn drain(&self, boots: &[BootId], by: &str, lease: Option<Duration>) -> Result<Vec<(BootId, i64)>> {
        self.write(Durability::Full, async |tx| {
            let until = lease.map(|lease| tx.now + micros(lease));
            drain(tx, &json(boots), by, until).await
        })
        .await
    }

    async fn recall(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        self.write(Durability::Full, async |tx| recall(tx, &json(boots)).await).await
    }

    async fn leave(&self, boot: BootId, drain: i64) -> Result<bool> {
        self.write(Durability::Full, async |tx| {
            places::end_drains(tx).await?;
            let done = sqlx::query(include_str!("leave.sql"))
                .bind(boot.0)
                .bind(drain)
                .bind(tx.now)
                .execute(&mut **tx)
                .await
                .map_err(fault)?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn stay(&self, boot: BootId) -> Result<bool> {
        self.write(Durability::Full, async |tx| {
            places::end_drains(tx).await?;
            let done = sqlx::query(include_str!("stay.sql")).bind(boot.0).execute(&mut **tx).await.map_err(fault)?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    async fn migrate(&self) -> Result<i64> {
        self.within(migrate::migrate(self)).await
    }

    /// None: opening the store has migrated it.
    async fn plan(&self) -> Result<Vec<Step>> {
        self.check_version().await?;
        Ok(Vec::new())
    }

    async fn drift(&self) -> Result<Vec<Difference>> {
        drift::drift(self).await
    }

    async fn grant(&self, _: &Grants) -> Result<()> {
        Err(Error::Rejected(
            "an SQLite store has no roles: whoever may write its file may do everything; set the file's permissions"
                .into(),
        ))
    }

    async fn check_version(&self) -> Result<()> {
        self.within(migrate::check_version(self)).await
    }
}

/// Drains the places of these workers; those without one are drained for themselves.
async fn drain(tx: &mut Tx<'_>, boots: &str, by: &str, until: Option<i64>) -> Result<Vec<(BootId, i64)>> {
    places::end_drains(tx).await?;
    let rows = sqlx::query(include_str!("places_of.sql")).bind(boots).fetch_all(&mut **tx).await.map_err(fault)?;
    let of: Vec<_> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    places::drain(tx, &of, by, until).await?;
    sqlx::query(include_str!("drain.sql"))
        .bind(boots)
        .bind(by)
        .bind(until)
        .bind(tx.now)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    let rows = sqlx::query(include_str!("drained.sql")).bind(boots).fetch_all(&mut **tx).await.map_err(fault)?;
    Ok(rows.iter().map(|row| (BootId(row.get(0)), row.get(1))).collect())
}

/// Lets these workers claim again, and whoever else drains at their places.
async fn recall(tx: &mut Tx<'_>, boots: &str) -> Result<Vec<BootId>> {
    places::end_drains(tx).await?;
    let rows = sqlx::query(include_str!("recall.sql")).bind(boots).fetch_all(&mut **tx).await.map_err(fault)?;
    let place = |row: &SqliteRow| row.get::<Option<String>, _>(1).zip(row.get::<Option<String>, _>(2));
    places::end(tx, &rows.iter().filter_map(place).collect::<Vec<_>>()).await?;
    Ok(rows.iter().map(|row| BootId(row.get(0))).collect())
}

/// Where a job is, and which counters count it there.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) state: State,
    pub(super) lane: Lane,
    /// Its coalesce key, and for how long it holds that.
    key: Option<(String, Scope)>,
}

impl Found {
    /// Lets go of the job's key, since it is over.
    async fn let_go(self, tx: &mut Tx<'_>, id: JobId) -> Result<()> {
        match self.key {
            Some((key, _)) => coalesce::let_go(tx, &[(self.lane.queue, key, id)]).await.map(drop),
            None => Ok(()),
        }
    }
}

pub(super) async fn find(tx: &mut Tx<'_>, id: JobId) -> Result<Found> {
    let row = sqlx::query(include_str!("find.sql")).bind(id.0).fetch_optional(&mut **tx).await.map_err(fault)?;
    let row = row.ok_or(Error::NotFound(id))?;
    let state: State = row.get::<&str, _>(1).parse().expect("the statement has only the names of states");
    let place = match row.get::<&str, _>(0) {
        "ready" => Place::Ready,
        "held" => Place::Held,
        "suspect" => Place::Suspect,
        "later" => Place::Later,
        "running" => Place::Running,
        "parked" => Place::Parked,
        _ => Place::Finished(state),
    };
    let lane = Lane { queue: row.get(2), priority: row.get(3), kind: row.get(4) };
    let key = row.get::<Option<String>, _>(5).map(|key| (key, settle::scope(&row, 6)));
    Ok(Found { place, state, lane, key })
}

/// Runs statements that take the id as `?1`, now as `?2` and a number of their own as `?3`.
async fn run(tx: &mut Tx<'_>, id: JobId, number: i64, statements: &[&'static str]) -> Result<()> {
    for statement in statements {
        sqlx::query(*statement).bind(id.0).bind(tx.now).bind(number).execute(&mut **tx).await.map_err(fault)?;
    }
    Ok(())
}

async fn cancel(tx: &mut Tx<'_>, id: JobId) -> Result<Cancel> {
    let found = find(tx, id).await?;
    let statements = match found.place {
        Place::Ready => [include_str!("cancel_ready.sql"), "DELETE FROM ready WHERE id = ?1"],
        Place::Held | Place::Suspect => [include_str!("cancel_held.sql"), "DELETE FROM held WHERE id = ?1"],
        Place::Later => [include_str!("cancel_later.sql"), "DELETE FROM later WHERE id = ?1"],
        Place::Parked => [include_str!("cancel_parked.sql"), "DELETE FROM parked WHERE id = ?1"],
        Place::Running => {
            run(tx, id, 0, &["UPDATE running SET cancel_at = coalesce(cancel_at, ?2) WHERE id = ?1"]).await?;
            return Ok(Cancel::Asked);
        }
        Place::Finished(_) => return Err(Error::WrongState { id, state: found.state, wanted: "cancelled" }),
    };
    run(tx, id, 0, &statements).await?;
    let change = tx.tally.lane(&found.lane);
    change.leave(found.place);
    change.enter(Place::Finished(State::Cancelled));
    found.let_go(tx, id).await?;
    Ok(Cancel::Done)
}

async fn retry(tx: &mut Tx<'_>, id: JobId) -> Result<()> {
    let found = find(tx, id).await?;
    if !matches!(found.state, State::Failed | State::Cancelled) {
        return Err(Error::WrongState { id, state: found.state, wanted: "retried" });
    }
    if let Some((key, scope)) = &found.key {
        coalesce::take_again(tx, Claim(found.lane.queue.clone(), key.clone(), id, *scope)).await?;
    }
    let seq = allocate(tx, 1).await?;
    let removes = ["DELETE FROM finished WHERE id = ?1", "DELETE FROM body WHERE job = ?1 AND part = 'output'"];
    run(tx, id, seq, &[include_str!("retry.sql"), removes[0], removes[1]]).await?;
    let change = tx.tally.lane(&found.lane);
    change.leave(found.place);
    change.enter(Place::Ready);
    Ok(())
}

async fn delete(tx: &mut Tx<'_>, id: JobId) -> Result<()> {
    let found = find(tx, id).await?;
    let statement = match found.place {
        Place::Ready => "DELETE FROM ready WHERE id = ?1",
        Place::Held | Place::Suspect => "DELETE FROM held WHERE id = ?1",
        Place::Later => "DELETE FROM later WHERE id = ?1",
        Place::Parked => "DELETE FROM parked WHERE id = ?1",
        Place::Finished(_) => "DELETE FROM finished WHERE id = ?1",
        Place::Running => return Err(Error::WrongState { id, state: found.state, wanted: "deleted" }),
    };
    run(tx, id, 0, &[statement]).await?;
    settle::forget(tx, &[id]).await?;
    tx.tally.lane(&found.lane).leave(found.place);
    found.let_go(tx, id).await
}

/// The most jobs that are acted on in one transaction, so that no other writer waits for long.
const PASS: u32 = 1000;

async fn act(store: &SqliteStore, action: Action, filter: &Filter, limit: u32) -> Result<Acted> {
    let limit = limit.min(PASS);
    let states = |state: &State| filter.states.is_empty() || filter.states.contains(state);
    let states: Vec<State> = action.states().iter().copied().filter(states).collect();
    if states.is_empty() {
        return Ok(Acted::default());
    }
    // The filter may have to walk over everything: that is no time to hold the lock.
    let filter = Filter { states, ..filter.clone() };
    let found = store.read(async |tx| super::find::find(tx, &filter, limit).await).await?;
    if found.is_empty() {
        return Ok(Acted::default());
    }
    store
        .write(Durability::Full, async |tx| {
            let mut done = Vec::new();
            for &id in &found {
                if act_on(tx, action, &filter.states, id).await? {
                    done.push(id);
                }
            }
            Ok(Acted { done, last: found.last().copied().filter(|_| found.len() == limit as usize) })
        })
        .await
}

/// Does it to one job; `false` if it is not in one of these states any more, or its key is taken.
async fn act_on(tx: &mut Tx<'_>, action: Action, states: &[State], id: JobId) -> Result<bool> {
    let found = match find(tx, id).await {
        Err(Error::NotFound(_)) => return Ok(false),
        found => found?,
    };
    if !states.contains(&found.state) {
        return Ok(false);
    }
    let done = match action {
        Action::Cancel if found.place == Place::Running => {
            let asked = sqlx::query("UPDATE running SET cancel_at = ?2 WHERE id = ?1 AND cancel_at IS NULL")
                .bind(id.0)
                .bind(tx.now)
                .execute(&mut **tx)
                .await;
            return Ok(asked.map_err(fault)?.rows_affected() > 0);
        }
        Action::Cancel => cancel(tx, id).await.map(drop),
        Action::Retry => retry(tx, id).await,
        Action::Delete => delete(tx, id).await,
    };
    match done {
        Err(Error::KeyTaken { .. }) => Ok(false),
        done => done.map(|()| true),
    }
}
