//! Who holds a coalesce key.

use headcount_queue::{
    Conflict, JobId, NewJob, Result, State,
    store::{Admission, Enqueued},
};

use super::tables::{Hold, KeyName, Place, Tables};

impl Tables {
    /// Takes a job in, or coalesces it with the one that holds its key.
    pub(crate) fn admit(&mut self, job: &NewJob) -> Result<Enqueued> {
        let Some(key) = &job.key else {
            return Ok(Enqueued::new(self.take_in(job, false)?));
        };
        let name = (job.queue.clone(), key.clone());
        let Some(&holder) = self.keys.get(&name) else {
            let id = self.take_in(job, false)?;
            self.keys.insert(name, id);
            return Ok(Enqueued::new(id));
        };
        let waits = matches!(self.row(holder).place.state(), State::Queued | State::Scheduled);
        match job.coalesce.conflict {
            Conflict::Keep => return Ok(Enqueued::coalesced(holder, Admission::Kept)),
            Conflict::RunAgain if waits => return Ok(Enqueued::coalesced(holder, Admission::Kept)),
            Conflict::Replace if waits => {
                self.replace(holder, job)?;
                return Ok(Enqueued::coalesced(holder, Admission::Replaced));
            }
            // It comes too late for the holder: one job, and no more, runs after it.
            Conflict::RunAgain | Conflict::Replace => {}
        }
        let id = match self.waiting.get(&name) {
            Some(&waiting) => {
                if job.coalesce.conflict == Conflict::Replace {
                    job.payload()?.clone_into(&mut self.row(waiting).payload);
                }
                waiting
            }
            None => self.take_in(job, true)?,
        };
        Ok(Enqueued::coalesced(id, Admission::Again { holder }))
    }

    /// Gives a job that waits this one's payload and run time.
    fn replace(&mut self, id: JobId, job: &NewJob) -> Result<()> {
        let (now, run_at) = (self.now, self.due(job.when));
        let row = self.row(id);
        job.payload()?.clone_into(&mut row.payload);
        row.run_at = run_at;
        match row.place {
            Place::Ready | Place::Held(Hold::Paused | Hold::Suspect) if run_at > now => {
                row.ready_at = None;
                self.go(id, Place::Later);
            }
            Place::Later if run_at <= now => self.line_up(id, now),
            _ => {}
        }
        Ok(())
    }

    /// The job lets its key go, if it has it: to the one that waits for it, which may run now, or to whoever comes.
    pub(crate) fn let_go(&mut self, key: &KeyName, id: JobId) {
        if self.keys.get(key) != Some(&id) {
            return;
        }
        match self.waiting.get(key) {
            Some(&next) => {
                self.keys.insert(key.clone(), next);
                let now = self.now;
                self.line_up(next, now);
            }
            None => {
                self.keys.remove(key);
            }
        }
    }
}
