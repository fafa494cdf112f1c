//! The effective table: every pool with all values in force, defaults marked.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::{Config, PoolConfig};

/// Every value in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<'c> {
    /// A row for each key of each pool, in the order of the text.
    pub rows: Vec<Row<'c>>,
}

/// A value in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row<'c> {
    /// The pool.
    pub pool: &'c str,
    /// The key.
    pub key: &'static str,
    /// The value, as text.
    pub value: String,
    /// Whether it is the default, since the text does not give the key.
    pub default: bool,
}

impl<'c> Table<'c> {
    pub(super) fn of(config: &'c Config) -> Self {
        Self { rows: config.pools.iter().flat_map(rows).collect() }
    }
}

fn rows(pool: &PoolConfig) -> Vec<Row<'_>> {
    let length = |length: Duration| humantime::format_duration(length).to_string();
    let or = |value: Option<String>, without: &str| value.unwrap_or_else(|| without.to_owned());
    let list = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    let queues = pool.queues.iter().map(|queue| match queue.start_within {
        Some(within) => format!("{} within {}", queue.name, length(within)),
        None => queue.name.clone(),
    });
    let rules = &pool.rules;
    let money = |money: Option<crate::Money>, per: &str| money.map(|money| format!("{money} {per}"));
    let workers = |step: Option<u32>| step.map(|step| format!("{step} a tick"));
    let values = [
        ("queues", list(queues.collect())),
        ("source", or(pool.source.as_ref().map(ToString::to_string), "the store")),
        ("driver", pool.driver.to_string()),
        ("min", pool.min.to_string()),
        ("max", pool.max.to_string()),
        ("policy", pool.policy.to_string()),
        ("start_within", or(pool.start_within.map(length), "1m, or twice the boot time if that is longer")),
        ("percentile", pool.percentile.to_string()),
        ("interval", length(pool.interval)),
        ("slots", or(pool.slots.map(|slots| slots.to_string()), "1, until a worker says otherwise")),
        ("remove_after", or(pool.remove_after.map(length), "the longest of boot time, minimum bill and 1m")),
        ("idle_to_zero", length(pool.idle_to_zero)),
        ("grow_cooldown", length(rules.grow_cooldown)),
        ("shrink_cooldown", length(rules.shrink_cooldown)),
        ("grow_step", or(workers(rules.grow_step), "no limit")),
        ("shrink_step", or(workers(rules.shrink_step), "no limit")),
        ("tolerance", rules.tolerance.to_string()),
        ("schedule", list(rules.schedule.entries().iter().map(ToString::to_string).collect())),
        ("timezone", rules.schedule.timezone().to_string()),
        ("price", or(money(rules.price, "an hour"), "unknown")),
        ("budget", or(money(rules.budget, "a day"), "no limit")),
        ("overflow_of", or(pool.overflow_of.clone(), "none")),
        ("respect_manual", length(rules.respect_manual)),
        ("drain_timeout", or(rules.drain_timeout.map(length), "no limit")),
    ];
    let row = |(key, value)| Row { pool: &pool.name, key, value, default: !pool.gives(key) };
    values.into_iter().map(row).collect()
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.key.len()).max().unwrap_or_default();
        let mut pool = "";
        for row in &self.rows {
            if row.pool != pool {
                let gap = if pool.is_empty() { "" } else { "\n" };
                pool = row.pool;
                writeln!(f, "{gap}pool {pool}")?;
            }
            let mark = if row.default { "  (default)" } else { "" };
            writeln!(f, "  {:width$}  {}{mark}", row.key, row.value)?;
        }
        Ok(())
    }
}
