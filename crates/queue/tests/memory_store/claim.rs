//! Jobs go out to workers.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use async_trait::async_trait;
use headcount_queue::{
    Binding, JobId, Result, Scope,
    store::{
        Beat, BeatAnswer, BootId, Claim, Claimed, ClaimedJob, Claimer, Gate, NewWorker, Settlement, Target, Token,
        Want, WorkerState,
    },
};

use super::{
    MemoryStore,
    tables::{Attempt, Hold, Place, Row, Tables},
};

/// A start later than this is late, where nothing is set.
const START_WITHIN: Duration = Duration::from_mins(1);

#[async_trait]
impl Claim for MemoryStore {
    async fn register(&self, worker: &NewWorker) -> Result<WorkerState> {
        Ok(self.call(|tables| tables.register(worker)))
    }

    async fn deregister(&self, boot: BootId) -> Result<bool> {
        Ok(self.call(|tables| tables.deregister(boot)))
    }

    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Box<dyn Claimer> {
        Box::new(MemoryClaimer { store: self.clone(), boot, queues: queues.clone(), aging, turn: None })
    }

    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer> {
        Ok(self.call(|tables| tables.beat(beat)))
    }

    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        self.call(|tables| tables.callback(id, token, digest))
    }

    async fn heart(&self) -> Result<Arc<dyn Claim>> {
        // There is no connection that handlers could use up.
        Ok(Arc::new(self.clone()))
    }
}

#[derive(Debug)]
struct MemoryClaimer {
    store: MemoryStore,
    boot: BootId,
    queues: Binding,
    aging: Option<Duration>,
    /// The queue that was served last: among equals the next one is first.
    turn: Option<String>,
}

#[async_trait]
impl Claimer for MemoryClaimer {
    /// Every claim sees the whole queue, so `want.sweep` says nothing here.
    async fn next(&mut self, settled: &[Settlement], want: Want) -> Result<Claimed> {
        // Nothing here waits, so a worker that claims in a loop would let nobody else onto its thread.
        tokio::task::yield_now().await;
        let claimed = self.store.call(|tables| {
            for settlement in settled {
                tables.settle(settlement);
            }
            tables.claim(self.boot, &self.queues, self.aging, &want, self.turn.as_deref())
        });
        if let Some(last) = claimed.jobs.last() {
            self.turn = Some(last.queue.clone());
        }
        Ok(claimed)
    }
}

/// A queue at one priority.
struct Lane<'t> {
    queue: &'t str,
    /// Its priority, and what its first job's wait adds to it.
    rank: i64,
    jobs: Vec<JobId>,
}

impl Tables {
    fn claim(
        &mut self,
        boot: BootId,
        queues: &Binding,
        aging: Option<Duration>,
        want: &Want,
        turn: Option<&str>,
    ) -> Claimed {
        let mut claimed = Claimed { jobs: Vec::new(), gate: self.gate(boot), suspects: false, asleep: false };
        if claimed.gate != Gate::Open {
            return claimed;
        }
        let suspects = self.suspects(queues);
        claimed.suspects = !suspects.is_empty();
        if want.claim == 0 || want.jobs == 0 {
            return claimed;
        }
        let token = Token { boot, claim: want.claim };
        // The worker says that it holds nothing; so must the store, or a suspect's death could be a neighbour's.
        if want.alone && self.owned(boot).is_empty() && !suspects.is_empty() {
            claimed.suspects = suspects.len() > 1;
            claimed.jobs = vec![self.start(suspects[0], token)];
            return claimed;
        }
        let chosen = self.choose(queues, aging, want, turn);
        claimed.jobs = chosen.into_iter().map(|id| self.start(id, token)).collect();
        claimed
    }

    /// Suspects that these queues may hand out, in their order.
    fn suspects(&self, queues: &Binding) -> Vec<JobId> {
        let suspects = self.jobs.values().filter(|row| row.place == Place::Held(Hold::Suspect));
        let mut suspects: Vec<_> = suspects
            .filter(|row| queues.includes(&row.job.queue))
            .filter(|row| !self.is_paused(&Target::Queue(row.job.queue.clone())))
            .filter(|row| !self.is_paused(&Target::Kind(row.job.kind.clone())))
            .collect();
        suspects.sort_by_key(|row| (Reverse(row.job.priority), row.seq));
        suspects.into_iter().map(|row| row.id).collect()
    }

    /// Which jobs to start, in order: by rank; lanes of equal rank in turn, one job each, beginning after the queue that
    /// was served last.
    fn choose(&self, queues: &Binding, aging: Option<Duration>, want: &Want, turn: Option<&str>) -> Vec<JobId> {
        let (mut lanes, n) = (self.lanes(queues, aging, want), want.jobs as usize);
        lanes.sort_by_key(|lane| (Reverse(lane.rank), turn.is_some_and(|turn| lane.queue <= turn)));
        let mut chosen = Vec::new();
        for equals in lanes.chunk_by(|a, b| a.rank == b.rank) {
            for i in 0..n {
                chosen.extend(equals.iter().filter_map(|lane| lane.jobs.get(i)));
            }
        }
        chosen.truncate(n);
        chosen
    }

    /// The first jobs of each lane that may be claimed and are not left to others, as many as are wanted.
    fn lanes(&self, queues: &Binding, aging: Option<Duration>, want: &Want) -> Vec<Lane<'_>> {
        let mut lanes = Vec::new();
        for (queue, line) in &self.ready {
            if !queues.includes(queue) || self.is_paused(&Target::Queue(queue.clone())) {
                continue;
            }
            let mut own: Vec<(i16, Lane<'_>)> = Vec::new();
            for (&(Reverse(priority), _), id) in line {
                let row = &self.jobs[id];
                if self.is_paused(&Target::Kind(row.job.kind.clone())) || self.is_spared(row, &want.spares) {
                    continue;
                }
                match own.last_mut().filter(|(last, _)| *last == priority) {
                    Some((_, lane)) if lane.jobs.len() < want.jobs as usize => lane.jobs.push(*id),
                    Some(_) => {}
                    None => {
                        let waited = (self.now - row.ready_at.unwrap_or(self.now)).to_std().unwrap_or_default();
                        let risen = aging.map_or(0, |aging| waited.as_nanos() / aging.as_nanos().max(1));
                        let rank = i64::from(priority) + i64::try_from(risen).unwrap_or(i64::MAX >> 1);
                        own.push((priority, Lane { queue, rank, jobs: vec![*id] }));
                    }
                }
            }
            lanes.extend(own.into_iter().map(|(_, lane)| lane));
        }
        lanes
    }

    /// Whether a claim that leaves these kinds to others leaves this job: until it has waited for half of its time.
    fn is_spared(&self, row: &Row, kinds: &[String]) -> bool {
        let waited = (self.now - row.ready_at.unwrap_or(self.now)).to_std().unwrap_or_default();
        kinds.contains(&row.job.kind) && waited < self.start_within(&row.job.queue) / 2
    }

    /// A start in this queue is late when it comes so long after its job became claimable.
    fn start_within(&self, queue: &str) -> Duration {
        let settings = self.settings.get(&Target::Queue(queue.to_owned()));
        settings.and_then(|settings| settings.start_within).unwrap_or(START_WITHIN)
    }

    /// Moves a job into a worker's hands.
    fn start(&mut self, id: JobId, token: Token) -> ClaimedJob {
        let (now, name) = (self.now, self.workers[&token.boot].name());
        self.go(id, Place::Running(Attempt { token, begun: false, cancel: false }));
        let retention = self.retention(id);
        let last = self.attempts.get(&id).and_then(|attempts| attempts.last());
        let error = last.map(|attempt| attempt.error.clone());
        let row = self.row(id);
        row.started_at = Some(now);
        row.worker = Some(name);
        row.error = error;
        let job = &row.job;
        let claimed = ClaimedJob {
            id,
            token,
            queue: job.queue.clone(),
            kind: job.kind.clone(),
            priority: job.priority,
            payload: row.payload.clone(),
            meta: job.meta.clone(),
            attempt: row.attempt.saturating_add(1),
            max_attempts: job.max_attempts,
            interruptions: row.interruptions,
            deaths: row.deaths,
            timeout: job.timeout,
            max_run_time: job.max_run_time,
            backoff: job.backoff,
            retention,
            enqueued_at: row.enqueued_at,
            run_at: row.run_at,
            ready_at: row.ready_at.unwrap_or(now),
            started_at: now,
        };
        let key = row.key().filter(|_| job.coalesce.scope == Scope::Pending);
        let delay = (now - claimed.ready_at).to_std().unwrap_or_default();
        let late = delay > self.start_within(&claimed.queue);
        self.counters.lane(&self.jobs[&id]).happens(|flow| {
            flow.started += 1;
            flow.late += i64::from(late);
            flow.delays.add(delay);
        });
        if let Some(key) = key {
            self.let_go(&key, id);
        }
        claimed
    }

    /// How long it is kept once finished: as it says itself, or as was set for its kind, or for its queue.
    fn retention(&self, id: JobId) -> Option<headcount_queue::Retention> {
        let job = &self.jobs[&id].job;
        let set = |target| self.settings.get(&target)?.retention;
        job.retention.or_else(|| set(Target::Kind(job.kind.clone()))).or_else(|| set(Target::Queue(job.queue.clone())))
    }
}
