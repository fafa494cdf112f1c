//! Workers announce themselves, beat, and leave.

use std::collections::{HashMap, HashSet};

use sqlx::Row;

use super::{
    connection::Tx,
    ending::Ending,
    fault::fault,
    json, micros, ranges,
    scale::places,
    settle::{self, RUNNING},
};
use crate::{
    Binding, JobId, Result,
    limits::LATELY,
    store::{Beat, BeatAnswer, BootId, Gate, NewWorker, WorkerState},
};

/// A worker as a claim or a beat finds it.
pub(super) struct Standing {
    pub(super) state: WorkerState,
    /// Its drain has ended by itself, and the row does not say so yet.
    lapsed: bool,
    /// It owns running jobs.
    pub(super) holds: bool,
}

impl Standing {
    /// Reads it; `None` if the worker is not known.
    pub(super) async fn read(tx: &mut Tx<'_>, boot: BootId) -> Result<Option<Self>> {
        let row = sqlx::query(include_str!("gate.sql")).bind(boot.0).fetch_optional(&mut **tx).await.map_err(fault)?;
        Ok(row.map(|row| {
            let written = state(row.get(0));
            let state = state_at(written, row.get(1), row.get(2), tx.now);
            Self { state, lapsed: state != written, holds: row.get(3) }
        }))
    }

    /// Its drain has ended by itself, which is to be written down.
    pub(super) const fn has_lapsed(&self) -> bool {
        self.lapsed
    }

    /// Writes down that its drain has ended, if it has.
    pub(super) async fn settle(&self, tx: &mut Tx<'_>) -> Result<()> {
        if self.lapsed { places::end_drains(tx).await } else { Ok(()) }
    }

    /// What a claim of its is told.
    pub(super) fn gate(standing: Option<&Self>) -> Gate {
        match standing.map(|worker| worker.state) {
            Some(WorkerState::Active) => Gate::Open,
            Some(WorkerState::Draining) => Gate::Draining,
            Some(WorkerState::Leaving) => Gate::Leaving,
            Some(WorkerState::Dead) | None => Gate::Gone,
        }
    }
}

/// A state as the table has it, which its constraint keeps to the four.
pub(super) fn state(name: &str) -> WorkerState {
    WorkerState::from_name(name).unwrap_or(WorkerState::Dead)
}

/// The state that a worker is in, whatever its row says still: a leave and a drain end by themselves.
pub(super) fn state_at(
    written: WorkerState,
    drain_until: Option<i64>,
    leaving_until: Option<i64>,
    now: i64,
) -> WorkerState {
    let over = |until: Option<i64>| until.is_some_and(|until| until <= now);
    let drains = match written {
        WorkerState::Active | WorkerState::Dead => return written,
        WorkerState::Leaving if !over(leaving_until) => return written,
        WorkerState::Leaving | WorkerState::Draining => !over(drain_until),
    };
    if drains { WorkerState::Draining } else { WorkerState::Active }
}

pub(super) async fn register(tx: &mut Tx<'_>, worker: &NewWorker) -> Result<WorkerState> {
    places::end_drains(tx).await?;
    let row = sqlx::query(include_str!("register.sql"))
        .bind(worker.boot.0)
        .bind(&worker.instance)
        .bind(&worker.host)
        .bind(worker.pid)
        .bind(&worker.pool)
        .bind(worker.queues.to_string())
        .bind(json(&worker.kinds))
        .bind(worker.slots)
        .bind(tx.now)
        .bind(worker.ordinal())
        .fetch_optional(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(row.map_or(WorkerState::Dead, |row| state(row.get(0))))
}

pub(super) async fn deregister(tx: &mut Tx<'_>, boot: BootId) -> Result<bool> {
    let holds = Standing::read(tx, boot).await?.is_some_and(|worker| worker.holds);
    if !holds {
        sqlx::query("DELETE FROM worker WHERE boot = ?1").bind(boot.0).execute(&mut **tx).await.map_err(fault)?;
    }
    Ok(!holds)
}

pub(super) async fn beat(tx: &mut Tx<'_>, beat: &Beat) -> Result<BeatAnswer> {
    let mut answer = BeatAnswer::of(WorkerState::Dead);
    match Standing::read(tx, beat.boot).await? {
        None | Some(Standing { state: WorkerState::Dead, .. }) => return Ok(answer),
        Some(worker) => {
            worker.settle(tx).await?;
            answer.state = worker.state;
        }
    }
    sqlx::query("UPDATE worker SET beat_at = ?2, busy = ?3 WHERE boot = ?1")
        .bind(beat.boot.0)
        .bind(tx.now)
        .bind(beat.started.len() as i64)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    look_below(tx, beat, &mut answer).await?;
    let owned = settle::owned(tx, beat.boot).await?;
    let holds: HashSet<(JobId, i64)> = beat.holds.iter().copied().collect();
    let started: HashSet<JobId> = beat.started.iter().copied().collect();
    let (mut back, mut begun, mut there) = (Vec::new(), Vec::new(), HashMap::new());
    for held in owned {
        let pair = (held.job.id, held.claim);
        if holds.contains(&pair) {
            if started.contains(&held.job.id) && !held.begun {
                begun.push(held.job.id);
            }
            there.insert(pair, held.job.cancel);
        } else if held.claim <= beat.through {
            back.push(Ending::give_back(held));
        }
    }
    for &pair in &beat.holds {
        match there.get(&pair) {
            None => answer.lost.push(pair),
            Some(true) => answer.cancelled.push(pair),
            Some(false) => {}
        }
    }
    answer.given_back = back.len() as u32;
    settle::apply(tx, &RUNNING, back).await?;
    if !begun.is_empty() {
        sqlx::query("UPDATE running SET begun = 1 WHERE id IN (SELECT value FROM json_each(?1))")
            .bind(json(&begun))
            .execute(&mut **tx)
            .await
            .map_err(fault)?;
    }
    Ok(answer)
}

/// What workers that are to claim before this one can take.
async fn look_below(tx: &mut Tx<'_>, beat: &Beat, answer: &mut BeatAnswer) -> Result<()> {
    let row = sqlx::query(include_str!("scale/free_below.sql"))
        .bind(beat.boot.0)
        .bind(horizon(tx, LATELY))
        .fetch_optional(&mut **tx)
        .await
        .map_err(fault)?;
    let Some(row) = row else { return Ok(()) };
    answer.free_below = Some(row.get(0));
    let slots: i64 = row.get(1);
    // The lowest has nobody to leave anything to.
    let Some(grace) = beat.grace.filter(|_| slots > 0) else { return Ok(()) };
    // Written by a worker, which could only be bound to what can be read.
    let queues: Binding = row.get::<&str, _>(2).parse()?;
    let kinds = sqlx::query(include_str!("scale/long_kinds.sql"))
        .bind(ranges(&queues))
        .bind(micros(grace) / 1000)
        .bind(slots)
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?;
    answer.spares = kinds.iter().map(|kind| kind.get(0)).collect();
    Ok(())
}

/// The time before which a last beat is too old.
pub(super) fn horizon(tx: &Tx<'_>, window: std::time::Duration) -> i64 {
    tx.now - micros(window)
}
