//! The waiting-time policy: workers enough that a share of the jobs starts within a time, and no more.
//!
//! It looks ahead over a few horizons. At each, the jobs whose deadline lies before it are due: those that wait, those
//! known to fall due, and those that arrive at the expected rate, with a safety that learns ([`Safety`]) from late
//! starts. The workers that can start what is due at every horizon are kept. Where those that are there and boot
//! cannot, more are ordered, at the latest moment from which a boot is in time. Where a boot never is (boot and look
//! take longer than a job may wait), workers stand ready by Erlang's formula.
//!
//! Pure: numbers in, numbers out.

mod arrivals;
mod erlang;
mod learning;
mod need;
mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use arrivals::Arrivals;
pub use learning::Safety;
pub(super) use learning::Starts;
pub use need::{Need, Rule, Why};
pub(super) use target::Target;

use super::learned::RunTime;

/// How long a job runs while none has ended.
pub(super) const UNKNOWN_RUN: f64 = 30.0;
/// A share of a worker that is less than this is not worth one.
const ROUNDING: f64 = 0.1;
/// Who is let go must have been superfluous by more than this share of a worker.
const BACK: f64 = 0.35;

/// A pool as the policy sees it; times in seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts<'a> {
    /// Workers that claim, and their slots.
    pub(super) up: u32,
    pub(super) up_slots: f64,
    /// Of each booting worker, how long it still takes.
    pub(super) booting: Vec<f64>,
    /// Slots a worker.
    pub(super) slots: u32,
    /// Jobs that run on workers that claim.
    pub(super) running: f64,
    /// Those of them whose age is known: the run times of their kind, and the age.
    pub(super) aged: Vec<(Option<&'a RunTime>, f64)>,
    /// How much longer the others run on average.
    pub(super) left: f64,
    /// How long a boot takes, and how long it is from look to look.
    pub(super) boot: f64,
    pub(super) tick: f64,
    /// The most workers.
    pub(super) max: u32,
    /// Jobs that wait for a worker of their own.
    pub(super) suspects: bool,
    /// There has been no work for so long that the last worker may go.
    pub(super) idle: bool,
}

/// The jobs of one target, as they are now; times in seconds.
#[derive(Debug, Clone)]
pub(super) struct Reading<'a> {
    /// Which: an entry of the pool's targets, or empty for the pool's own.
    pub(super) name: &'a str,
    /// How long a job may wait, and which share may wait for longer.
    pub(super) within: f64,
    pub(super) share: f64,
    /// Jobs that wait, how long the oldest has waited, and how long they will run on average.
    pub(super) ready: f64,
    pub(super) oldest: Option<f64>,
    pub(super) ready_run: f64,
    /// How long jobs run on average.
    pub(super) run: f64,
    /// Jobs that fall due: in how long, and how many.
    pub(super) known: Vec<(f64, f64)>,
    /// How jobs arrive.
    pub(super) arrivals: &'a Arrivals,
    /// The safety.
    pub(super) z: f64,
    /// The store's time.
    pub(super) now: f64,
}

/// What is due at a horizon.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    jobs: f64,
    /// How long they run together.
    work: f64,
    /// The variance of the arrivals in it, and the same times each target's safety.
    variance: f64,
    safe: f64,
}

impl Reading<'_> {
    /// How much longer the oldest may wait.
    fn slack(&self) -> f64 {
        if self.ready > 0.0 { self.within - self.oldest.unwrap_or(0.0) } else { self.within }
    }

    /// The jobs whose deadline lies within the next `ahead` seconds.
    fn due(&self, ahead: f64, z: f64) -> Due {
        let reach = ahead - self.within;
        if reach <= 0.0 {
            let younger = self.arrivals.since(self.now + reach);
            // Nobody is older than the oldest, whatever the counts say.
            let old = self.oldest.is_none_or(|oldest| oldest >= -reach);
            let jobs = if old { (self.ready - younger).max(0.0) } else { 0.0 };
            return Due { jobs, work: jobs * self.ready_run, ..Due::default() };
        }
        let known: f64 = self.known.iter().filter(|(at, _)| *at <= reach).map(|(_, count)| count).sum();
        let expected = self.arrivals.expected() * reach;
        let variance = self.arrivals.dispersion() * expected;
        Due {
            jobs: self.ready + expected + known,
            work: self.ready * self.ready_run + (expected + known) * self.run,
            variance,
            safe: z * variance,
        }
    }

    /// Whether a worker that is ordered now comes too late for a job that arrives now, and jobs are so short that
    /// workers which stand ready are shared by many.
    fn needs_floor(&self, facts: &Facts<'_>) -> bool {
        facts.boot + facts.tick > self.within && self.run < facts.boot
    }

    fn horizons(&self, facts: &Facts<'_>) -> [f64; 6] {
        let (order, within, run) = (facts.boot + facts.tick, self.within, self.run.max(60.0));
        [
            self.slack().max(facts.tick),
            order + within / 4.0,
            order + within / 2.0,
            order + within,
            order + within + run,
            order + within + 2.0 * run,
        ]
    }
}

impl Facts<'_> {
    fn current(&self) -> u32 {
        self.up.saturating_add(self.booting.len() as u32)
    }

    /// The same without so many of the workers that are up, and without what runs on them.
    fn without(&self, workers: u32) -> Self {
        let up = self.up.saturating_sub(workers);
        let up_slots = self.up_slots * f64::from(up) / f64::from(self.up.max(1));
        Self { up, up_slots, running: self.running.min(up_slots), ..self.clone() }
    }

    /// How many jobs the slots that are busy now start within the next `ahead` seconds, if each runs for `run`.
    fn renewals(&self, ahead: f64, run: f64) -> f64 {
        let aged = self.aged.iter().map(|&(known, age)| match known {
            Some(known) => known.starts(age, ahead, run),
            None => ended(ahead, self.left.max(age), run),
        });
        let others = (self.running - self.aged.len() as f64).max(0.0);
        aged.sum::<f64>() + others * ended(ahead, self.left, run)
    }

    /// How many jobs those that are there and those that boot start within the next `ahead` seconds.
    fn supply(&self, ahead: f64, run: f64) -> f64 {
        let free = (self.up_slots - self.running).max(0.0) * (1.0 + ahead / run);
        let slots = f64::from(self.slots);
        let booting = self.booting.iter().filter(|left| **left <= ahead);
        let booting = booting.map(|left| slots * (1.0 + (ahead - left) / run)).sum::<f64>();
        free + self.renewals(ahead, run) + booting
    }
}

/// How many jobs a busy slot starts within `ahead` on average, if what runs in it takes `left` more, exponentially
/// distributed, and each after it `run`: `ahead / run` if both are the same.
fn ended(ahead: f64, left: f64, run: f64) -> f64 {
    let left = left.max(1e-3);
    let ends = 1.0 - (-ahead / left).exp();
    (ends + (ahead - left * ends) / run).max(0.0)
}

/// How many workers this pool needs for these targets.
pub(super) fn need(facts: &Facts<'_>, readings: &[Reading<'_>]) -> Need {
    let ready: f64 = readings.iter().map(|reading| reading.ready).sum();
    let order = facts.boot + facts.tick;
    let mut need = Need::of(facts, readings);
    let soon = |reading: &Reading<'_>| reading.known.iter().any(|(at, count)| *at <= order && *count > 0.0);
    let wanted = ready > 0.0 || facts.suspects || readings.iter().any(soon);
    if facts.idle && !wanted && facts.running <= 0.0 {
        return need;
    }

    let outlook = Outlook::new(facts, readings);
    let (keep, mut why) = outlook.keep();
    need.keep = whole_workers(keep, facts.slots).max(u32::from(wanted || facts.running > 0.0));
    let (add, mut added) = outlook.add(facts);
    need.add = whole_workers(add, facts.slots);

    let floor = floor(facts, readings, &outlook.floors);
    if floor > need.keep {
        need.keep = floor;
        why.rule = Rule::Floor;
    }
    if floor.saturating_sub(facts.current()) > need.add {
        need.add = floor - facts.current();
        added.rule = Rule::Floor;
    }
    // A fraction of a worker is rounded away beside others, and not where there is none at all.
    if wanted && facts.current() == 0 && need.add == 0 {
        need.add = 1;
        added.rule = Rule::Empty;
    }
    // Nobody is let go who would be called back at once, be it for a fraction of a worker: a job more or less at the
    // moment of a look is chance.
    if need.add == 0 && need.keep < facts.current() {
        let (missed, for_what) = outlook.add(&facts.without(facts.current() - need.keep));
        let missed = whole_workers(missed + BACK * f64::from(facts.slots), facts.slots);
        if missed > 0 {
            need.keep = need.keep.saturating_add(missed).min(facts.current());
            why = Why { rule: Rule::Due, ..for_what };
        }
    }
    need.why = if need.add > 0 { added } else { why };
    need
}

/// A pool and its targets, looked at over the horizons.
struct Outlook<'a> {
    facts: &'a Facts<'a>,
    readings: &'a [Reading<'a>],
    /// For which targets workers stand ready.
    floors: Vec<bool>,
    /// How long a job runs where none is due.
    run: f64,
    /// The safety where nothing is expected.
    calm: f64,
}

impl<'a> Outlook<'a> {
    fn new(facts: &'a Facts<'a>, readings: &'a [Reading<'a>]) -> Self {
        let floors = readings.iter().map(|reading| reading.needs_floor(facts)).collect();
        let mut outlook = Self { facts, readings, floors, run: mean_run(readings), calm: 0.0 };
        outlook.calm = (0..readings.len()).map(|i| outlook.z(i)).reduce(f64::max).unwrap_or(0.0);
        outlook
    }

    /// Where workers stand ready, the safety is in their number.
    fn z(&self, reading: usize) -> f64 {
        if self.floors[reading] { 0.0 } else { self.readings[reading].z }
    }

    /// How many jobs are due within the next `ahead` seconds, how long each runs on average, and how many more it may
    /// turn out to be.
    fn due(&self, ahead: f64) -> (f64, f64, f64) {
        let dues = self.readings.iter().enumerate().map(|(i, reading)| reading.due(ahead, self.z(i)));
        let due = dues.fold(Due::default(), |a, b| Due {
            jobs: a.jobs + b.jobs,
            work: a.work + b.work,
            variance: a.variance + b.variance,
            safe: a.safe + b.safe,
        });
        let run = if due.jobs > 0.0 { (due.work / due.jobs).max(1e-3) } else { self.run };
        let z = if due.variance > 0.0 { due.safe / due.variance } else { self.calm };
        let facts = self.facts;
        let slots = facts.up_slots + facts.booting.len() as f64 * f64::from(facts.slots);
        let ending = facts.running.min(slots) * (ahead / facts.left.max(1e-3)).min(1.0);
        (due.jobs, run, z * (due.variance + ending).sqrt())
    }

    /// How many slots start everything in time that is due at any horizon.
    fn keep(&self) -> (f64, Why) {
        let mut keep = (0.0, Why::new(Rule::Nothing, 0.0, 0.0));
        for ahead in self.readings.iter().flat_map(|reading| reading.horizons(self.facts)) {
            let (due, run, margin) = self.due(ahead);
            let renewed = self.facts.renewals(ahead, run);
            let kept = self.facts.running + (due + margin - renewed) / (1.0 + ahead / run);
            if kept > keep.0 {
                keep = (kept, Why::new(Rule::Due, due, ahead));
            }
        }
        keep
    }

    /// How many more slots, ordered now, start in time what is due and what these cannot. Below zero: so many are
    /// superfluous.
    fn add(&self, facts: &Facts<'_>) -> (f64, Why) {
        let order = facts.boot + facts.tick;
        let mut add = (f64::MIN, Why::new(Rule::Nothing, 0.0, 0.0));
        let mut lack = |rule, lacking: f64, due, ahead: f64, run: f64| {
            let added = lacking / (1.0 + (ahead - order) / run);
            if added > add.0 {
                add = (added, Why::new(rule, due, ahead));
            }
        };
        let mut blocked = None;
        for reading in self.readings {
            for ahead in reading.horizons(facts).into_iter().filter(|ahead| *ahead > order) {
                let (due, run, margin) = self.due(ahead);
                if due > 0.0 {
                    lack(Rule::Due, due + margin - facts.supply(ahead, run), due, ahead, run);
                }
            }
            // Already too late for the oldest: clear what waits soon.
            if reading.ready > 0.0 && reading.slack() <= order {
                let ahead = order + (reading.within / 4.0).max(facts.tick);
                let (due, run, _) = self.due(ahead);
                let lacking = due - facts.supply(ahead, run);
                lack(Rule::Late, lacking, due, ahead, run);
                if lacking >= (reading.share * due).max(0.5) {
                    blocked = Some(Why::new(Rule::Blocked, due, ahead));
                }
            }
        }
        // A hundredth of a worker would do, but there is not one slot in sight: short jobs behind long ones.
        match blocked {
            Some(why) if whole_workers(add.0, facts.slots) == 0 => (f64::from(facts.slots), why),
            _ => add,
        }
    }
}

/// The workers that stand ready for the targets for which a boot comes too late.
fn floor(facts: &Facts<'_>, readings: &[Reading<'_>], floors: &[bool]) -> u32 {
    let (mut load, mut rate, mut within, mut limit) = (0.0, 0.0, f64::MAX, 1.0_f64);
    for reading in readings.iter().zip(floors).filter(|(_, floor)| **floor).map(|(reading, _)| reading) {
        let expected = reading.arrivals.expected();
        load += expected * reading.run;
        rate += expected;
        within = within.min(reading.within);
        limit = limit.min((reading.share * 10_f64.powf((1.0 - reading.z) / 2.0)).clamp(1e-4, 0.95));
    }
    if rate <= 0.0 { 0 } else { erlang::workers(load, load / rate, within, limit, facts.slots, facts.max) }
}

/// How long a job runs that arrives at any of these targets.
fn mean_run(readings: &[Reading<'_>]) -> f64 {
    let weight = |reading: &Reading<'_>| reading.arrivals.expected() + 1e-9;
    let weights: f64 = readings.iter().map(weight).sum();
    let work: f64 = readings.iter().map(|reading| weight(reading) * reading.run).sum();
    if weights > 0.0 { (work / weights).max(1e-3) } else { UNKNOWN_RUN }
}

fn whole_workers(jobs: f64, slots: u32) -> u32 {
    (jobs / f64::from(slots.max(1)) - ROUNDING).ceil().clamp(0.0, 1e6) as u32
}

/// A length in seconds; none is longer than ten years, so that no sum of them overflows.
pub(super) fn seconds(length: Duration) -> f64 {
    length.min(headcount_queue::limits::MAX_DELAY).as_secs_f64()
}
