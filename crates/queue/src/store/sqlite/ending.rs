//! The end of an attempt: what becomes of its job, decided by pure functions.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::tally::{Change, Lane, Place};
use crate::{
    AttemptOutcome, Expiry, JobId, Resolution, Retention, Scope, State,
    limits::{MAX_DEATHS, MAX_ERROR, MAX_INTERRUPTIONS, MAX_OUTPUT, head, tail},
    store::{BootId, Rescue, Verdict},
};

/// A job with an attempt under way, as far as its end needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) lane: Lane,
    /// Attempts spent.
    pub(super) attempt: u16,
    pub(super) max_attempts: u16,
    pub(super) interruptions: u16,
    pub(super) deaths: u16,
    pub(super) started_at: i64,
    pub(super) worker: String,
    /// Someone asked that it be cancelled.
    pub(super) cancel: bool,
    /// Its coalesce key, and for how long it holds that.
    pub(super) key: Option<(String, Scope)>,
}

/// A job in `running`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunningJob {
    pub(super) job: Job,
    pub(super) boot: BootId,
    pub(super) claim: i64,
    /// A beat has said that its handler started.
    pub(super) begun: bool,
    /// A third party's, which came before the job was parked.
    pub(super) answer: Option<Resolution>,
}

/// A job in `parked`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ParkedJob {
    pub(super) job: Job,
    /// Of the secret by which it is answered for.
    pub(super) digest: Option<String>,
    pub(super) parked_at: i64,
    pub(super) deadline: i64,
    pub(super) terms: Terms,
}

/// What was said of a parked job's end when it was parked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    pub(super) expiry: Expiry,
    pub(super) keep: Retention,
    /// The wait before another attempt, if the answer names none.
    pub(super) retry: Duration,
}

impl Terms {
    /// What an answer makes of the job; `None`: it goes on waiting.
    fn verdict(&self, job: &Job, answer: Resolution) -> Option<Verdict> {
        let keep = self.keep.failed;
        match answer {
            Resolution::StillWaiting(_) => None,
            Resolution::Completed { output } => Some(Verdict::Completed { output, keep: self.keep.completed }),
            Resolution::Failed { error } => Some(Verdict::Failed { error, keep }),
            Resolution::Retry { error, .. } if job.is_last_attempt() => Some(Verdict::Failed { error, keep }),
            Resolution::Retry { error, after } => Some(Verdict::Retry { error, after: after.unwrap_or(self.retry) }),
        }
    }
}

impl Job {
    /// Whether no attempt follows the one under way if that is spent.
    const fn is_last_attempt(&self) -> bool {
        self.attempt.saturating_add(1) >= self.max_attempts
    }
}

/// Where a job goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// Away, with everything that belongs to it.
    Gone,
    /// Kept as finished; `None` for good.
    Finished { state: State, error: Option<String>, output: Option<String>, keep: Option<Duration> },
    /// To be claimable again after the wait.
    Later { after: Duration, note: Option<String> },
    /// To wait so long for an answer.
    Parked { wait: Duration, terms: Terms },
    /// Into its place in the queue; a suspect among the held.
    Back,
}

/// An attempt that ends, and what becomes of its job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    /// The job, with its counts as they are from now on.
    pub(super) job: Job,
    pub(super) fate: Fate,
    /// The row for the attempt, where one is kept: its number, how it ended, why.
    pub(super) attempt: Option<(u16, AttemptOutcome, String)>,
    /// How long it ran, where that is counted.
    ran: Option<Duration>,
}

impl Ending {
    /// What a verdict makes of a running job.
    pub(super) fn of(running: RunningJob, verdict: &Verdict, ran: Duration) -> Self {
        Self::by(running.job, verdict, running.answer, ran)
    }

    /// What an answer makes of a parked job; `None`: it goes on waiting.
    pub(super) fn answered(parked: ParkedJob, answer: Resolution) -> Option<Self> {
        let verdict = parked.terms.verdict(&parked.job, answer)?;
        // Its run was counted when it was parked.
        Some(Self::by(parked.job, &verdict, None, Duration::ZERO))
    }

    /// Nobody answered for it before its deadline.
    pub(super) fn expired(parked: ParkedJob) -> Self {
        let ParkedJob { job, parked_at, deadline, terms, .. } = parked;
        let waited = (deadline - parked_at) / 1_000_000;
        let error = format!("nobody answered for it before its deadline, {waited} s after it was handed over");
        let fate = if terms.expiry == Expiry::Fail || job.is_last_attempt() {
            finished(State::Failed, error.clone(), terms.keep.failed)
        } else {
            Fate::Back
        };
        Self { ran: Some(Duration::ZERO), ..Self::spent(job, &error, fate) }
    }

    fn by(mut job: Job, verdict: &Verdict, answer: Option<Resolution>, ran: Duration) -> Self {
        if !matches!(verdict, Verdict::Return | Verdict::Interrupt { .. }) {
            // Its handler ended by itself, so it is not what kills its process.
            job.deaths = 0;
        }
        match verdict {
            Verdict::Completed { keep: Duration::ZERO, .. } => Self { ran: Some(ran), ..Self::silent(job, Fate::Gone) },
            Verdict::Completed { output, keep } => {
                // Where a completed job is kept, it shows the attempt that completed it.
                job.attempt = job.attempt.saturating_add(1);
                let output = output.as_deref().map(|output| clean(head(output, MAX_OUTPUT)));
                let fate = Fate::Finished { state: State::Completed, error: None, output, keep: Some(*keep) };
                Self { ran: Some(ran), ..Self::silent(job, fate) }
            }
            Verdict::Retry { error, after } => {
                let note = Some(message(error));
                Self { ran: Some(ran), ..Self::spent(job, error, Fate::Later { after: *after, note }) }.heeding_cancel()
            }
            Verdict::Failed { error, keep } => {
                let fate = finished(State::Failed, message(error), *keep);
                Self { ran: Some(ran), ..Self::spent(job, error, fate) }
            }
            Verdict::Snooze { reason, after } => {
                let note = reason.as_deref().map(message);
                Self::silent(job, Fate::Later { after: *after, note }).heeding_cancel()
            }
            &Verdict::Park { mut wait, expiry, keep, retry } => {
                let terms = Terms { expiry, keep, retry };
                if let Some(Resolution::StillWaiting(longer)) = answer {
                    wait = longer;
                }
                match answer.and_then(|answer| terms.verdict(&job, answer)) {
                    Some(verdict) => Self::by(job, &verdict, None, ran),
                    None => Self::parked(job, wait, terms, ran),
                }
            }
            Verdict::Return => Self::silent(job, Fate::Back).heeding_cancel(),
            Verdict::Interrupt { reason } => Self::interrupted(job, AttemptOutcome::Interrupted, reason),
            Verdict::Cancelled { reason } => Self::cancelled(job, reason),
        }
    }

    /// Back, as if it had never been claimed; cancelled, if that was asked.
    pub(super) fn give_back(running: RunningJob) -> Self {
        Self::silent(running.job, Fate::Back).heeding_cancel()
    }

    fn parked(job: Job, wait: Duration, terms: Terms, ran: Duration) -> Self {
        let ending = Self::silent(job, Fate::Parked { wait, terms }).heeding_cancel();
        // A cancelled attempt's run is not counted, however it would have ended.
        let ran = matches!(ending.fate, Fate::Parked { .. }).then_some(ran);
        Self { ran, ..ending }
    }

    /// Its process died. `blame`: the death counts against a job that had started.
    pub(super) fn of_the_dead(running: RunningJob, blame: bool) -> (Self, Rescue) {
        let RunningJob { mut job, begun, .. } = running;
        let died = format!("worker {} died while it ran", job.worker);
        let mut ending = if !begun {
            Self::silent(job, Fate::Back).heeding_cancel()
        } else if !blame {
            let attempt = (job.attempt + 1, AttemptOutcome::Died, died.clone());
            Self { attempt: Some(attempt), ..Self::silent(job, Fate::Back) }.heeding_cancel()
        } else {
            job.deaths += 1;
            Self::interrupted(job, AttemptOutcome::Died, &died)
        };
        if ending.job.deaths >= MAX_DEATHS && ending.fate == Fate::Back {
            ending.fate = finished(
                State::Failed,
                format!(
                    "quarantined: {died}, {} times now, the last time as the only job in it; look for what it uses up \
                     (memory, most often), then retry it",
                    ending.job.deaths
                ),
                None,
            );
        }
        let rescue = match ending.fate {
            Fate::Back if ending.is_suspect() => Rescue::Isolated,
            Fate::Back => Rescue::Requeued,
            Fate::Finished { state: State::Cancelled, .. } => Rescue::Cancelled,
            _ => Rescue::Quarantined,
        };
        (ending, rescue)
    }

    fn silent(job: Job, fate: Fate) -> Self {
        Self { job, fate, attempt: None, ran: None }
    }

    fn spent(mut job: Job, error: &str, fate: Fate) -> Self {
        job.attempt = job.attempt.saturating_add(1);
        let attempt = (job.attempt, AttemptOutcome::Failed, message(error));
        Self { attempt: Some(attempt), ..Self::silent(job, fate) }
    }

    fn interrupted(mut job: Job, outcome: AttemptOutcome, reason: &str) -> Self {
        job.interruptions = job.interruptions.saturating_add(1);
        let attempt = Some((job.attempt + 1, outcome, message(reason)));
        let fate = if job.interruptions >= MAX_INTERRUPTIONS {
            let why = format!(
                "quarantined: interrupted {} times, the last time since {reason}; give it a shorter run or its workers \
                 a longer grace, then retry it",
                job.interruptions
            );
            finished(State::Failed, message(&why), None)
        } else {
            Fate::Back
        };
        Self { attempt, ..Self::silent(job, fate) }.heeding_cancel()
    }

    fn cancelled(job: Job, reason: &str) -> Self {
        let attempt = Some((job.attempt + 1, AttemptOutcome::Cancelled, message(reason)));
        Self { attempt, ..Self::silent(job, finished(State::Cancelled, message(reason), None)) }
    }

    /// A job that would run again, or wait, is cancelled instead if that was asked.
    fn heeding_cancel(self) -> Self {
        if !self.job.cancel || !matches!(self.fate, Fate::Back | Fate::Later { .. } | Fate::Parked { .. }) {
            return self;
        }
        let why = match &self.attempt {
            Some((_, _, error)) => format!("cancelled while it ran; the attempt had ended: {error}"),
            None => "cancelled while a worker held it".into(),
        };
        match self.attempt {
            // A failed attempt was spent, and its row says more than that it was cancelled too.
            Some(_) => Self { fate: finished(State::Cancelled, message(&why), None), ..self },
            None => Self { ran: self.ran, ..Self::cancelled(self.job, &why) },
        }
    }

    pub(super) const fn is_suspect(&self) -> bool {
        self.job.deaths + 1 >= MAX_DEATHS
    }

    /// Where the job is counted from now on.
    pub(super) fn place(&self) -> Option<Place> {
        match self.fate {
            Fate::Gone => None,
            Fate::Finished { state, .. } => Some(Place::Finished(state)),
            Fate::Later { .. } => Some(Place::Later),
            Fate::Parked { .. } => Some(Place::Parked),
            Fate::Back if self.is_suspect() => Some(Place::Suspect),
            Fate::Back => Some(Place::Ready),
        }
    }

    /// The key that the job lets go of, if this is its end.
    pub(super) fn freed(&self) -> Option<(String, String, JobId)> {
        let (key, scope) = self.job.key.as_ref()?;
        let over = match self.fate {
            Fate::Finished { state: State::Failed, .. } => *scope != Scope::UnfinishedOrFailed,
            Fate::Gone | Fate::Finished { .. } => true,
            Fate::Later { .. } | Fate::Parked { .. } | Fate::Back => false,
        };
        over.then(|| (self.job.lane.queue.clone(), key.clone(), self.job.id))
    }

    /// Counts it as a job of its lane that leaves this place.
    pub(super) fn count(&self, from: Place, change: &mut Change) {
        change.leave(from);
        if let Some(place) = self.place() {
            change.enter(place);
        }
        change.flow.returned += i64::from(self.fate == Fate::Back);
        if let Some(ran) = self.ran {
            change.flow.run_ms += i64::try_from(ran.as_millis()).unwrap_or_default();
            match self.attempt {
                // It is not over.
                None if matches!(self.fate, Fate::Parked { .. }) => {}
                None => change.flow.completed += 1,
                Some(_) => change.flow.failed += 1,
            }
        }
    }
}

fn finished(state: State, error: String, keep: Option<Duration>) -> Fate {
    Fate::Finished { state, error: Some(error), output: None, keep }
}

/// A message as it is kept: its end, where the cause stands.
fn message(text: &str) -> String {
    clean(tail(text, MAX_ERROR))
}

/// Text that both stores can keep: Postgres has no U+0000.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
