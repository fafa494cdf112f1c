//! Attempts end: what [`ending`](super::ending) decides is written by a few statements for all of them.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    coalesce,
    connection::Tx,
    ending::{Ending, Fate, Job, ParkedJob, RunningJob, Terms},
    fault::fault,
    json, micros,
    settings::{length, millis, retention},
    tally::{Lane, Place},
};
use crate::{
    Expiry, JobId, Result, Scope,
    limits::INLINE_BYTES,
    store::{BootId, Settlement},
};

/// Ends these attempts. One whose token no longer holds changes nothing.
pub(super) async fn settle(tx: &mut Tx<'_>, settled: &[Settlement]) -> Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let tokens: Vec<_> = settled.iter().map(|s| (s.id, s.token.boot, s.token.claim)).collect();
    let rows =
        sqlx::query(include_str!("held_by_token.sql")).bind(json(&tokens)).fetch_all(&mut **tx).await.map_err(fault)?;
    let mut jobs: HashMap<_, _> =
        rows.iter().map(running).map(|held| ((held.job.id, held.boot, held.claim), held)).collect();
    // In their order, and each once: a settlement that stands twice in a batch finds nothing the second time.
    let endings = settled
        .iter()
        .filter_map(|s| Some(Ending::of(jobs.remove(&(s.id, s.token.boot, s.token.claim))?, &s.verdict, s.ran)))
        .collect();
    apply(tx, &RUNNING, endings).await
}

/// What this worker owns.
pub(super) async fn owned(tx: &mut Tx<'_>, boot: BootId) -> Result<Vec<RunningJob>> {
    let rows =
        sqlx::query(include_str!("held_by_worker.sql")).bind(boot.0).fetch_all(&mut **tx).await.map_err(fault)?;
    Ok(rows.iter().map(running).collect())
}

fn running(row: &SqliteRow) -> RunningJob {
    RunningJob {
        job: Job {
            id: JobId(row.get(0)),
            lane: Lane { queue: row.get(3), priority: row.get(4), kind: row.get(5) },
            attempt: row.get(6),
            interruptions: row.get(7),
            deaths: row.get(8),
            started_at: row.get(9),
            cancel: row.get(10),
            worker: row.get(12),
            key: row.get::<Option<String>, _>(13).map(|key| (key, scope(row, 14))),
            max_attempts: row.get(15),
        },
        boot: BootId(row.get(1)),
        claim: row.get(2),
        begun: row.get(11),
        // One that a newer program wrote and this one cannot read leaves the job to its deadline.
        answer: row.get::<Option<&str>, _>(16).and_then(|answer| serde_json::from_str(answer).ok()),
    }
}

/// A row of `parked.sql`.
pub(super) fn parked(row: &SqliteRow) -> ParkedJob {
    ParkedJob {
        job: Job {
            id: JobId(row.get(0)),
            lane: Lane { queue: row.get(1), priority: row.get(2), kind: row.get(3) },
            attempt: row.get(4),
            interruptions: row.get(5),
            deaths: row.get(6),
            started_at: row.get(7),
            worker: row.get(8),
            key: row.get::<Option<String>, _>(9).map(|key| (key, scope(row, 10))),
            max_attempts: row.get(11),
            cancel: false,
        },
        digest: row.get(12),
        parked_at: row.get(13),
        deadline: row.get(14),
        terms: Terms {
            expiry: if row.get::<&str, _>(15) == Expiry::Fail.as_str() { Expiry::Fail } else { Expiry::Retry },
            keep: retention(row.get(16), row.get(17)),
            retry: length(row.get(18)),
        },
    }
}

/// How long a job with a key holds it, as its row says.
pub(super) fn scope(row: &SqliteRow, column: usize) -> Scope {
    row.get::<Option<&str>, _>(column).and_then(|name| name.parse().ok()).unwrap_or_default()
}

/// The table that jobs leave, and the statements by which they do.
#[derive(Debug)]
pub(super) struct Leaving {
    place: Place,
    finish: &'static str,
    postpone: &'static str,
    give_back: &'static str,
    remove: &'static str,
}

pub(super) const RUNNING: Leaving = Leaving {
    place: Place::Running,
    finish: include_str!("finish.sql"),
    postpone: include_str!("postpone.sql"),
    give_back: include_str!("give_back.sql"),
    remove: "DELETE FROM running WHERE id IN (SELECT value FROM json_each(?1))",
};

/// What is parked is neither parked again nor a suspect.
pub(super) const PARKED: Leaving = Leaving {
    place: Place::Parked,
    finish: include_str!("finish_parked.sql"),
    postpone: include_str!("postpone_parked.sql"),
    give_back: include_str!("give_back_parked.sql"),
    remove: "DELETE FROM parked WHERE id IN (SELECT value FROM json_each(?1))",
};

#[derive(Serialize)]
struct FinishedRow<'a>(JobId, &'static str, u16, u16, u16, Option<&'a str>, Option<&'a str>, Option<i64>, &'a str);

#[derive(Serialize)]
struct ParkedRow<'a>(JobId, u16, u16, &'a str, i64, &'static str, i64, Option<i64>, i64);

/// Moves the jobs out of their table. They must be there: the caller has read them in this transaction.
pub(super) async fn apply(tx: &mut Tx<'_>, from: &Leaving, endings: Vec<Ending>) -> Result<()> {
    if endings.is_empty() {
        return Ok(());
    }
    let (mut all, mut gone, mut attempts, mut outputs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut finished, mut later, mut ready, mut held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut parked = Vec::new();
    for ending in &endings {
        let job = &ending.job;
        ending.count(from.place, tx.tally.lane(&job.lane));
        all.push(job.id);
        if let Some((number, outcome, error)) = &ending.attempt {
            attempts.push((job.id, number, outcome.as_str(), job.started_at, &job.worker, error));
        }
        let (a, i, d) = (job.attempt, job.interruptions, job.deaths);
        match &ending.fate {
            Fate::Gone => gone.push(job.id),
            Fate::Finished { state, error, output, keep } => {
                let inline = output.as_deref().filter(|output| output.len() <= INLINE_BYTES);
                if let (Some(output), None) = (output, inline) {
                    outputs.push((job.id, output));
                }
                let expires_at = keep.map(|keep| tx.now + micros(keep));
                let name = state.as_str();
                finished.push(FinishedRow(job.id, name, a, i, d, error.as_deref(), inline, expires_at, &job.worker));
            }
            Fate::Later { after, note } => {
                later.push((job.id, a, i, d, due(tx, *after), note, &job.worker));
            }
            Fate::Parked { wait, terms: Terms { expiry, keep, retry } } => {
                let (completed, failed) = (millis(keep.completed), keep.failed.map(millis));
                let deadline = due(tx, *wait);
                let (expiry, retry) = (expiry.as_str(), millis(*retry));
                parked.push(ParkedRow(job.id, i, d, &job.worker, deadline, expiry, completed, failed, retry));
            }
            Fate::Back => {
                let rows = if ending.is_suspect() { &mut held } else { &mut ready };
                rows.push((job.id, a, i, d));
            }
        }
    }
    run(tx, from.finish, &finished).await?;
    run(tx, from.postpone, &later).await?;
    run(tx, from.give_back, &ready).await?;
    run(tx, include_str!("isolate.sql"), &held).await?;
    run(tx, include_str!("park.sql"), &parked).await?;
    run(tx, include_str!("attempt.sql"), &attempts).await?;
    for (id, output) in outputs {
        sqlx::query("INSERT INTO body (job, part, data) VALUES (?1, 'output', ?2)")
            .bind(id.0)
            .bind(output)
            .execute(&mut **tx)
            .await
            .map_err(fault)?;
    }
    run(tx, from.remove, &all).await?;
    forget(tx, &gone).await?;
    let freed: Vec<_> = endings.iter().filter_map(Ending::freed).collect();
    coalesce::let_go(tx, &freed).await.map(drop)
}

/// The time that long from now.
fn due(tx: &Tx<'_>, after: Duration) -> i64 {
    tx.now + micros(after)
}

/// Removes what belongs to jobs that are no more: payloads, outputs, attempts.
pub(super) async fn forget(tx: &mut Tx<'_>, jobs: &[JobId]) -> Result<()> {
    run(tx, "DELETE FROM body WHERE job IN (SELECT value FROM json_each(?1))", jobs).await?;
    run(tx, "DELETE FROM attempt WHERE job IN (SELECT value FROM json_each(?1))", jobs).await
}

/// A statement over a list of rows in JSON (`?1`) at the transaction's time (`?2`).
pub(super) async fn run<T: Serialize>(tx: &mut Tx<'_>, statement: &'static str, rows: &[T]) -> Result<()> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(json(rows)).bind(tx.now).execute(&mut **tx).await.map_err(fault)?;
    }
    Ok(())
}
