//! What a pool is to achieve: which share of its jobs starts within which time, for all of its queues or for some.

use std::{fmt::Write as _, time::Duration};

use headcount_queue::{Binding, Error, Result};

use super::{Policy, PoolSpec};
use crate::driver::Limits;

/// The shortest default, however quickly workers come up.
const SHORTEST_DEFAULT: Duration = Duration::from_mins(1);

/// Within which time a pool's jobs are to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Goal {
    within: Option<Duration>,
    percentile: u8,
    /// Names and beginnings of names, as they were given, the longest first, and what each includes.
    targets: Vec<(String, Binding, Duration)>,
}

impl Default for Goal {
    fn default() -> Self {
        Self { within: None, percentile: 95, targets: Vec::new() }
    }
}

impl PoolSpec {
    /// Within which time a job is to start, once it can. Default: twice the platform's boot time, and at least 60 s.
    ///
    /// Shorter costs more. Shorter than a boot and the wait for the next look, it needs workers that stand ready.
    ///
    /// # Errors
    /// [`Error::Rejected`] for no time at all.
    pub fn start_within(mut self, within: Duration) -> Result<Self> {
        self.check_within("start_within", within)?;
        self.goal.within = Some(within);
        Ok(self)
    }

    /// Which share of the jobs is to start within that time, in percent, from 1 to 99. Default 95. More costs more.
    ///
    /// # Errors
    /// [`Error::Rejected`] outside of 1 to 99: all jobs, whatever happens, no number of workers can promise.
    pub fn percentile(mut self, percentile: u8) -> Result<Self> {
        if !(1..=99).contains(&percentile) {
            let name = &self.name;
            return Err(Error::Rejected(format!("pool {name}: percentile is {percentile}; give one from 1 to 99")));
        }
        self.goal.percentile = percentile;
        Ok(self)
    }

    /// Other times for some of its queues: by name, or by the beginning of names and `*`. Of several that fit a queue,
    /// the longest counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use headcount_scaler::PoolSpec;
    ///
    /// let pool = PoolSpec::new("worker", "mail, reports.*".parse()?, 0..=4)?
    ///     .targets([("mail", Duration::from_secs(10)), ("reports.*", Duration::from_hours(1))])?;
    /// # Ok::<_, headcount_queue::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Rejected`] for what is no name, for a queue that the pool does not serve, and for no time at all.
    pub fn targets<N: Into<String>>(mut self, targets: impl IntoIterator<Item = (N, Duration)>) -> Result<Self> {
        self.goal.targets.clear();
        for (name, within) in targets {
            let entry: String = name.into();
            let binding: Binding = entry.parse()?;
            let one = binding.entries().is_some_and(|entries| entries == [entry.clone()]);
            let served = match entry.strip_suffix('*') {
                None => self.queues.includes(&entry),
                Some(prefix) => self.queues.entries().is_none_or(|entries| {
                    entries.iter().any(|own| own.starts_with(prefix) || binding.includes(own) || self.includes(prefix))
                }),
            };
            if !one || !served {
                let (name, queues) = (&self.name, &self.queues);
                let why = if one { "which it does not serve" } else { "which is not one name" };
                return Err(Error::Rejected(format!(
                    "pool {name}: there is a target for {entry:?}, {why}; its queues are {queues}"
                )));
            }
            self.check_within(&entry, within)?;
            self.goal.targets.push((entry, binding, within));
        }
        self.goal.targets.sort_by_key(|(entry, ..)| std::cmp::Reverse((!entry.ends_with('*'), entry.len())));
        Ok(self)
    }

    fn includes(&self, prefix: &str) -> bool {
        // Nothing has such a name, but the entries that begin with less than this would serve it.
        self.queues.includes(&format!("{prefix}_"))
    }

    fn check_within(&self, what: &str, within: Duration) -> Result<()> {
        if within.is_zero() {
            let name = &self.name;
            return Err(Error::Rejected(format!("pool {name}: {what} is 0, and nothing starts at once; give a time")));
        }
        headcount_queue::limits::check_delay(&format!("pool {}: {what}", self.name), within)
    }

    /// The target of a queue: an entry, or empty for the pool's own.
    pub(crate) fn target_of(&self, queue: &str) -> &str {
        let fitting = self.goal.targets.iter().find(|(_, binding, _)| binding.includes(queue));
        fitting.map_or("", |(entry, ..)| entry)
    }

    pub(crate) fn has_target(&self, target: &str) -> bool {
        self.goal.targets.iter().any(|(entry, ..)| entry == target)
    }

    /// Within which time the jobs of a target are to start.
    pub(crate) fn within(&self, target: &str, limits: &Limits) -> Duration {
        let own = self.goal.within.unwrap_or_else(|| limits.boot.saturating_mul(2).max(SHORTEST_DEFAULT));
        self.goal.targets.iter().find(|(entry, ..)| entry == target).map_or(own, |(.., within)| *within)
    }

    /// The longest of the times within which jobs are to start.
    pub(crate) fn longest_within(&self, limits: &Limits) -> Duration {
        self.goal.targets.iter().map(|(.., within)| *within).fold(self.within("", limits), Duration::max)
    }

    pub(crate) fn is_default_within(&self, target: &str) -> bool {
        self.goal.within.is_none() && !self.has_target(target)
    }

    /// What the pool is to achieve, in words; none under a policy that aims at no time.
    pub(crate) fn target_said(&self, limits: &Limits) -> Option<String> {
        if self.policy != Policy::WaitingTime {
            return None;
        }
        let time = |within| humantime::format_duration(within);
        let mut said = format!("{}% in {}", self.goal.percentile, time(self.within("", limits)));
        for (name, _, within) in &self.goal.targets {
            let _ = write!(said, ", {name} {}", time(*within));
        }
        Some(said)
    }

    /// Which share of the jobs may start later.
    pub(crate) fn late_share(&self) -> f64 {
        1.0 - f64::from(self.goal.percentile) / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn pool(queues: &str) -> PoolSpec {
        PoolSpec::new("here", queues.parse().unwrap(), 0..=4).unwrap()
    }

    #[test]
    fn the_target_that_fits_a_queue_best_counts() {
        let targets = [("mail*", 30 * S), ("mail.now", 5 * S), ("mail.slow.*", 600 * S)];
        let pool = pool("mail*, media").start_within(90 * S).unwrap().targets(targets).unwrap();
        let limits = Limits::DEFAULT;
        for (queue, within) in [("mail", 30), ("mail.now", 5), ("mail.slow.x", 600), ("media", 90)] {
            assert_eq!(pool.within(pool.target_of(queue), &limits), within * S, "{queue}");
        }
        assert_eq!(pool.longest_within(&limits), 600 * S);
        assert!(!pool.is_default_within(""));
    }

    #[test]
    fn a_target_is_said_with_those_of_single_queues() {
        let spec = pool("mail, media").start_within(90 * S).unwrap().targets([("mail", 10 * S)]).unwrap();
        assert_eq!(spec.target_said(&Limits::DEFAULT).unwrap(), "95% in 1m 30s, mail 10s");
        assert_eq!(spec.policy(Policy::Linear).target_said(&Limits::DEFAULT), None);
    }

    #[test]
    fn the_default_leaves_time_for_two_boots() {
        let slow = Limits { boot: 90 * S, ..Limits::DEFAULT };
        assert_eq!(pool("").within("", &slow), 180 * S);
        assert_eq!(pool("").within("", &Limits::DEFAULT), 60 * S);
        assert!(pool("").is_default_within(""));
    }

    #[test]
    fn goals_that_make_no_sense_are_refused_by_name() {
        let target = |queues: &str, target: &str| pool(queues).targets([(target, S)]).map(drop);
        for refused in [
            pool("mail").start_within(Duration::ZERO).map(drop),
            pool("mail").percentile(100).map(drop),
            pool("mail").percentile(0).map(drop),
            pool("mail").targets([("mail", Duration::ZERO)]).map(drop),
            target("mail", "media"),
            target("mail", "x*"),
            target("mail", "*"),
            target("mail,media", "mail,media"),
            target("", "run:x"),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("pool here"), "{error}");
        }
        for (queues, entry) in [("", "mail"), ("mail*", "mail.x"), ("mail.x", "mail*"), ("mail*", "mail.slow.*")] {
            target(queues, entry).unwrap();
        }
    }
}
