//! What a pool is to achieve, what it costs, and how many jobs met it empty: for people, no decision goes by it.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::{price::Money, schedule::Timezone};

/// A pool's target, cost and cold starts. The day is that of the pool's timezone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Which share of the jobs is to start within which time: "95% in 1m, mail 10s". None under a policy that aims at no
    /// time.
    pub target: Option<String>,
    /// What an instance costs in an hour: the configuration's price, or what the driver knows. None: not known.
    pub price: Option<Money>,
    /// What may be spent in a day.
    pub budget: Option<Money>,
    /// What was spent today; none without a price.
    pub spent_today: Option<Money>,
    /// How many jobs have met the pool without any worker today, and waited for one to boot.
    pub cold_starts_today: u64,
}

impl Account {
    /// What one worker that never goes would cost in a day.
    pub fn of_one_kept(&self) -> Option<Money> {
        self.price.map(|price| price.of(24 * 3_600_000))
    }

    /// Whether four fifths of the day's budget are spent.
    pub fn nears_budget(&self) -> bool {
        let (Some(budget), Some(spent)) = (self.budget, self.spent_today) else { return false };
        spent >= budget.share(80)
    }
}

/// Counts the jobs that met a pool without workers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ColdStarts {
    day: Option<NaiveDate>,
    today: u64,
    /// At the latest look: whether there was no worker, and how many jobs had ever become claimable.
    latest: Option<(bool, u64)>,
}

impl ColdStarts {
    /// So many workers claim, and so many jobs have ever become claimable. Those that did so since a look at which there
    /// was no worker met an empty pool, as far as looks can tell.
    pub(crate) fn observe(&mut self, up: u32, arrived: u64, timezone: Timezone, now: DateTime<Utc>) {
        let day = timezone.day(now);
        if self.day != Some(day) {
            (self.day, self.today) = (Some(day), 0);
        }
        if let Some((true, before)) = self.latest {
            self.today = self.today.saturating_add(arrived.saturating_sub(before));
        }
        self.latest = Some((up == 0, arrived));
    }

    /// How many today.
    pub(crate) const fn today(&self) -> u64 {
        self.today
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn only_jobs_that_meet_no_worker_are_cold_starts_and_each_day_counts_its_own() {
        let mut cold = ColdStarts::default();
        let mut look = |up, arrived, time| {
            cold.observe(up, arrived, Timezone::default(), at(time));
            cold.today()
        };
        assert_eq!(look(0, 40, "2026-01-31T10:00:00Z"), 0, "nobody saw those arrive");
        assert_eq!(look(0, 42, "2026-01-31T10:00:05Z"), 2);
        assert_eq!(look(1, 43, "2026-01-31T10:00:10Z"), 3, "it came before that worker was seen");
        assert_eq!(look(1, 90, "2026-01-31T10:00:15Z"), 3);
        assert_eq!(look(0, 91, "2026-01-31T10:00:20Z"), 3);
        assert_eq!(look(0, 95, "2026-02-01T00:00:00Z"), 4, "yesterday's are yesterday's");
        assert_eq!(look(0, 7, "2026-02-01T00:00:05Z"), 4, "counters that were set back are no arrivals");
    }

    #[test]
    fn a_budget_is_near_its_end_at_four_fifths() {
        let account =
            |spent| Account { budget: Money::new(10.0), spent_today: Money::new(spent), ..Account::default() };
        assert!(!account(7.99).nears_budget());
        assert!(account(8.0).nears_budget() && account(12.0).nears_budget());
        assert!(!Account { spent_today: Money::new(5.0), ..Account::default() }.nears_budget(), "there is none");
    }
}
