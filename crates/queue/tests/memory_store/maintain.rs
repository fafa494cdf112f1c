//! Keeping the store in order. Whoever holds the lock is the only doer.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono::TimeDelta;
use headcount_queue::{
    Depth, JobId, Result,
    store::{BootId, Drift, Expired, Maintain, Promoted, Rescued, Target, WorkerState},
};

use super::{
    MemoryStore,
    counters::count,
    tables::{Hold, Place, Row, Tables},
};

#[async_trait]
impl Maintain for MemoryStore {
    async fn promote(&self, limit: u32) -> Result<Promoted> {
        Ok(self.call(|tables| {
            let due = |row: &Row| row.place == Place::Later && row.run_at <= tables.now;
            let mut due: Vec<_> = tables.jobs.values().filter(|row| due(row)).map(|row| (row.run_at, row.id)).collect();
            due.sort();
            due.truncate(limit as usize);
            for &(run_at, id) in &due {
                tables.counters.lane(&tables.jobs[&id]).happens(|flow| flow.promoted += 1);
                tables.line_up(id, run_at);
            }
            Promoted { jobs: due.len() as u64, next_due: tables.next_due(|_| true) }
        }))
    }

    /// There is nothing to fold: the counters are kept in place.
    async fn fold(&self) -> Result<u64> {
        Ok(0)
    }

    async fn release(&self, limit: u32) -> Result<u64> {
        Ok(self.call(|tables| tables.release(limit as usize)))
    }

    async fn expire(&self, limit: u32) -> Result<Vec<Expired>> {
        Ok(self.call(|tables| tables.expire(limit as usize)))
    }

    async fn purge(&self, limit: u32) -> Result<u64> {
        Ok(self.call(|tables| {
            let expired = |row: &&Row| row.expires_at.is_some_and(|at| at <= tables.now);
            let expired = tables.jobs.values().filter(expired).take(limit as usize);
            let expired: Vec<JobId> = expired.map(|row| row.id).collect();
            for &id in &expired {
                tables.remove(id);
            }
            tables.forget_dead();
            tables.forget_decisions();
            expired.len() as u64
        }))
    }

    async fn audit(&self) -> Result<Vec<Drift>> {
        Ok(self.call(Tables::audit))
    }

    async fn mark_dead(&self, window: Duration) -> Result<Vec<BootId>> {
        let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::MAX);
        Ok(self.call(|tables| {
            let silent = tables.workers.values().filter(|worker| tables.now - worker.beat_at > window);
            let silent: Vec<BootId> = silent.map(|worker| worker.new.boot).collect();
            tables.bury(&silent)
        }))
    }

    async fn bury(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        Ok(self.call(|tables| tables.bury(boots)))
    }

    async fn rescue_dead(&self, blame: bool) -> Result<Vec<Rescued>> {
        Ok(self.call(|tables| {
            let dead = tables.workers.values().filter(|worker| worker.state == WorkerState::Dead);
            let dead: Vec<BootId> = dead.map(|worker| worker.new.boot).collect();
            let mut rescued = Vec::new();
            for boot in dead {
                for id in tables.owned(boot) {
                    rescued.push(Rescued { id, boot, rescue: tables.die(id, blame) });
                }
            }
            tables.forget_dead();
            rescued
        }))
    }
}

impl Tables {
    /// Holds back what is claimable of paused kinds, and lets what was held so back into its old places. Keys need
    /// nothing: who ends a job has seen, under the lock, whoever waits for it.
    pub(crate) fn release(&mut self, limit: usize) -> u64 {
        let paused = |row: &Row| self.is_paused(&Target::Kind(row.job.kind.clone()));
        let of = |place: Place, is_paused: bool| {
            let there = self.jobs.values().filter(move |row| row.place == place);
            there.filter(move |row| paused(row) == is_paused).map(|row| row.id)
        };
        let held_back: Vec<JobId> = of(Place::Ready, true).collect();
        let released: Vec<JobId> = of(Place::Held(Hold::Paused), false).take(limit).collect();
        for id in held_back {
            self.go(id, Place::Held(Hold::Paused));
        }
        for &id in &released {
            self.go(id, Place::Ready);
        }
        released.len() as u64
    }

    fn bury(&mut self, boots: &[BootId]) -> Vec<BootId> {
        let mut buried = Vec::new();
        for boot in boots {
            if let Some(worker) = self.workers.get_mut(boot).filter(|worker| worker.state != WorkerState::Dead) {
                worker.state = WorkerState::Dead;
                buried.push(*boot);
            }
        }
        buried
    }

    /// Dead workers go off the books once they own nothing.
    fn forget_dead(&mut self) {
        let gone = self.workers.values().filter(|worker| worker.state == WorkerState::Dead);
        let gone: Vec<BootId> =
            gone.map(|worker| worker.new.boot).filter(|&boot| self.owned(boot).is_empty()).collect();
        for boot in gone {
            self.workers.remove(&boot);
        }
    }

    fn audit(&mut self) -> Vec<Drift> {
        let mut actual: BTreeMap<(String, i16, String), Depth> = BTreeMap::new();
        for row in self.jobs.values() {
            let lane = (row.job.queue.clone(), row.job.priority, row.job.kind.clone());
            count(actual.entry(lane).or_default(), row.place, 1);
        }
        let mut drifts = Vec::new();
        for (key, lane) in &mut self.counters.lanes {
            let actual = actual.get(key).copied().unwrap_or_default();
            let counted = std::mem::replace(&mut lane.depth, actual);
            if counted != actual {
                let (queue, priority, kind) = key.clone();
                drifts.push(Drift { queue, priority, kind, counted, actual });
            }
        }
        drifts
    }
}
