//! What a pool may cost in a day. Spending is reckoned from the instances that exist, whatever they do, for as long as
//! they are seen; a platform's minimum bill is left out.
//!
//! A budget caps growth and never ends a running job: when it is spent, the pool falls to its min by draining. Its min
//! goes on costing until the day ends.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{Bound, Inputs, Rules};
use crate::price::Money;

/// What was spent today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spending {
    /// Today, in the pool's timezone.
    day: Option<NaiveDate>,
    /// How long instances have existed today, summed over them.
    instance_ms: u64,
    /// When they were last counted, and how many they were.
    counted: Option<(DateTime<Utc>, u32)>,
    /// Jobs that started, and of these late, since the budget is spent.
    started: u64,
    late: u64,
    /// The counters when they were last read.
    flow: Option<(u64, u64)>,
}

impl Spending {
    /// So many instances exist now.
    pub(super) fn observe(&mut self, rules: &Rules, inputs: &Inputs<'_>, now: DateTime<Utc>) {
        let Inputs { instances, price, .. } = *inputs;
        let timezone = rules.schedule.timezone();
        let today = timezone.day(now);
        if self.day != Some(today) {
            *self = Self { day: Some(today), counted: self.counted, flow: self.flow, ..Self::default() };
        }
        if let Some((at, before)) = self.counted {
            // What came and went in between was not seen: the larger number rather than too little. Yesterday's part is
            // yesterday's.
            let from = at.max(timezone.midnight(today));
            let length = (now - from).num_milliseconds().max(0) as u64;
            self.instance_ms = self.instance_ms.saturating_add(length.saturating_mul(u64::from(before.max(instances))));
        }
        self.counted = Some((now, instances));
        if let Some(flow) = inputs.flow {
            if let Some((started, late)) = self.flow
                && self.is_spent(rules, price)
            {
                self.started += flow.started.saturating_sub(started);
                self.late += flow.late.saturating_sub(late);
            }
            self.flow = Some((flow.started, flow.late));
        }
    }

    /// What was spent today at this price for an hour.
    pub fn spent(&self, price: Money) -> Money {
        price.of(self.instance_ms)
    }

    fn is_spent(&self, rules: &Rules, price: Option<Money>) -> bool {
        let (Some(budget), Some(price)) = (rules.budget, price) else { return false };
        self.spent(price) >= budget
    }

    /// The budget, if it binds.
    pub(super) fn bound(&self, rules: &Rules, price: Option<Money>, now: DateTime<Utc>) -> Option<Bound> {
        let timezone = rules.schedule.timezone();
        if !self.is_spent(rules, price) || self.day != Some(timezone.day(now)) {
            return None;
        }
        Some(Bound::Budget {
            budget: rules.budget?,
            spent: self.spent(price?),
            until: timezone.next_midnight(now),
            late: self.flow.map(|_| (self.late, self.started)),
        })
    }

    pub(super) fn latest(&self) -> Option<DateTime<Utc>> {
        self.counted.map(|(at, _)| at)
    }
}
