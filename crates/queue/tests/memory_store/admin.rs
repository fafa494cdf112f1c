//! What is done by hand.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use headcount_queue::{
    Error, JobId, Resolution, Result, Secret, State,
    store::{
        Acted, Action, Admin, BootId, Cancel, Difference, Filter, Grants, Resolve, Setting, Settings, Step, Target,
        WorkerState,
    },
};

use super::{
    MemoryStore,
    places::place_of,
    tables::{Place, Row, Tables},
};

#[async_trait]
impl Admin for MemoryStore {
    async fn cancel(&self, id: JobId) -> Result<Cancel> {
        self.call(|tables| tables.cancel(id))
    }

    async fn retry(&self, id: JobId) -> Result<()> {
        self.call(|tables| tables.retry(id))
    }

    async fn resolve(&self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve> {
        self.call(|tables| tables.resolve(id, secret, resolution))
    }

    async fn delete(&self, id: JobId) -> Result<()> {
        self.call(|tables| tables.delete(id))
    }

    async fn act(&self, action: Action, filter: &Filter, limit: u32) -> Result<Acted> {
        Ok(self.call(|tables| {
            let found = tables.find(filter, limit);
            let last = found.last().copied();
            Acted { done: found.into_iter().filter(|&id| tables.act(action, id)).collect(), last }
        }))
    }

    async fn set(&self, target: &Target, setting: Setting) -> Result<()> {
        target.check()?;
        if let (Target::Kind(_), Setting::StartWithin(_)) = (target, setting) {
            return Err(Error::Rejected(format!("{target}: only queues have a time to start within")));
        }
        self.call(|tables| tables.set(target, setting));
        Ok(())
    }

    async fn drain(&self, boots: &[BootId], by: &str, lease: Option<Duration>) -> Result<Vec<(BootId, i64)>> {
        Ok(self.call(|tables| {
            let until = lease.map(|lease| tables.after(lease));
            boots.iter().filter_map(|&boot| Some((boot, tables.drain(boot, by, until)?))).collect()
        }))
    }

    async fn recall(&self, boots: &[BootId]) -> Result<Vec<BootId>> {
        Ok(self.call(|tables| {
            // All are looked at before any is recalled, since some may share a place.
            let recalled: Vec<BootId> = boots.iter().copied().filter(|&boot| tables.may_be_recalled(boot)).collect();
            for &boot in &recalled {
                tables.recall(boot);
            }
            recalled
        }))
    }

    async fn leave(&self, boot: BootId, drain: i64) -> Result<bool> {
        Ok(self.call(|tables| {
            let idle = tables.owned(boot).is_empty();
            let worker = tables.workers.get_mut(&boot);
            let worker = worker.filter(|w| idle && w.state == WorkerState::Draining && w.drain_epoch == drain);
            worker.map(|worker| worker.state = WorkerState::Leaving).is_some()
        }))
    }

    async fn stay(&self, boot: BootId) -> Result<bool> {
        Ok(self.call(|tables| {
            let worker = tables.workers.get_mut(&boot).filter(|w| w.state == WorkerState::Leaving);
            worker.map(|worker| worker.state = WorkerState::Draining).is_some()
        }))
    }

    async fn migrate(&self) -> Result<i64> {
        Ok(1)
    }

    async fn plan(&self) -> Result<Vec<Step>> {
        Ok(Vec::new())
    }

    async fn drift(&self) -> Result<Vec<Difference>> {
        Ok(Vec::new())
    }

    async fn grant(&self, _: &Grants) -> Result<()> {
        Err(Error::Rejected("a store in memory has no roles: whoever has it may do everything".into()))
    }

    async fn check_version(&self) -> Result<()> {
        Ok(())
    }
}

impl Tables {
    /// Drains a worker's place, or the worker alone where it has none, and says the number of the drain.
    fn drain(&mut self, boot: BootId, by: &str, until: Option<DateTime<Utc>>) -> Option<i64> {
        let worker = self.workers.get(&boot)?;
        if matches!(worker.state, WorkerState::Leaving | WorkerState::Dead) {
            return None;
        }
        if let Some(place) = place_of(&worker.new) {
            return Some(self.drain_place(&place, by, until));
        }
        let number = self.number();
        let worker = self.workers.get_mut(&boot)?;
        if worker.state == WorkerState::Active {
            worker.drain_epoch = number;
        }
        // A drain without end is a person's, which no lease shortens.
        if worker.state == WorkerState::Active || worker.drain_until.is_some() || until.is_none() {
            worker.drained_by = Some(by.to_owned());
            worker.drain_until = until;
        }
        worker.state = WorkerState::Draining;
        Some(worker.drain_epoch)
    }

    fn may_be_recalled(&self, boot: BootId) -> bool {
        let worker = self.workers.get(&boot).filter(|worker| worker.state == WorkerState::Draining);
        worker.is_some_and(|worker| place_of(&worker.new).is_none_or(|place| !self.leaves(&place)))
    }

    fn recall(&mut self, boot: BootId) {
        let Some(worker) = self.workers.get_mut(&boot) else { return };
        worker.recall();
        if let Some(place) = place_of(&worker.new) {
            self.end_drain(&place);
        }
    }

    /// The state of a job, if the action may move it from there.
    fn check(&self, id: JobId, action: Action) -> Result<Place> {
        let place = self.jobs.get(&id).ok_or(Error::NotFound(id))?.place;
        let state = place.state();
        if action.states().contains(&state) {
            return Ok(place);
        }
        Err(Error::WrongState { id, state, wanted: action.done() })
    }

    fn cancel(&mut self, id: JobId) -> Result<Cancel> {
        if let Place::Running(mut attempt) = self.check(id, Action::Cancel)? {
            attempt.cancel = true;
            self.row(id).place = Place::Running(attempt);
            return Ok(Cancel::Asked);
        }
        self.finish(id, State::Cancelled, None, None);
        Ok(Cancel::Done)
    }

    fn retry(&mut self, id: JobId) -> Result<()> {
        self.check(id, Action::Retry)?;
        if let Some(key) = self.row(id).key() {
            let holder = *self.keys.entry(key).or_insert(id);
            if holder != id {
                return Err(Error::KeyTaken { id, holder });
            }
        }
        let now = self.now;
        let row = self.row(id);
        (row.attempt, row.interruptions, row.deaths) = (0, 0, 0);
        (row.started_at, row.finished_at, row.expires_at) = (None, None, None);
        (row.worker, row.error, row.output) = (None, None, None);
        self.line_up(id, now);
        Ok(())
    }

    fn delete(&mut self, id: JobId) -> Result<()> {
        self.check(id, Action::Delete)?;
        self.remove(id);
        Ok(())
    }

    /// Whether the job was moved, or its worker will be told and would not have been anyway.
    fn act(&mut self, action: Action, id: JobId) -> bool {
        match action {
            Action::Cancel => {
                let asked = self.jobs.get(&id).and_then(Row::attempt_under_way).is_some_and(|a| a.cancel);
                !asked && self.cancel(id).is_ok()
            }
            Action::Retry => self.retry(id).is_ok(),
            Action::Delete => self.delete(id).is_ok(),
        }
    }

    fn set(&mut self, target: &Target, setting: Setting) {
        let unset = Settings { target: target.clone(), paused: false, retention: None, start_within: None };
        let settings = self.settings.entry(target.clone()).or_insert_with(|| unset.clone());
        match setting {
            Setting::Paused(paused) => settings.paused = paused,
            Setting::Retention(retention) => settings.retention = retention,
            Setting::StartWithin(start_within) => settings.start_within = start_within,
        }
        if *settings == unset {
            self.settings.remove(target);
        }
        if setting == Setting::Paused(false) {
            self.release(usize::MAX);
        }
    }
}
