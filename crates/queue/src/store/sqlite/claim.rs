//! Claiming: the gate, what there is in each lane, and the take, in one transaction with the settling before it.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};

use super::{
    SqliteStore, coalesce,
    connection::{Durability, Tx},
    fault::fault,
    json, micros, parking, ranges,
    settings::Retentions,
    settle,
    tally::{Lane, Place},
    time,
    worker::{self, Standing},
};
use crate::{
    Backoff, Binding, JobId, Result, Retention, Scope,
    store::{
        Beat, BeatAnswer, BootId, Claim, Claimed, ClaimedJob, Claimer, Gate, NewWorker, Settlement, Token, Want,
        WorkerState,
    },
};

#[async_trait]
impl Claim for SqliteStore {
    async fn register(&self, new: &NewWorker) -> Result<WorkerState> {
        self.write(Durability::Process, async |tx| worker::register(tx, new).await).await
    }

    async fn deregister(&self, boot: BootId) -> Result<bool> {
        self.write(Durability::Process, async |tx| worker::deregister(tx, boot).await).await
    }

    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Box<dyn Claimer> {
        let queues = ranges(queues);
        Box::new(SqliteClaimer { store: self.clone(), boot, queues, aging, turn: None, idle: false })
    }

    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer> {
        self.write(Durability::Process, async |tx| worker::beat(tx, beat).await).await
    }

    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        // Synced, and with it the claim that was not.
        self.write(Durability::Full, async |tx| parking::callback(tx, id, token, digest).await).await
    }

    async fn heart(&self) -> Result<Arc<dyn Claim>> {
        let heart = SqliteStore::heart(self);
        heart.within(async { heart.writer.lock().await.connection().await.map(drop) }).await?;
        Ok(Arc::new(heart))
    }
}

#[derive(Debug)]
struct SqliteClaimer {
    store: SqliteStore,
    boot: BootId,
    /// Its queues, as ranges of names in JSON.
    queues: String,
    /// For each such time that the first job of a lane has waited, the lane counts as one priority higher.
    aging: Option<Duration>,
    /// The queue that was served last: among queues of equal priority the next one is first.
    turn: Option<String>,
    /// The last claim found nothing: look without the lock before taking it for nothing again.
    idle: bool,
}

#[async_trait]
impl Claimer for SqliteClaimer {
    /// `want.sweep` says nothing here: every claim sees the whole queue.
    async fn next(&mut self, settled: &[Settlement], want: Want) -> Result<Claimed> {
        if settled.is_empty() && self.idle && self.store.readers.are_apart() {
            let seen = self.store.read(async |tx| look(tx, self.boot, &self.queues, &want).await).await?;
            if let Some(nothing) = seen {
                return Ok(nothing);
            }
        }
        let durability = if settled.is_empty() { Durability::Process } else { Durability::Full };
        let (boot, queues) = (self.boot, &*self.queues);
        let order = Order { turn: self.turn.as_deref(), aging: self.aging };
        let claimed = self
            .store
            .write(durability, async |tx| {
                settle::settle(tx, settled).await?;
                claim(tx, boot, queues, &want, order).await
            })
            .await?;
        self.idle = claimed.jobs.is_empty();
        if let Some(last) = claimed.jobs.last() {
            self.turn = Some(last.queue.clone());
        }
        Ok(claimed)
    }
}

/// What an idle worker is told without the lock: `None` if there may be something to take or to write.
async fn look(tx: &mut Tx<'_>, boot: BootId, queues: &str, want: &Want) -> Result<Option<Claimed>> {
    let standing = Standing::read(tx, boot).await?;
    let gate = Standing::gate(standing.as_ref());
    if gate != Gate::Open {
        return Ok(Some(Claimed { jobs: Vec::new(), gate, suspects: false, asleep: false }));
    }
    let suspects = !suspects(tx, queues).await?.is_empty();
    if standing.is_some_and(|worker| worker.has_lapsed())
        || suspects && want.alone
        || !lanes(tx, queues, want.jobs.min(1), &want.spares).await?.is_empty()
    {
        return Ok(None);
    }
    Ok(Some(Claimed { jobs: Vec::new(), gate, suspects, asleep: false }))
}

async fn claim(tx: &mut Tx<'_>, boot: BootId, queues: &str, want: &Want, order: Order<'_>) -> Result<Claimed> {
    let standing = Standing::read(tx, boot).await?;
    let gate = Standing::gate(standing.as_ref());
    let mut claimed = Claimed { jobs: Vec::new(), gate, suspects: false, asleep: false };
    let Some(standing) = standing.filter(|_| gate == Gate::Open) else {
        return Ok(claimed);
    };
    standing.settle(tx).await?;
    let suspects = suspects(tx, queues).await?;
    claimed.suspects = !suspects.is_empty();
    if want.claim == 0 || want.jobs == 0 {
        return Ok(claimed);
    }
    let token = Token { boot, claim: want.claim };
    // The worker says that it holds nothing; so must the store, or a suspect's death could be a neighbour's.
    if let Some(suspect) = suspects.first().filter(|_| want.alone && !standing.holds) {
        claimed.suspects = suspects.len() > 1;
        claimed.jobs = take(tx, token, &[*suspect], Place::Suspect).await?;
        return Ok(claimed);
    }
    let lanes = lanes(tx, queues, want.jobs, &want.spares).await?;
    let chosen = pick(&lanes, want.jobs as usize, tx.now, order);
    claimed.jobs = take(tx, token, &chosen, Place::Ready).await?;
    Ok(claimed)
}

/// Suspects that wait in these queues, at most two.
async fn suspects(tx: &mut Tx<'_>, queues: &str) -> Result<Vec<Choice>> {
    let rows = sqlx::query(include_str!("suspects.sql"))
        .bind(queues)
        .bind(tx.now)
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(rows.iter().map(|row| Choice { id: row.get(0), start_within: start_within(row, 1) }).collect())
}

/// A job to take.
#[derive(Debug, Clone, Copy)]
struct Choice {
    id: i64,
    /// Starting it later than this after it became claimable counts as late.
    start_within: Duration,
}

fn start_within(row: &SqliteRow, column: usize) -> Duration {
    Duration::from_millis(row.get::<i64, _>(column) as u64)
}

/// The head of a lane.
#[derive(Debug)]
struct Head {
    queue: String,
    priority: i16,
    start_within: Duration,
    /// Their ids, and since when they have been claimable.
    jobs: Vec<(i64, i64)>,
}

/// What decides between lanes beside their priorities.
#[derive(Debug, Clone, Copy, Default)]
struct Order<'a> {
    /// The queue that was served last.
    turn: Option<&'a str>,
    /// As [`Claim::claimer`] has it.
    aging: Option<Duration>,
}

impl Order<'_> {
    /// How urgent a lane is whose first job has been claimable since then.
    fn rank(self, priority: i16, ready_at: i64, now: i64) -> i64 {
        let aging = self.aging.map_or(0, micros);
        // An aging of nothing would put everything above everything.
        let risen = if aging > 0 { (now - ready_at).max(0) / aging } else { 0 };
        i64::from(priority) + risen
    }
}

/// The heads of all lanes, in a claim that leaves kinds to others.
pub(super) static LANES_SPARING: LazyLock<String> = LazyLock::new(|| {
    let place = "-- Here a claim that leaves kinds to others has lanes_spared.sql.";
    include_str!("lanes.sql").replace(place, include_str!("lanes_spared.sql").trim_end())
});

/// The heads of all lanes that have jobs, each at most `n` long, without what is left to others.
async fn lanes(tx: &mut Tx<'_>, queues: &str, n: u32, spares: &[String]) -> Result<Vec<Head>> {
    let query = if spares.is_empty() {
        sqlx::query(include_str!("lanes.sql")).bind(queues).bind(n)
    } else {
        sqlx::query(AssertSqlSafe(LANES_SPARING.as_str())).bind(queues).bind(n).bind(json(spares)).bind(tx.now)
    };
    let rows = query.fetch_all(&mut **tx).await.map_err(fault)?;
    let head = |row: &SqliteRow| Head {
        queue: row.get(0),
        priority: row.get(1),
        start_within: start_within(row, 2),
        jobs: serde_json::from_str(row.get(3)).unwrap_or_default(),
    };
    Ok(rows.iter().map(head).filter(|head| !head.jobs.is_empty()).collect())
}

/// Which jobs to take, in the order in which they are to start: by the rank of their lane, which is its priority unless
/// lanes age; queues of equal rank in turn, one job each, beginning after the queue that was served last.
fn pick(lanes: &[Head], n: usize, now: i64, order: Order<'_>) -> Vec<Choice> {
    let mut lanes: Vec<&Head> = lanes.iter().collect();
    lanes.sort_by_key(|lane| {
        (order.turn.is_some_and(|turn| *lane.queue <= *turn), &*lane.queue, Reverse(lane.priority))
    });
    let mut taken = vec![0; lanes.len()];
    let mut choices = Vec::with_capacity(n);
    while choices.len() < n {
        let next = lanes
            .iter()
            .zip(0..)
            .filter_map(|(lane, i)| {
                let (_, ready_at) = lane.jobs.get(taken[i])?;
                Some((Reverse(order.rank(lane.priority, *ready_at, now)), taken[i], i))
            })
            .min();
        let Some((_, place, i)) = next else { break };
        taken[i] += 1;
        choices.push(Choice { id: lanes[i].jobs[place].0, start_within: lanes[i].start_within });
    }
    choices
}

/// Moves these jobs into `running`.
async fn take(tx: &mut Tx<'_>, token: Token, chosen: &[Choice], from: Place) -> Result<Vec<ClaimedJob>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let (copy, remove) = match from {
        Place::Suspect => (include_str!("claim_suspect.sql"), include_str!("claimed_suspect.sql")),
        _ => (include_str!("claim.sql"), include_str!("claimed.sql")),
    };
    let list = json(&chosen.iter().map(|choice| choice.id).collect::<Vec<_>>());
    sqlx::query(copy)
        .bind(&list)
        .bind(token.boot.0)
        .bind(token.claim)
        .bind(tx.now)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    let rows = sqlx::query(remove).bind(&list).fetch_all(&mut **tx).await.map_err(fault)?;
    let apart: Vec<i64> =
        rows.iter().filter(|row| row.get::<Option<&str>, _>(4).is_none()).map(|row| row.get(0)).collect();
    let mut payloads = payloads(tx, &apart).await?;
    let place: HashMap<i64, usize> = chosen.iter().map(|choice| choice.id).zip(0..).collect();
    let retentions = Retentions::read(tx).await?;
    let (mut jobs, mut pending) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        let mut job = job(row, token, tx.now, payloads.remove(&row.get(0)));
        job.retention = job.retention.or_else(|| retentions.of(&job.queue, &job.kind));
        if let Some(key) = row.get::<Option<String>, _>(16).filter(|_| settle::scope(row, 17) == Scope::Pending) {
            pending.push((job.queue.clone(), key, job.id));
        }
        let lane = Lane { queue: job.queue.clone(), priority: job.priority, kind: job.kind.clone() };
        let change = tx.tally.lane(&lane);
        change.leave(from);
        change.enter(Place::Running);
        let delay = (job.started_at - job.ready_at).to_std().unwrap_or_default();
        change.start(delay, chosen[place[&job.id.0]].start_within);
        jobs.push(job);
    }
    coalesce::let_go(tx, &pending).await?;
    // RETURNING has no order.
    jobs.sort_by_key(|job| place[&job.id.0]);
    Ok(jobs)
}

/// The payloads that lie apart.
async fn payloads(tx: &mut Tx<'_>, jobs: &[i64]) -> Result<HashMap<i64, String>> {
    if jobs.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(include_str!("payloads.sql")).bind(json(jobs)).fetch_all(&mut **tx).await.map_err(fault)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[derive(Default, Deserialize)]
struct JobOptions {
    backoff: Option<Backoff>,
    retention: Option<Retention>,
}

fn job(row: &SqliteRow, token: Token, now: i64, payload: Option<String>) -> ClaimedJob {
    let millis = |column: usize| row.get::<Option<i64>, _>(column).map(|ms| Duration::from_millis(ms as u64));
    // Options that a newer program wrote and this one cannot read are not worth a job: its kind's defaults serve.
    let options: JobOptions =
        row.get::<Option<&str>, _>(11).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    ClaimedJob {
        id: JobId(row.get(0)),
        token,
        queue: row.get(1),
        kind: row.get(2),
        priority: row.get(3),
        payload: row.get::<Option<String>, _>(4).or(payload).unwrap_or_default(),
        attempt: row.get::<u16, _>(5).saturating_add(1),
        max_attempts: row.get(6),
        interruptions: row.get(7),
        deaths: row.get(8),
        timeout: millis(9),
        max_run_time: millis(10),
        backoff: options.backoff,
        retention: options.retention,
        enqueued_at: time(row.get(12)),
        run_at: time(row.get(13)),
        ready_at: time(row.get(14)),
        meta: row.get(15),
        started_at: time(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(queue: &str, priority: i16, ids: &[i64]) -> Head {
        let jobs = ids.iter().map(|&id| (id, id)).collect();
        Head { queue: queue.into(), priority, start_within: Duration::ZERO, jobs }
    }

    fn order(lanes: &[Head], n: usize, turn: Option<&str>) -> Vec<i64> {
        pick(lanes, n, 9, Order { turn, aging: None }).iter().map(|choice| choice.id).collect()
    }

    #[test]
    fn priority_is_strict_and_queues_of_equal_priority_are_served_in_turn() {
        let lanes = [lane("a", 0, &[1, 2, 3]), lane("b", 0, &[4]), lane("b", 5, &[5]), lane("c", 0, &[6, 7])];
        assert_eq!(order(&lanes, 9, None), [5, 1, 4, 6, 2, 7, 3]);
        assert_eq!(order(&lanes, 4, Some("a")), [5, 4, 6, 1]);
        assert_eq!(order(&lanes, 1, Some("a")), [5]);
        assert_eq!(order(&lanes[..2], 2, Some("b")), [1, 4]);
        assert_eq!(order(&lanes[..2], 1, Some("a")), [4]);
        assert!(order(&lanes, 0, None).is_empty());
    }
    #[test]
    fn a_lane_that_ages_rises_with_its_first_job_and_falls_when_that_is_taken() {
        // Claimable since the time that is their number, in microseconds; now it is 9.
        let lanes = [lane("a", 0, &[1, 8, 9]), lane("b", 3, &[7, 9]), lane("c", 2, &[3])];
        let order = |aging| {
            let aging = Some(Duration::from_micros(aging));
            pick(&lanes, 9, 9, Order { turn: None, aging }).iter().map(|choice| choice.id).collect::<Vec<_>>()
        };
        // Ranks by 2 µs: a 4, then 0, 0; b 4, then 3; c 5.
        assert_eq!(order(2), [3, 1, 7, 9, 8, 9]);
        assert_eq!(order(1), [1, 3, 7, 9, 8, 9]);
        assert_eq!(order(1000), [7, 9, 3, 1, 8, 9]);
        assert_eq!(order(0), order(1000));
    }
}
