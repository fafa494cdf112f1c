//! When a failed attempt is tried again. Pure: the random draw is an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a job waits between attempts.
///
/// The wait before attempt `n + 1` is `base × factor^(n − 1)`, at most `cap`, of which the share `jitter` is random:
/// jobs that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait after the first failed attempt.
    pub base: Duration,
    /// Each further wait is this many times the one before; 1 keeps it fixed.
    pub factor: f64,
    /// No wait is longer.
    pub cap: Duration,
    /// The random share of a wait, from 0 (none) to 1 (anything from nothing to the whole wait).
    pub jitter: f64,
}

impl Backoff {
    /// 5 s, 20 s, 80 s, 320 s, … at most 6 h, a quarter of it random. The default.
    pub const EXPONENTIAL: Self =
        Self { base: Duration::from_secs(5), factor: 4.0, cap: Duration::from_hours(6), jitter: 0.25 };

    /// The same wait each time, without jitter.
    pub const fn fixed(wait: Duration) -> Self {
        Self { base: wait, factor: 1.0, cap: wait, jitter: 0.0 }
    }

    /// The wait after `failed` failed attempts (at least 1). `draw` is a random number in `[0, 1)`.
    pub fn wait(&self, failed: u16, draw: f64) -> Duration {
        let steps = i32::from(failed.max(1)) - 1;
        let whole = (self.base.as_secs_f64() * self.factor.max(1.0).powi(steps)).min(self.cap.as_secs_f64());
        let jitter = self.jitter.clamp(0.0, 1.0);
        Duration::try_from_secs_f64(whole * (1.0 - jitter * draw.clamp(0.0, 1.0))).unwrap_or(self.cap)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::EXPONENTIAL
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_grow_to_the_cap() {
        let waits: Vec<_> = (1..=9).map(|n| Backoff::EXPONENTIAL.wait(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [5, 20, 80, 320, 1280, 5120, 20480, 21600, 21600]);
        assert_eq!(Backoff::fixed(Duration::from_secs(7)).wait(u16::MAX, 0.9), Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_above_the_cap_nor_below_its_fixed_share(n in 0u16.., draw in 0.0f64..1.0) {
            let backoff = Backoff::EXPONENTIAL;
            let wait = backoff.wait(n, draw);
            prop_assert!(wait <= backoff.cap);
            prop_assert!(wait >= backoff.wait(n, 0.0).mul_f64(0.749));
        }
    }
}
