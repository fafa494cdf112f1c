//! What a pool costs: the price of an instance for an hour, and what may be spent in a day.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of money, in whatever currency the prices are given; exact to a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Money(u64);

/// Milliseconds in an hour.
const HOUR: u128 = 3_600_000;

impl Money {
    /// So much, as one writes it: 0.05. `None` for what is negative, not a number, or above a thousand million.
    pub fn new(amount: f64) -> Option<Self> {
        (0.0..=1e9).contains(&amount).then(|| Self((amount * 1e6).round() as u64))
    }

    /// What so many milliseconds of an instance cost at this price for an hour.
    #[must_use]
    pub fn of(self, instance_ms: u64) -> Self {
        let cost = u128::from(self.0) * u128::from(instance_ms) / HOUR;
        Self(u64::try_from(cost).unwrap_or(u64::MAX))
    }

    /// So many percent of it.
    #[must_use]
    pub const fn share(self, percent: u64) -> Self {
        Self((self.0 as u128 * percent as u128 / 100) as u64)
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Money> for f64 {
    fn from(money: Money) -> Self {
        money.0 as Self / 1e6
    }
}

impl TryFrom<f64> for Money {
    type Error = String;

    fn try_from(amount: f64) -> Result<Self, String> {
        Self::new(amount).ok_or_else(|| format!("{amount} is no amount of money"))
    }
}

impl fmt::Display for Money {
    /// With two places, and with as many as it takes where those would hide something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, millionths) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let places = format!("{millionths:06}");
        let shown = places.trim_end_matches('0').len().max(2);
        let shown = if whole > 0 { shown.min(2) } else { shown };
        f.pad(&format!("{whole}.{}", &places[..shown]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_costs_its_share_of_an_hour() {
        let price = Money::new(0.05).unwrap();
        for (ms, cost) in [(0, "0.00"), (3_600_000, "0.05"), (1_800_000, "0.025"), (24 * 3_600_000, "1.20")] {
            assert_eq!(price.of(ms).to_string(), cost, "{ms}");
        }
        assert_eq!(Money::new(1e9).unwrap().of(u64::MAX), Money(u64::MAX), "no sum overflows");
    }

    #[test]
    fn an_amount_is_written_as_one_reads_it() {
        let price = Money::new(0.05).unwrap();
        assert_eq!(serde_json::to_string(&price).unwrap(), "0.05");
        assert_eq!(serde_json::from_str::<Money>("0.05").unwrap(), price);
        assert!(serde_json::from_str::<Money>("-1").is_err());
    }

    #[test]
    fn an_amount_is_one_that_can_be_paid() {
        for (amount, shown) in [(0.0, "0.00"), (12.0, "12.00"), (0.0034, "0.0034"), (3.999, "3.99")] {
            assert_eq!(Money::new(amount).unwrap().to_string(), shown);
        }
        for bad in [-0.01, f64::NAN, f64::INFINITY, 2e9] {
            assert_eq!(Money::new(bad), None, "{bad}");
        }
    }
}
