//! What is shown.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use headcount_queue::{
    AttemptRecord, Binding, Depth, Flow, JobId, JobRecord, Json, OldestJob, PriorityState, QueueState, Recent, Result,
    WorkerRecord,
    store::{BootId, Filter, Observe, Outstanding, Settings, Target},
};

use super::{
    MemoryStore,
    tables::{Hold, Place, Row, Tables, Worker},
};

#[async_trait]
impl Observe for MemoryStore {
    async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(self.call(|tables| tables.now))
    }

    async fn job(&self, id: JobId) -> Result<Option<JobRecord>> {
        Ok(self.call(|tables| tables.jobs.get(&id).map(record)))
    }

    async fn jobs(&self, filter: &Filter, limit: u32) -> Result<Vec<JobRecord>> {
        Ok(self.call(|tables| tables.find(filter, limit).iter().map(|id| record(&tables.jobs[id])).collect()))
    }

    async fn count(&self, filter: &Filter) -> Result<u64> {
        Ok(self.call(|tables| tables.find(filter, u32::MAX).len() as u64))
    }

    async fn settings(&self) -> Result<Vec<Settings>> {
        Ok(self.call(|tables| tables.settings.values().cloned().collect()))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>> {
        Ok(self.call(|tables| tables.attempts.get(&id).cloned().unwrap_or_default()))
    }

    async fn queues(&self) -> Result<Vec<QueueState>> {
        Ok(self.call(|tables| tables.queues()))
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        Ok(self.call(|tables| {
            let mut workers: Vec<_> = tables.workers.values().map(|worker| tables.show(worker)).collect();
            workers.sort_by_key(|worker| worker.started_at);
            workers
        }))
    }

    async fn outstanding(&self, queues: &Binding) -> Result<Outstanding> {
        Ok(self.call(|tables| {
            let mut outstanding = Outstanding::default();
            for row in tables.jobs.values().filter(|row| queues.includes(&row.job.queue)) {
                match row.place {
                    Place::Ready => outstanding.ready = true,
                    Place::Later if row.run_at <= tables.now => outstanding.due = true,
                    Place::Later => outstanding.scheduled = true,
                    Place::Held(_) => outstanding.held = true,
                    Place::Running(_) => outstanding.running = true,
                    Place::Parked(_) => outstanding.parked = true,
                    Place::Finished(_) => {}
                }
            }
            outstanding
        }))
    }

    async fn next_due(&self, queues: &Binding) -> Result<Option<Duration>> {
        Ok(self.call(|tables| tables.next_due(|queue| queues.includes(queue))))
    }
}

impl Tables {
    /// When the next scheduled job of these queues is due, from now; zero if overdue.
    pub(crate) fn next_due(&self, queues: impl Fn(&str) -> bool) -> Option<Duration> {
        let scheduled = self.jobs.values().filter(|row| row.place == Place::Later && queues(&row.job.queue));
        let next = scheduled.map(|row| row.run_at).min()?;
        Some((next - self.now).to_std().unwrap_or_default())
    }

    /// How long ago that was.
    fn age(&self, at: Option<DateTime<Utc>>) -> Option<Duration> {
        at.map(|at| (self.now - at).to_std().unwrap_or_default())
    }

    fn queues(&self) -> Vec<QueueState> {
        let mut queues: BTreeMap<&str, QueueState> = BTreeMap::new();
        for lane in self.counters.lanes.values() {
            let queue = queues.entry(&lane.queue).or_insert_with(|| QueueState {
                queue: lane.queue.clone(),
                paused: self.is_paused(&Target::Queue(lane.queue.clone())),
                depth: Depth::default(),
                oldest: None,
                priorities: self.priorities(&lane.queue),
                flow: Flow::default(),
                recent: Recent::default(),
                lanes: Vec::new(),
                read_at: self.now,
            });
            queue.depth += &lane.depth;
            queue.flow += &lane.flow;
            queue.lanes.push(lane.clone());
        }
        for queue in queues.values_mut() {
            queue.oldest = queue.priorities.iter().filter_map(|priority| priority.oldest).max();
            queue.recent = self.counters.recent(&queue.queue, &queue.flow, self.now);
        }
        queues.into_values().collect()
    }

    /// The priorities of a queue that have claimable jobs, the highest first, as the line has them.
    fn priorities(&self, queue: &str) -> Vec<PriorityState> {
        let mut priorities: Vec<PriorityState> = Vec::new();
        for id in self.ready.get(queue).into_iter().flat_map(BTreeMap::values) {
            let row = &self.jobs[id];
            let age = self.age(row.ready_at);
            match priorities.last_mut().filter(|last| last.priority == row.job.priority) {
                Some(last) => {
                    last.ready += 1;
                    last.oldest = last.oldest.max(age);
                }
                None => priorities.push(PriorityState { priority: row.job.priority, ready: 1, oldest: age }),
            }
        }
        priorities
    }

    fn oldest(&self, boot: BootId) -> Option<OldestJob> {
        let owned = self.owned(boot).into_iter().filter_map(|job| {
            let started_at = self.jobs[&job].started_at?;
            Some(OldestJob { job, started_at })
        });
        owned.min_by_key(|oldest| (oldest.started_at, oldest.job))
    }

    fn show(&self, worker: &Worker) -> WorkerRecord {
        let new = worker.new.clone();
        WorkerRecord {
            boot: new.boot,
            instance: new.instance,
            host: new.host,
            pid: new.pid,
            pool: new.pool,
            queues: new.queues,
            kinds: new.kinds,
            slots: new.slots,
            busy: worker.busy,
            running: self.owned(new.boot).len() as u32,
            oldest: self.oldest(new.boot),
            state: worker.state,
            drain_epoch: worker.drain_epoch,
            drained_by: worker.drained_by.clone(),
            drain_until: worker.drain_until,
            started_at: worker.started_at,
            beat_at: worker.beat_at,
            read_at: self.now,
        }
    }
}

fn record(row: &Row) -> JobRecord {
    let job = &row.job;
    let reason = match row.place {
        Place::Held(Hold::Suspect) => Some("suspect"),
        Place::Held(Hold::Again) => Some("again"),
        Place::Held(Hold::Paused) => Some("paused"),
        _ => None,
    };
    JobRecord {
        id: row.id,
        queue: job.queue.clone(),
        kind: job.kind.clone(),
        state: row.place.state(),
        priority: job.priority,
        // While it runs or is parked, the number of the attempt under way.
        attempt: row.attempt + u16::from(matches!(row.place, Place::Running(_) | Place::Parked(_))),
        max_attempts: job.max_attempts,
        interruptions: row.interruptions,
        deaths: row.deaths,
        run_at: row.run_at,
        ready_at: row.ready_at,
        enqueued_at: row.enqueued_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        worker: row.worker.clone(),
        payload: Json(row.payload.clone()),
        meta: job.meta.clone().map(Json),
        deadline: row.wait().map(|wait| wait.deadline),
        key: job.key.clone(),
        reason: reason.map(Into::into),
        error: row.error.clone(),
        output: row.output.clone(),
    }
}
