//! Workers announce themselves, beat, and leave.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    PostgresStore, claimer::PostgresClaimer, column, connection::Fault, edges, maintain::lock, millis, settle::Ending,
};
use crate::{
    Binding, Error, JobId, Result,
    limits::LATELY,
    store::{Beat, BeatAnswer, BootId, Claim, Claimer, NewWorker, Token, Wakes, WorkerState},
};

/// A statement keeps one of the server's processes busy; while its answer is read, the other's is made. A third adds
/// nothing on two cores, and on more of them there are more workers.
const CLAIMERS: usize = 2;

#[async_trait]
impl Claim for PostgresStore {
    async fn register(&self, worker: &NewWorker) -> Result<WorkerState> {
        let rows = self
            .connections
            .rows(self.connections.deadline(), || {
                sqlx::query(self.statements.register.clone())
                    .bind(worker.boot.0)
                    .bind(&worker.instance)
                    .bind(&worker.host)
                    .bind(i64::from(worker.pid))
                    .bind(&worker.pool)
                    .bind(worker.queues.entries().map(<[String]>::to_vec))
                    .bind(&worker.kinds)
                    .bind(i32::try_from(worker.slots).unwrap_or(i32::MAX))
                    .bind(worker.ordinal().map(i64::from))
            })
            .await?;
        rows.first().map_or(Ok(WorkerState::Dead), |row| state(column(row, "state")?))
    }

    async fn deregister(&self, boot: BootId) -> Result<bool> {
        let deadline = self.connections.deadline();
        loop {
            match self.try_deregister(boot, deadline).await {
                Err(Fault::Conflict(error)) => self.connections.collided(error, deadline).await?,
                done => return Ok(done?),
            }
        }
    }

    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Box<dyn Claimer> {
        Box::new(PostgresClaimer::several(1, self, boot, queues, aging).remove(0))
    }

    fn claimers(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Vec<Box<dyn Claimer>> {
        // One connection stays for what else the worker asks.
        let count = self.connections.size().saturating_sub(1).clamp(1, CLAIMERS);
        let claimers = PostgresClaimer::several(count, self, boot, queues, aging);
        claimers.into_iter().map(|claimer| Box::new(claimer) as Box<dyn Claimer>).collect()
    }

    async fn listen(&self, queues: &Binding) -> Result<Option<Box<dyn Wakes>>> {
        Ok(self.listens(queues).await?.map(|wakes| Box::new(wakes) as Box<dyn Wakes>))
    }

    async fn sleep(&self, queues: &Binding, asleep: bool) -> Result<()> {
        let entries = flags(queues);
        self.ask(&self.statements.sleep, |query| query.bind(entries.clone()).bind(asleep)).await.map(drop)
    }

    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer> {
        let deadline = self.connections.deadline();
        let started: Vec<i64> = beat.started.iter().map(|id| id.0).collect();
        let holds: Vec<i64> = beat.holds.iter().map(|(id, _)| id.0).collect();
        let rows = self
            .connections
            .rows(deadline, || sqlx::query(self.statements.beat.clone()).bind(beat.boot.0).bind(&started).bind(&holds))
            .await?;
        let mut answer = BeatAnswer::of(WorkerState::Dead);
        let Some(first) = rows.first() else { return Ok(answer) };
        answer.state = state(column(first, "state")?)?;
        // What of it is this worker's, and whether it was cancelled.
        let mut owned: HashMap<(JobId, i64), bool> = HashMap::new();
        for row in &rows {
            if let Some(id) = column::<Option<i64>>(row, "id")? {
                owned.insert((JobId(id), column(row, "claim")?), column(row, "cancelled")?);
            }
        }
        for held in &beat.holds {
            match owned.get(held) {
                None => answer.lost.push(*held),
                Some(true) => answer.cancelled.push(*held),
                Some(false) => {}
            }
        }
        answer.given_back = self.give_back_unanswered(beat, deadline).await?;
        if column(first, "ordered")? {
            self.look_below(beat, &mut answer, deadline).await?;
        }
        Ok(answer)
    }

    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        self.called_back(id, token, digest).await
    }

    async fn heart(&self) -> Result<Arc<dyn Claim>> {
        // It connects at its first beat, on the runtime that beats.
        Ok(Arc::new(self.apart()))
    }
}

impl PostgresStore {
    /// Gives back what was claimed by statements whose answer never came. Apart from the sign of life itself, which it
    /// must not hold up.
    async fn give_back_unanswered(&self, beat: &Beat, deadline: Instant) -> Result<u32> {
        let began = std::time::Instant::now();
        let from = self.paces.beat(beat.boot, |pace| pace.begin(began));
        let statement = &self.statements.unanswered;
        let rows = self
            .connections
            .rows(deadline, || {
                sqlx::query(statement.clone()).bind(beat.boot.0).bind(from.unwrap_or_default()).bind(beat.through)
            })
            .await;
        let ended = std::time::Instant::now();
        if from.is_none() && matches!(rows, Err(Error::TimedOut(_))) {
            // Too many dead rows for one look. Later then, and meanwhile only at the claims since.
            self.paces.beat(beat.boot, |pace| pace.passed(from, None, began, ended));
            return Ok(0);
        }
        let holds: HashSet<(JobId, i64)> = beat.holds.iter().copied().collect();
        let mut back = BTreeMap::new();
        for row in &rows? {
            let (id, claim) = (JobId(column(row, "id")?), column(row, "claim")?);
            if !holds.contains(&(id, claim)) {
                back.insert(id, Ending::silent(claim, "return"));
            }
        }
        let given_back = if back.is_empty() { 0 } else { self.end(beat.boot, &back, deadline).await?.len() };
        self.paces.beat(beat.boot, |pace| pace.passed(from, Some(beat.through), began, ended));
        Ok(given_back as u32)
    }

    /// What workers that are to claim before this one can take. Apart from the sign of life, too: where this is dear,
    /// since all that those have claimed lies dead under an old snapshot, it is done only now and then; in between the
    /// worker claims as if there were no order, which costs a shrink and no job.
    async fn look_below(&self, beat: &Beat, answer: &mut BeatAnswer, deadline: Instant) -> Result<()> {
        let began = std::time::Instant::now();
        if !lock(&self.paces.below).is_due(began) {
            return Ok(());
        }
        let looked = self.below(beat, answer, deadline).await;
        lock(&self.paces.below).passed(None, None, began, std::time::Instant::now());
        if let Err(Error::TimedOut(_)) = looked { Ok(()) } else { looked }
    }

    async fn below(&self, beat: &Beat, answer: &mut BeatAnswer, deadline: Instant) -> Result<()> {
        let statement = &self.statements.free_below;
        let ask = || sqlx::query(statement.clone()).bind(beat.boot.0).bind(millis(LATELY));
        let rows = self.connections.rows(deadline, ask).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        // The counts are non-negative; more than so many slots are as good as so many.
        answer.free_below = Some(column::<i64>(row, "free")?.clamp(0, i64::from(u32::MAX)) as u32);
        let slots: i64 = column(row, "slots")?;
        // The lowest has nobody to leave anything to.
        let Some(grace) = beat.grace.filter(|_| slots > 0) else { return Ok(()) };
        let edges = edges(&column::<Option<Vec<String>>>(row, "queues")?.map_or(Binding::Any, Binding::Queues));
        let statement = &self.statements.long_kinds;
        let ask = || sqlx::query(statement.clone()).bind(edges.clone()).bind(millis(grace)).bind(slots);
        let rows = self.connections.rows(deadline, ask).await?;
        answer.spares = rows.iter().map(|row| column(row, "kind")).collect::<Result<_>>()?;
        Ok(())
    }

    async fn try_deregister(&self, boot: BootId, deadline: Instant) -> Result<bool, Fault> {
        let mut line = self.connections.line(deadline).await?;
        line.begin().await?;
        // A claim in flight may give it jobs yet: wait for it, and look in a later statement.
        line.rows(sqlx::query(self.statements.lock_worker.clone()).bind(boot.0)).await?;
        let rows = line.rows(sqlx::query(self.statements.owns.clone()).bind(boot.0)).await?;
        let owns = column::<bool>(&rows[0], "owns")?;
        if !owns {
            line.rows(sqlx::query(self.statements.deregister.clone()).bind(boot.0)).await?;
        }
        line.commit().await?;
        Ok(!owns)
    }
}

/// The names of the rows that say whether the workers bound so sleep.
pub(super) fn flags(queues: &Binding) -> Vec<String> {
    queues.entries().map_or_else(|| vec!["*".to_owned()], <[String]>::to_vec)
}

/// A state by its name in the store.
pub(super) fn state(name: &str) -> Result<WorkerState> {
    WorkerState::from_name(name)
        .ok_or_else(|| Error::Rejected(format!("a worker is {name:?}, which this program does not know: update it")))
}
