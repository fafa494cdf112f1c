//! What is set for queues and kinds.

use std::{collections::HashMap, time::Duration};

use sqlx::Row;

use super::{connection::Tx, fault::fault, release};
use crate::{
    Error, Result, Retention,
    limits::check_delay,
    store::{Setting, Settings, Target},
};

/// How many jobs a pause or a resume moves at once. Maintenance moves the others: no writer should wait for long.
const AT_ONCE: u32 = 2000;

pub(super) async fn set(tx: &mut Tx<'_>, target: &Target, setting: Setting) -> Result<()> {
    target.check()?;
    let (Target::Queue(name) | Target::Kind(name)) = target;
    let query = match (target, setting) {
        (Target::Queue(_), Setting::Paused(paused)) => sqlx::query(include_str!("pause.sql")).bind(name).bind(paused),
        (Target::Kind(_), Setting::Paused(paused)) => {
            sqlx::query(include_str!("pause_kind.sql")).bind(name).bind(paused)
        }
        (_, Setting::Retention(retention)) => {
            let keep = retention.unwrap_or_default();
            check_delay("a retention", keep.completed.max(keep.failed.unwrap_or_default()))?;
            let statement = match target {
                Target::Queue(_) => include_str!("retain.sql"),
                Target::Kind(_) => include_str!("retain_kind.sql"),
            };
            sqlx::query(statement)
                .bind(name)
                .bind(retention.is_some())
                .bind(millis(keep.completed))
                .bind(keep.failed.map(millis))
        }
        (Target::Queue(_), Setting::StartWithin(within)) => {
            let within = within.unwrap_or(Duration::from_mins(1));
            check_delay("a start", within)?;
            sqlx::query(include_str!("start_within.sql")).bind(name).bind(millis(within))
        }
        (Target::Kind(_), Setting::StartWithin(_)) => {
            return Err(Error::Rejected("from when on a start is late is set for queues, not for kinds".into()));
        }
    };
    query.execute(&mut **tx).await.map_err(fault)?;
    match (target, setting) {
        (Target::Kind(_), Setting::Paused(true)) => release::hold_paused(tx, AT_ONCE).await,
        (Target::Kind(_), Setting::Paused(false)) => release::resume(tx, AT_ONCE).await.map(drop),
        _ => Ok(()),
    }
}

pub(super) async fn settings(tx: &mut Tx<'_>) -> Result<Vec<Settings>> {
    let rows = sqlx::query(include_str!("settings.sql")).fetch_all(&mut **tx).await.map_err(fault)?;
    let setting = |row: &sqlx::sqlite::SqliteRow| Settings {
        target: if row.get(0) { Target::Kind(row.get(1)) } else { Target::Queue(row.get(1)) },
        paused: row.get(2),
        retention: row.get::<bool, _>(3).then(|| retention(row.get(4), row.get(5))),
        start_within: row.get::<Option<i64>, _>(6).map(length),
    };
    Ok(rows.iter().map(setting).collect())
}

/// How long finished jobs are kept, where that was set.
#[derive(Debug, Default)]
pub(super) struct Retentions {
    queues: HashMap<String, Retention>,
    kinds: HashMap<String, Retention>,
}

impl Retentions {
    pub(super) async fn read(tx: &mut Tx<'_>) -> Result<Self> {
        let mut all = Self::default();
        for row in sqlx::query(include_str!("retentions.sql")).fetch_all(&mut **tx).await.map_err(fault)? {
            let of = if row.get(0) { &mut all.kinds } else { &mut all.queues };
            of.insert(row.get(1), retention(row.get(2), row.get(3)));
        }
        Ok(all)
    }

    /// The kind's, or else the queue's.
    pub(super) fn of(&self, queue: &str, kind: &str) -> Option<Retention> {
        self.kinds.get(kind).or_else(|| self.queues.get(queue)).copied()
    }
}

pub(super) fn retention(completed: i64, failed: Option<i64>) -> Retention {
    Retention { completed: length(completed), failed: failed.map(length) }
}

/// Rounded up: what is kept for less than a millisecond is kept.
pub(super) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_micros().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// So many milliseconds.
pub(super) fn length(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
