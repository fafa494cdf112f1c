//! The bounds in force: between which sizes a pool may be now, and which rule says so.

use chrono::{DateTime, Utc};

use super::{Bound, Inputs, State};
use crate::pool::PoolSpec;

/// Between which sizes a pool may be. `low` is never above `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The fewest workers.
    pub low: u32,
    /// The rule that says so.
    pub low_by: Bound,
    /// The most workers.
    pub high: u32,
    /// The rule that says so.
    pub high_by: Bound,
}

impl Range {
    /// The range in force; the [order of precedence](super) is the order of these lines.
    pub fn of(spec: &PoolSpec, state: &State, inputs: &Inputs<'_>) -> Self {
        let (rules, now) = (spec.rules_in_force(), inputs.now);
        let mut range = Self::configured(spec, inputs, now);
        let min = range.low;
        if let Some((size, bound)) = state.manual.floor(rules.respect_manual, now) {
            range.raise(size, bound);
        }
        if let Some((size, bound)) = state.futility.ceiling(now) {
            range.cap(size.max(range.low), bound);
        }
        if let Some(bound) = state.spending.bound(rules, inputs.price, now) {
            range.cap(min, bound);
        }
        if let Some(connections) = inputs.connections {
            let workers = connections.workers();
            range.cap(workers, Bound::Connections { workers, of: connections });
        }
        if let Some(pause) = inputs.orders.pause_at(now) {
            let bound = Bound::Paused(pause.until);
            range = Self { low: inputs.current, low_by: bound, high: inputs.current, high_by: bound };
        }
        range
    }

    /// The pool's own, its schedule's, or an operator's.
    fn configured(spec: &PoolSpec, inputs: &Inputs<'_>, now: DateTime<Utc>) -> Self {
        let scheduled = spec.rules_in_force().schedule.at(now);
        let ordered = inputs.orders.bounds_at(now).unwrap_or_default();
        let (low, low_by) = match (ordered.min, scheduled.min) {
            (Some(min), _) => (min, Bound::OrderedMin(min, ordered.until)),
            (None, Some(min)) => (min, Bound::ScheduledMin(min)),
            (None, None) => (spec.min(), Bound::Min(spec.min())),
        };
        let (high, high_by) = match (ordered.max, scheduled.max) {
            (Some(max), _) => (max, Bound::OrderedMax(max, ordered.until)),
            (None, Some(max)) => (max, Bound::ScheduledMax(max)),
            (None, None) => (spec.max(), Bound::Max(spec.max())),
        };
        let mut range = Self { low, low_by, high, high_by };
        range.cap(high, high_by);
        range
    }

    /// At least so many, as far as the most allows.
    fn raise(&mut self, low: u32, by: Bound) {
        if low > self.low {
            (self.low, self.low_by) = if low > self.high { (self.high, self.high_by) } else { (low, by) };
        }
    }

    /// At most so many, also where that is below the least.
    fn cap(&mut self, high: u32, by: Bound) {
        if high < self.high {
            (self.high, self.high_by) = (high, by);
        }
        if self.low > self.high {
            (self.low, self.low_by) = (self.high, self.high_by);
        }
    }

    /// The rule behind a bound that a decision within this range met.
    pub(super) fn name(&self, bound: Bound) -> Bound {
        match bound {
            Bound::Min(_) => self.low_by,
            Bound::Max(_) => self.high_by,
            other => other,
        }
    }
}
