//! What is set for queues and kinds, and what follows from it: jobs of paused kinds are held, and finished jobs are kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::postgres::PgRow;
use tokio::time::Instant as Deadline;

use super::{PostgresStore, column, millis, observe::Asked, settle::kept};
use crate::{
    Error, Result, Retention,
    limits::check_delay,
    store::{ClaimedJob, Setting, Settings, Target},
};

/// What was read is good for so long: a setting is known to every worker within 5 s, the reading included.
const FRESH: Duration = Duration::from_secs(4);

/// The most jobs that a resumed kind brings back in one statement.
const PAGE: u32 = 1000;

/// A start later than this is late, unless something else is set: 1 min, as the tables have it.
const START_WITHIN_MS: i64 = 60_000;

/// How long finished jobs are kept, as set for their queue or kind.
#[derive(Debug, Default)]
pub(super) struct Retentions {
    by_target: HashMap<Target, Retention>,
}

impl Retentions {
    fn of_settings(settings: &[Settings]) -> Self {
        let set = settings.iter().filter_map(|set| Some((set.target.clone(), set.retention?)));
        Self { by_target: set.collect() }
    }

    /// A job's own, or its kind's, or its queue's, in this order.
    pub(super) fn of(&self, job: &ClaimedJob) -> Option<Retention> {
        if job.retention.is_some() || self.by_target.is_empty() {
            return job.retention;
        }
        let set = |target| self.by_target.get(&target).copied();
        set(Target::Kind(job.kind.clone())).or_else(|| set(Target::Queue(job.queue.clone())))
    }
}

/// The retentions as this process last read them.
#[derive(Debug, Default)]
pub(super) struct Cached(Mutex<Option<(Instant, Arc<Retentions>)>>);

impl Cached {
    fn put(&self, read: Option<(Instant, Arc<Retentions>)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }

    fn fresh(&self, now: Instant) -> Option<Arc<Retentions>> {
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        read.as_ref().filter(|(at, _)| now.duration_since(*at) < FRESH).map(|(_, retentions)| retentions.clone())
    }
}

impl PostgresStore {
    /// The retentions that are set, not older than [`FRESH`].
    pub(super) async fn retentions(&self, deadline: Deadline) -> Result<Arc<Retentions>> {
        let now = Instant::now();
        if let Some(retentions) = self.retentions.fresh(now) {
            return Ok(retentions);
        }
        let statement = &self.statements.settings;
        let rows = self.connections.rows(deadline, || sqlx::query(statement.clone())).await?;
        let settings = rows.iter().map(settings).collect::<Result<Vec<_>>>()?;
        let retentions = Arc::new(Retentions::of_settings(&settings));
        self.retentions.put(Some((now, retentions.clone())));
        Ok(retentions)
    }

    /// Everything that is set.
    pub(super) async fn all_settings(&self) -> Result<Vec<Settings>> {
        let rows = self.ask(&self.statements.settings, |query| query).await?;
        rows.iter().map(settings).collect()
    }

    /// Sets something for a queue or a kind.
    pub(super) async fn set_one(&self, target: &Target, setting: Setting) -> Result<()> {
        target.check()?;
        let row = Row::of(target, setting)?;
        match target {
            Target::Queue(queue) => {
                let statement = &self.statements.set_queue;
                self.ask(statement, |query| row.bind(query.bind(queue.clone())).bind(row.start_within)).await?;
                if setting == Setting::Paused(false) {
                    self.notices.tell([queue.as_str()]);
                }
            }
            Target::Kind(kind) => {
                self.ask(&self.statements.set_kind, |query| row.bind(query.bind(kind.clone()))).await?;
                if setting == Setting::Paused(false) {
                    // What a hold under way brings meanwhile, maintenance finds.
                    while self.release_paused(PAGE).await? >= u64::from(PAGE) {}
                    // Those that nobody had come to hold lie in `ready` all the time.
                    let rows = self.ask(&self.statements.kind_queues, |query| query.bind(kind.clone())).await?;
                    for row in &rows {
                        self.notices.tell([column(row, "queue")?]);
                    }
                }
            }
        }
        self.retentions.put(None);
        Ok(())
    }

    /// Holds jobs of paused kinds. Returns how many.
    pub(super) async fn hold_paused(&self, limit: u32) -> Result<u64> {
        let rows = self.ask(&self.statements.hold_paused, |query| query.bind(i64::from(limit))).await?;
        Ok(column::<i64>(&rows[0], "jobs")? as u64)
    }

    /// Brings held jobs back whose kind is paused no longer. Returns how many.
    pub(super) async fn release_paused(&self, limit: u32) -> Result<u64> {
        let rows = self.ask(&self.statements.release_paused, |query| query.bind(i64::from(limit))).await?;
        let queues: Vec<String> = column(&rows[0], "queues")?;
        self.notices.tell(queues.iter().map(String::as_str));
        Ok(column::<i64>(&rows[0], "jobs")? as u64)
    }
}

/// A setting as the statements take it; what is `None` stays as it is.
#[derive(Debug, Default)]
struct Row {
    paused: Option<bool>,
    retains: Option<bool>,
    keep_completed: Option<i64>,
    keep_failed: Option<i64>,
    start_within: Option<i64>,
}

impl Row {
    fn of(target: &Target, setting: Setting) -> Result<Self> {
        match setting {
            Setting::Paused(paused) => Ok(Self { paused: Some(paused), ..Self::default() }),
            Setting::Retention(None) => Ok(Self { retains: Some(false), ..Self::default() }),
            Setting::Retention(Some(retention)) => {
                check_delay("the retention of completed jobs", retention.completed)?;
                check_delay("the retention of failed jobs", retention.failed.unwrap_or_default())?;
                Ok(Self {
                    retains: Some(true),
                    keep_completed: Some(kept(retention.completed)),
                    keep_failed: retention.failed.map(kept),
                    ..Self::default()
                })
            }
            Setting::StartWithin(_) if matches!(target, Target::Kind(_)) => {
                Err(Error::Rejected(format!("when a start is late is set for queues, and not for {target}")))
            }
            Setting::StartWithin(within) => {
                check_delay("the time to start within", within.unwrap_or_default())?;
                Ok(Self { start_within: Some(within.map_or(START_WITHIN_MS, millis)), ..Self::default() })
            }
        }
    }

    fn bind<'q>(&self, query: Asked<'q>) -> Asked<'q> {
        query.bind(self.paused).bind(self.retains).bind(self.keep_completed).bind(self.keep_failed)
    }
}

fn settings(row: &PgRow) -> Result<Settings> {
    let length = |ms: i64| Duration::from_millis(ms.max(0) as u64);
    let name = column(row, "name")?;
    let retention = if column(row, "retains")? {
        Some(Retention {
            completed: length(column(row, "keep_completed_ms")?),
            failed: column::<Option<i64>>(row, "keep_failed_ms")?.map(length),
        })
    } else {
        None
    };
    Ok(Settings {
        target: if column(row, "kind")? { Target::Kind(name) } else { Target::Queue(name) },
        paused: column(row, "paused")?,
        retention,
        start_within: column::<Option<i64>>(row, "start_within_ms")?.map(length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_forgotten_in_time() {
        let (cached, now) = (Cached::default(), Instant::now());
        assert!(cached.fresh(now).is_none());
        cached.put(Some((now, Arc::default())));
        assert!(cached.fresh(now + FRESH / 2).is_some());
        assert!(cached.fresh(now + FRESH).is_none());
    }

    #[test]
    fn when_a_start_is_late_is_not_set_for_a_kind() {
        let refused = Row::of(&Target::Kind("k".into()), Setting::StartWithin(None)).unwrap_err();
        assert!(refused.to_string().contains("kind k"), "{refused}");
    }
}
