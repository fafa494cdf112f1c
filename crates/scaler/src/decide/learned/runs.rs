//! How long jobs run: their mean, and how much longer one runs that has run for a while.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// After so many further jobs, what was learned before weighs 1/e.
const MEMORY: f64 = 200.0;
/// Up to 1 ms, 2 ms, 4 ms, … 49 days.
const BUCKETS: usize = 33;

/// The run times of some jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunTime {
    /// The weighted sum, in seconds, and the sum of the weights.
    sum: f64,
    weight: f64,
    /// The weights by run time. Of jobs that ended between the same two looks only the sum is known, so each counts
    /// as their mean.
    buckets: Vec<f64>,
}

impl Default for RunTime {
    fn default() -> Self {
        Self { sum: 0.0, weight: 0.0, buckets: vec![0.0; BUCKETS] }
    }
}

impl RunTime {
    /// So many jobs have ended, which ran for so long together.
    pub fn add(&mut self, jobs: u64, together: Duration) {
        if jobs == 0 {
            return;
        }
        let mean = together.as_secs_f64() / jobs as f64;
        let old = (-(jobs as f64) / MEMORY).exp();
        self.sum = self.sum * old + mean * (1.0 - old);
        self.weight = self.weight * old + (1.0 - old);
        for bucket in &mut self.buckets {
            *bucket *= old;
        }
        if let Some(bucket) = self.buckets.get_mut(bucket(mean)) {
            *bucket += 1.0 - old;
        }
    }

    /// Their mean in seconds; none while no job has ended.
    pub fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }

    /// How much longer a job is expected to run that has run for `age` seconds: E[S − age | S > age].
    pub fn left(&self, age: f64) -> f64 {
        let (weight, left) =
            self.lasting(age).fold((0.0, 0.0), |(sum, all), (weight, left)| (sum + weight, all + weight * left));
        // None ever ran for so long: expect as long again.
        if weight > 0.0 { left / weight } else { age }
    }

    /// How many jobs the slot of one that has run for `age` seconds is expected to start within `ahead`, if each
    /// after it takes `next`: none if it does not end until then.
    pub fn starts(&self, age: f64, ahead: f64, next: f64) -> f64 {
        let starts = |left: f64| if left <= ahead { 1.0 + (ahead - left) / next } else { 0.0 };
        let (weight, sum) = self
            .lasting(age)
            .fold((0.0, 0.0), |(all, sum), (weight, left)| (all + weight, sum + weight * starts(left)));
        if weight > 0.0 { sum / weight } else { starts(age) }
    }

    /// The run times above `age`: how much weight each has, and how much longer than `age` it is.
    fn lasting(&self, age: f64) -> impl Iterator<Item = (f64, f64)> {
        self.buckets.iter().enumerate().filter_map(move |(i, &weight)| {
            let upper = upper(i);
            let middle = upper * 0.75;
            // Within the bucket that it is in: evenly up to its end.
            let left = if middle > age { middle - age } else { (upper - age) / 2.0 };
            (upper > age && weight > 1e-9).then_some((weight, left))
        })
    }

    pub(in crate::decide) fn is_sane(&self) -> bool {
        let ok = |x: f64| x.is_finite() && (0.0..1e12).contains(&x);
        self.buckets.len() == BUCKETS && self.buckets.iter().all(|&x| ok(x)) && ok(self.sum) && ok(self.weight)
    }
}

fn upper(bucket: usize) -> f64 {
    (1_u64 << bucket) as f64 / 1e3
}

fn bucket(seconds: f64) -> usize {
    (0..BUCKETS - 1).find(|&i| seconds <= upper(i)).unwrap_or(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_mean_forgets_with_the_jobs_that_end() {
        let mut run = RunTime::default();
        assert_eq!(run.mean(), None);
        run.add(1, 8 * S);
        assert!((run.mean().unwrap() - 8.0).abs() < 1e-9);
        run.add(200, 200 * S);
        let old = (-1.0_f64).exp() * (1.0 - (-1.0_f64 / 200.0).exp());
        let mean = (8.0 * old + (1.0 - (-1.0_f64).exp())) / (old + 1.0 - (-1.0_f64).exp());
        assert!((run.mean().unwrap() - mean).abs() < 1e-9);
        run.add(1_000_000, 2_000_000 * S);
        assert!((run.mean().unwrap() - 2.0).abs() < 1e-6);
    }

    #[test]
    fn one_that_has_outlasted_the_short_ones_is_one_of_the_long() {
        let mut run = RunTime::default();
        for _ in 0..90 {
            run.add(1, S);
        }
        for _ in 0..10 {
            run.add(1, 1000 * S);
        }
        assert!(run.left(0.0) < 150.0, "{}", run.left(0.0));
        assert!(run.left(10.0) > 600.0, "{}", run.left(10.0));
        assert!(run.starts(0.0, 10.0, 1.0) > 5.0);
        assert!(run.starts(10.0, 10.0, 1.0) < 0.01);
        assert!((run.left(5000.0) - 5000.0).abs() < 1e-6, "none ever ran for so long");
    }
}
