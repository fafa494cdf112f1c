//! Tells a webhook what a person should hear of: of pools at each tick, of the whole store now and then.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::{
    JobRecord, Result, State,
    store::{Filter, Store},
};

use crate::{
    driver::PoolRef,
    notice::{Concern, Matters, Notice},
    record::TickRecord,
    webhook::Webhook,
};

/// Quarantined jobs are looked for so often.
const LOOK: Duration = Duration::from_mins(1);
/// The first look goes back so far: a job may have been quarantined while no scaler acted.
const BACK: TimeDelta = TimeDelta::minutes(10);
/// A scaler that was away for less is no matter: a deploy.
const ABSENT: TimeDelta = TimeDelta::minutes(2);
/// Jobs read at once, and how often at one look.
const PAGE: u32 = 500;
const PAGES: u32 = 20;
/// So many jobs are named.
const NAMED: usize = 5;

/// See the module. Without a webhook it does nothing.
#[derive(Debug, Default)]
pub(super) struct Herald {
    webhook: Option<Webhook>,
    matters: BTreeMap<PoolRef, Matters>,
    looked: Option<Instant>,
    /// The store's time at the latest look for quarantined jobs.
    until: Option<DateTime<Utc>>,
}

impl Herald {
    pub(super) fn to(webhook: Webhook) -> Self {
        Self { webhook: Some(webhook), ..Self::default() }
    }

    /// Whether nobody acted under this lease before, for longer than a deploy takes.
    pub(super) async fn begin(&self, store: &dyn Store, lease: &str) {
        let Some(webhook) = &self.webhook else { return };
        match store.leases().await {
            Ok(leases) => {
                let ours = leases.into_iter().find(|known| known.lease == lease);
                if let Some(gone) = ours.filter(|known| known.read_at - known.until > ABSENT) {
                    let text = format!(
                        "no scaler acted from {} to {} (it was {}); one does now",
                        shown(gone.until),
                        shown(gone.read_at),
                        gone.holder
                    );
                    webhook.tell(Notice { over: true, ..Notice::of_store(Concern::NoScaler, text) });
                }
            }
            Err(error) => tracing::debug!(%error, "could not read who acted before"),
        }
    }

    /// Tells what these ticks give to tell.
    pub(super) fn hear(&mut self, records: &[TickRecord]) {
        let Some(webhook) = &self.webhook else { return };
        let now = Instant::now();
        for record in records {
            let matters = self.matters.entry(record.pool.clone()).or_default();
            matters.look(record, now).into_iter().for_each(|notice| webhook.tell(notice));
        }
    }

    /// Looks for jobs that have been quarantined since it last did, if it is time to.
    pub(super) async fn look(&mut self, store: &dyn Store) {
        let Some(webhook) = &self.webhook else { return };
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        match quarantined(store, self.until).await {
            Ok((jobs, until)) => {
                self.until = Some(until);
                if !jobs.is_empty() {
                    webhook.tell(Notice::of_store(Concern::Quarantined, told(&jobs)));
                }
            }
            Err(error) => tracing::warn!(%error, "could not look for quarantined jobs"),
        }
    }
}

/// The jobs that were quarantined since, and until when that is all of them.
async fn quarantined(store: &dyn Store, since: Option<DateTime<Utc>>) -> Result<(Vec<JobRecord>, DateTime<Utc>)> {
    let until = store.now().await?;
    let since = since.unwrap_or(until - BACK);
    let mut filter = Filter { states: vec![State::Failed], error: Some("quarantined: ".into()), ..Filter::default() };
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let page = store.jobs(&filter, PAGE).await?;
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        let full = page.len() == PAGE as usize;
        found.extend(page.into_iter().filter(|job| job.finished_at.is_some_and(|at| at > since && at <= until)));
        if !full {
            break;
        }
    }
    Ok((found, until))
}

fn told(jobs: &[JobRecord]) -> String {
    let named: Vec<String> = jobs.iter().take(NAMED).map(|job| format!("{} ({})", job.id, job.kind)).collect();
    let more = jobs.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let words = if jobs.len() == 1 { "a job was" } else { "jobs were" };
    format!(
        "{words} quarantined, because no attempt comes to an end: {}{more}; `headcount jobs show ID` tells more",
        named.join(", ")
    )
}

fn shown(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%Y-%m-%d %H:%M UTC")
}
