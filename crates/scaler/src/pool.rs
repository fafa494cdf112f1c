//! What a pool is: its queues, its bounds, and how its size follows the work.

mod goal;

use std::{fmt, num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use headcount_queue::{Binding, Error, Json, Result, limits::check_name};

use crate::{
    decide::limits::Rules,
    driver::{Limits, PoolRef},
    observe::source::Source,
};
use goal::Goal;

/// How many workers the work calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Enough for a share of the jobs to start within a time, and no more: see [`PoolSpec::start_within`].
    #[default]
    WaitingTime,
    /// A slot for each job that runs or could run now.
    Linear,
    /// Half the workers that [`Policy::Linear`] asks for, rounded up: one while there is any work. Half the cost of a
    /// burst, for jobs that may wait.
    HalfLinear,
}

impl Policy {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::WaitingTime, Self::Linear, Self::HalfLinear];

    /// Its stable name, as in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitingTime => "waiting-time",
            Self::Linear => "linear",
            Self::HalfLinear => "half-linear",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A pool of workers: what it serves, its bounds and its pace. Always valid.
///
/// ```
/// use headcount_scaler::PoolSpec;
///
/// let pool = PoolSpec::new("media", "thumbnails, video".parse()?, 0..=4)?;
/// assert!(PoolSpec::new("media", "video".parse()?, 5..=4).is_err());
/// # Ok::<_, headcount_queue::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    name: PoolRef,
    queues: Binding,
    min: u32,
    max: u32,
    slots: NonZeroU32,
    policy: Policy,
    interval: Duration,
    hold: Option<Duration>,
    remove_after: Option<Duration>,
    idle_to_zero: Duration,
    rules: Rules,
    overflow_of: Vec<PoolRef>,
    source: Option<Numbers>,
    goal: Goal,
}

/// Where a pool's numbers come from instead of the store.
#[derive(Debug, Clone)]
struct Numbers(Arc<dyn Source>);

impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Numbers {}

impl PoolSpec {
    /// A pool that serves these queues with so many workers, at least and at most (`0..=4`).
    ///
    /// There is no default for the most: workers cost money or memory.
    ///
    /// # Errors
    /// [`Error::Rejected`] for a bad name, a least above the most, or a most of zero.
    pub fn new(name: &str, queues: Binding, workers: RangeInclusive<u32>) -> Result<Self> {
        check_name("a pool", name)?;
        let (min, max) = workers.into_inner();
        if max == 0 {
            return Err(Error::Rejected(format!("pool {name}: max is 0, so it could never work; give at least 1")));
        }
        if min > max {
            return Err(Error::Rejected(format!("pool {name}: min {min} is above max {max}")));
        }
        Ok(Self {
            name: PoolRef::from(name),
            queues,
            min,
            max,
            slots: NonZeroU32::MIN,
            policy: Policy::default(),
            interval: Duration::from_secs(5),
            hold: None,
            remove_after: None,
            idle_to_zero: Duration::from_mins(5),
            rules: Rules::default(),
            overflow_of: Vec::new(),
            source: None,
            goal: Goal::default(),
        })
    }

    /// How many jobs a worker runs at once, for as long as no worker has said so itself. Default 1.
    #[must_use]
    pub fn slots(mut self, slots: NonZeroU32) -> Self {
        self.slots = slots;
        self
    }

    /// How many workers the work calls for. Default [`Policy::WaitingTime`].
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The time between two looks; at least 10 ms. Default 5 s. Shorter follows the queue more closely, and costs the
    /// store and the platform a reading each time.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How long fewer workers must have been enough before any is drained. Default: the platform's boot time, its
    /// minimum bill or the interval, whichever is longest.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = Some(hold);
        self
    }

    /// How long a worker must have been drained and idle before it is removed; until then it can be recalled at once.
    /// Default: the platform's boot time, its minimum bill or 60 s, whichever is longest.
    #[must_use]
    pub fn remove_after(mut self, remove_after: Duration) -> Self {
        self.remove_after = Some(remove_after);
        self
    }

    /// How long there must have been no work before the last worker goes. Default 5 min.
    #[must_use]
    pub fn idle_to_zero(mut self, idle_to_zero: Duration) -> Self {
        self.idle_to_zero = idle_to_zero;
        self
    }

    /// Its cool-downs, steps, schedule, budget and the like. Default: [`Rules::default`].
    ///
    /// # Errors
    /// [`Error::Rejected`] for rules that make no sense by themselves or with the pool's bounds.
    pub fn rules(mut self, rules: Rules) -> Result<Self> {
        rules.check(self.min, self.max).map_err(|error| Error::Rejected(format!("pool {}: {error}", self.name)))?;
        self.rules = rules;
        Ok(self)
    }

    /// It may share queues with this pool, and gets of their jobs only what that one cannot meet within its max. Said
    /// again, it comes after each of them: the nearest first.
    ///
    /// # Errors
    /// [`Error::Rejected`] if that is the pool itself.
    pub fn overflow_of(mut self, pool: PoolRef) -> Result<Self> {
        if pool == self.name {
            return Err(Error::Rejected(format!("pool {pool} cannot be the overflow of itself")));
        }
        self.overflow_of.push(pool);
        Ok(self)
    }

    /// Where its numbers come from. Default: the store. From elsewhere nobody knows its workers: they cannot be drained, and
    /// it shrinks only while nothing waits and nothing runs.
    #[must_use]
    pub fn source(mut self, source: Arc<dyn Source>) -> Self {
        self.source = Some(Numbers(source));
        self
    }

    /// Its name.
    pub fn name(&self) -> &PoolRef {
        &self.name
    }

    /// The queues it serves.
    pub fn queues(&self) -> &Binding {
        &self.queues
    }

    /// The fewest workers.
    pub fn min(&self) -> u32 {
        self.min
    }

    /// The most workers.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// All its settings in force, for whoever looks.
    pub(crate) fn to_json(&self) -> Json {
        let seconds = |length: Option<Duration>| length.map(|length| length.as_secs_f64());
        Json(
            serde_json::json!({
                "queues": self.queues.to_string(),
                "min": self.min,
                "max": self.max,
                "slots": self.slots,
                "policy": self.policy.to_string(),
                "interval_s": seconds(Some(self.interval)),
                "hold_s": seconds(self.hold),
                "remove_after_s": seconds(self.remove_after),
                "idle_to_zero_s": seconds(Some(self.idle_to_zero)),
            })
            .to_string(),
        )
    }

    /// Its cool-downs, steps, schedule, budget and the like.
    pub fn rules_in_force(&self) -> &Rules {
        &self.rules
    }

    /// The pools whose overflow it takes, the nearest first.
    pub fn takes_overflow_of(&self) -> &[PoolRef] {
        &self.overflow_of
    }

    /// Where its numbers come from, if not from the store.
    pub(crate) fn own_source(&self) -> Option<&Arc<dyn Source>> {
        self.source.as_ref().map(|Numbers(source)| source)
    }

    /// The same pool with other bounds: those in force now, as its limits give them. A most of zero is fine here.
    #[must_use]
    pub(crate) fn bounded_by(&self, bounds: RangeInclusive<u32>) -> Self {
        let (min, max) = bounds.into_inner();
        Self { min: min.min(max), max, ..self.clone() }
    }

    pub(crate) fn assumed_slots(&self) -> u32 {
        self.slots.get()
    }

    pub(crate) fn policy_in_force(&self) -> Policy {
        self.policy
    }

    pub(crate) fn pace(&self) -> Duration {
        self.interval
    }

    pub(crate) fn hold_for(&self, limits: &Limits) -> Duration {
        self.hold.unwrap_or_else(|| limits.boot.max(limits.min_bill).max(self.interval))
    }

    pub(crate) fn remove_after_for(&self, limits: &Limits) -> Duration {
        self.remove_after.unwrap_or_else(|| limits.boot.max(limits.min_bill).max(Duration::from_mins(1)))
    }

    pub(crate) fn idle_to_zero_for(&self) -> Duration {
        self.idle_to_zero
    }

    /// A queue that both pools would serve: each would hire for the same jobs, unless one takes the other's overflow.
    pub(crate) fn shares_with(&self, other: &Self) -> Option<String> {
        let overflows = |a: &Self, b: &Self| a.overflow_of.contains(&b.name);
        if overflows(self, other) || overflows(other, self) {
            return None;
        }
        shared(&self.queues, &other.queues)
    }
}

/// A queue, or the beginning of one, that both serve.
pub(crate) fn shared(a: &Binding, b: &Binding) -> Option<String> {
    if !overlap(a, b) {
        return None;
    }
    // The narrower word for it: a name rather than a beginning, a longer beginning rather than a shorter one.
    let narrow = |entry: &&String| (!entry.ends_with('*'), entry.len());
    let meeting = |binding: &Binding, other: &Binding| {
        let entries = binding.entries().unwrap_or_default().iter();
        let meets = |entry: &&String| entry.parse().is_ok_and(|entry: Binding| overlap(&entry, other));
        entries.filter(meets).max_by_key(narrow).cloned()
    };
    let longest = meeting(a, b).into_iter().chain(meeting(b, a)).max_by_key(|entry| narrow(&entry));
    Some(longest.unwrap_or_else(|| "every queue".into()))
}

/// Whether every queue that `b` serves is one of `a`'s too.
pub(crate) fn covers(a: &Binding, b: &Binding) -> bool {
    let ends_by = |end: &Option<String>, limit: &Option<String>| match (end, limit) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(limit)) => end <= limit,
    };
    let whole = a.ranges();
    b.ranges().iter().all(|part| whole.iter().any(|a| a.start <= part.start && ends_by(&part.end, &a.end)))
}

fn overlap(a: &Binding, b: &Binding) -> bool {
    let (a, b) = (a.ranges(), b.ranges());
    let before = |end: &Option<String>, start: &String| end.as_ref().is_some_and(|end| end <= start);
    a.iter().any(|a| b.iter().any(|b| !before(&a.end, &b.start) && !before(&b.end, &a.start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        price::Money,
        schedule::{Entry, Schedule, Timezone},
    };

    fn pool(name: &str, queues: &str) -> PoolSpec {
        PoolSpec::new(name, queues.parse().unwrap(), 0..=1).unwrap()
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused_by_name() {
        for (min, max, word) in [(0, 0, "max is 0"), (3, 2, "above max")] {
            let error = PoolSpec::new("here", Binding::Any, min..=max).unwrap_err().to_string();
            assert!(error.contains("here") && error.contains(word), "{error}");
        }
        assert!(PoolSpec::new("a b", Binding::Any, 0..=1).is_err());
        PoolSpec::new("here", Binding::Any, 2..=2).unwrap();
    }

    #[test]
    fn the_overflow_of_a_pool_may_share_its_queues() {
        let (first, second) = (pool("first", "mail"), pool("second", "mail").overflow_of("first".into()).unwrap());
        assert_eq!((first.shares_with(&second), second.shares_with(&first)), (None, None));
        assert_eq!(second.shares_with(&pool("third", "mail")).as_deref(), Some("mail"));
        assert!(pool("first", "mail").overflow_of("first".into()).is_err());
    }

    #[test]
    fn rules_that_make_no_sense_are_refused_by_the_pools_name() {
        let entry = |min, max| Schedule::new(Timezone::default(), vec![Entry::new("0 8 * * *", min, max).unwrap()]);
        let money = Money::new(1.0);
        for (rules, word) in [
            (Rules { grow_step: Some(0), ..Rules::default() }, "step"),
            (Rules { budget: Money::new(0.0), price: money, ..Rules::default() }, "max"),
            (Rules { schedule: entry(Some(5), None), ..Rules::default() }, "above the pool's max"),
            (Rules { schedule: entry(None, Some(5)), ..Rules::default() }, "above the pool's max"),
            (Rules { schedule: entry(None, Some(1)), ..Rules::default() }, "give both"),
            (Rules { drain_timeout: Some(Duration::MAX), ..Rules::default() }, "ten years"),
        ] {
            let spec = PoolSpec::new("here", Binding::Any, 2..=4).unwrap();
            let error = spec.rules(rules).unwrap_err().to_string();
            assert!(error.starts_with("pool here: ") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn two_pools_share_a_queue_or_not() {
        for (a, b, shared) in [
            ("mail", "media", None),
            ("mail,media", "media", Some("media")),
            ("", "media", Some("media")),
            ("", "run:x", None),
            ("run:x", "run:x", Some("run:x")),
            ("", "", Some("every queue")),
            ("mail.*", "mail.urgent", Some("mail.urgent")),
            ("a.*", "a.b", Some("a.b")),
            ("mail.*", "mail", None),
            ("mail.*", "m*", Some("mail.*")),
            ("", "mail.*", Some("mail.*")),
            ("", "run:x*", None),
        ] {
            assert_eq!(pool("a", a).shares_with(&pool("b", b)).as_deref(), shared, "{a:?} and {b:?}");
            assert_eq!(pool("b", b).shares_with(&pool("a", a)).as_deref(), shared, "{b:?} and {a:?}");
        }
    }
}
