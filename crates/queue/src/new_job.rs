//! A job on its way in: plain data, checked before it reaches a store.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::{
    Backoff, Coalesce, Error, Job, Result, Retention,
    limits::{MAX_ATTEMPTS, MAX_BULK, MAX_PAYLOAD, check_delay, check_key, check_name},
};

/// When a job may first run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// At once.
    #[default]
    Now,
    /// After this delay, counted by the store's clock from the enqueue.
    After(Duration),
    /// Not before this time, by the store's clock. A time that has passed means now.
    At(DateTime<Utc>),
}

/// A job to be enqueued.
///
/// ```
/// # use std::time::Duration;
/// # use headcount_queue::NewJob;
/// let job = NewJob::new("thumbnail", r#"{"image":7}"#).queue("media").priority(5).delay(Duration::from_secs(300));
/// job.check()?;
/// # Ok::<_, headcount_queue::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What kind of job it is.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Higher runs first, within a queue.
    pub priority: i16,
    /// The payload, or why it could not be made: told by [`NewJob::check`], so that building a job never fails.
    pub(crate) payload: Result<String, String>,
    /// When it may first run.
    pub when: When,
    /// How many attempts it has.
    pub max_attempts: u16,
    /// Its own timeout.
    pub timeout: Option<Duration>,
    /// Its own maximum run time.
    pub max_run_time: Option<Duration>,
    /// Its own backoff.
    pub backoff: Option<Backoff>,
    /// Its own retention.
    pub retention: Option<Retention>,
    /// Its labels (JSON text).
    pub meta: Option<String>,
    /// Its coalesce key; without one it does not coalesce.
    pub key: Option<String>,
    /// Where it has a key, how it coalesces.
    pub coalesce: Coalesce,
}

impl NewJob {
    /// A job of this kind with this payload (JSON text, kept byte for byte), in the queue `default`.
    pub fn new(kind: impl Into<String>, payload: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            queue: "default".into(),
            priority: 0,
            payload: Ok(payload.into()),
            when: When::Now,
            max_attempts: 5,
            timeout: None,
            max_run_time: None,
            backoff: None,
            retention: None,
            meta: None,
            key: None,
            coalesce: Coalesce::DEFAULT,
        }
    }

    /// This job, with the defaults of its kind.
    ///
    /// The kind's timeout, backoff and retention are not copied: the worker that runs the job has them, and a new
    /// release changes them for jobs already waiting. Its maximum run time is, since other processes judge by it.
    pub fn of<J: Job>(job: &J) -> Self {
        Self {
            queue: J::QUEUE.into(),
            priority: J::PRIORITY,
            payload: serde_json::to_string(job).map_err(|error| error.to_string()),
            max_attempts: J::MAX_ATTEMPTS,
            max_run_time: J::MAX_RUN_TIME,
            key: job.coalesce_key(),
            coalesce: J::COALESCE,
            ..Self::new(J::KIND, "")
        }
    }

    /// Puts it into this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Higher runs first, within a queue; −32768 to 32767.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Runs it after this delay at the earliest; at most ten years.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.when = When::After(delay);
        self
    }

    /// Runs it at this time at the earliest.
    #[must_use]
    pub fn run_at(mut self, at: DateTime<Utc>) -> Self {
        self.when = When::At(at);
        self
    }

    /// How many attempts it has, 1 to 10 000.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u16) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// An attempt that takes longer counts as failed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// An attempt that takes longer is hung, and the job queued again.
    #[must_use]
    pub fn max_run_time(mut self, max: Duration) -> Self {
        self.max_run_time = Some(max);
        self
    }

    /// The wait between its attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// How long it is kept once finished.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Labels of the application's own (JSON text), shown with the job and handed to its handler.
    #[must_use]
    pub fn meta(mut self, meta: impl Into<String>) -> Self {
        self.meta = Some(meta.into());
        self
    }

    /// Coalesces with other jobs of its queue that have this key: 1 to 512 bytes, without control characters.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How it coalesces, instead of by its kind's rule; without a [key](NewJob::key) it does not.
    #[must_use]
    pub fn coalesce(mut self, rule: Coalesce) -> Self {
        self.coalesce = rule;
        self
    }

    /// Checks every limit. Every store does so before it takes a job.
    pub fn check(&self) -> Result<()> {
        check_name("a kind", &self.kind)?;
        check_name("a queue", &self.queue)?;
        let payload = self.payload()?;
        check_json("the payload", payload)?;
        if let Some(meta) = &self.meta {
            check_json("meta", meta)?;
        }
        if let Some(key) = &self.key {
            check_key(key)?;
        }
        if !(1..=MAX_ATTEMPTS).contains(&self.max_attempts) {
            return Err(Error::Rejected(format!("{} attempts: 1 to {MAX_ATTEMPTS} are allowed", self.max_attempts)));
        }
        match self.when {
            When::After(delay) => check_delay("a delay", delay)?,
            // Far enough for any schedule, near enough for every store's calendar.
            When::At(at) if at.timestamp() > 7_258_118_400 => {
                return Err(Error::Rejected(format!("{at} is after the year 2200")));
            }
            When::Now | When::At(_) => {}
        }
        for (what, length) in [("a timeout", self.timeout), ("a maximum run time", self.max_run_time)] {
            if length == Some(Duration::ZERO) {
                return Err(Error::Rejected(format!("{what} of 0 s would never let the job run")));
            }
            check_delay(what, length.unwrap_or_default())?;
        }
        Ok(())
    }

    /// Checks a bulk: each job, and their number.
    pub fn check_all(jobs: &[Self]) -> Result<()> {
        if jobs.len() > MAX_BULK {
            return Err(Error::Rejected(format!("{} jobs in one bulk: at most {MAX_BULK} are allowed", jobs.len())));
        }
        jobs.iter().try_for_each(Self::check)
    }

    /// The payload as JSON text.
    pub fn payload(&self) -> Result<&str> {
        self.payload.as_deref().map_err(|why| Error::Rejected(format!("the job does not serialize as JSON: {why}")))
    }
}

impl<J: Job> From<J> for NewJob {
    fn from(job: J) -> Self {
        Self::of(&job)
    }
}

fn check_json(what: &str, text: &str) -> Result<()> {
    if text.len() > MAX_PAYLOAD {
        return Err(Error::Rejected(format!(
            "{what} has {} bytes; at most {MAX_PAYLOAD} are allowed: keep large data elsewhere and enqueue its address",
            text.len()
        )));
    }
    // Postgres' json type takes any escape but this one.
    if text.contains("\\u0000") {
        return Err(Error::Rejected(format!("{what} holds the character U+0000, which cannot be stored")));
    }
    serde_json::from_str::<&RawValue>(text)
        .map(drop)
        .map_err(|error| Error::Rejected(format!("{what} is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_refused_with_a_reason() {
        let ok = || NewJob::new("k", "{}");
        ok().check().unwrap();
        let long = format!("\"{}\"", "x".repeat(MAX_PAYLOAD));
        for (job, reason) in [
            (NewJob::new("", "{}"), "no name"),
            (NewJob::new("k", "{"), "no JSON"),
            (NewJob::new("k", long), "keep large data elsewhere"),
            (NewJob::new("k", "\"\\u0000\""), "U+0000"),
            (ok().queue("a,b"), "not allowed"),
            (ok().meta("x"), "meta is no JSON"),
            (ok().key(""), "coalesce key"),
            (ok().max_attempts(0), "1 to 10000"),
            (ok().delay(Duration::from_secs(u64::MAX)), "ten years"),
            (ok().timeout(Duration::ZERO), "never let the job run"),
            (ok().run_at("2300-01-01T00:00:00Z".parse().unwrap()), "2200"),
        ] {
            let error = job.check().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
