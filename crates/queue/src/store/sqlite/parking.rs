//! Parked jobs: the secret by which one is answered for, the answer, and the deadline that passes without one.

use sqlx::Row;

use super::{
    SqliteStore,
    admin::find,
    connection::{Durability, Tx},
    ending::Ending,
    fault::fault,
    json, micros,
    settle::{self, PARKED, parked},
    tally::Place,
};
use crate::{
    Error, JobId, Resolution, Result, State,
    limits::{MAX_ERROR, MAX_OUTPUT, head, tail},
    store::{Expired, Resolve, Token},
};

/// Notes the digest of a running job's secret.
pub(super) async fn callback(tx: &mut Tx<'_>, id: JobId, token: Token, digest: &str) -> Result<()> {
    let done = sqlx::query(include_str!("callback.sql"))
        .bind(id.0)
        .bind(token.boot.0)
        .bind(token.claim)
        .bind(digest)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    if done.rows_affected() == 0 {
        return Err(Error::TakenAway(id));
    }
    Ok(())
}

/// Answers for a job.
pub(super) async fn resolve(tx: &mut Tx<'_>, id: JobId, digest: &str, answer: &Resolution) -> Result<Resolve> {
    let found = find(tx, id).await?;
    match found.place {
        Place::Parked => resolve_parked(tx, id, digest, answer).await.map(|()| Resolve::Done),
        Place::Running => resolve_early(tx, id, digest, answer).await.map(|()| Resolve::Early),
        _ => Err(Error::WrongState { id, state: found.state, wanted: "resolved" }),
    }
}

async fn resolve_parked(tx: &mut Tx<'_>, id: JobId, digest: &str, answer: &Resolution) -> Result<()> {
    let row = sqlx::query(include_str!("parked.sql")).bind(id.0).fetch_one(&mut **tx).await.map_err(fault)?;
    let job = parked(&row);
    if job.digest.as_deref() != Some(digest) {
        return Err(Error::WrongSecret(id));
    }
    if let Resolution::StillWaiting(wait) = answer {
        sqlx::query("UPDATE parked SET deadline = ?2 WHERE id = ?1")
            .bind(id.0)
            .bind(tx.now + micros(*wait))
            .execute(&mut **tx)
            .await
            .map_err(fault)?;
    }
    let ending = Ending::answered(job, answer.clone());
    settle::apply(tx, &PARKED, ending.into_iter().collect()).await
}

/// Keeps the answer until the job is parked.
async fn resolve_early(tx: &mut Tx<'_>, id: JobId, digest: &str, answer: &Resolution) -> Result<()> {
    let row = sqlx::query("SELECT digest, answer FROM running WHERE id = ?1")
        .bind(id.0)
        .fetch_one(&mut **tx)
        .await
        .map_err(fault)?;
    match row.get::<Option<&str>, _>(0) {
        None => return Err(Error::WrongState { id, state: State::Running, wanted: "resolved" }),
        Some(right) if right != digest => return Err(Error::WrongSecret(id)),
        Some(_) => {}
    }
    // One that this program cannot read is an answer all the same.
    let waits = |text: &str| matches!(serde_json::from_str(text), Ok(Resolution::StillWaiting(_)));
    if row.get::<Option<&str>, _>(1).is_some_and(|earlier| !waits(earlier)) {
        return Err(Error::Answered(id));
    }
    sqlx::query("UPDATE running SET answer = ?2 WHERE id = ?1")
        .bind(id.0)
        .bind(json(&fit(answer)))
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(())
}

/// No more of it than is kept in the end.
fn fit(answer: &Resolution) -> Resolution {
    match answer {
        Resolution::Completed { output } => {
            Resolution::Completed { output: output.as_deref().map(|output| head(output, MAX_OUTPUT).to_owned()) }
        }
        Resolution::Failed { error } => Resolution::Failed { error: tail(error, MAX_ERROR).to_owned() },
        Resolution::Retry { error, after } => {
            Resolution::Retry { error: tail(error, MAX_ERROR).to_owned(), after: *after }
        }
        Resolution::StillWaiting(wait) => Resolution::StillWaiting(*wait),
    }
}

/// Ends the wait of those whose deadline has passed.
pub(super) async fn expire(store: &SqliteStore, limit: u32) -> Result<Vec<Expired>> {
    // Looked at without the lock first: many ask, and it is rarely time.
    if limit == 0 || !store.read(is_overdue).await? {
        return Ok(Vec::new());
    }
    store
        .write(Durability::Process, async |tx| {
            let rows = sqlx::query(include_str!("overdue.sql")).bind(tx.now).bind(limit).fetch_all(&mut **tx).await;
            let endings: Vec<Ending> = rows.map_err(fault)?.iter().map(parked).map(Ending::expired).collect();
            let state = |ending: &Ending| match ending.place() {
                Some(Place::Ready) => State::Queued,
                _ => State::Failed,
            };
            let expired = endings.iter().map(|ending| Expired { id: ending.job.id, state: state(ending) }).collect();
            settle::apply(tx, &PARKED, endings).await?;
            Ok(expired)
        })
        .await
}

/// Whether there is one.
async fn is_overdue(tx: &mut Tx<'_>) -> Result<bool> {
    let row = sqlx::query("SELECT EXISTS (SELECT 1 FROM parked WHERE deadline <= ?1)").bind(tx.now);
    Ok(row.fetch_one(&mut **tx).await.map_err(fault)?.get(0))
}
