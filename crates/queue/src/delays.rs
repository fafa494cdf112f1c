//! A histogram of start delays in powers of two, from 1 ms to about an hour.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many starts had which delay. Bucket `b` holds delays up to `2^b` ms; the last one also all longer ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delays(pub [i64; Self::BUCKETS]);

impl Delays {
    /// 1 ms, 2 ms, 4 ms, … 4,194 s.
    pub const BUCKETS: usize = 23;

    /// The bucket of a delay.
    pub fn bucket(delay: Duration) -> usize {
        let mut micros = delay.as_micros();
        let mut bucket = 0;
        while micros > 1000 && bucket < Self::BUCKETS - 1 {
            micros = micros.div_ceil(2);
            bucket += 1;
        }
        bucket
    }

    /// Adds one start.
    pub fn add(&mut self, delay: Duration) {
        self.0[Self::bucket(delay)] += 1;
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The delay that the share `p` (0 to 1) of all starts did not exceed: a bucket's upper bound, so at most twice
    /// the true value. `None` without starts.
    pub fn percentile(&self, p: f64) -> Option<Duration> {
        let total: i64 = self.0.iter().sum();
        let rank = ((total as f64 * p).ceil() as i64).clamp(1, total.max(1));
        let mut seen = 0;
        let bucket = self.0.iter().position(|&n| {
            seen += n;
            seen >= rank
        })?;
        Some(Duration::from_millis(1 << bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        for (micros, bucket) in [(0, 0), (1000, 0), (1001, 1), (2000, 1), (2001, 2), (4000, 2), (3_600_000_000, 22)] {
            assert_eq!(Delays::bucket(Duration::from_micros(micros)), bucket, "{micros}");
        }
        assert_eq!(Delays::bucket(Duration::from_secs(1 << 40)), Delays::BUCKETS - 1);
    }

    #[test]
    fn percentiles_come_from_the_counts() {
        let mut delays = Delays::default();
        assert_eq!(delays.percentile(0.95), None);
        for _ in 0..95 {
            delays.add(Duration::from_millis(1));
        }
        for _ in 0..5 {
            delays.add(Duration::from_millis(100));
        }
        assert_eq!(delays.percentile(0.95), Some(Duration::from_millis(1)));
        assert_eq!(delays.percentile(0.96), Some(Duration::from_millis(128)));
    }
}
