//! How fast jobs arrive, how unevenly, and how many have arrived since when.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The slow mean forgets within so many seconds, the fast one within so many.
const SLOW: f64 = 300.0;
const FAST: f64 = 45.0;
/// The slow mean stands unless the fast one is further away than so many standard deviations.
const GATE: f64 = 2.0;
/// The ring keeps about so many points, however long it reaches back.
const POINTS: f64 = 256.0;
/// The unevenness is that of the counts of so many minutes.
const MINUTES: usize = 60;
const MAX_DISPERSION: f64 = 25.0;

/// The arrivals of one target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Arrivals {
    /// New jobs a second.
    slow: f64,
    fast: f64,
    /// When so many jobs had become claimable: new ones, those that fell due, those given back.
    ring: VecDeque<(f64, f64)>,
    /// New jobs of each whole minute, the latest last; the minute under way, and its jobs.
    minutes: VecDeque<f64>,
    minute: i64,
    filling: f64,
}

impl Arrivals {
    /// The first look of a process: what arrived a second until now, unless that is remembered, and the jobs that wait,
    /// the oldest of them for so long.
    pub(in crate::decide) fn begin(&mut self, at: f64, rate: Option<f64>, ready: f64, oldest: f64) {
        if let Some(rate) = rate {
            (self.slow, self.fast) = (rate, rate);
        }
        (self.minute, self.filling) = (minute(at), 0.0);
        // When those that wait became claimable is not known: evenly since the oldest did.
        self.ring = [(at - oldest.max(1e-3), -ready), (at, 0.0)].into();
    }

    /// Since `from`, `new` jobs have arrived, and `all` became claimable. Keeps the counts of the last `reach` seconds.
    pub(in crate::decide) fn add(&mut self, from: f64, at: f64, new: f64, all: f64, reach: f64) {
        let lasted = (at - from).max(1e-3);
        let rate = new / lasted;
        self.slow += (1.0 - (-lasted / SLOW).exp()) * (rate - self.slow);
        self.fast += (1.0 - (-lasted / FAST).exp()) * (rate - self.fast);
        self.count_minutes(from, at, new);
        let sum = self.ring.back().map_or(0.0, |last| last.1) + all;
        let n = self.ring.len();
        // The last point moves on until it is far enough from the one before.
        if n >= 2 && self.ring[n - 1].0 - self.ring[n - 2].0 < reach / POINTS {
            self.ring[n - 1] = (at, sum);
        } else {
            self.ring.push_back((at, sum));
        }
        while self.ring.len() > 2 && self.ring[1].0 <= at - reach {
            self.ring.pop_front();
        }
    }

    fn count_minutes(&mut self, from: f64, at: f64, new: f64) {
        let end = minute(at);
        // After a long time unseen only the last hour matters.
        let mut begin = from.max(at - 60.0 * (MINUTES + 1) as f64);
        let share = new / (at - from).max(1e-3);
        if minute(begin) != self.minute {
            (self.minute, self.filling) = (minute(begin), 0.0);
        }
        while self.minute < end {
            let border = (self.minute + 1) as f64 * 60.0;
            self.minutes.push_back(self.filling + share * (border - begin).max(0.0));
            (begin, self.minute, self.filling) = (border, self.minute + 1, 0.0);
        }
        self.filling += share * (at - begin).max(0.0);
        while self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
    }

    /// The slow mean of new jobs a second.
    pub(in crate::decide) fn slow(&self) -> f64 {
        self.slow
    }

    /// How many new jobs a second are to be expected: the slow mean, unless the fast one has clearly left it.
    pub(in crate::decide) fn expected(&self) -> f64 {
        let deviation = (self.fast.max(self.slow / 4.0).max(1.0 / 90.0) / 90.0).sqrt();
        self.slow.clamp(self.fast - GATE * deviation, self.fast + GATE * deviation).max(0.0)
    }

    /// How uneven arrivals are: 1 where they are independent of each other, more where they come in bursts.
    pub(super) fn dispersion(&self) -> f64 {
        let n = self.minutes.len();
        let mean = self.minutes.iter().sum::<f64>() / n.max(1) as f64;
        if n < 2 || mean <= 0.0 {
            return 1.0;
        }
        let steps = self.minutes.iter().zip(self.minutes.iter().skip(1)).map(|(a, b)| (b - a).powi(2));
        (steps.sum::<f64>() / (n - 1) as f64 / 2.0 / mean).clamp(1.0, MAX_DISPERSION)
    }

    /// How many jobs have become claimable after this time. Further back than the ring reaches, as many as it holds.
    pub(super) fn since(&self, time: f64) -> f64 {
        let Some(&(end, sum)) = self.ring.back() else { return 0.0 };
        let place = self.ring.partition_point(|point| point.0 <= time);
        let then = match place {
            0 => self.ring[0].1,
            _ if time >= end => sum,
            _ => {
                let ((t0, n0), (t1, n1)) = (self.ring[place - 1], self.ring[place]);
                n0 + (n1 - n0) * ((time - t0) / (t1 - t0).max(1e-9))
            }
        };
        (sum - then).max(0.0)
    }

    /// How old the oldest of so many jobs is that wait, if they are the latest that became claimable.
    pub(in crate::decide) fn age(&self, ready: f64, now: f64) -> f64 {
        let Some(&(end, sum)) = self.ring.back() else { return 0.0 };
        let mut later = (end, sum);
        for &(time, then) in self.ring.iter().rev() {
            if sum - then >= ready {
                let share = (sum - ready - then) / (later.1 - then).max(1e-9);
                return (now - time - (later.0 - time) * share.clamp(0.0, 1.0)).max(0.0);
            }
            later = (time, then);
        }
        (now - later.0).max(0.0)
    }

    pub(super) fn is_sane(&self) -> bool {
        let ok = |x: f64| x.is_finite() && x.abs() < 1e15;
        let rises = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 <= b.1;
        [self.slow, self.fast, self.filling].iter().all(|&x| ok(x) && x >= 0.0)
            && self.minutes.iter().all(|&x| ok(x) && x >= 0.0)
            && self.ring.iter().all(|point| ok(point.0) && ok(point.1))
            && self.ring.iter().zip(self.ring.iter().skip(1)).all(|(a, b)| rises(a, b))
            && self.minutes.len() <= MINUTES
            && self.minute.unsigned_abs() < 1 << 40
    }
}

fn minute(at: f64) -> i64 {
    (at / 60.0).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many new jobs each 5 s.
    fn after(counts: impl IntoIterator<Item = f64>) -> Arrivals {
        let mut arrivals = Arrivals::default();
        arrivals.begin(0.0, Some(0.0), 0.0, 0.0);
        for (i, count) in counts.into_iter().enumerate() {
            let at = (i + 1) as f64 * 5.0;
            arrivals.add(at - 5.0, at, count, count, 120.0);
        }
        arrivals
    }

    #[test]
    fn the_expected_rate_is_calm_under_noise_and_follows_a_jump() {
        let calm = after((0..500).map(|i| if i % 2 == 0 { 8.0 } else { 12.0 }));
        assert!((calm.expected() - 2.0).abs() < 0.05, "{}", calm.expected());
        let mut jumped = after((0..500).map(|_| 10.0));
        for i in 500..518 {
            jumped.add(f64::from(i) * 5.0, f64::from(i + 1) * 5.0, 40.0, 40.0, 120.0);
        }
        assert!(jumped.slow() < 4.0, "{}", jumped.slow());
        assert!(jumped.expected() > 6.0, "90 s after a jump to 8 a second: {}", jumped.expected());
    }

    #[test]
    fn bursts_are_uneven_and_a_steady_stream_is_not() {
        assert!((after((0..720).map(|_| 10.0)).dispersion() - 1.0).abs() < 1e-9);
        let bursts = after((0..720).map(|i| if i / 12 % 10 == 0 { 100.0 } else { 0.0 }));
        assert!((bursts.dispersion() - MAX_DISPERSION).abs() < 1e-9);
        // Poisson-like: the variance is the mean.
        let noise = after((0..720).map(|i| if i / 12 % 2 == 0 { 8.0 } else { 10.0 }));
        assert!((1.0..8.0).contains(&noise.dispersion()), "{}", noise.dispersion());
    }

    #[test]
    fn arrivals_are_counted_back_to_any_time_within_reach() {
        let arrivals = after((0..100).map(|_| 10.0));
        assert!((arrivals.since(490.0) - 20.0).abs() < 1e-9);
        assert!((arrivals.since(477.5) - 45.0).abs() < 1e-9);
        assert!(arrivals.since(600.0).abs() < 1e-9);
        let all = arrivals.since(-1e9);
        assert!((240.0..=260.0).contains(&all), "the ring reaches back for 120 s: {all}");
        assert!(arrivals.ring.len() < 300);
        let mut begun = Arrivals::default();
        begun.begin(100.0, Some(1.0), 40.0, 20.0);
        assert!((begun.since(90.0) - 20.0).abs() < 1e-9, "half of those that wait came in the later half");
    }

    #[test]
    fn the_age_of_the_oldest_follows_from_how_many_wait() {
        let arrivals = after((0..100).map(|_| 10.0));
        assert!((arrivals.age(20.0, 500.0) - 10.0).abs() < 1e-9);
        assert!((arrivals.age(15.0, 502.0) - 9.5).abs() < 1e-9);
        assert!(arrivals.age(1e9, 500.0) >= 120.0);
        assert!(Arrivals::default().age(5.0, 500.0).abs() < 1e-9);
    }

    #[test]
    fn a_gap_of_hours_is_spread_and_forgotten() {
        let mut arrivals = after((0..100).map(|_| 10.0));
        arrivals.add(500.0, 500.0 + 86_400.0, 86_400.0, 86_400.0, 120.0);
        assert!((arrivals.expected() - 1.0).abs() < 1e-6);
        assert_eq!(arrivals.minutes.len(), MINUTES);
        assert!((arrivals.dispersion() - 1.0).abs() < 1e-9);
        assert!(arrivals.is_sane());
    }
}
