//! One worker's hand into the queue: settle, claim, and sweep in good time.
//!
//! What was tried for its speed, in order, each kept unless it says otherwise. Working off 50,000 no-op jobs with one process
//! (`headcount bench --only work-off`, release build, two cores shared by client and server, Postgres 15, a commit of
//! 0.2 ms): jobs a second, their share of the floor's, and the processor time of server and worker for a job. Runs of the
//! same program differ by a tenth.
//!
//! | what | jobs/s | of the floor | server | worker |
//! |---|---|---|---|---|
//! | lock what ends, then delete it; take by id; send what the insert returns | 56 k | 0.41 | 15.5 µs | 8–10 µs |
//! | end by one visit, take by place (`ctid`), send what the delete returns, delays in `float8` | 73 k | 0.51 | 12.1 µs | 7.6 µs |
//! | slots go on by themselves instead of by the dispatcher (`headcount-worker`'s `slots`) | 74 k | 0.60 | 12.1 µs | 3.8 µs |
//! | two claims under way, half of 1000 jobs each | 85 k | 0.60 | 12.6 µs | 3.8 µs |
//! | three batches of 667 instead of two of 500; columns by place and not by name | 98 k | 0.71 | 13.2 µs | 3.5 µs |
//! | three batches of 1000: not taken, jobs wait for longer and little is won | 95 k | 0.64 | 11.3 µs | 3.5 µs |
//! | one memory of the lanes for both claims, the second begins behind the first | 109 k | 0.76 | 12.0 µs | 3.3 µs |
//! | ask for a queue's `start_within` only where the strictest one's is exceeded: not taken, no gain to be seen | 108 k | 0.77 | 12.7 µs | 3.5 µs |
//! | the gate in a row of its own, not in each job's: not taken, no gain to be seen | 101 k | 0.71 | 13.7 µs | 3.6 µs |
//!
//! The floor, two connections that make the moves by a hundred and do nothing else, needs 13 to 15 µs for a job, client
//! included, and does 140,000 a second. What is left is for the most part the moves: inserting into `running` and its two
//! indexes, and the log.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{Decode, Postgres, Type, postgres::PgRow};

use super::{
    PostgresStore, column, edges,
    enqueue::JobOptions,
    lanes::{Head, Lanes, Took},
    settings::Retentions,
    settle::Plain,
};
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
    /// The edges of the ranges of its queues.
    edges: Vec<String>,
    course: Arc<Mutex<Course>>,
}

/// Where a worker is in its queues: one for all its claimers. Never locked across a statement.
#[derive(Debug)]
struct Course {
    lanes: Lanes,
    /// How often jobs had been put back into the bound queues, as the last claim read it.
    recalls: Option<i64>,
    sweep_at: Option<Instant>,
}

/// A claimed job, and its place.
struct Taken {
    job: ClaimedJob,
    seq: i64,
    /// The priority as which its lane counted.
    rank: i64,
    /// Its payload lies in `body`.
    apart: bool,
}

/// What one statement brought.
struct Answer {
    taken: Vec<Taken>,
    gate: Gate,
    suspects: bool,
    asleep: bool,
}

impl PostgresClaimer {
    /// So many that work side by side.
    pub(super) fn several(
        count: usize,
        store: &PostgresStore,
        boot: BootId,
        queues: &Binding,
        aging: Option<Duration>,
    ) -> Vec<Self> {
        let course = Course { lanes: Lanes::new(aging), recalls: None, sweep_at: None };
        let (edges, course) = (edges(queues), Arc::new(Mutex::new(course)));
        let claimer = || Self { store: store.clone(), boot, edges: edges.clone(), course: Arc::clone(&course) };
        std::iter::repeat_with(claimer).take(count).collect()
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the head of every lane. Returns whether any has a job.
    async fn sweep(&mut self, deadline: tokio::time::Instant) -> Result<bool> {
        let began = Instant::now();
        // The others need not look as well.
        self.course().sweep_at = Some(began + SWEEP_EVERY);
        let sweep = &self.store.statements.sweep;
        let rows = self.store.connections.rows(deadline, || sqlx::query(sweep.clone()).bind(self.edges.clone())).await;
        let rows = rows.inspect_err(|_| self.course().sweep_at = None)?;
        let heads = rows.iter().map(head).collect::<Result<Vec<_>>>()?;
        let found = !heads.is_empty();
        let now = Instant::now();
        let mut course = self.course();
        course.lanes.swept(heads, now);
        // Many claimers that began together do not go on sweeping together.
        let pause = SWEEP_EVERY.max((now - began) * SWEEP_SHARE).mul_f64(rand::random_range(0.75..1.25));
        course.sweep_at = Some(now + pause);
        Ok(found)
    }

    /// Runs one claim, which settles `plain` too if there is any.
    async fn claim(&mut self, plain: Option<&Plain>, want: &Want, deadline: tokio::time::Instant) -> Result<Answer> {
        let (claims, spares) = (want.claim > 0 && want.jobs > 0, !want.spares.is_empty());
        let (lanes, recalls) = self.course().depart(want, claims);
        let (queues, rest): (Vec<&str>, Vec<(i16, i64)>) =
            lanes.iter().map(|lane| (&*lane.queue, (lane.priority, lane.from))).unzip();
        let (priorities, places): (Vec<i16>, Vec<i64>) = rest.into_iter().unzip();
        let statements = &self.store.statements;
        let rows = self
            .store
            .connections
            .rows(deadline, || {
                let statement = match (plain, spares) {
                    (None, false) => &statements.claim,
                    (None, true) => &statements.claim_sparing,
                    (Some(_), false) => &statements.claim_fused,
                    (Some(_), true) => &statements.claim_fused_sparing,
                };
                let query = sqlx::query(statement.clone())
                    .bind(self.boot.0)
                    .bind(want.claim)
                    .bind(if claims { i64::from(want.jobs) } else { 0 })
                    .bind(&queues)
                    .bind(&priorities)
                    .bind(&places)
                    .bind(self.edges.clone())
                    .bind(want.alone);
                let query = match plain {
                    Some(plain) => query.bind(&plain.ids).bind(recalls).bind(&plain.claims).bind(&plain.ran_ms),
                    None => query.bind(Vec::<i64>::new()).bind(recalls),
                };
                if spares { query.bind(&want.spares) } else { query }
            })
            .await;
        self.course().lanes.back(want.claim);
        // Another may have passed over what this one was to take.
        let rows = rows.inspect_err(|_| self.course().sweep_at = None)?;
        // The place of each lane in this claim, and the priority as which it counts.
        let mut ranks: HashMap<(&str, i16), (usize, i64)> = HashMap::with_capacity(lanes.len());
        for (place, lane) in lanes.iter().enumerate() {
            ranks.insert((&*lane.queue, lane.priority), (place, lane.rank));
        }
        let gate = match row_at(&rows[0], Column::Gate)? {
            "open" => Gate::Open,
            "active" => Gate::Busy,
            "draining" => Gate::Draining,
            "leaving" => Gate::Leaving,
            _ => Gate::Gone,
        };
        let recalls: i64 = row_at(&rows[0], Column::Recalls)?;
        let (suspects, asleep) = (row_at(&rows[0], Column::Suspects)?, row_at(&rows[0], Column::Asleep)?);
        let mut taken = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(id) = row_at::<Option<i64>>(row, Column::Id)? {
                taken.push(read(row, JobId(id), Token { boot: self.boot, claim: want.claim })?);
            }
        }
        let mut places = HashMap::with_capacity(taken.len());
        for taken in &mut taken {
            // A suspect is of no lane, and alone.
            let lane = ranks.get(&(&*taken.job.queue, taken.job.priority));
            if let Some(&(place, rank)) = lane {
                taken.rank = rank;
                places.insert(taken.job.id, place);
            }
        }
        taken.sort_by_key(|taken| (places.get(&taken.job.id).copied(), taken.seq));
        let mut course = self.course();
        if course.recalls.replace(recalls).is_some_and(|before| before != recalls) {
            // This claim looked from the front, but only where jobs were known to be.
            course.sweep_at = None;
        }
        if spares {
            course.lanes.served(taken.len());
        } else {
            course.lanes.took(taken.iter().map(Taken::took), Instant::now());
        }
        drop(course);
        Ok(Answer { taken, gate, suspects, asleep })
    }

    /// Claims, and if that came short of what was wanted looks at the whole queue and claims once more: few jobs in the
    /// answer mean that few were there.
    async fn fill(&mut self, plain: Option<&Plain>, want: &Want, deadline: tokio::time::Instant) -> Result<Answer> {
        let claims = want.claim > 0 && want.jobs > 0;
        let swept = claims && (want.sweep || self.course().is_due());
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
                // Stable: the place among equals stays what each claim made of it.
                answer.taken.sort_by_key(|taken| Reverse(taken.rank));
                answer.suspects |= more.suspects;
                answer.asleep = more.asleep;
            }
            // What was taken is in hand. Should the second claim have taken more, the next beat gives it back.
            Err(error) if !answer.taken.is_empty() => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the second half of a claim failed");
            }
            Err(error) => return Err(error),
        }
        Ok(answer)
    }

    async fn fill_up(&mut self, got: usize, want: &Want, deadline: tokio::time::Instant) -> Result<Option<Answer>> {
        if !self.sweep(deadline).await? {
            return Ok(None);
        }
        let rest = Want { jobs: want.jobs - got as u32, alone: want.alone && got == 0, ..want.clone() };
        self.claim(None, &rest, deadline).await.map(Some)
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
        // Before the claim: what fails after it would leave its jobs behind.
        let retentions: Arc<Retentions> =
            if want.claim > 0 { self.store.retentions(deadline).await? } else { Arc::default() };
        let mut answer = self.fill(plain.as_ref(), &want, deadline).await?;
        for Taken { job, .. } in &mut answer.taken {
            job.retention = retentions.of(job);
        }
        let (gate, suspects, asleep) = (answer.gate, answer.suspects && answer.gate == Gate::Open, answer.asleep);
        Ok(Claimed { jobs: self.complete(answer.taken, deadline).await?, gate, suspects, asleep })
    }
}

impl Course {
    /// Whether to look at the whole queue before the next claim.
    fn is_due(&self) -> bool {
        self.lanes.is_empty() || self.sweep_at.is_none_or(|at| at <= Instant::now())
    }

    /// The lanes of a claim that is sent now, in the order in which they are to be served, and the recalls as last read.
    fn depart(&mut self, want: &Want, claims: bool) -> (Vec<Stop>, Option<i64>) {
        let mut stops = Vec::new();
        if claims {
            for (rank, lane) in self.lanes.in_turn(Instant::now()) {
                let (queue, from) = (lane.queue.clone(), self.lanes.start(lane));
                stops.push(Stop { queue, priority: lane.priority, from, rank });
            }
        }
        // One that passes jobs over leaves some of them.
        if let Some(Stop { queue, priority, from, .. }) = stops.first().filter(|_| want.spares.is_empty()) {
            self.lanes.sent(want.claim, want.jobs, queue, *priority, *from);
        }
        (stops, self.recalls)
    }
}

/// A lane in a claim: where it begins, and the priority as which it counts.
struct Stop {
    queue: String,
    priority: i16,
    from: i64,
    rank: i64,
}

impl Taken {
    fn took(&self) -> Took<'_> {
        let job = &self.job;
        let waited = (job.started_at - job.ready_at).to_std().unwrap_or_default();
        Took { queue: &job.queue, priority: job.priority, seq: self.seq, waited }
    }
}

fn head(row: &PgRow) -> Result<Head> {
    Ok(Head {
        queue: column(row, "queue")?,
        priority: column(row, "priority")?,
        seq: column(row, "seq")?,
        waited: Duration::from_millis(column::<i64>(row, "waited_ms")?.max(0) as u64),
    })
}

fn read(row: &PgRow, id: JobId, token: Token) -> Result<Taken> {
    let length =
        |at: Column| Ok::<_, crate::Error>(row_at::<Option<i64>>(row, at)?.map(|ms| Duration::from_millis(ms as u64)));
    let count = |at: Column| Ok::<_, crate::Error>(row_at::<i16>(row, at)? as u16);
    let payload: Option<String> = row_at(row, Column::Payload)?;
    // An option that cannot be read is a newer release's: the job runs without it.
    let options: JobOptions = row_at::<Option<&str>>(row, Column::Options)?
        .and_then(|options| serde_json::from_str(options).ok())
        .unwrap_or_default();
    let priority: i16 = row_at(row, Column::Priority)?;
    Ok(Taken {
        seq: row_at(row, Column::Seq)?,
        rank: i64::from(priority),
        apart: payload.is_none(),
        job: ClaimedJob {
            id,
            token,
            queue: row_at(row, Column::Queue)?,
            kind: row_at(row, Column::Kind)?,
            priority,
            payload: payload.unwrap_or_default(),
            meta: row_at(row, Column::Meta)?,
            attempt: count(Column::Attempt)? + 1,
            max_attempts: count(Column::MaxAttempts)?,
            interruptions: count(Column::Interruptions)?,
            deaths: count(Column::Deaths)?,
            timeout: length(Column::TimeoutMs)?,
            max_run_time: length(Column::MaxRunMs)?,
            backoff: options.backoff,
            retention: options.retention,
            enqueued_at: row_at(row, Column::EnqueuedAt)?,
            run_at: row_at(row, Column::RunAt)?,
            ready_at: row_at(row, Column::ReadyAt)?,
            started_at: row_at(row, Column::StartedAt)?,
        },
    })
}

/// The columns of claim.sql, in its order: looking them up by name for each of a thousand rows costs a tenth of what the
/// worker does for a job.
#[derive(Debug, Clone, Copy)]
enum Column {
    Gate,
    Recalls,
    Suspects,
    Asleep,
    Id,
    Queue,
    Priority,
    Seq,
    Kind,
    Payload,
    Attempt,
    MaxAttempts,
    Interruptions,
    Deaths,
    TimeoutMs,
    MaxRunMs,
    Options,
    EnqueuedAt,
    RunAt,
    ReadyAt,
    StartedAt,
    Meta,
}

fn row_at<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, at: Column) -> Result<T> {
    column(row, at as usize)
}
