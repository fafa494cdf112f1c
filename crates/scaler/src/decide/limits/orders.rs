//! What an operator has ordered for a pool, at once and without a deploy: `pools pause`, `resume` and `set`.

use chrono::{DateTime, Utc};
use headcount_queue::{Error, Result};
use serde::{Deserialize, Serialize};

/// An operator's orders for a pool; by default none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// The pool keeps its size.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// Other bounds than its own.
    #[serde(default)]
    pub bounds: Option<Override>,
}

/// A pool keeps its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Until then; `None`: until it is resumed.
    pub until: Option<DateTime<Utc>>,
}

/// Other bounds than those of the configuration and its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The fewest workers; `None`: as without the order.
    pub min: Option<u32>,
    /// The most workers, also above the pool's own max; `None`: as without the order.
    pub max: Option<u32>,
    /// Until then; `None`: until it is taken back.
    pub until: Option<DateTime<Utc>>,
}

impl Override {
    /// Checks what an operator typed.
    ///
    /// # Errors
    /// [`Error::Rejected`] for an order that changes nothing or contradicts itself.
    pub fn check(&self) -> Result<()> {
        match (self.min, self.max) {
            (None, None) => Err(Error::Rejected("neither min nor max is given: give at least one".into())),
            (Some(min), Some(max)) if min > max => Err(Error::Rejected(format!("min {min} is above max {max}"))),
            _ => Ok(()),
        }
    }
}

impl Orders {
    /// The pause, if it holds at this moment.
    pub fn pause_at(&self, now: DateTime<Utc>) -> Option<Pause> {
        self.pause.filter(|pause| pause.until.is_none_or(|until| now < until))
    }

    /// The bounds, if they hold at this moment.
    pub fn bounds_at(&self, now: DateTime<Utc>) -> Option<Override> {
        self.bounds.filter(|bounds| bounds.until.is_none_or(|until| now < until))
    }
}
