//! How fast a pool changes: tolerance, cool-downs and steps.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Bound, Range, Rules};

/// When a pool last changed. A change that was refused, or that changed nothing, is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    pub(super) grew_at: Option<DateTime<Utc>>,
    pub(super) changed_at: Option<DateTime<Utc>>,
}

/// How far from `current` towards `target` the pool goes now. Into its range it comes at once, whatever its pace.
pub fn pace(
    rules: &Rules,
    changes: &Changes,
    range: &Range,
    current: u32,
    target: u32,
    now: DateTime<Utc>,
) -> (u32, Option<Bound>) {
    let change = target.abs_diff(current);
    let grows = target > current;
    // As far as it must go in any case.
    let at_once = if grows { current.max(target.min(range.low)) } else { current.min(target.max(range.high)) };
    let (last, cooldown, step) = if grows {
        (changes.grew_at, rules.grow_cooldown, rules.grow_step)
    } else {
        (changes.changed_at, rules.shrink_cooldown, rules.shrink_step)
    };
    if change == 0 || at_once == target {
        return (target, None);
    }
    if rules.tolerance.exceeds(change, current) {
        return (at_once, Some(Bound::Tolerance(rules.tolerance)));
    }
    if let Some(left) = left(last, cooldown, now) {
        let bound = if grows { Bound::GrowCooldown(left) } else { Bound::ShrinkCooldown(left) };
        return (at_once, Some(bound));
    }
    match step {
        Some(step) if change > step && grows => {
            (at_once.max(current.saturating_add(step)).min(target), Some(Bound::GrowStep(step)))
        }
        Some(step) if change > step => {
            (at_once.min(current.saturating_sub(step)).max(target), Some(Bound::ShrinkStep(step)))
        }
        _ => (target, None),
    }
}

/// How much of a cool-down is left.
fn left(since: Option<DateTime<Utc>>, cooldown: Duration, now: DateTime<Utc>) -> Option<Duration> {
    // A time to come is one of a clock that was put back: as if it were now.
    let age = (now - since?).to_std().unwrap_or_default();
    cooldown.checked_sub(age).filter(|left| !left.is_zero())
}
