//! Keeping the store in order: promotion, the counters, retention, and the jobs of the dead.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant as Deadline;

use super::{
    PostgresStore, column,
    connection::{Fault, Line},
    counters::depth,
    millis,
    settle::Ending,
};
use crate::{
    JobId, Result,
    store::{BootId, Drift, Expired, Maintain, Promoted, Rescued},
};

/// The most deltas in one statement.
const FOLD: i64 = 20_000;

/// The most keys that one pass looks at. All of them are looked at in turn: a stale key is rare.
const KEYS: i64 = 2_000;

/// The most jobs of the dead in one pass.
const ORPHANS: i64 = 2_000;

/// Where the last pass of a duty ended, and when to begin from the front again.
///
/// What was deleted lies dead at the front of the index until it is vacuumed, which an old transaction prevents: walking
/// over it takes longer and longer. As long as that is cheap every pass does so; when it is dear, only now and then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace<C> {
    cursor: Option<C>,
    cost: Duration,
    last: Option<Instant>,
}

// Not derived: that would want a default of the cursor.
impl<C> Default for Pace<C> {
    fn default() -> Self {
        Self { cursor: None, cost: Duration::ZERO, last: None }
    }
}

impl<C: Copy> Pace<C> {
    const CHEAP: Duration = Duration::from_millis(20);
    /// A walk over the whole front takes 5 % of the time at most.
    const SHARE: u32 = 20;

    /// Whether to begin from the front.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.cost < Self::CHEAP || self.last.is_none_or(|last| now.duration_since(last) >= self.cost * Self::SHARE)
    }

    /// Where to begin: `None` is the front.
    pub(super) fn begin(&self, now: Instant) -> Option<C> {
        self.cursor.filter(|_| !self.is_due(now))
    }

    /// Notes a pass that began at `from` and ended at `to`.
    pub(super) fn passed(&mut self, from: Option<C>, to: Option<C>, began: Instant, now: Instant) {
        if from.is_none() {
            (self.cost, self.last) = (now.duration_since(began), Some(now));
        }
        self.cursor = to.or(self.cursor);
    }
}

/// What this process remembers of the duties' passes.
#[derive(Debug, Default)]
pub(super) struct Paces {
    promote: Mutex<Pace<DateTime<Utc>>>,
    pub(super) expire: Mutex<Pace<DateTime<Utc>>>,
    fold: Mutex<Pace<i64>>,
    heads: Mutex<Pace<()>>,
    pub(super) below: Mutex<Pace<()>>,
    /// The queue and the key at which the last pass over the keys ended.
    keys: Mutex<Option<(String, String)>>,
    /// Of each worker's beats. One that has gone is not worth the trouble of forgetting.
    beats: Mutex<HashMap<BootId, Pace<i64>>>,
}

impl Paces {
    pub(super) fn beat<T>(&self, boot: BootId, act: impl FnOnce(&mut Pace<i64>) -> T) -> T {
        act(lock(&self.beats).entry(boot).or_default())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Maintain for PostgresStore {
    async fn promote(&self, limit: u32) -> Result<Promoted> {
        let began = Instant::now();
        let from = lock(&self.paces.promote).begin(began);
        let rows = self.ask(&self.statements.promote, |query| query.bind(i64::from(limit)).bind(from)).await?;
        let jobs: i64 = column(&rows[0], "jobs")?;
        let last: Option<DateTime<Utc>> = column(&rows[0], "last")?;
        lock(&self.paces.promote).passed(from, last, began, Instant::now());
        let queues: Vec<String> = column(&rows[0], "queues")?;
        self.notices.tell(queues.iter().map(String::as_str));
        // Private queues too: whoever asks does so to know when to come again.
        let rows = self.ask(&self.statements.next_due_of_all, |query| query).await?;
        let next_due = column::<Option<i64>>(&rows[0], "ms")?.map(|ms| Duration::from_millis(ms.max(0) as u64));
        Ok(Promoted { jobs: jobs as u64, next_due })
    }

    async fn fold(&self) -> Result<u64> {
        let deadline = self.connections.deadline();
        let mut folded = 0;
        loop {
            let pass = match self.try_fold(deadline).await {
                Err(Fault::Conflict(error)) => {
                    self.connections.collided(error, deadline).await?;
                    continue;
                }
                pass => pass?,
            };
            folded += pass.unsigned_abs();
            if pass < FOLD {
                return Ok(folded);
            }
        }
    }

    async fn release(&self, limit: u32) -> Result<u64> {
        let deadline = self.connections.deadline();
        let freed = loop {
            match self.try_release(limit, deadline).await {
                Err(Fault::Conflict(error)) => self.connections.collided(error, deadline).await?,
                done => break done?,
            }
        };
        self.hold_paused(limit).await?;
        Ok(freed + self.release_paused(limit).await?)
    }

    async fn expire(&self, limit: u32) -> Result<Vec<Expired>> {
        self.expired(limit).await
    }

    async fn purge(&self, limit: u32) -> Result<u64> {
        let rows = self.ask(&self.statements.purge, |query| query.bind(i64::from(limit))).await?;
        let jobs: i64 = column(&rows[0], "jobs")?;
        self.ask(&self.statements.forget_states, |query| query).await?;
        self.ask(&self.statements.forget_heads, |query| query).await?;
        self.ask(&self.statements.forget_history, |query| query).await?;
        self.ask(&self.statements.forget_dead, |query| query).await?;
        self.ask(&self.statements.forget_scaling, |query| query).await?;
        Ok(jobs as u64)
    }

    async fn audit(&self) -> Result<Vec<Drift>> {
        let deadline = self.connections.deadline();
        loop {
            match self.try_audit(deadline).await {
                Err(Fault::Conflict(error)) => self.connections.collided(error, deadline).await?,
                done => return Ok(done?),
            }
        }
    }

    async fn mark_dead(&self, window: Duration) -> Result<Vec<BootId>> {
        let rows = self.ask(&self.statements.mark_dead, |query| query.bind(millis(window))).await?;
        rows.iter().map(|row| column(row, "boot").map(BootId)).collect()
    }

    async fn bury(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        let boots: Vec<i64> = boots.iter().map(|boot| boot.0).collect();
        let rows = self.ask(&self.statements.bury, |query| query.bind(&boots)).await?;
        rows.iter().map(|row| column(row, "boot").map(BootId)).collect()
    }

    async fn rescue_dead(&self, blame: bool) -> Result<Vec<Rescued>> {
        let mut rescued = Vec::new();
        loop {
            let rows = self.ask(&self.statements.orphans, |query| query.bind(ORPHANS)).await?;
            let mut orphans: BTreeMap<BootId, BTreeMap<JobId, Ending>> = BTreeMap::new();
            for row in &rows {
                let verdict = match (column(row, "started")?, blame) {
                    (false, _) => "return",
                    (true, false) => "lost",
                    (true, true) => "died",
                };
                let ending = Ending::silent(column(row, "claim")?, verdict);
                orphans.entry(BootId(column(row, "boot")?)).or_default().insert(JobId(column(row, "id")?), ending);
            }
            let before = rescued.len();
            let queues = rows.iter().map(|row| column(row, "queue")).collect::<Result<BTreeSet<&str>>>()?;
            for (boot, endings) in orphans {
                let ended = self.end(boot, &endings, self.connections.deadline()).await?;
                rescued.extend(ended.into_iter().map(|(id, fate)| Rescued { id, boot, rescue: fate.rescue() }));
            }
            self.notices.tell(queues);
            // A pass that moved nothing met another rescuer, or a settlement that came before it.
            if (rows.len() as i64) < ORPHANS || rescued.len() == before {
                break;
            }
        }
        self.ask(&self.statements.forget_dead, |query| query).await?;
        Ok(rescued)
    }
}

impl PostgresStore {
    /// Takes a duty in a transaction. `None`: somebody else has it.
    async fn duty(&self, name: &str, deadline: Deadline) -> Result<Option<Line<'_>>, Fault> {
        let mut line = self.connections.line(deadline).await?;
        line.begin().await?;
        let rows = line.rows(sqlx::query(self.statements.take_duty.clone()).bind(name)).await?;
        if rows.is_empty() {
            line.commit().await?;
            return Ok(None);
        }
        Ok(Some(line))
    }

    async fn try_fold(&self, deadline: Deadline) -> Result<i64, Fault> {
        let Some(mut line) = self.duty("fold", deadline).await? else { return Ok(0) };
        let began = Instant::now();
        let from = lock(&self.paces.fold).begin(began);
        let fold = sqlx::query(self.statements.fold.clone()).bind(from.unwrap_or_default()).bind(FOLD);
        let rows = line.rows(fold).await?;
        let deltas: i64 = column(&rows[0], "deltas")?;
        let last: Option<i64> = column(&rows[0], "last")?;
        let ended = Instant::now();
        let heads = lock(&self.paces.heads).is_due(ended);
        if heads && deltas > 0 {
            line.rows(sqlx::query(self.statements.heads.clone())).await?;
            lock(&self.paces.heads).passed(None, None, ended, Instant::now());
        }
        line.commit().await?;
        lock(&self.paces.fold).passed(from, last, began, ended);
        Ok(deltas)
    }

    async fn try_release(&self, limit: u32, deadline: Deadline) -> Result<u64, Fault> {
        let Some(mut line) = self.duty("release", deadline).await? else { return Ok(0) };
        let freed = self.release_keys(&mut line).await? + self.release_again(&mut line, limit).await?;
        line.commit().await?;
        Ok(freed.unsigned_abs())
    }

    /// Lets go of keys whose job is over.
    async fn release_keys(&self, line: &mut Line<'_>) -> Result<i64, Fault> {
        let (queue, key) = lock(&self.paces.keys).clone().unzip();
        let rows =
            line.rows(sqlx::query(self.statements.release_keys.clone()).bind(KEYS).bind(queue).bind(key)).await?;
        let last = Option::zip(column(&rows[0], "last_queue")?, column(&rows[0], "last_key")?);
        *lock(&self.paces.keys) = last;
        Ok(column(&rows[0], "freed")?)
    }

    /// Makes jobs claimable that waited for a key that nobody holds.
    async fn release_again(&self, line: &mut Line<'_>, limit: u32) -> Result<i64, Fault> {
        let rows = line.rows(sqlx::query(self.statements.release_again.clone()).bind(i64::from(limit))).await?;
        Ok(column(&rows[0], "freed")?)
    }

    async fn try_audit(&self, deadline: Deadline) -> Result<Vec<Drift>, Fault> {
        let Some(mut line) = self.duty("fold", deadline).await? else { return Ok(Vec::new()) };
        let rows = line.rows(sqlx::query(self.statements.audit.clone())).await?;
        let mut drifts = Vec::with_capacity(rows.len());
        for row in &rows {
            drifts.push(Drift {
                queue: column(row, "queue")?,
                priority: column(row, "priority")?,
                kind: column(row, "kind")?,
                counted: depth(row, "counted_")?,
                actual: depth(row, "actual_")?,
            });
        }
        line.commit().await?;
        Ok(drifts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_begins_at_the_front_while_that_is_cheap_and_now_and_then_when_it_is_dear() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        assert_eq!(pace.begin(start), None);
        pace.passed(None, Some(7), at(0), at(1));
        assert_eq!(pace.begin(at(2)), None, "it took 1 ms");
        pace.passed(None, Some(9), at(2), at(102));
        assert_eq!(pace.begin(at(103)), Some(9), "it took 100 ms");
        pace.passed(Some(9), None, at(103), at(104));
        assert_eq!(pace.begin(at(105)), Some(9), "a pass that found nothing leaves the place as it was");
        assert_eq!(pace.begin(at(102 + 2000)), None);
    }
}
