//! One attempt, from the handler's start to the verdict on its job.
//!
//! decode → start → timeout → catch panic → outcome. Decoding is the handler's first step (see
//! [`registry`](crate::registry)); whatever ends the attempt is an [`End`], and [`verdict`] says what it means.

use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use headcount_queue::{
    Attempt, JobError, Outcome, Stop,
    limits::{self, MAX_DELAY},
    store::{ClaimedJob, Verdict},
};
use tokio::sync::watch;

use crate::{
    hands::tell,
    outage::jittered,
    registry::{Entry, Registry, Rules},
    verbosity::{Verbosity, detail, tell as tell_operator},
};

/// No deadline of a parked job is shorter.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// How long a job of a kind that this worker does not know waits before it is looked at again.
const UNKNOWN_KIND_WAIT: Duration = Duration::from_secs(30);

/// An attempt that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What becomes of the job; none if it was taken away, so that this worker has no say.
    pub(crate) verdict: Option<Verdict>,
    /// How long the handler ran.
    pub(crate) ran: Duration,
    /// Why no job can be run here any more.
    pub(crate) broken: Option<String>,
}

/// What ended an attempt.
#[derive(Debug)]
enum End {
    Returned(Result<Outcome, JobError>),
    Panicked(String),
    /// Longer than its timeout, this one.
    TimedOut(Duration),
    /// Longer than its maximum run time, this one.
    Hung(Duration),
    /// Cancelled; dropped after the grace.
    Cancelled,
    TakenAway,
}

/// Runs one attempt to its end.
pub(crate) async fn attempt(
    registry: &Registry,
    attempt: Attempt,
    stop: watch::Sender<Option<Stop>>,
    cancel_grace: Duration,
    verbosity: Verbosity,
) -> Ended {
    let began = Instant::now();
    let job = Arc::clone(attempt.job());
    let Some(entry) = registry.find(&job.kind) else {
        return Ended { verdict: Some(unknown_kind(&job.kind)), ran: Duration::ZERO, broken: None };
    };
    let rules = entry.rules.for_job(&job);
    detail!(verbosity, id = %job.id, kind = job.kind, attempt = job.attempt, "attempt started");
    let end = run(entry, rules, attempt.clone(), &stop, cancel_grace).await;
    let told = *stop.borrow();
    // A broken environment is nobody's failed attempt, whichever handler found it.
    let broken = if matches!(end, End::Returned(Err(_))) { entry.handler.broken() } else { None };
    let verdict = match &broken {
        Some(_) => Some(Verdict::Return),
        None => verdict(&job, &rules, checked(end, &attempt), told, rand::random()),
    };
    tell_of(&job, verdict.as_ref(), verbosity);
    Ended { verdict, ran: began.elapsed(), broken }
}

/// Runs the handler until it returns or something ends the attempt.
async fn run(
    entry: &Entry,
    rules: Rules,
    attempt: Attempt,
    stop: &watch::Sender<Option<Stop>>,
    cancel_grace: Duration,
) -> End {
    let handler = Arc::clone(&entry.handler);
    // The call itself stands inside, for a handler may panic before it returns its future.
    let running = AssertUnwindSafe(async move { handler.run(attempt).await }).catch_unwind();
    let mut running = Box::pin(running);
    let end = tokio::select! {
        biased;
        result = &mut running => match result {
            Ok(result) => End::Returned(result),
            Err(panic) => End::Panicked(message(panic.as_ref())),
        },
        end = time_is_up(rules) => {
            tell(stop, Stop::TimedOut);
            let wind_down = entry.handler.wind_down();
            if !wind_down.is_zero() {
                // What it still returns does not count: its time was up.
                let _ = tokio::time::timeout(wind_down, &mut running).await;
            }
            end
        },
        end = called_off(stop.subscribe(), cancel_grace) => end,
    };
    discard(running);
    end
}

/// Waits for the end of the shorter of the attempt's two limits.
async fn time_is_up(rules: Rules) -> End {
    match (rules.timeout, rules.max_run_time) {
        (None, None) => std::future::pending().await,
        (Some(timeout), max) if max.is_none_or(|max| timeout <= max) => {
            tokio::time::sleep(timeout).await;
            End::TimedOut(timeout)
        }
        (_, max) => {
            let max = max.unwrap_or_default();
            tokio::time::sleep(max).await;
            End::Hung(max)
        }
    }
}

/// Waits until the attempt was taken away, or was cancelled and had its grace.
async fn called_off(mut told: watch::Receiver<Option<Stop>>, cancel_grace: Duration) -> End {
    let weighty = |stop: &Option<Stop>| matches!(stop, Some(Stop::Cancelled | Stop::TakenAway));
    let Ok(stop) = told.wait_for(weighty).await.map(|stop| *stop) else {
        return std::future::pending().await;
    };
    if stop == Some(Stop::Cancelled) {
        let taken_away = told.wait_for(|stop| *stop == Some(Stop::TakenAway));
        if tokio::time::timeout(cancel_grace, taken_away).await.is_err() {
            return End::Cancelled;
        }
    }
    End::TakenAway
}

/// Drops the handler's future; a panic in one of its destructors is no more than a log line.
fn discard<F: Future>(running: Pin<Box<F>>) {
    if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(move || drop(running))) {
        tracing::error!("a handler panicked while it was dropped: {}", message(panic.as_ref()));
    }
}

/// A panic's message.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("with a value that is no text"))
}

/// Nobody could ever answer for a job whose callback was given to nobody.
fn checked(end: End, attempt: &Attempt) -> End {
    match end {
        End::Returned(Ok(Outcome::Waiting(_))) if !attempt.has_callback() => End::Returned(Err(JobError::fatal(
            "the handler waits for an answer and has asked for no callback: hand the third party what cx.callback() \
             returns",
        ))),
        end => end,
    }
}

/// What becomes of a job whose attempt ended so. `told`: what the handler had been told by then; `draw`: a random
/// number in `[0, 1)`.
fn verdict(job: &ClaimedJob, rules: &Rules, end: End, told: Option<Stop>, draw: f64) -> Option<Verdict> {
    let error = match end {
        // Whatever it returned: another attempt has begun, or is about to.
        End::TakenAway => return None,
        _ if told == Some(Stop::TakenAway) => return None,
        End::Returned(Ok(Outcome::Completed { output })) => {
            return Some(Verdict::Completed { output, keep: rules.retention.completed });
        }
        End::Cancelled => {
            let reason = "cancelled: its handler did not end by itself and was dropped".into();
            return Some(Verdict::Cancelled { reason });
        }
        _ if told == Some(Stop::Cancelled) => {
            return Some(Verdict::Cancelled { reason: "cancelled while it ran".into() });
        }
        End::Returned(Ok(Outcome::Snooze(after))) => {
            return Some(Verdict::Snooze { reason: None, after: after.min(MAX_DELAY) });
        }
        End::Returned(Ok(Outcome::Waiting(wait))) => {
            let retry = rules.backoff.wait(job.attempt, draw).min(MAX_DELAY);
            let wait = wait.clamp(LEAST_WAIT, MAX_DELAY);
            return Some(Verdict::Park { wait, expiry: rules.expiry, keep: rules.retention, retry });
        }
        End::Returned(Ok(_)) => JobError::fatal("the handler's outcome is none that this worker knows"),
        End::Hung(max) => {
            let reason = format!("hung: it ran for longer than its maximum run time of {max:?}");
            return Some(Verdict::Interrupt { reason });
        }
        // A handler that gives up because the worker stops has done as it was told, and an interruption is free.
        End::Returned(Err(error)) if told == Some(Stop::Stopping) && !error.is_fatal() => {
            return Some(Verdict::Interrupt { reason: format!("its worker was stopped: {error}") });
        }
        End::Returned(Err(error)) => error,
        End::Panicked(message) => JobError::retry(message),
        End::TimedOut(timeout) => JobError::retry(format!("timed out after {timeout:?}")),
    };
    let text = error.message().to_owned();
    Some(if error.is_fatal() || job.attempt >= job.max_attempts {
        Verdict::Failed { error: text, keep: rules.retention.failed }
    } else {
        let after = error.after().unwrap_or_else(|| rules.backoff.wait(job.attempt, draw));
        Verdict::Retry { error: text, after: after.min(MAX_DELAY) }
    })
}

/// A kind that this worker cannot run goes back, for another release to take: no attempt is spent.
fn unknown_kind(kind: &str) -> Verdict {
    let reason = format!(
        "the worker that took it does not know the kind {kind:?}: start a worker that does, or register the kind there"
    );
    Verdict::Snooze { reason: Some(reason), after: jittered(UNKNOWN_KIND_WAIT) }
}

/// One line in the log for each attempt.
fn tell_of(job: &ClaimedJob, verdict: Option<&Verdict>, verbosity: Verbosity) {
    let (id, kind, attempt) = (job.id, &job.kind, job.attempt);
    match verdict {
        None => tracing::warn!(%id, kind, attempt, "job taken away: its result does not count"),
        Some(Verdict::Completed { .. }) => detail!(verbosity, %id, kind, attempt, "job completed"),
        Some(Verdict::Snooze { after, .. }) => detail!(verbosity, %id, kind, attempt, ?after, "job snoozed"),
        Some(Verdict::Park { wait, .. }) => detail!(verbosity, %id, kind, attempt, ?wait, "job waits for an answer"),
        Some(Verdict::Retry { error, after }) => {
            let error = limits::tail(error, 500);
            tracing::warn!(%id, kind, attempt, error, ?after, "attempt failed: it will be retried");
        }
        Some(Verdict::Failed { error, .. }) => {
            let error = limits::tail(error, 500);
            tracing::error!(%id, kind, attempt, error, "job failed");
        }
        Some(Verdict::Cancelled { reason }) => tell_operator!(verbosity, %id, kind, attempt, reason, "job cancelled"),
        Some(Verdict::Interrupt { reason }) => tracing::warn!(%id, kind, attempt, reason, "job interrupted"),
        Some(Verdict::Return) => tell_operator!(verbosity, %id, kind, "job given back"),
    }
}

#[cfg(test)]
mod tests {
    use headcount_queue::{Backoff, Expiry, Retention};

    use super::*;
    use crate::sample;

    fn rules() -> Rules {
        Rules {
            backoff: Backoff::fixed(Duration::from_secs(9)),
            retention: Retention { completed: Duration::from_mins(1), failed: Some(Duration::from_secs(90)) },
            ..Rules::default()
        }
    }

    fn of(attempt: u16, end: End, told: Option<Stop>) -> Option<Verdict> {
        let job = ClaimedJob { attempt, max_attempts: 2, ..sample::job(1, 1) };
        verdict(&job, &rules(), end, told, 0.5)
    }

    #[test]
    fn every_end_has_its_verdict() {
        let retry = |error: &str, secs| Verdict::Retry { error: error.into(), after: Duration::from_secs(secs) };
        let failed = |error: &str| Verdict::Failed { error: error.into(), keep: Some(Duration::from_secs(90)) };
        let minute = Duration::from_mins(1);
        for (attempt, end, expected) in [
            (1, End::Returned(Ok(Outcome::DONE)), Verdict::Completed { output: None, keep: minute }),
            (1, End::Returned(Ok(Outcome::Snooze(minute))), Verdict::Snooze { reason: None, after: minute }),
            (1, End::Returned(Err(JobError::retry("x"))), retry("x", 9)),
            (2, End::Returned(Err(JobError::retry("x"))), failed("x")),
            (1, End::Returned(Err(JobError::retry_after("x", minute))), retry("x", 60)),
            (1, End::Returned(Err(JobError::fatal("x"))), failed("x")),
            (1, End::Panicked("panicked: x".into()), retry("panicked: x", 9)),
            (2, End::Panicked("panicked: x".into()), failed("panicked: x")),
            (1, End::TimedOut(minute), retry("timed out after 60s", 9)),
        ] {
            assert_eq!(of(attempt, end, None), Some(expected));
        }
        assert_eq!(of(1, End::TakenAway, None), None);
        assert!(
            matches!(of(2, End::Hung(minute), None), Some(Verdict::Interrupt { reason }) if reason.contains("60s"))
        );
    }

    #[test]
    fn a_job_that_waits_is_parked_under_the_rules_of_its_kind() {
        let parked = |wait| Verdict::Park {
            wait,
            expiry: Expiry::Retry,
            keep: rules().retention,
            retry: Duration::from_secs(9),
        };
        let waits = |wait| of(2, End::Returned(Ok(Outcome::Waiting(wait))), None);
        assert_eq!(waits(Duration::from_mins(1)), Some(parked(Duration::from_mins(1))));
        assert_eq!(waits(Duration::ZERO), Some(parked(LEAST_WAIT)), "it would end before anyone could answer");
        assert_eq!(waits(Duration::MAX), Some(parked(MAX_DELAY)));
    }

    #[test]
    fn a_handler_that_gives_up_when_its_worker_stops_spends_no_attempt() {
        let told = Some(Stop::Stopping);
        let end = |error| of(2, End::Returned(Err(error)), told);
        assert!(matches!(end(JobError::retry("x")), Some(Verdict::Interrupt { reason }) if reason.ends_with(": x")));
        assert!(matches!(end(JobError::fatal("x")), Some(Verdict::Failed { .. })));
        assert!(matches!(of(2, End::Returned(Ok(Outcome::DONE)), told), Some(Verdict::Completed { .. })));
        assert!(matches!(of(2, End::Panicked(String::new()), told), Some(Verdict::Failed { .. })));
    }

    #[test]
    fn nothing_that_an_attempt_returns_counts_once_it_was_taken_away() {
        for result in [Ok(Outcome::DONE), Err(JobError::fatal("x"))] {
            assert_eq!(of(1, End::Returned(result), Some(Stop::TakenAway)), None);
        }
    }

    #[test]
    fn a_cancelled_job_ends_as_cancelled_unless_it_completed_all_the_same() {
        let is_cancelled = |end| matches!(of(1, end, Some(Stop::Cancelled)), Some(Verdict::Cancelled { .. }));
        assert!(is_cancelled(End::Cancelled));
        assert!(is_cancelled(End::Returned(Err(JobError::fatal("stopped")))));
        assert!(is_cancelled(End::Returned(Ok(Outcome::Snooze(Duration::ZERO)))));
        assert!(is_cancelled(End::Panicked(String::new())));
        assert!(!is_cancelled(End::Returned(Ok(Outcome::DONE))));
    }
}
