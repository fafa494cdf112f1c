//! Dyno sizes: what they cost and how many a process type may have.
//!
//! Prices: heroku.com/pricing, by the month of 720 hours, of which Heroku bills each second; as of 2025. Limits: "Dyno
//! Scaling and Process Limits" in Heroku's Dev Center, as of December 2024. Of these only the ones that Heroku does not
//! raise on request are here: the others it tells when it refuses, with the number that holds for the account.

use std::time::Duration;

/// A size of dyno, as data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DynoSize {
    /// Its name in small letters: `standard-1x`.
    pub name: &'static str,
    /// What one costs for a month of 720 hours, in US dollars, before any discount.
    pub dollars_a_month: f64,
    /// The most that one process type may have, where that cannot be raised.
    pub most: Option<u32>,
}

/// The sizes of the common runtime.
pub const SIZES: &[DynoSize] = &[
    // Eco is a subscription: 5 dollars for 1000 hours, shared by all eco dynos of the account.
    DynoSize { name: "eco", dollars_a_month: 5.0 * 720.0 / 1000.0, most: Some(1) },
    DynoSize { name: "basic", dollars_a_month: 7.0, most: Some(1) },
    DynoSize { name: "standard-1x", dollars_a_month: 25.0, most: None },
    DynoSize { name: "standard-2x", dollars_a_month: 50.0, most: None },
    DynoSize { name: "performance-m", dollars_a_month: 250.0, most: None },
    DynoSize { name: "performance-l", dollars_a_month: 500.0, most: None },
    DynoSize { name: "performance-l-ram", dollars_a_month: 500.0, most: None },
    DynoSize { name: "performance-xl", dollars_a_month: 750.0, most: None },
    DynoSize { name: "performance-2xl", dollars_a_month: 1500.0, most: None },
];

impl DynoSize {
    /// What is known of the size of this name, in whatever case: Heroku writes `Standard-1X` in one place and
    /// `standard-1X` in another.
    pub fn named(name: &str) -> Option<&'static Self> {
        SIZES.iter().find(|size| size.name.eq_ignore_ascii_case(name))
    }

    /// What one costs in so long a time, in US dollars.
    pub fn price(&self, time: Duration) -> f64 {
        self.dollars_a_month * time.as_secs_f64() / (720.0 * 3600.0)
    }
}

/// What a dyno of this size costs an hour, in US dollars; `None` for a size that is not known here.
pub fn price_per_hour(size: &str) -> Option<f64> {
    DynoSize::named(size).map(|size| size.price(Duration::from_hours(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_found_however_heroku_writes_it() {
        for name in ["standard-1x", "Standard-1X", "standard-1X"] {
            assert_eq!(DynoSize::named(name).unwrap().name, "standard-1x");
        }
        assert_eq!(DynoSize::named("shield-xl"), None);
    }

    #[test]
    fn the_hourly_prices_are_those_that_heroku_shows() {
        // As on the pricing page, rounded up to the cent there.
        let shown = [("eco", 0.005), ("basic", 0.01), ("standard-1x", 0.04), ("standard-2x", 0.07)];
        let large = [("performance-m", 0.35), ("performance-l", 0.70), ("performance-2xl", 2.09)];
        for (size, price) in shown.into_iter().chain(large) {
            let exact = price_per_hour(size).unwrap();
            assert!(exact <= price && exact > price - 0.0101, "{size}: {exact}");
        }
        assert_eq!(price_per_hour("unheard-of"), None);
    }
}
