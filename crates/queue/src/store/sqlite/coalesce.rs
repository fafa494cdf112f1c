//! Coalesce keys: who holds one, who waits for its end, and how it goes from one to the next.
//!
//! A job carries its key in `extra`, which every move copies. That it holds the key is said by its row in `coalesce`.
//! Everything happens under the write lock, so a holder that is found waiting waits until the transaction is over.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Row;

use super::{
    connection::Tx,
    enqueue::allocate,
    fault::fault,
    json,
    settle::run,
    tally::{Lane, Place},
};
use crate::{Error, JobId, NewJob, Result, Scope};

/// What a job with a key carries in `extra`.
#[derive(Serialize)]
struct Extra<'a> {
    key: &'a str,
    scope: Scope,
}

/// What a new job carries in `extra`.
pub(super) fn extra(job: &NewJob) -> Option<String> {
    job.key.as_deref().map(|key| json(&Extra { key, scope: job.coalesce.scope }))
}

/// A job's key: its queue's, so that the same text in another queue is another key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(super) struct Key(pub(super) String, pub(super) String);

/// A key and the job that wants or holds it, as statements take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Claim(pub(super) String, pub(super) String, pub(super) JobId, pub(super) Scope);

/// Who holds a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) id: JobId,
    /// It has not started, or waits to run again: it takes in what comes.
    pub(super) waits: bool,
    /// The job that runs once it is over.
    pub(super) again: Option<JobId>,
    /// It may hold no key, and nobody took it away.
    pub(super) stale: bool,
}

/// Takes those keys that nobody holds; returns the jobs that have theirs now. Each key stands in it once.
async fn take(tx: &mut Tx<'_>, wanted: &[Claim]) -> Result<HashSet<JobId>> {
    let rows = sqlx::query(include_str!("take_keys.sql")).bind(json(wanted)).fetch_all(&mut **tx).await;
    Ok(rows.map_err(fault)?.iter().map(|row| JobId(row.get(0))).collect())
}

/// Who holds these keys.
async fn holders(tx: &mut Tx<'_>, keys: &[Key]) -> Result<Vec<(Key, Holder)>> {
    let rows = sqlx::query(include_str!("holders.sql")).bind(json(keys)).fetch_all(&mut **tx).await.map_err(fault)?;
    Ok(rows
        .iter()
        .map(|row| {
            let (waits, holds): (bool, bool) = (row.get(3), row.get(4));
            let again = row.get::<Option<i64>, _>(5).map(JobId);
            let holder = Holder { id: JobId(row.get(2)), waits, again, stale: !waits && !holds };
            (Key(row.get(0), row.get(1)), holder)
        })
        .collect())
}

/// Takes the keys where they are free, and says who holds the others. Each key stands in it once.
///
/// A holder that may hold none is made to let go: the release before this one ends jobs without that.
pub(super) async fn take_or_find(tx: &mut Tx<'_>, wanted: &[Claim]) -> Result<Vec<(Key, Holder)>> {
    let (mut found, mut wanted) = (Vec::new(), wanted.to_vec());
    while !wanted.is_empty() {
        let taken = take(tx, &wanted).await?;
        let (own, others): (Vec<Claim>, Vec<Claim>) = wanted.into_iter().partition(|claim| taken.contains(&claim.2));
        found.extend(own.into_iter().map(|claim| {
            let holder = Holder { id: claim.2, waits: true, again: None, stale: false };
            (Key(claim.0, claim.1), holder)
        }));
        if others.is_empty() {
            break;
        }
        let keys: Vec<Key> = others.iter().map(|claim| Key(claim.0.clone(), claim.1.clone())).collect();
        let (stale, held): (Vec<_>, Vec<_>) =
            holders(tx, &keys).await?.into_iter().partition(|(_, holder)| holder.stale);
        let over: Vec<_> = stale.into_iter().map(|(Key(queue, key), holder)| (queue, key, holder.id)).collect();
        let_go(tx, &over).await?;
        found.extend(held);
        wanted = others
            .into_iter()
            .filter(|claim| over.iter().any(|(queue, key, _)| (queue, key) == (&claim.0, &claim.1)))
            .collect();
    }
    Ok(found)
}

/// Takes the key for a job that is queued again by hand; refused when it is another's.
pub(super) async fn take_again(tx: &mut Tx<'_>, claim: Claim) -> Result<()> {
    let id = claim.2;
    match take_or_find(tx, &[claim]).await?.first() {
        Some((_, holder)) if holder.id != id => Err(Error::KeyTaken { id, holder: holder.id }),
        _ => Ok(()),
    }
}

/// Lets go of the keys of jobs that are over, as far as they hold them. What waited for that is let in; returns how many.
pub(super) async fn let_go(tx: &mut Tx<'_>, over: &[(String, String, JobId)]) -> Result<u64> {
    if over.is_empty() {
        return Ok(0);
    }
    let rows = sqlx::query(include_str!("let_go.sql")).bind(json(over)).fetch_all(&mut **tx).await.map_err(fault)?;
    let free: Vec<Key> = rows.iter().map(|row| Key(row.get(0), row.get(1))).collect();
    hand_over(tx, &free).await
}

/// Gives free keys to the jobs that wait for them, which thereby are held back no longer. Returns how many.
pub(super) async fn hand_over(tx: &mut Tx<'_>, free: &[Key]) -> Result<u64> {
    if free.is_empty() {
        return Ok(0);
    }
    let rows = sqlx::query(include_str!("waiting.sql")).bind(json(free)).fetch_all(&mut **tx).await.map_err(fault)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let first = allocate(tx, rows.len()).await?;
    let waiting: Vec<Unheld> = (first..)
        .zip(&rows)
        .map(|(seq, row)| Unheld {
            id: JobId(row.get(0)),
            seq,
            lane: Lane { queue: row.get(1), priority: row.get(2), kind: row.get(3) },
            run_at: row.get(4),
        })
        .collect();
    let moves: Vec<_> = waiting.iter().map(|job| (job.id, job.seq)).collect();
    run(tx, include_str!("hand_over.sql"), &moves).await?;
    unhold(tx, &waiting).await?;
    Ok(waiting.len() as u64)
}

/// A job that nothing holds back any more.
#[derive(Debug)]
pub(super) struct Unheld {
    pub(super) id: JobId,
    /// Its place in its lane from now on.
    pub(super) seq: i64,
    pub(super) lane: Lane,
    pub(super) run_at: i64,
}

/// Moves them out of `held`: claimable if they are due.
pub(super) async fn unhold(tx: &mut Tx<'_>, jobs: &[Unheld]) -> Result<()> {
    let (mut ready, mut later) = (Vec::new(), Vec::new());
    for job in jobs {
        let due = job.run_at <= tx.now;
        let change = tx.tally.lane(&job.lane);
        change.leave(Place::Held);
        change.enter(if due { Place::Ready } else { Place::Later });
        if due { &mut ready } else { &mut later }.push((job.id, job.seq));
    }
    run(tx, include_str!("unhold.sql"), &ready).await?;
    run(tx, include_str!("unhold_later.sql"), &later).await?;
    let all: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    run(tx, "DELETE FROM held WHERE id IN (SELECT value FROM json_each(?1))", &all).await
}
