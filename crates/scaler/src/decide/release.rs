//! A new release restarts a whole pool at once: what its silence means, and for how long.
//!
//! Instances that are listed and silent are booting and not gone: none is a reason to grow. Until the fleet beats again, or
//! should have, nobody is let go, and no late start is blamed on a decision.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::memory::epoch;
use crate::observe::{Member, Observation, Standing};

/// The release that a pool runs, and its change while it is under way. Times in seconds.
///
/// It outlasts the scaler: where both are one app, a release restarts the scaler too.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rollout {
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// When it was last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    /// How many jobs a worker ran at once before it fell silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Change {
    /// Who came up after this has been restarted.
    after: f64,
    /// By then the fleet should beat.
    until: f64,
}

impl Rollout {
    /// Takes note of a reading. `boot`: how long 19 of 20 boots take at most.
    pub(super) fn watch(&mut self, seen: &Observation, boot: Duration) {
        let now = epoch(seen.at);
        if let Some(release) = &seen.release {
            if self.release.as_ref().is_some_and(|known| known != release) {
                let after = self.seen_at.unwrap_or(now);
                self.change = Some(Change { after, until: now + boot.as_secs_f64() });
            }
            self.release = Some(release.clone());
            self.seen_at = Some(now);
        }
        self.change = self.change.filter(|change| now < change.until && !beats_again(seen, change.after));
        if self.change.is_none() && seen.count(Standing::Active) > 0 {
            self.slots = Some(seen.slots(1));
        }
    }

    /// The release that comes up, and how much longer it is waited for.
    pub(super) fn left(&self, now: DateTime<Utc>) -> Option<(&str, Duration)> {
        let until = self.change?.until;
        let left = Duration::try_from_secs_f64(until - epoch(now)).ok().filter(|left| !left.is_zero())?;
        Some((self.release.as_deref().unwrap_or_default(), left))
    }

    /// Whether the fleet restarts: then the silent count as if they worked already.
    pub(super) fn is_under_way(&self) -> bool {
        self.change.is_some()
    }

    /// How many jobs a worker is assumed to run at once while none says so.
    pub(super) fn slots(&self, assumed: u32) -> u32 {
        self.slots.filter(|_| self.is_under_way()).unwrap_or(assumed)
    }

    pub(super) fn is_sane(&self) -> bool {
        let change = self.change.is_none_or(|change| change.after.is_finite() && change.until.is_finite());
        change && self.seen_at.is_none_or(f64::is_finite)
    }
}

/// Whether every instance has a worker that came up after this time.
fn beats_again(seen: &Observation, after: f64) -> bool {
    let counts = |member: &&Member| {
        member.listed && !member.ending && !matches!(member.standing, Standing::Overdue | Standing::Leaving)
    };
    let is_new = |member: &Member| member.started_at.is_some_and(|started| epoch(started) > after);
    seen.unlisted == 0 && seen.members.iter().filter(counts).all(is_new)
}

#[cfg(test)]
mod tests;
