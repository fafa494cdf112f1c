//! Workers announce themselves, beat, and leave.

use headcount_queue::{
    JobId,
    store::{Beat, BeatAnswer, BootId, Gate, NewWorker, WorkerState},
};

use super::tables::{Place, Tables, Worker};

impl Worker {
    /// What shows who ran a job.
    pub(crate) fn name(&self) -> String {
        self.new.instance.clone().unwrap_or_else(|| format!("{}:{}", self.new.host, self.new.pid))
    }

    /// Its drain is over.
    pub(crate) fn recall(&mut self) {
        self.state = WorkerState::Active;
        self.drained_by = None;
        self.drain_until = None;
    }
}

impl Tables {
    /// What a claim of this worker is told. It is asked in the step that takes the jobs: once a drain has returned, no
    /// claim is under way that has found the gate open.
    pub(crate) fn gate(&self, boot: BootId) -> Gate {
        match self.workers.get(&boot).map(|worker| worker.state) {
            Some(WorkerState::Active) => Gate::Open,
            Some(WorkerState::Draining) => Gate::Draining,
            Some(WorkerState::Leaving) => Gate::Leaving,
            Some(WorkerState::Dead) | None => Gate::Gone,
        }
    }

    /// The jobs that this worker owns.
    pub(crate) fn owned(&self, boot: BootId) -> Vec<JobId> {
        let owned = self.jobs.values().filter(|row| row.attempt_under_way().is_some_and(|a| a.token.boot == boot));
        owned.map(|row| row.id).collect()
    }

    pub(crate) fn register(&mut self, new: &NewWorker) -> WorkerState {
        let now = self.now;
        if !self.workers.contains_key(&new.boot) {
            let mut worker = Worker {
                new: new.clone(),
                state: WorkerState::Active,
                busy: 0,
                drain_epoch: 0,
                drained_by: None,
                drain_until: None,
                leaving_until: None,
                started_at: now,
                beat_at: now,
            };
            self.place(&mut worker);
            self.workers.insert(new.boot, worker);
        }
        let worker = self.workers.get_mut(&new.boot).expect("it is there by now");
        if worker.state != WorkerState::Dead {
            worker.beat_at = now;
        }
        worker.state
    }

    pub(crate) fn deregister(&mut self, boot: BootId) -> bool {
        let idle = self.owned(boot).is_empty();
        if idle {
            self.workers.remove(&boot);
        }
        idle
    }

    pub(crate) fn beat(&mut self, beat: &Beat) -> BeatAnswer {
        let mut answer = BeatAnswer::of(WorkerState::Dead);
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&beat.boot).filter(|worker| worker.state != WorkerState::Dead) else {
            return answer;
        };
        worker.beat_at = now;
        worker.busy = beat.started.len() as u32;
        answer.state = worker.state;
        let new = worker.new.clone();
        if let Some(below) = self.below(&new) {
            answer.free_below = Some(below.free);
            // The lowest has nobody to leave anything to.
            let grace = beat.grace.filter(|_| below.slots > 0);
            answer.spares = grace.map(|grace| self.long_kinds(&new.queues, grace, below.slots)).unwrap_or_default();
        }
        for &(id, claim) in &beat.holds {
            let row = self.jobs.get_mut(&id);
            let own = row.and_then(|row| match &mut row.place {
                Place::Running(attempt) if (attempt.token.boot, attempt.token.claim) == (beat.boot, claim) => {
                    Some(attempt)
                }
                _ => None,
            });
            match own {
                None => answer.lost.push((id, claim)),
                Some(attempt) => {
                    attempt.begun |= beat.started.contains(&id);
                    if attempt.cancel {
                        answer.cancelled.push((id, claim));
                    }
                }
            }
        }
        for id in self.owned(beat.boot) {
            let claim = self.row(id).attempt_under_way().map_or(0, |attempt| attempt.token.claim);
            // Its claim was answered or given up, and the worker does not know it: the answer was lost.
            if claim <= beat.through && !beat.holds.contains(&(id, claim)) {
                self.give_back(id);
                answer.given_back += 1;
            }
        }
        answer
    }
}
