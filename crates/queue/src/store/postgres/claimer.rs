//! One worker's hand into the queue: settle, claim, and sweep in good time.

use std::{
    cmp::Reverse,
    collections::HashMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use super::{PostgresStore, column, enqueue::JobOptions, lanes::Lanes, settle::Plain};
use crate::{
    Binding, JobId, Result,
    store::{BootId, Claimed, ClaimedJob, Claimer, Gate, Settlement, Token, Want},
};

/// While busy, at least this long between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_millis(200);

/// And so many times as long as the last one took: a sweep that has to walk over many dead rows costs 5 % at most.
const SWEEP_SHARE: u32 = 20;

/// What claims for one worker.
#[derive(Debug)]
pub(super) struct PostgresClaimer {
    store: PostgresStore,
    boot: BootId,
    queues: Binding,
    lanes: Lanes,
    /// How often jobs had been put back into the bound queues, as the last claim read it.
    recalls: Option<i64>,
    sweep_at: Option<Instant>,
}

/// A claimed job, and its place.
struct Taken {
    job: ClaimedJob,
    seq: i64,
    /// Its payload lies in `body`.
    apart: bool,
}

/// What one statement brought.
struct Answer {
    taken: Vec<Taken>,
    gate: Gate,
    suspects: bool,
}

impl PostgresClaimer {
    pub(super) fn new(store: PostgresStore, boot: BootId, queues: Binding) -> Self {
        Self { store, boot, queues, lanes: Lanes::default(), recalls: None, sweep_at: None }
    }

    /// Looks at the head of every lane. Returns whether any has a job.
    async fn sweep(&mut self, deadline: tokio::time::Instant) -> Result<bool> {
        let began = Instant::now();
        let statements = &self.store.statements;
        let rows = self
            .store
            .connections
            .rows(deadline, || match self.queues.entries() {
                None => sqlx::query(statements.sweep_any.clone()),
                Some(queues) => sqlx::query(statements.sweep_listed.clone()).bind(queues.to_vec()),
            })
            .await?;
        let heads = rows
            .iter()
            .map(|row| Ok((column(row, "queue")?, column(row, "priority")?, column(row, "seq")?)))
            .collect::<Result<Vec<(String, i16, i64)>>>()?;
        let found = !heads.is_empty();
        let now = Instant::now();
        self.lanes.swept(heads, now);
        // Many claimers that began together do not go on sweeping together.
        let pause = SWEEP_EVERY.max((now - began) * SWEEP_SHARE).mul_f64(rand::random_range(0.75..1.25));
        self.sweep_at = Some(now + pause);
        Ok(found)
    }

    /// Runs one claim, which settles `plain` too if there is any.
    async fn claim(&mut self, plain: Option<&Plain>, want: Want, deadline: tokio::time::Instant) -> Result<Answer> {
        let claims = want.claim > 0 && want.jobs > 0;
        let lanes = if claims { self.lanes.in_turn() } else { Vec::new() };
        let statements = &self.store.statements;
        let rows = self
            .store
            .connections
            .rows(deadline, || {
                let statement = if plain.is_some() { &statements.claim_fused } else { &statements.claim };
                let query = sqlx::query(statement.clone())
                    .bind(self.boot.0)
                    .bind(want.claim)
                    .bind(if claims { i64::from(want.jobs) } else { 0 })
                    .bind(lanes.iter().map(|lane| &*lane.queue).collect::<Vec<_>>())
                    .bind(lanes.iter().map(|lane| lane.priority).collect::<Vec<_>>())
                    .bind(lanes.iter().map(|lane| lane.from).collect::<Vec<_>>())
                    .bind(self.queues.entries().map(<[String]>::to_vec))
                    .bind(want.alone);
                match plain {
                    Some(plain) => query.bind(&plain.ids).bind(self.recalls).bind(&plain.claims).bind(&plain.ran_ms),
                    None => query.bind(Vec::<i64>::new()).bind(self.recalls),
                }
            })
            .await?;
        let ranks: HashMap<(&str, i16), usize> =
            lanes.iter().enumerate().map(|(rank, lane)| ((&*lane.queue, lane.priority), rank)).collect();
        let gate = match column(&rows[0], "gate")? {
            "open" => Gate::Open,
            "active" => Gate::Busy,
            "draining" => Gate::Draining,
            "leaving" => Gate::Leaving,
            _ => Gate::Gone,
        };
        let recalls: i64 = column(&rows[0], "recalls")?;
        let suspects = column(&rows[0], "suspects")?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(id) = column::<Option<i64>>(row, "id")? {
                taken.push(read(row, JobId(id), Token { boot: self.boot, claim: want.claim })?);
            }
        }
        taken.sort_by_key(|taken| {
            (Reverse(taken.job.priority), ranks.get(&(&*taken.job.queue, taken.job.priority)).copied(), taken.seq)
        });
        drop(ranks);
        drop(lanes);
        if self.recalls.replace(recalls).is_some_and(|before| before != recalls) {
            // This claim looked from the front, but only where jobs were known to be.
            self.sweep_at = None;
        }
        self.lanes.took(taken.iter().map(|taken| (&*taken.job.queue, taken.job.priority, taken.seq)), Instant::now());
        Ok(Answer { taken, gate, suspects })
    }

    /// Claims, and if that came short of what was wanted looks at the whole queue and claims once more: few jobs in the
    /// answer mean that few were there.
    async fn fill(&mut self, plain: Option<&Plain>, want: Want, deadline: tokio::time::Instant) -> Result<Answer> {
        let claims = want.claim > 0 && want.jobs > 0;
        let swept =
            claims && (want.sweep || self.lanes.is_empty() || self.sweep_at.is_none_or(|at| at <= Instant::now()));
        if swept {
            self.sweep(deadline).await?;
        }
        let mut answer = self.claim(plain, want, deadline).await?;
        let short = answer.taken.len() < want.jobs as usize;
        let suspect = answer.taken.iter().any(|taken| taken.job.is_suspect());
        if !claims || swept || !short || suspect || answer.gate != Gate::Open {
            return Ok(answer);
        }
        match self.fill_up(answer.taken.len(), want, deadline).await {
            Ok(None) => {}
            Ok(Some(more)) => {
                answer.taken.extend(more.taken);
                // Stable: the rank among equals stays what each claim made of it.
                answer.taken.sort_by_key(|taken| Reverse(taken.job.priority));
                answer.suspects |= more.suspects;
            }
            // What was taken is in hand. Should the second claim have taken more, the next beat gives it back.
            Err(error) if !answer.taken.is_empty() => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the second half of a claim failed");
                self.sweep_at = None;
            }
            Err(error) => return Err(error),
        }
        Ok(answer)
    }

    async fn fill_up(&mut self, got: usize, want: Want, deadline: tokio::time::Instant) -> Result<Option<Answer>> {
        if !self.sweep(deadline).await? {
            return Ok(None);
        }
        let rest = Want { jobs: want.jobs - got as u32, alone: want.alone && got == 0, ..want };
        self.claim(None, rest, deadline).await.map(Some)
    }

    /// Fetches payloads that lie apart.
    async fn complete(&self, mut taken: Vec<Taken>, deadline: tokio::time::Instant) -> Result<Vec<ClaimedJob>> {
        let apart: Vec<i64> = taken.iter().filter(|taken| taken.apart).map(|taken| taken.job.id.0).collect();
        if !apart.is_empty() {
            let bodies = &self.store.statements.bodies;
            let rows = self.store.connections.rows(deadline, || sqlx::query(bodies.clone()).bind(&apart)).await?;
            let mut payloads = HashMap::new();
            for row in &rows {
                payloads.insert(column::<i64>(row, "job_id")?, column::<String>(row, "content")?);
            }
            // Without its payload it is this worker's no more: taken away, and deleted, since.
            taken.retain_mut(|taken| {
                if taken.apart {
                    match payloads.remove(&taken.job.id.0) {
                        Some(payload) => taken.job.payload = payload,
                        None => return false,
                    }
                }
                true
            });
        }
        Ok(taken.into_iter().map(|taken| taken.job).collect())
    }
}

#[async_trait]
impl Claimer for PostgresClaimer {
    async fn next(&mut self, settled: &[Settlement], want: Want) -> Result<Claimed> {
        let deadline = self.store.connections.deadline();
        let plain = if settled.is_empty() { None } else { Plain::of(self.boot, settled) };
        if plain.is_none() {
            self.store.settle(settled, deadline).await?;
        }
        let answer = self.fill(plain.as_ref(), want, deadline).await?;
        let suspects = answer.suspects && answer.gate == Gate::Open;
        Ok(Claimed { jobs: self.complete(answer.taken, deadline).await?, gate: answer.gate, suspects, asleep: false })
    }
}

fn read(row: &PgRow, id: JobId, token: Token) -> Result<Taken> {
    let length =
        |name| Ok::<_, crate::Error>(column::<Option<i64>>(row, name)?.map(|ms| Duration::from_millis(ms as u64)));
    let payload: Option<String> = column(row, "payload")?;
    // An option that cannot be read is a newer release's: the job runs without it.
    let options: JobOptions = column::<Option<&str>>(row, "options")?
        .and_then(|options| serde_json::from_str(options).ok())
        .unwrap_or_default();
    Ok(Taken {
        seq: column(row, "seq")?,
        apart: payload.is_none(),
        job: ClaimedJob {
            id,
            token,
            queue: column(row, "queue")?,
            kind: column(row, "kind")?,
            priority: column(row, "priority")?,
            payload: payload.unwrap_or_default(),
            meta: column(row, "meta")?,
            attempt: column::<i16>(row, "attempt")? as u16 + 1,
            max_attempts: column::<i16>(row, "max_attempts")? as u16,
            interruptions: column::<i16>(row, "interruptions")? as u16,
            deaths: column::<i16>(row, "deaths")? as u16,
            timeout: length("timeout_ms")?,
            max_run_time: length("max_run_ms")?,
            backoff: options.backoff,
            retention: options.retention,
            enqueued_at: column(row, "enqueued_at")?,
            run_at: column(row, "run_at")?,
            ready_at: column(row, "ready_at")?,
            started_at: column(row, "started_at")?,
        },
    })
}
