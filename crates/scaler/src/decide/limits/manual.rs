//! A size that the scaler did not ask for was made by hand, and is respected for a while.
//!
//! A raise is a floor. A drop is accepted, and undone only when the work needs it, saying so.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Bound;
use crate::driver::{Applied, Change, DriverError};

/// For so long after a change a platform may still show the size before it.
const LAG: TimeDelta = TimeDelta::seconds(60);
/// No more sizes than these are in question at once.
const MOST: usize = 16;

/// The sizes that the scaler knows of, and what was changed behind its back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manual {
    /// Sizes that the platform may show without anybody's having touched it; the last is the one asked for.
    expected: Vec<Expected>,
    changed: Option<ByHand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    size: u32,
    /// Until when; `None`: until another is known.
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ByHand {
    from: u32,
    to: u32,
    at: DateTime<Utc>,
}

impl Manual {
    /// The platform aims for this size, by a reading that was taken then.
    pub(super) fn observe(&mut self, desired: u32, read_at: DateTime<Utc>) {
        self.expected.retain(|expected| expected.until.is_none_or(|until| read_at < until));
        let known = self.expected.last().map(|expected| expected.size);
        if self.expected.iter().any(|expected| expected.size == desired) {
            return;
        }
        self.expected = vec![Expected { size: desired, until: None }];
        if let Some(from) = known {
            self.changed = Some(ByHand { from, to: desired, at: read_at });
        }
    }

    /// The platform was asked for a change.
    pub(super) fn asked(&mut self, change: &Change, answer: &Result<Applied, DriverError>, at: DateTime<Utc>) {
        let Some(size) = change.size() else { return };
        match answer {
            Ok(applied) => self.expect(applied.desired, Some(at + LAG)),
            // It may have happened, or happen yet: either size is the scaler's own doing.
            Err(DriverError::Unknown(_)) => self.expect(size, None),
            Err(_) => {}
        }
    }

    fn expect(&mut self, size: u32, others_until: Option<DateTime<Utc>>) {
        self.expected.retain(|expected| expected.size != size);
        for other in &mut self.expected {
            other.until = other.until.or(others_until);
        }
        self.expected.push(Expected { size, until: None });
        let surplus = self.expected.len().saturating_sub(MOST);
        self.expected.drain(..surplus);
    }

    /// The floor that a raise by hand is.
    pub(super) fn floor(&self, respect: Duration, now: DateTime<Utc>) -> Option<(u32, Bound)> {
        let changed = self.within(respect, now).filter(|changed| changed.to > changed.from)?;
        let until = changed.at + TimeDelta::from_std(respect).ok()?;
        Some((changed.to, Bound::RaisedByHand { size: changed.to, until }))
    }

    /// What is said when the pool grows to `size` again although it was lowered by hand.
    pub(super) fn undone(&self, size: u32, respect: Duration, now: DateTime<Utc>) -> Option<Bound> {
        let ByHand { from, to, .. } = self.within(respect, now).filter(|changed| changed.to < changed.from)?;
        (size > to).then_some(Bound::LoweredByHand { from, to })
    }

    fn within(&self, respect: Duration, now: DateTime<Utc>) -> Option<ByHand> {
        let is_recent = |changed: &ByHand| (now - changed.at).to_std().is_ok_and(|age| age < respect);
        self.changed.filter(is_recent)
    }

    pub(super) fn latest(&self) -> Option<DateTime<Utc>> {
        self.changed.map(|changed| changed.at)
    }
}
