//! What a pool's earlier decisions say about the next one.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::limits::MAX_DELAY;

/// A pool's past: its wishes for as long as they matter, and when it last had work.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Since when readings have been good without a gap.
    since: Option<DateTime<Utc>>,
    /// When it last had work, or when one began to look.
    worked_at: Option<DateTime<Utc>>,
    wishes: VecDeque<(DateTime<Utc>, u32)>,
}

impl History {
    /// Notes what the pool wished for; wishes older than `keep` are forgotten.
    pub fn note(&mut self, wish: u32, working: bool, keep: Duration, at: DateTime<Utc>) {
        self.since.get_or_insert(at);
        if working || self.worked_at.is_none() {
            self.worked_at = Some(at);
        }
        while self.wishes.front().is_some_and(|&(noted, _)| noted < at - delta(keep)) {
            self.wishes.pop_front();
        }
        self.wishes.push_back((at, wish));
    }

    /// Nothing was seen. Only unbroken sight lets a pool shrink, and who could not look cannot say that there was no
    /// work: all of it begins anew.
    pub fn lost_sight(&mut self) {
        *self = Self::default();
    }

    /// The highest wish of the last `hold`. An error says how much longer one must look to know.
    pub fn highest(&self, hold: Duration, now: DateTime<Utc>) -> Result<u32, Duration> {
        let from = now - delta(hold);
        let since = self.since.unwrap_or(now);
        if since > from {
            return Err((since - from).to_std().unwrap_or_default());
        }
        Ok(self.wishes.iter().filter(|&&(at, _)| at >= from).map(|&(_, wish)| wish).max().unwrap_or(0))
    }

    /// How long a wish above `wish` is still within the last `hold`.
    pub(super) fn left_above(&self, wish: u32, hold: Duration, now: DateTime<Utc>) -> Duration {
        let last = self.wishes.iter().rev().find(|&&(_, earlier)| earlier > wish);
        last.and_then(|&(at, _)| (at + delta(hold) - now).to_std().ok()).unwrap_or_default()
    }

    /// How much longer there must be no work for the pool to have been idle for `idle`; `None` if it has been.
    pub(super) fn idle_left(&self, idle: Duration, now: DateTime<Utc>) -> Option<Duration> {
        let until = self.worked_at.unwrap_or(now) + delta(idle);
        (until - now).to_std().ok().filter(|left| !left.is_zero())
    }
}

fn delta(duration: Duration) -> TimeDelta {
    // Bounded, so that no sum with a date overflows.
    TimeDelta::from_std(duration.min(MAX_DELAY)).expect("ten years are within a TimeDelta")
}
