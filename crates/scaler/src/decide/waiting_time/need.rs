//! What the waiting-time policy calls for, and the sentence that says why.

use std::{fmt, time::Duration};

use super::{Facts, Reading};

/// What the work calls for so that jobs start in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// How many workers are to be kept.
    pub keep: u32,
    /// How many more are to be ordered.
    pub add: u32,
    /// How many there are, booting ones included.
    pub current: u32,
    /// What made it so many.
    pub why: Why,
    /// Jobs that wait.
    pub ready: u64,
    /// How long the oldest of those that are nearest to their deadline has waited.
    pub oldest: Option<Duration>,
    /// Jobs that run on workers that claim.
    pub running: u64,
    /// New jobs an hour, as expected.
    pub hourly: u64,
    /// How many of a thousand recent starts were late. None without starts.
    pub late_per_mille: Option<u32>,
    /// The target that is nearest to its deadline: an entry of the pool's targets, or empty for the pool's own.
    pub target: String,
    /// Within which time its jobs are to start.
    pub within: Duration,
    /// Which share of them, in percent.
    pub percentile: u8,
    /// Nobody set that time: it is the default.
    pub by_default: bool,
    /// How long a boot and the wait for a look take, where that is longer than a job may wait.
    pub too_slow: Option<(Duration, Duration)>,
    /// Jobs that nobody in the pool can run. They are no work.
    pub unknown: u64,
}

/// What made it so many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    /// The rule.
    pub rule: Rule,
    /// So many jobs must start
    pub due: u64,
    /// within this time from now.
    pub by: Duration,
}

/// The rule that made it so many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// There is no work, and none is expected.
    Nothing,
    /// So many jobs are due by a time.
    Due,
    /// The oldest can no longer start in time.
    Late,
    /// No slot is in sight for what waits.
    Blocked,
    /// There is no worker at all.
    Empty,
    /// A boot comes too late: they stand ready.
    Floor,
}

impl Need {
    pub(super) fn of(facts: &Facts<'_>, readings: &[Reading<'_>]) -> Self {
        let order = facts.boot + facts.tick;
        let nearest = readings.iter().min_by(|a, b| a.slack().total_cmp(&b.slack()));
        let tightest = readings.iter().map(|reading| reading.within).fold(f64::MAX, f64::min);
        let rate: f64 = readings.iter().map(|reading| reading.arrivals.expected()).sum();
        Self {
            keep: 0,
            add: 0,
            current: facts.current(),
            why: Why::new(Rule::Nothing, 0.0, 0.0),
            ready: readings.iter().map(|reading| reading.ready).sum::<f64>() as u64,
            oldest: nearest.and_then(|reading| reading.oldest).map(length),
            running: facts.running as u64,
            hourly: (rate * 3600.0).round() as u64,
            late_per_mille: None,
            target: nearest.map_or_else(String::new, |reading| reading.name.to_owned()),
            within: length(nearest.map_or(0.0, |reading| reading.within)),
            percentile: nearest.map_or(95, |reading| (100.0 - reading.share * 100.0).round() as u8),
            by_default: false,
            too_slow: (order > tightest).then(|| (length(facts.boot), length(facts.tick))),
            unknown: 0,
        }
    }

    /// How many workers that makes: never more than there are, unless more are to be ordered.
    pub fn workers(&self) -> u32 {
        if self.add > 0 { self.current.saturating_add(self.add) } else { self.keep.min(self.current) }
    }

    /// How many workers were good to have now, whether or not ordering more would help.
    pub fn at_least(&self) -> u32 {
        self.keep.max(self.workers())
    }
}

impl Why {
    pub(super) fn new(rule: Rule, due: f64, by: f64) -> Self {
        Self { rule, due: due.ceil() as u64, by: length(by) }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.numbers(f)?;
        self.rule(f)?;
        let (share, within) = (self.percentile, self.within);
        write!(f, "; target {share}% within {within:.1?}")?;
        if !self.target.is_empty() {
            write!(f, " in {}", self.target)?;
        }
        if self.by_default {
            f.write_str(" by default")?;
        }
        if let Some((boot, look)) = self.too_slow {
            write!(f, ", less than a boot ({boot:.1?}) and a look ({look:.1?}) take: it needs spare workers")?;
        }
        if self.unknown > 0 {
            write!(f, "; left out: {} ready of kinds that no worker here knows", self.unknown)?;
        }
        Ok(())
    }
}

impl Need {
    /// Backlog, oldest, rate, late share.
    fn numbers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ready, self.running) {
            (0, 0) => f.write_str("nothing to do")?,
            (0, running) => write!(f, "{running} running")?,
            (ready, running) => {
                write!(f, "{ready} ready")?;
                if let Some(oldest) = self.oldest {
                    write!(f, ", the oldest for {oldest:.1?}")?;
                }
                if running > 0 {
                    write!(f, ", {running} running")?;
                }
            }
        }
        match self.hourly {
            0 => {}
            1..120 => write!(f, ", {} expected an hour", self.hourly)?,
            120..7200 => write!(f, ", {} expected a minute", self.hourly / 60)?,
            _ => write!(f, ", {:.1} expected a second", self.hourly as f64 / 3600.0)?,
        }
        match self.late_per_mille {
            None | Some(0) => Ok(()),
            Some(late) => write!(f, ", {:.1}% of starts late", f64::from(late) / 10.0),
        }
    }

    /// What is needed, and by when.
    fn rule(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Why { rule, due, by } = self.why;
        let jobs = if due == 1 { "1 job".to_owned() } else { format!("{due} jobs") };
        match (rule, self.add) {
            (Rule::Nothing, _) => Ok(()),
            (Rule::Due, 0) if due == 0 => write!(f, ": {} do for what runs", self.keep),
            (Rule::Due, 0) => write!(f, ": {jobs} must start within {by:.1?}, which {} can do", self.keep),
            (Rule::Due, add) => write!(f, ": {jobs} must start within {by:.1?}, which takes {add} more"),
            (Rule::Late, add) => {
                write!(f, ": the oldest can no longer start in time; {add} more start {jobs} within {by:.1?}")
            }
            (Rule::Blocked, add) => write!(f, ": no slot will be free for {jobs} within {by:.1?}; {add} more"),
            (Rule::Empty, _) => f.write_str(": there is no worker yet"),
            (Rule::Floor, 0) => write!(f, ": {} stand ready, since a boot comes too late", self.keep),
            (Rule::Floor, add) => {
                write!(f, ": {} must stand ready, since a boot comes too late: {add} more", self.keep)
            }
        }
    }
}

fn length(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
