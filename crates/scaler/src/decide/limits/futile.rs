//! Growth that does not help is stopped: where every further worker waits for the same lock, the same disk or the same
//! third party, more of them only make it worse.
//!
//! Each growth is a trial. It is judged when the new workers have had the time to come up and to finish something: if
//! more slots are busy and no more jobs are finished, it has failed. Three failures in a row, and the pool holds its
//! size; after a while growing is tried once more, and after a longer while if that fails too.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Bound, Flow};

/// So many failures in a row stop the growth.
const FAILURES: u32 = 3;
/// For so long at first, and twice as long with each further one, up to sixteen times.
const HOLD: TimeDelta = TimeDelta::minutes(10);
/// After so long a trial shows nothing any more: the work itself has changed.
const STALE: TimeDelta = TimeDelta::minutes(30);
/// Busy slots must have risen by this share, or there was nothing to be had from growing.
const MORE_BUSY: f64 = 0.25;
/// Finishes must have risen by at least this part of what busy slots did.
const PART: f64 = 0.25;
/// With fewer finishes than these to go by, chance decides: no verdict.
const ENOUGH: f64 = 30.0;
/// Rates are averaged over at least so many seconds, and over twice the run time where that is longer.
const WINDOW: f64 = 60.0;

/// How growing has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Futility {
    counted: Option<(DateTime<Utc>, u64)>,
    /// Finishes in a second, and busy slots: averages.
    rate: f64,
    busy: f64,
    /// The size when it was last seen.
    size: u32,
    trial: Option<Trial>,
    failed: u32,
    held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Trial {
    since: DateTime<Utc>,
    /// The size before it.
    size: u32,
    rate: f64,
    busy: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Held {
    size: u32,
    rate: f64,
    until: DateTime<Utc>,
}

impl Futility {
    /// Jobs have been finished and slots are busy, in a pool of so many workers.
    pub(super) fn observe(&mut self, flow: &Flow, current: u32, now: DateTime<Utc>) {
        // While nobody knows how long jobs run, nobody knows when a growth should have shown.
        let Some(run_time) = flow.run_time else {
            *self = Self::default();
            return;
        };
        let window = WINDOW.max(2.0 * run_time.as_secs_f64());
        if let Some((at, finished)) = self.counted
            && let Ok(length) = (now - at).to_std()
            && !length.is_zero()
        {
            let rate = flow.finished.saturating_sub(finished) as f64 / length.as_secs_f64();
            let weight = 1.0 - (-length.as_secs_f64() / window).exp();
            self.rate += weight * (rate - self.rate);
            self.busy += weight * (f64::from(flow.busy) - self.busy);
        }
        self.counted = Some((now, flow.finished));
        self.size = current;
        if self.held.is_some_and(|held| now >= held.until || self.rate > held.rate * (1.0 + MORE_BUSY)) {
            self.held = None;
        }
        if let Some(trial) = self.trial
            && (now - trial.since).to_std().is_ok_and(|age| age >= flow.boot + Duration::from_secs_f64(2.0 * window))
        {
            self.trial = self.judge(trial, window, now);
        }
    }

    /// Judges a trial whose time has come; returns it if it is to go on.
    fn judge(&mut self, trial: Trial, window: f64, now: DateTime<Utc>) -> Option<Trial> {
        let more_busy = self.busy / trial.busy.max(1.0) - 1.0;
        if more_busy < MORE_BUSY {
            // Small steps add up, as long as there is a rise at all.
            return Some(trial).filter(|trial| more_busy > 0.0 && now - trial.since < STALE);
        }
        if trial.rate * 2.0 * window < ENOUGH {
            return None;
        }
        if self.rate > trial.rate * (1.0 + PART * more_busy) {
            self.failed = 0;
            return None;
        }
        self.failed = self.failed.saturating_add(1);
        if let Some(further) = self.failed.checked_sub(FAILURES) {
            let until = now + HOLD * (1 << further.min(4));
            // What was added only to try goes again.
            let size = if further == 0 { self.size } else { trial.size };
            self.held = Some(Held { size, rate: self.rate, until });
        }
        None
    }

    /// The pool grew. Growth upon growth before a verdict is one trial.
    pub(super) fn grew(&mut self, at: DateTime<Utc>) {
        if self.counted.is_some() {
            self.trial.get_or_insert(Trial { since: at, size: self.size, rate: self.rate, busy: self.busy });
        }
    }

    /// The size above which growing does not help.
    pub(super) fn ceiling(&self, now: DateTime<Utc>) -> Option<(u32, Bound)> {
        let held = self.held.filter(|held| now < held.until)?;
        Some((held.size, Bound::Futile { size: held.size, until: held.until }))
    }

    pub(super) fn latest(&self) -> Option<DateTime<Utc>> {
        self.counted.map(|(at, _)| at).max(self.trial.map(|trial| trial.since))
    }

    pub(super) fn is_sound(&self) -> bool {
        self.rate.is_finite() && self.busy.is_finite() && self.rate >= 0.0 && self.busy >= 0.0
    }
}
