//! `headcount pools`: the pools with their workers, and orders that stand above their settings.

use std::{fmt::Write as _, time::Duration};

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::{
    QueueState,
    limits::MAX_DELAY,
    store::{Override, PoolRecord, Store},
};
use headcount_scaler::{Account, Detail};
use serde::Serialize;

use crate::{
    commands::Session,
    duration::{self, human, since},
    exit::{Exit, usage},
    lease,
    output::{Table, brief},
};

/// Show the pools of workers, or order one to stay as it is (pause), to go on (resume), or to keep other bounds (set)
///
/// WANTED is how many workers its scaler wants to claim, by its latest decision; READY counts the jobs that could start
/// now, OLDEST is how long the oldest of them has waited, LATE the share of starts that came too late in the last minutes.
/// TARGET is which share of the jobs is to start within which time; COLD counts the jobs that have met the pool without any
/// worker today; COST is what its instances have cost today, where a price is known. `headcount why POOL` tells more.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Debug, clap::Subcommand)]
enum Order {
    /// Leave a pool as it is: its scaler neither grows nor shrinks it
    ///
    /// Holds from its scaler's next look, without a deploy, until `headcount pools resume`.
    Pause {
        /// The pool.
        #[arg(value_name = "POOL")]
        pool: String,
        /// Only for this time, like 30m.
        #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
        until: Option<Duration>,
    },
    /// End a pause and any other order: the pool's own settings hold again
    Resume {
        /// The pool.
        #[arg(value_name = "POOL")]
        pool: String,
    },
    /// Put other bounds in place of the pool's own
    Set {
        /// The pool.
        #[arg(value_name = "POOL")]
        pool: String,
        /// The fewest workers.
        #[arg(long, value_name = "N", required_unless_present = "max")]
        min: Option<u32>,
        /// The most workers.
        #[arg(long, value_name = "N")]
        max: Option<u32>,
        /// Only until then: a time from now, like 2h, or a moment, like 2026-01-31T14:05:00Z.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let store = queue.store().as_ref();
    let Some(order) = args.order else { return show(store, session).await };
    let now = store.now().await?;
    let (pool, order) = match order {
        Order::Pause { pool, until } => {
            let until = until.map(|length| end(length, now)).transpose()?;
            let before = known(store, &pool).await?.overridden.unwrap_or_default();
            (pool, Override { paused: true, until: until.or(before.until), ..before })
        }
        Order::Resume { pool } => (pool, Override::default()),
        Order::Set { pool, min, max, until } => {
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(usage(format!("--min {min} is above --max {max}")));
            }
            let until = until.as_deref().map(|text| moment(text, now)).transpose()?;
            (pool, Override { paused: false, min, max, until })
        }
    };
    store.order(&pool, &session.env.actor(), &order).await?;
    let told = known(store, &pool).await?;
    session.out.row(&told, |told| describe(told, now))?;
    Ok(Exit::Done)
}

/// A pool by its name, or what to do about it.
async fn known(store: &dyn Store, pool: &str) -> Result<PoolRecord> {
    match store.pools(Some(pool)).await?.pop() {
        Some(known) => Ok(known),
        None => Err(usage(format!(
            "no scaler has made a pool {pool:?} known; `headcount pools` lists those that are, `headcount scale` makes them"
        ))),
    }
}

fn end(length: Duration, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let length = TimeDelta::from_std(length.min(MAX_DELAY))?;
    Ok(now + length)
}

/// A time from now, or a moment to come.
fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let at = match (DateTime::parse_from_rfc3339(text), duration::parse(text)) {
        (Ok(at), _) => at.to_utc(),
        (Err(_), Ok(length)) => end(length, now)?,
        (Err(_), Err(_)) => {
            return Err(usage(format!("{text:?} is no time: write 2h, or 2026-01-31T14:05:00Z")));
        }
    };
    if at <= now {
        return Err(usage(format!("{text} has passed")));
    }
    Ok(at)
}

fn describe(pool: &PoolRecord, now: DateTime<Utc>) -> String {
    match &pool.overridden {
        None => format!("pool {}: its own settings hold", pool.name),
        Some(order) => format!("pool {}: {}", pool.name, said(order, now)),
    }
}

/// An order in words.
fn said(order: &Override, now: DateTime<Utc>) -> String {
    let mut words = Vec::new();
    if order.paused {
        words.push("paused".to_owned());
    }
    words.extend(order.min.map(|min| format!("at least {min}")));
    words.extend(order.max.map(|max| format!("at most {max}")));
    let mut text = words.join(", ");
    if let Some(until) = order.until {
        let _ = write!(text, " for {}", human(since(now, until)));
    }
    text
}

/// A pool as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    pool: PoolRecord,
    /// Jobs of its queues that could start now.
    ready: i64,
    /// How long the oldest of them has waited, in seconds.
    oldest_s: Option<f64>,
    /// The share of starts that came too late, in the last minutes.
    late_share: Option<f64>,
    /// Its target, what it costs, and its cold starts.
    account: Account,
    #[serde(skip)]
    detail: Detail,
}

impl Row {
    fn of(pool: PoolRecord, queues: &[QueueState]) -> Self {
        let ours = || queues.iter().filter(|queue| pool.queues.includes(&queue.queue) && !queue.paused);
        let (started, late) = ours().fold((0, 0), |(started, late), queue| {
            (started + queue.recent.flow.started, late + queue.recent.flow.late)
        });
        let detail: Detail =
            pool.latest.as_ref().and_then(|latest| serde_json::from_str(&latest.detail.0).ok()).unwrap_or_default();
        Self {
            ready: ours().map(|queue| queue.depth.ready.max(0)).sum(),
            oldest_s: ours().filter_map(|queue| queue.oldest).max().map(|oldest| oldest.as_secs_f64()),
            late_share: (started > 0).then(|| late as f64 / started as f64),
            account: detail.account.clone(),
            detail,
            pool,
        }
    }

    /// What it would cost to have nobody wait for a boot, where some have.
    fn advice(&self) -> Option<String> {
        let cold = self.account.cold_starts_today;
        let cost = self.account.of_one_kept()?;
        (cold > 0).then(|| {
            let name = &self.pool.name;
            format!("pool {name}: {cold} jobs have met no worker today; min = 1 would cost at most {cost} a day")
        })
    }
}

async fn show(store: &dyn Store, session: &mut Session) -> Result<Exit> {
    let leases = store.leases().await?;
    let pools = store.pools(None).await?;
    if pools.is_empty() {
        session.note("no pool is known; `headcount scale` makes those of its configuration known");
        return Ok(Exit::Done);
    }
    let queues = store.queues().await?;
    let rows: Vec<Row> = pools.into_iter().map(|pool| Row::of(pool, &queues)).collect();
    session.out.rows(&rows, table)?;
    session.out.flush()?;
    rows.iter().filter_map(Row::advice).for_each(|advice| session.note(&advice));
    for lease in &leases {
        if let Some(missing) = lease::missing(lease) {
            session.note(&missing);
        }
    }
    Ok(Exit::Done)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "POOL", "QUEUES", ">WANTED", ">UP", ">BOOTING", ">DRAINED", ">LEAVING", ">BUSY", ">READY", ">OLDEST", ">LATE",
        "TARGET", ">COLD", ">COST", "ORDER", "WHY",
    ]);
    for Row { pool, ready, oldest_s, late_share, account, detail } in rows {
        let seen = detail.seen;
        let count =
            |of: fn(&headcount_scaler::Counts) -> u32| seen.map(|seen| of(&seen).to_string()).unwrap_or_default();
        let queues = pool.queues.to_string();
        table.row([
            pool.name.clone(),
            if queues.is_empty() { "any".into() } else { queues },
            detail.wanted.map(|wanted| wanted.to_string()).unwrap_or_default(),
            count(|seen| seen.up),
            count(|seen| seen.booting),
            count(|seen| seen.draining),
            count(|seen| seen.leaving),
            count(|seen| seen.running + seen.finishing),
            ready.to_string(),
            oldest_s.map(|oldest| human(Duration::from_secs_f64(oldest))).unwrap_or_default(),
            late_share.map(|share| format!("{:.0}%", share * 100.0)).unwrap_or_default(),
            account.target.clone().unwrap_or_default(),
            account.cold_starts_today.to_string(),
            account.spent_today.map(|spent| spent.to_string()).unwrap_or_default(),
            pool.overridden.as_ref().map(|order| said(order, pool.read_at)).unwrap_or_default(),
            brief(&detail.reason, 80),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_end_is_a_length_or_a_moment_that_is_still_to_come() {
        let now = at("2026-01-31T14:00:00Z");
        assert_eq!(moment("2h", now).unwrap(), at("2026-01-31T16:00:00Z"));
        assert_eq!(moment("2026-01-31T14:05:00Z", now).unwrap(), at("2026-01-31T14:05:00Z"));
        for (bad, word) in [("tomorrow", "2h"), ("2026-01-31T13:00:00Z", "has passed"), ("0s", "has passed")] {
            let error = moment(bad, now).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn an_order_is_told_with_its_end() {
        let now = at("2026-01-31T14:00:00Z");
        let order = Override { paused: true, min: Some(1), max: Some(4), until: Some(at("2026-01-31T14:30:00Z")) };
        assert_eq!(said(&order, now), "paused, at least 1, at most 4 for 30m");
    }
}
