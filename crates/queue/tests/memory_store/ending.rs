//! What becomes of a job whose attempt ends.

use std::time::Duration;

use headcount_queue::{
    AttemptOutcome, AttemptRecord, JobId, Scope, State,
    limits::{MAX_DEATHS, MAX_ERROR, MAX_INTERRUPTIONS, MAX_OUTPUT, head, tail},
    store::{Rescue, Settlement, Verdict},
};

use super::{
    parking::Terms,
    tables::{Hold, Place, Row, Tables},
};

impl Tables {
    /// Ends an attempt, if the token is that of the one under way; else nothing changes.
    pub(crate) fn settle(&mut self, settlement: &Settlement) {
        let Settlement { id, token, verdict, ran } = settlement;
        let id = *id;
        let attempt = self.jobs.get(&id).and_then(Row::attempt_under_way).filter(|a| a.token == *token);
        let Some(attempt) = attempt else { return };
        if !matches!(verdict, Verdict::Return | Verdict::Interrupt { .. }) {
            // Its handler ended by itself, so it is not what kills its process.
            self.row(id).deaths = 0;
        }
        match verdict {
            Verdict::Completed { output, keep } => {
                self.count_run(id, *ran);
                self.complete(id, output.as_deref(), *keep);
            }
            Verdict::Retry { error, after } => {
                self.count_run(id, *ran);
                self.spend(id, error);
                if attempt.cancel {
                    let why = format!("cancelled while it ran; the attempt had ended: {error}");
                    self.finish(id, State::Cancelled, Some(&why), None);
                } else {
                    self.postpone(id, *after, Some(error));
                }
            }
            Verdict::Failed { error, keep } => {
                self.count_run(id, *ran);
                self.spend(id, error);
                self.finish(id, State::Failed, Some(error), *keep);
            }
            Verdict::Snooze { .. } if attempt.cancel => self.cancel_held(id),
            Verdict::Snooze { reason, after } => self.postpone(id, *after, reason.as_deref()),
            &Verdict::Park { wait, expiry, keep, retry } => self.park(id, Terms { wait, expiry, keep, retry }, *ran),
            Verdict::Return => self.give_back(id),
            Verdict::Interrupt { reason } => self.interrupt(id, AttemptOutcome::Interrupted, reason),
            Verdict::Cancelled { reason } => {
                self.record(id, AttemptOutcome::Cancelled, reason);
                self.finish(id, State::Cancelled, Some(reason), None);
            }
        }
    }

    /// Completed: gone at once, unless it is kept.
    pub(crate) fn complete(&mut self, id: JobId, output: Option<&str>, keep: Duration) {
        self.counters.lane(&self.jobs[&id]).happens(|flow| flow.completed += 1);
        let row = self.row(id);
        row.attempt = row.attempt.saturating_add(1);
        row.output = output.map(|output| head(output, MAX_OUTPUT).to_owned());
        if keep.is_zero() { self.remove(id) } else { self.finish(id, State::Completed, None, Some(keep)) }
    }

    /// Back into its place, to be claimed anew; cancelled, if that was asked.
    pub(crate) fn give_back(&mut self, id: JobId) {
        if self.row(id).attempt_under_way().is_some_and(|attempt| attempt.cancel) {
            return self.cancel_held(id);
        }
        let now = self.now;
        let row = self.row(id);
        row.ready_at = Some(now);
        let place = row.claimable();
        self.go(id, place);
        let row = &self.jobs[&id];
        self.counters.lane(row).happens(|flow| flow.returned += 1);
    }

    /// Its process died. `blame`: the death counts against a job that had started.
    pub(crate) fn die(&mut self, id: JobId, blame: bool) -> Rescue {
        let row = self.row(id);
        let died = format!("worker {} died while it ran", row.worker.as_deref().unwrap_or_default());
        let begun = row.attempt_under_way().is_some_and(|attempt| attempt.begun);
        if begun && blame {
            row.deaths += 1;
            self.interrupt(id, AttemptOutcome::Died, &died);
        } else {
            if begun {
                self.record(id, AttemptOutcome::Died, &died);
            }
            self.give_back(id);
        }
        match self.row(id).place {
            Place::Held(Hold::Suspect) => Rescue::Isolated,
            Place::Finished(State::Cancelled) => Rescue::Cancelled,
            Place::Finished(_) => Rescue::Quarantined,
            _ => Rescue::Requeued,
        }
    }

    /// An interruption, which spends no attempt. Too many of them, or of deaths, are the end.
    fn interrupt(&mut self, id: JobId, outcome: AttemptOutcome, reason: &str) {
        self.record(id, outcome, reason);
        let row = self.row(id);
        row.interruptions = row.interruptions.saturating_add(1);
        let (times, deaths) = (row.interruptions, row.deaths);
        let cancel = row.attempt_under_way().is_some_and(|attempt| attempt.cancel);
        if times >= MAX_INTERRUPTIONS {
            let why =
                format!("quarantined: interrupted {times} times, the last time since {reason}; mend it and retry it");
            self.finish(id, State::Failed, Some(&why), None);
        } else if cancel {
            self.finish(id, State::Cancelled, Some(&format!("cancelled while it ran; {reason}")), None);
        } else if deaths >= MAX_DEATHS {
            let why = format!("quarantined: {reason}, {deaths} times now, at last alone in it; mend it and retry it");
            self.finish(id, State::Failed, Some(&why), None);
        } else {
            self.give_back(id);
        }
    }

    /// Cancelled while a worker held it.
    pub(crate) fn cancel_held(&mut self, id: JobId) {
        let why = "cancelled while a worker held it";
        self.record(id, AttemptOutcome::Cancelled, why);
        self.finish(id, State::Cancelled, Some(why), None);
    }

    /// A failed attempt: counted, kept with its error, and spent.
    pub(crate) fn spend(&mut self, id: JobId, error: &str) {
        self.record(id, AttemptOutcome::Failed, error);
        self.counters.lane(&self.jobs[&id]).happens(|flow| flow.failed += 1);
        let row = self.row(id);
        row.attempt = row.attempt.saturating_add(1);
    }

    pub(crate) fn count_run(&mut self, id: JobId, ran: Duration) {
        let ran = i64::try_from(ran.as_millis()).unwrap_or_default();
        self.counters.lane(&self.jobs[&id]).happens(|flow| flow.run_ms += ran);
    }

    /// Scheduled again after the wait.
    pub(crate) fn postpone(&mut self, id: JobId, after: Duration, note: Option<&str>) {
        let run_at = self.after(after);
        let row = self.row(id);
        row.run_at = run_at;
        row.error = note.map(|note| tail(note, MAX_ERROR).to_owned());
        self.go(id, Place::Later);
    }

    /// Over. Its key goes, unless it failed and its scope is that of the failed, too.
    pub(crate) fn finish(&mut self, id: JobId, state: State, error: Option<&str>, keep: Option<Duration>) {
        let (now, expires_at) = (self.now, keep.map(|keep| self.after(keep)));
        let row = self.row(id);
        row.finished_at = Some(now);
        row.expires_at = expires_at;
        row.error = error.map(|error| tail(error, MAX_ERROR).to_owned());
        let key = row.key().filter(|_| state != State::Failed || row.job.coalesce.scope != Scope::UnfinishedOrFailed);
        self.go(id, Place::Finished(state));
        if let Some(key) = key {
            self.let_go(&key, id);
        }
    }

    /// Keeps how an attempt ended that did not complete.
    fn record(&mut self, id: JobId, outcome: AttemptOutcome, error: &str) {
        let row = &self.jobs[&id];
        let record = AttemptRecord {
            job: id,
            attempt: row.attempt + 1,
            outcome,
            started_at: row.started_at.unwrap_or(self.now),
            ended_at: self.now,
            worker: row.worker.clone().unwrap_or_default(),
            error: tail(error, MAX_ERROR).to_owned(),
        };
        self.attempts.entry(id).or_default().push(record);
    }
}
