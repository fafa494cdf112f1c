//! Workers that end by themselves: when to start the next, and when starting is no use. Pure.

use std::time::{Duration, Instant};

use super::child::Exit;
use crate::driver::Trouble;

/// The worker's environment is broken, it says: configuration refused, or a program missing.
const BROKEN: i32 = 78;
/// Ends by plan: nothing more to do, memory given back, a new release.
const PLANNED: [i32; 3] = [0, 91, 92];
/// A process that has lived so long came up well; one that ended sooner failed to start.
const STABLE: Duration = Duration::from_secs(30);
/// A planned end is suspicious only this soon after the start: then it would spin.
const SPIN: Duration = Duration::from_secs(2);
/// The wait after the first failed start; doubled for each further one.
const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_mins(1);
/// The longest wait after processes that were killed.
const CAP_KILLED: Duration = Duration::from_secs(5);

/// The failed starts of a pool.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    failures: u32,
    /// Of them, those that were killed rather than failed: by a job that used up the memory, most often.
    ///
    /// They are no sign that workers cannot start, and the scaler isolates the job to blame; to give the pool up, or to
    /// wait for a minute, would let one such job stop all others.
    killed: u32,
    last: Option<Instant>,
    message: String,
    broken: bool,
}

impl Crashes {
    /// A process ended without having been told to.
    pub(super) fn ended(&mut self, started: Instant, now: Instant, exit: Exit, last_words: impl Fn() -> String) {
        let lived = now - started;
        let message = || format!("a worker ended after {lived:.1?} with {exit}: {}", last_words());
        match exit {
            Exit::Code(BROKEN) => {
                self.broken = true;
                self.message = format!(
                    "a worker ended with {exit}, as its configuration or environment is broken: {}",
                    last_words()
                );
            }
            Exit::Code(code) if PLANNED.contains(&code) && lived >= SPIN => {}
            _ => {
                if lived >= STABLE {
                    self.recovered();
                }
                let counted = self.failed(started, now, message());
                if counted && matches!(exit, Exit::Signal(_)) {
                    self.killed += 1;
                }
            }
        }
    }

    /// A start failed. Processes started together that end together are one failure.
    /// Whether it was counted.
    pub(super) fn failed(&mut self, started: Instant, now: Instant, message: String) -> bool {
        let counts = self.failures == 0 || self.last.is_none_or(|last| started >= last);
        if counts {
            self.failures += 1;
            self.last = Some(now);
        }
        self.message = message;
        counts
    }

    fn recovered(&mut self) {
        (self.failures, self.killed) = (0, 0);
    }

    /// A process lives that was started then: if it is stable and younger than the last failure, all is well again.
    pub(super) fn lives(&mut self, started: Instant, now: Instant) {
        if now - started >= STABLE && self.last.is_none_or(|last| started >= last) {
            self.recovered();
        }
    }

    /// What keeps new workers from coming up, if anything does.
    pub(super) fn trouble(&self, now: Instant) -> Option<Trouble> {
        if self.broken {
            return Some(Trouble { message: self.message.clone(), failures: self.failures, retry_in: None });
        }
        let last = self.last.filter(|_| self.failures > 0)?;
        let failures = self.failures - self.killed;
        let cap = if failures > 0 { CAP } else { CAP_KILLED };
        let wait = BASE.saturating_mul(1 << (self.failures - 1).min(16)).min(cap);
        let retry_in = wait.saturating_sub(now - last);
        Some(Trouble { message: self.message.clone(), failures, retry_in: Some(retry_in) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Lets a process end after it has lived so long; the next starts as soon as it may.
    fn crash(crashes: &mut Crashes, now: &mut Instant, exit: Exit, lived: Duration) {
        let started = *now + crashes.trouble(*now).and_then(|t| t.retry_in).unwrap_or_default();
        *now = started + lived;
        crashes.ended(started, *now, exit, || "boom".into());
    }

    #[test]
    fn starts_that_fail_again_and_again_wait_longer_and_longer() {
        let (mut crashes, mut now) = (Crashes::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            crash(&mut crashes, &mut now, Exit::Code(1), S / 10);
            waits.push(crashes.trouble(now).unwrap().retry_in.unwrap().as_millis());
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        let trouble = crashes.trouble(now).unwrap();
        assert!(trouble.is_lasting() && trouble.to_string().contains("boom"), "{trouble}");
    }

    #[test]
    fn a_job_that_gets_its_workers_killed_never_stops_the_pool() {
        let (mut crashes, mut now) = (Crashes::default(), Instant::now());
        for _ in 0..9 {
            crash(&mut crashes, &mut now, Exit::Signal(9), S / 10);
            let trouble = crashes.trouble(now).unwrap();
            assert!(!trouble.is_lasting() && trouble.retry_in.unwrap() <= CAP_KILLED, "{trouble}");
        }
    }

    #[test]
    fn processes_that_end_together_are_one_failure() {
        let (mut crashes, started) = (Crashes::default(), Instant::now());
        for i in 1..=8 {
            crashes.ended(started, started + S + S * i / 100, Exit::Code(1), String::new);
        }
        assert_eq!(crashes.trouble(started + S).unwrap().failures, 1);
    }

    #[test]
    fn a_process_that_lived_long_was_no_failed_start() {
        let (mut crashes, mut now) = (Crashes::default(), Instant::now());
        for _ in 0..20 {
            crash(&mut crashes, &mut now, Exit::Code(1), STABLE);
            assert_eq!(crashes.trouble(now).unwrap().failures, 1);
        }
        crash(&mut crashes, &mut now, Exit::Code(1), S);
        assert_eq!(crashes.trouble(now).unwrap().failures, 2);
        crashes.lives(now, now + STABLE);
        assert_eq!(crashes.trouble(now + STABLE), None);
    }

    #[test]
    fn an_old_process_does_not_excuse_new_ones_that_fail() {
        let (mut crashes, old) = (Crashes::default(), Instant::now());
        let mut now = old + STABLE * 10;
        crash(&mut crashes, &mut now, Exit::Code(1), S);
        crashes.lives(old, now);
        assert!(crashes.trouble(now).is_some());
    }

    #[test]
    fn a_planned_end_is_no_failure_unless_it_spins() {
        for code in PLANNED {
            let (mut crashes, mut now) = (Crashes::default(), Instant::now());
            crash(&mut crashes, &mut now, Exit::Code(code), SPIN);
            assert_eq!(crashes.trouble(now), None, "{code}");
            crash(&mut crashes, &mut now, Exit::Code(code), SPIN / 2);
            assert!(crashes.trouble(now).is_some(), "{code}");
        }
    }

    #[test]
    fn a_broken_environment_is_never_tried_again() {
        let (mut crashes, mut now) = (Crashes::default(), Instant::now());
        crash(&mut crashes, &mut now, Exit::Code(78), STABLE * 100);
        let trouble = crashes.trouble(now + STABLE * 100).unwrap();
        assert!(trouble.is_lasting() && trouble.retry_in.is_none());
        assert!(trouble.to_string().contains("boom"), "{trouble}");
    }
}
