//! One pool of a configuration.

use std::{collections::BTreeSet, num::NonZeroU32, ops::Range, time::Duration};

use headcount_queue::{Binding, Result};
use toml::{Spanned, de::DeValue};

use super::{
    driver::{self, DriverConfig, SourceConfig},
    mistake::meant,
    section::{At, Section},
};
use crate::{
    decide::limits::{Rules, Share},
    driver::PoolRef,
    pool::{Policy, PoolSpec},
    price::Money,
    schedule::{Entry, Schedule, Timezone},
};

/// No pool has more workers: a larger number is a slip of the hand.
const MOST: u32 = 100_000;

/// A pool as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolConfig {
    /// Its name.
    pub name: String,
    /// The queues that it serves, in the order of the text.
    pub queues: Vec<QueueConfig>,
    /// Its platform.
    pub driver: DriverConfig,
    /// Where its numbers come from, if not from the store.
    pub source: Option<SourceConfig>,
    /// The fewest workers.
    pub min: u32,
    /// The most workers.
    pub max: u32,
    /// Within what time jobs should start; `None`: what suits the platform's boot time.
    pub start_within: Option<Duration>,
    /// What share of them, in percent.
    pub percentile: u8,
    /// How many workers the work calls for.
    pub policy: Policy,
    /// The time between two looks.
    pub interval: Duration,
    /// How many jobs a worker runs at once; `None`: not known until one says so.
    pub slots: Option<NonZeroU32>,
    /// How long a worker is drained and idle before it is removed; `None`: what suits the platform.
    pub remove_after: Option<Duration>,
    /// How long there is no work before the last worker goes.
    pub idle_to_zero: Duration,
    /// Its cool-downs, steps, schedule, budget and the like.
    pub rules: Rules,
    /// The pool that comes first on the queues that both serve.
    pub overflow_of: Option<String>,
    /// That pool, and those that come before it in their turn.
    pub(super) above: Vec<String>,
    /// The keys that the text gives; all else is default.
    pub(super) given: BTreeSet<String>,
}

/// A queue of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Its name; one that ends in `*` means all that begin so.
    pub name: String,
    /// Within what time its jobs should start, if it differs from the pool's.
    pub start_within: Option<Duration>,
}

impl PoolConfig {
    /// The pool that the scaler keeps.
    ///
    /// # Errors
    /// [`Error::Rejected`](headcount_queue::Error::Rejected), never for one that was read from a text.
    pub fn spec(&self) -> Result<PoolSpec> {
        let names: Vec<&str> = self.queues.iter().map(|queue| queue.name.as_str()).collect();
        let queues: Binding = names.join(",").parse()?;
        let mut spec = PoolSpec::new(&self.name, queues, self.min..=self.max)?
            .interval(self.interval)
            .idle_to_zero(self.idle_to_zero)
            .rules(self.rules.clone())?;
        if let Some(slots) = self.slots {
            spec = spec.slots(slots);
        }
        if let Some(remove_after) = self.remove_after {
            spec = spec.remove_after(remove_after);
        }
        for pool in &self.above {
            spec = spec.overflow_of(PoolRef::from(pool.as_str()))?;
        }
        self.hand_over_targets(spec)
    }

    /// The one place where `policy`, `start_within`, `percentile` and the queues' own start-within pass into the pool.
    fn hand_over_targets(&self, spec: PoolSpec) -> Result<PoolSpec> {
        let mut spec = spec.policy(self.policy).percentile(self.percentile)?;
        if let Some(within) = self.start_within {
            spec = spec.start_within(within)?;
        }
        let targets = self.queues.iter().filter_map(|queue| Some((queue.name.as_str(), queue.start_within?)));
        // A queue of all the rest has no name to be a target by: its time is the pool's own.
        let (all, named): (Vec<_>, Vec<_>) = targets.partition(|&(name, _)| name == "*");
        if let Some(&(_, within)) = all.first() {
            spec = spec.start_within(within)?;
        }
        spec.targets(named)
    }

    /// Whether the text gives this key.
    pub fn gives(&self, key: &str) -> bool {
        self.given.contains(key)
    }
}

/// A pool as far as it could be read, with the places of what other pools may contradict.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) queues: Vec<At<String>>,
    pub(super) overflow_of: Option<At<String>>,
    pub(super) is_foreign: bool,
    pub(super) config: Option<PoolConfig>,
}

/// Reads one pool; what is wrong is noted.
pub(super) fn read(name: &str, section: &Section<'_>) -> Draft {
    let notes = section.notes;
    let named = headcount_queue::limits::check_name("a pool", name);
    if let Err(error) = &named {
        notes.wrong(&section.at, error.to_string());
    }
    let (queues, places) = queues(section);
    let driver = driver::driver(section);
    let source = driver::source(section);
    let is_foreign = section.has("source");
    let max = section.number("max", 1, MOST);
    let max = section.require("max", max, "there is no safe default for money: write max = 4");
    let min = section.number("min", 0, MOST);
    if let (Some((min, at)), Some((max, place))) = (&min, &max)
        && min > max
    {
        notes.wrong(at, format!("`min` {min} is above `max` {max} (line {})", notes.place(place.start).0));
    }
    let min = min.map_or(0, |(min, _)| min);
    let start_within = section.duration("start_within");
    let percentile = section.number("percentile", 1, 99);
    let policy = policy(section);
    let interval = at_least(section, "interval", Duration::from_millis(10)).unwrap_or(Duration::from_secs(5));
    let slots = section.number("slots", 1, 10_000).and_then(|(slots, _)| NonZeroU32::new(slots));
    let remove_after = section.duration("remove_after").map(|(length, _)| length);
    let idle_to_zero = section.duration("idle_to_zero").map_or(Duration::from_mins(5), |(length, _)| length);
    let overflow_of = section.text("overflow_of").map(|(pool, at)| (pool.to_owned(), at));
    // Of what could not be read, nothing more is asked.
    let priced = driver.as_ref().is_none_or(|driver| matches!(driver, DriverConfig::Heroku { .. }));
    let rules = rules(section, min, max.as_ref().map_or(u32::MAX, |(max, _)| *max), priced);

    let given = section.entries().into_iter().map(|((key, _), _)| key.to_owned()).collect();
    let config = (|| {
        Some(PoolConfig {
            name: name.to_owned(),
            queues: queues?,
            driver: driver?,
            source,
            min,
            max: max?.0,
            start_within: start_within.map(|(length, _)| length),
            percentile: percentile.map_or(95, |(percentile, _)| percentile as u8),
            policy,
            interval,
            slots,
            remove_after,
            idle_to_zero,
            rules,
            overflow_of: overflow_of.as_ref().map(|(pool, _)| pool.clone()),
            above: Vec::new(),
            given,
        })
    })();
    // Whatever the builder refuses and the reader has not said already.
    if let Some(config) = &config
        && named.is_ok()
        && min <= config.max
        && let Err(error) = config.spec()
    {
        notes.wrong(&section.at, error.to_string());
    }
    Draft { name: name.to_owned(), queues: places, overflow_of, is_foreign, config }
}

/// `queues = ["a", "b"]` or `queues = { a = "1m", b = "2m" }`, with the place of each.
fn queues(section: &Section<'_>) -> (Option<Vec<QueueConfig>>, Vec<At<String>>) {
    const REMEDY: &str = "write queues = [\"mail\"], or queues = { mail = \"1m\" } to say within what time jobs start";
    let value = section.require("queues", section.value("queues"), REMEDY);
    let Some(value) = value else { return (None, Vec::new()) };
    let mut found: Vec<(At<String>, Option<&Spanned<DeValue<'_>>>)> = Vec::new();
    let mut whole = true;
    match value.get_ref() {
        DeValue::Array(list) => {
            for entry in list {
                if let Some(name) = entry.get_ref().as_str() {
                    found.push(((name.to_owned(), entry.span()), None));
                } else {
                    whole = false;
                    section.notes.wrong(&entry.span(), "a queue is a name in quotes");
                }
            }
        }
        DeValue::Table(table) => {
            found.extend(table.iter().map(|(key, value)| ((key.get_ref().to_string(), key.span()), Some(value))));
            found.sort_by_key(|((_, at), _)| at.start);
        }
        _ => {
            section.notes.wrong(&value.span(), format!("`queues` is a list or a table; {REMEDY}"));
            return (None, Vec::new());
        }
    }
    if found.is_empty() && whole {
        section.notes.wrong(&value.span(), "`queues` is empty; write queues = [\"*\"] to serve all");
        return (None, Vec::new());
    }
    let mut configs = Vec::new();
    let mut places: Vec<At<String>> = Vec::new();
    for ((name, at), target) in found {
        let bad = name.contains(',') || name.parse::<Binding>().is_err() || name.trim() != name || name.is_empty();
        if bad {
            let text = format!(
                "{name:?} is no name of a queue: no spaces, commas or control characters, and `*` only at its end"
            );
            section.notes.wrong(&at, text);
            whole = false;
            continue;
        }
        if places.iter().any(|(other, _)| *other == name) {
            section.notes.wrong(&at, format!("queue {name} stands twice in `queues`"));
            continue;
        }
        let start_within = target.map(|target| section.length(&name, target).map(|(length, _)| length));
        whole &= start_within != Some(None);
        places.push((name.clone(), at));
        configs.push(QueueConfig { name, start_within: start_within.flatten() });
    }
    (whole.then_some(configs), places)
}

fn policy(section: &Section<'_>) -> Policy {
    let Some((name, at)) = section.text("policy") else { return Policy::default() };
    if let Some(policy) = Policy::ALL.into_iter().find(|policy| policy.as_str() == name) {
        return policy;
    }
    let names = Policy::ALL.map(Policy::as_str);
    let near = meant(name, names).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    section.notes.wrong(&at, format!("there is no policy {name:?}, there are {}{near}", names.join(", ")));
    Policy::default()
}

fn at_least(section: &Section<'_>, key: &'static str, least: Duration) -> Option<Duration> {
    let (length, at) = section.duration(key)?;
    if length < least {
        section.notes.wrong(&at, format!("`{key}` is at least {}", humantime::format_duration(least)));
        return None;
    }
    Some(length)
}

/// The rules; those that are wrong are noted and left at their defaults. `priced`: the driver knows what instances cost.
fn rules(section: &Section<'_>, min: u32, max: u32, priced: bool) -> Rules {
    let notes = section.notes;
    let default = Rules::default();
    let length = |key, default| section.duration(key).map_or(default, |(length, _)| length);
    let step = |key| section.number(key, 1, MOST).map(|(step, _)| step);
    let tolerance = section.fraction("tolerance").and_then(|(share, at)| {
        let found = Share::new(share).filter(|_| share >= 0.0);
        if found.is_none() {
            notes.wrong(&at, "`tolerance` is a share from 0 to below 1: 0.1 means a tenth of the size");
        }
        found
    });
    let price = money(section, "price");
    let budget = money(section, "budget");
    let budget = budget.filter(|(budget, at)| {
        if budget.is_zero() {
            notes.wrong(at, "a `budget` of 0 is spent before it begins; leave it out, or set `max`");
        } else if price.is_none() && !priced && !section.has("price") {
            notes.wrong(at, "a `budget` needs a `price`: what an instance costs in an hour, as in price = 0.05");
        }
        !budget.is_zero() && (price.is_some() || priced)
    });
    Rules {
        grow_cooldown: length("grow_cooldown", default.grow_cooldown),
        shrink_cooldown: length("shrink_cooldown", default.shrink_cooldown),
        grow_step: step("grow_step"),
        shrink_step: step("shrink_step"),
        tolerance: tolerance.unwrap_or_default(),
        schedule: schedule(section, min, max),
        price: price.map(|(price, _)| price),
        budget: budget.map(|(budget, _)| budget),
        respect_manual: length("respect_manual", default.respect_manual),
        drain_timeout: section.duration("drain_timeout").map(|(length, _)| length),
    }
}

fn money(section: &Section<'_>, key: &'static str) -> Option<At<Money>> {
    let (amount, at) = section.fraction(key)?;
    let Some(money) = Money::new(amount) else {
        section.notes.wrong(&at, format!("`{key}` is an amount of money from 0 on, as in {key} = 0.05"));
        return None;
    };
    Some((money, at))
}

fn schedule(section: &Section<'_>, min: u32, max: u32) -> Schedule {
    let timezone = section.text("timezone").and_then(|(name, at)| {
        let found = Timezone::named(name);
        if found.is_none() {
            let near = meant(name, Timezone::names()).map_or_else(
                || "; it is named as in \"Europe/Berlin\"".to_owned(),
                |near| format!("; did you mean \"{near}\"?"),
            );
            section.notes.wrong(&at, format!("there is no timezone {name:?}{near}"));
        }
        found
    });
    let entries = section.list("schedule", "of entries, as in [{ cron = \"0 8 * * 1-5\", min = 4 }]");
    let entries = entries.into_iter().flat_map(|(list, _)| list.iter()).filter_map(|value| {
        let Some(table) = value.get_ref().as_table() else {
            section
                .notes
                .wrong(&value.span(), "an entry of `schedule` is a table: { cron = \"0 8 * * 1-5\", min = 4 }");
            return None;
        };
        let entry = Section::new(format!("{}.schedule", section.name), value.span(), table, section.notes);
        let found = scheduled(&entry, min, max);
        entry.finish();
        found
    });
    let entries = entries.collect();
    Schedule::new(timezone.unwrap_or_default(), entries)
}

fn scheduled(entry: &Section<'_>, min: u32, max: u32) -> Option<Entry> {
    let cron = entry.require("cron", entry.text("cron"), "say when it begins to hold: cron = \"0 8 * * 1-5\"");
    let (least, most) = (entry.number("min", 0, MOST), entry.number("max", 0, MOST));
    let ((cron, at), notes) = (cron?, entry.notes);
    if (entry.has("min") && least.is_none()) || (entry.has("max") && most.is_none()) {
        return None;
    }
    let above = |(number, at): &(u32, Range<usize>)| {
        if *number > max {
            notes.wrong(at, format!("{number} is above the pool's `max` of {max}; raise that"));
        }
        *number > max
    };
    let (low, high) = (least.as_ref().is_some_and(above), most.as_ref().is_some_and(above));
    let (least, most) = (least.map(|(least, _)| least), most.map(|(most, _)| most));
    let (from, to) = (least.unwrap_or(min), most.unwrap_or(max));
    if low || high {
        return None;
    }
    // A pool whose own bounds contradict each other has been told so.
    if from > to && min <= max {
        notes.wrong(&entry.at, format!("from then on min is {from} and max {to}: give both, the least first"));
        return None;
    }
    let found = Entry::new(cron, least, most);
    if let Err(error) = &found {
        notes.wrong(&at, error.to_string());
    }
    found.ok().filter(|_| min <= max)
}
