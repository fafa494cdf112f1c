//! Held jobs whose hour has come, jobs of paused kinds out of the way, and keys that nobody let go.

use sqlx::Row;

use super::{
    SqliteStore,
    coalesce::{self, Key, Unheld},
    connection::{Durability, Tx},
    fault::fault,
    settle::run,
    tally::{Lane, Place},
};
use crate::{JobId, Result};

/// How many coalesce keys a pass looks at: the next one goes on from there.
const KEYS: u32 = 1000;

pub(super) async fn release(store: &SqliteStore, limit: u32) -> Result<u64> {
    let seen = store.keys_seen.lock().expect("nobody panics while holding it").clone();
    // Looked at without the lock first: many ask, and there is rarely anything to do.
    let (idle, next) = store
        .read(async |tx| {
            let (stale, next) = stale(tx, &seen).await?;
            let idle = stale.is_empty()
                && forgotten(tx, 1).await?.is_empty()
                && paused(tx, 1).await?.is_empty()
                && resumed(tx, 1).await?.is_empty();
            Ok((idle, next))
        })
        .await?;
    let mut released = 0;
    if !idle && limit > 0 {
        released = store
            .write(Durability::Process, async |tx| {
                let (over, _) = stale(tx, &seen).await?;
                let mut again = coalesce::let_go(tx, &over).await?;
                let free = forgotten(tx, limit).await?;
                again += coalesce::hand_over(tx, &free).await?;
                hold_paused(tx, limit).await?;
                let rest = limit.saturating_sub(u32::try_from(again).unwrap_or(limit));
                Ok(again + resume(tx, rest).await?)
            })
            .await?;
    }
    *store.keys_seen.lock().expect("nobody panics while holding it") = next;
    Ok(released)
}

/// Keys whose holder may hold none, among the next after this one; and where to go on.
async fn stale(tx: &mut Tx<'_>, after: &(String, String)) -> Result<(Vec<(String, String, JobId)>, (String, String))> {
    let rows = sqlx::query(include_str!("stale_keys.sql"))
        .bind(&after.0)
        .bind(&after.1)
        .bind(KEYS)
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?;
    let stale = rows.iter().filter(|row| row.get(3)).map(|row| (row.get(0), row.get(1), JobId(row.get(2)))).collect();
    let next = rows.last().filter(|_| rows.len() == KEYS as usize).map(|row| (row.get(0), row.get(1)));
    Ok((stale, next.unwrap_or_default()))
}

/// Keys that nobody holds and for which jobs wait.
async fn forgotten(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<Key>> {
    let rows = sqlx::query(include_str!("forgotten.sql")).bind(limit).fetch_all(&mut **tx).await.map_err(fault)?;
    Ok(rows.iter().map(|row| Key(row.get(0), row.get(1))).collect())
}

/// Claimable jobs whose kind is paused.
async fn paused(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<(JobId, Lane)>> {
    let rows = sqlx::query(include_str!("paused.sql")).bind(limit).fetch_all(&mut **tx).await.map_err(fault)?;
    let lane = |row: &sqlx::sqlite::SqliteRow| Lane { queue: row.get(1), priority: row.get(2), kind: row.get(3) };
    Ok(rows.iter().map(|row| (JobId(row.get(0)), lane(row))).collect())
}

/// Jobs that were held since their kind was paused, and is no longer.
async fn resumed(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<Unheld>> {
    let rows = sqlx::query(include_str!("resumed.sql")).bind(limit).fetch_all(&mut **tx).await.map_err(fault)?;
    let job = |row: &sqlx::sqlite::SqliteRow| Unheld {
        id: JobId(row.get(0)),
        lane: Lane { queue: row.get(1), priority: row.get(2), kind: row.get(3) },
        run_at: row.get(4),
        seq: row.get(5),
    };
    Ok(rows.iter().map(job).collect())
}

/// Takes jobs of paused kinds out of the claims' way.
pub(super) async fn hold_paused(tx: &mut Tx<'_>, limit: u32) -> Result<()> {
    let jobs = paused(tx, limit).await?;
    for (_, lane) in &jobs {
        let change = tx.tally.lane(lane);
        change.leave(Place::Ready);
        change.enter(Place::Held);
    }
    let ids: Vec<JobId> = jobs.into_iter().map(|(id, _)| id).collect();
    run(tx, include_str!("hold_paused.sql"), &ids).await?;
    run(tx, "DELETE FROM ready WHERE id IN (SELECT value FROM json_each(?1))", &ids).await
}

/// Puts jobs whose kind is paused no longer back into their places. Returns how many.
pub(super) async fn resume(tx: &mut Tx<'_>, limit: u32) -> Result<u64> {
    let jobs = resumed(tx, limit).await?;
    coalesce::unhold(tx, &jobs).await?;
    Ok(jobs.len() as u64)
}
