//! A job that waits for a third party: who may answer for it, what an answer does, and how the wait ends without one.

use std::time::Duration;

use headcount_queue::{
    Error, Expiry, JobId, Resolution, Result, Retention, Secret, State,
    store::{Expired, Resolve, Token},
};

use super::tables::{Callback, Place, Tables, Wait};

/// What was said of a wait when it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) wait: Duration,
    pub(crate) expiry: Expiry,
    pub(crate) keep: Retention,
    pub(crate) retry: Duration,
}

impl Tables {
    /// Notes what the secret of this attempt is known by. Another one takes the place of the first, with all that was
    /// said by it.
    pub(crate) fn callback(&mut self, id: JobId, token: Token, digest: &str) -> Result<()> {
        let row = self.jobs.get_mut(&id);
        let row = row.filter(|row| row.attempt_under_way().is_some_and(|attempt| attempt.token == token));
        let callback = &mut row.ok_or(Error::TakenAway(id))?.callback;
        if callback.as_ref().is_none_or(|callback| callback.digest != digest) {
            *callback = Some(Callback { digest: digest.to_owned(), early: None });
        }
        Ok(())
    }

    /// Parks a running job. An answer that came early settles it in this moment; a cancel does, unless that answer is an
    /// end already.
    pub(crate) fn park(&mut self, id: JobId, terms: Terms, ran: Duration) {
        let row = self.row(id);
        let early = row.callback.as_mut().and_then(|callback| callback.early.take());
        let ends = matches!(early, Some(Resolution::Completed { .. } | Resolution::Failed { .. }));
        if !ends && row.attempt_under_way().is_some_and(|attempt| attempt.cancel) {
            return self.cancel_held(id);
        }
        self.count_run(id, ran);
        let wait = Wait {
            since: self.now,
            deadline: self.after(terms.wait),
            expiry: terms.expiry,
            keep: terms.keep,
            retry: terms.retry,
        };
        self.go(id, Place::Parked(wait));
        if let Some(early) = early {
            self.answer(id, wait, &early);
        }
    }

    pub(crate) fn resolve(&mut self, id: JobId, secret: &Secret, resolution: &Resolution) -> Result<Resolve> {
        resolution.check()?;
        let digest = secret.digest();
        let row = self.jobs.get_mut(&id).ok_or(Error::NotFound(id))?;
        match (row.place, &mut row.callback) {
            (Place::Parked(wait), Some(callback)) if callback.digest == digest => {
                self.answer(id, wait, resolution);
                Ok(Resolve::Done)
            }
            (Place::Running(_), Some(callback)) if callback.digest == digest => match callback.early {
                None | Some(Resolution::StillWaiting(_)) => {
                    callback.early = Some(resolution.clone());
                    Ok(Resolve::Early)
                }
                Some(_) => Err(Error::Answered(id)),
            },
            (Place::Parked(_), _) | (Place::Running(_), Some(_)) => Err(Error::WrongSecret(id)),
            (place, _) => Err(Error::WrongState { id, state: place.state(), wanted: "resolved" }),
        }
    }

    /// What an answer makes of a parked job. Its run was counted when it parked.
    fn answer(&mut self, id: JobId, wait: Wait, resolution: &Resolution) {
        match resolution {
            Resolution::Completed { output } => self.complete(id, output.as_deref(), wait.keep.completed),
            Resolution::StillWaiting(longer) => {
                let deadline = self.after(*longer);
                self.go(id, Place::Parked(Wait { deadline, ..wait }));
            }
            Resolution::Failed { error } => {
                self.spend(id, error);
                self.finish(id, State::Failed, Some(error), wait.keep.failed);
            }
            Resolution::Retry { error, after } => {
                self.spend(id, error);
                if self.row(id).is_spent() {
                    self.finish(id, State::Failed, Some(error), wait.keep.failed);
                } else {
                    self.postpone(id, after.unwrap_or(wait.retry), Some(error));
                }
            }
        }
    }

    /// Ends waits whose deadline has passed, the earliest first.
    pub(crate) fn expire(&mut self, limit: usize) -> Vec<Expired> {
        let parked = self.jobs.values().filter_map(|row| Some((row.wait()?, row.id)));
        let mut overdue: Vec<(Wait, JobId)> = parked.filter(|(wait, _)| wait.deadline <= self.now).collect();
        overdue.sort_by_key(|(wait, id)| (wait.deadline, *id));
        overdue.truncate(limit);
        overdue.into_iter().map(|(wait, id)| Expired { id, state: self.give_up(id, wait) }).collect()
    }

    /// Nobody answered: the attempt is spent, and the job takes its old place, if it has attempts left and is to.
    fn give_up(&mut self, id: JobId, wait: Wait) -> State {
        let after = (wait.deadline - wait.since).as_seconds_f64();
        let error = format!("nobody answered for it before its deadline, {after:.3} s after it was handed over");
        self.spend(id, &error);
        if wait.expiry == Expiry::Fail || self.row(id).is_spent() {
            self.finish(id, State::Failed, Some(&error), wait.keep.failed);
        } else {
            self.row(id).error = Some(error);
            self.give_back(id);
        }
        self.row(id).place.state()
    }
}
