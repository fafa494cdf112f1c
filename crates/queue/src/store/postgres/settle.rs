//! Attempts end.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::{PostgresStore, clean, column, millis};
use crate::{
    JobId, Result,
    limits::{INLINE_BYTES, MAX_DEATHS, MAX_ERROR, MAX_INTERRUPTIONS, MAX_OUTPUT, head, tail},
    store::{BootId, Rescue, Settlement, Verdict},
};

/// An attempt's end, as the statement takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) claim: i64,
    pub(super) verdict: &'static str,
    text: Option<String>,
    output: Option<String>,
    ms: Option<i64>,
    ran_ms: i64,
    park: Option<String>,
}

/// What a job is parked with besides its deadline.
#[derive(Debug, Serialize)]
struct Park {
    expiry: &'static str,
    keep_completed: i64,
    keep_failed: Option<i64>,
    retry: i64,
}

impl Ending {
    /// One that needs no more to be said.
    pub(super) fn silent(claim: i64, verdict: &'static str) -> Self {
        Self { claim, verdict, ..Self::default() }
    }

    fn of(settlement: &Settlement) -> Self {
        let why = |text: &str| Some(clean(tail(text, MAX_ERROR)));
        let (verdict, text, output, ms) = match &settlement.verdict {
            Verdict::Completed { output, keep } => {
                ("completed", None, output.as_deref().map(|output| clean(head(output, MAX_OUTPUT))), Some(kept(*keep)))
            }
            Verdict::Retry { error, after } => ("retry", why(error), None, Some(millis(*after))),
            Verdict::Failed { error, keep } => ("failed", why(error), None, keep.map(kept)),
            Verdict::Snooze { reason, after } => {
                ("snooze", reason.as_deref().and_then(why), None, Some(millis(*after)))
            }
            Verdict::Park { wait, .. } => ("park", None, None, Some(millis(*wait))),
            Verdict::Return => ("return", None, None, None),
            Verdict::Interrupt { reason } => ("interrupt", why(reason), None, None),
            Verdict::Cancelled { reason } => ("cancelled", why(reason), None, None),
        };
        let park = Park::of(&settlement.verdict)
            .map(|park| serde_json::to_string(&park).expect("numbers and a word are JSON"));
        Self { claim: settlement.token.claim, verdict, text, output, ms, ran_ms: ran(settlement.ran), park }
    }
}

impl Park {
    fn of(verdict: &Verdict) -> Option<Self> {
        let Verdict::Park { wait: _, expiry, keep, retry } = verdict else { return None };
        Some(Self {
            expiry: expiry.as_str(),
            keep_completed: kept(keep.completed),
            keep_failed: keep.failed.map(kept),
            retry: millis(*retry),
        })
    }
}

/// A retention: only none at all removes a job at once.
pub(super) fn kept(keep: Duration) -> i64 {
    if keep.is_zero() { 0 } else { millis(keep).max(1) }
}

fn ran(length: Duration) -> i64 {
    length.as_millis().min(i64::MAX as u128 / 1_000_000) as i64
}

/// Completions that leave no trace, as the fused statement takes them: by id, each once.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) ids: Vec<i64>,
    pub(super) claims: Vec<i64>,
    pub(super) ran_ms: Vec<i64>,
}

impl Plain {
    /// `None` if anything else is among them.
    pub(super) fn of(boot: BootId, settled: &[Settlement]) -> Option<Self> {
        let mut by_id = BTreeMap::new();
        for settlement in settled {
            let plain = matches!(settlement.verdict, Verdict::Completed { output: _, keep: Duration::ZERO });
            let same = by_id.insert(settlement.id, (settlement.token.claim, ran(settlement.ran)));
            if !plain || settlement.token.boot != boot || same.is_some() {
                return None;
            }
        }
        let mut plain = Self::default();
        for (id, (claim, ran_ms)) in by_id {
            plain.ids.push(id.0);
            plain.claims.push(claim);
            plain.ran_ms.push(ran_ms);
        }
        Some(plain)
    }
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Over, in whichever way, or waiting.
    Other,
    /// Back in the queue.
    Ready,
    /// Back, to run alone.
    Held,
    Failed,
    Cancelled,
}

impl Fate {
    fn from_name(name: &str) -> Self {
        match name {
            "ready" => Self::Ready,
            "held" => Self::Held,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => Self::Other,
        }
    }

    /// The same in a rescuer's words.
    pub(super) const fn rescue(self) -> Rescue {
        match self {
            Self::Ready | Self::Other => Rescue::Requeued,
            Self::Held => Rescue::Isolated,
            Self::Failed => Rescue::Quarantined,
            Self::Cancelled => Rescue::Cancelled,
        }
    }
}

impl PostgresStore {
    /// Ends attempts, in as many statements as there are workers and attempts at one job among them: one, as a rule.
    pub(super) async fn settle(&self, settled: &[Settlement], deadline: Instant) -> Result<()> {
        for (boot, endings) in batches(settled) {
            self.end(boot, &endings, deadline).await?;
        }
        Ok(())
    }

    /// Ends these attempts of one worker. Returns what became of those that still were its.
    pub(super) async fn end(
        &self,
        boot: BootId,
        endings: &BTreeMap<JobId, Ending>,
        deadline: Instant,
    ) -> Result<Vec<(JobId, Fate)>> {
        let endings_of = || endings.values();
        let rows = self
            .connections
            .rows(deadline, || {
                sqlx::query(self.statements.settle.clone())
                    .bind(boot.0)
                    .bind(endings.keys().map(|id| id.0).collect::<Vec<_>>())
                    .bind(endings_of().map(|ending| ending.claim).collect::<Vec<_>>())
                    .bind(endings_of().map(|ending| ending.verdict).collect::<Vec<_>>())
                    .bind(endings_of().map(|ending| ending.text.as_deref()).collect::<Vec<_>>())
                    .bind(endings_of().map(|ending| ending.output.as_deref()).collect::<Vec<_>>())
                    .bind(endings_of().map(|ending| ending.ms).collect::<Vec<_>>())
                    .bind(endings_of().map(|ending| ending.ran_ms).collect::<Vec<_>>())
                    .bind(i32::from(MAX_INTERRUPTIONS))
                    .bind(i32::from(MAX_DEATHS))
                    .bind(INLINE_BYTES as i32)
                    .bind(endings_of().map(|ending| ending.park.as_deref()).collect::<Vec<_>>())
            })
            .await?;
        rows.iter().map(|row| Ok((JobId(column(row, "id")?), Fate::from_name(column(row, "fate")?)))).collect()
    }
}

/// Each batch is one worker's and names a job once: a statement looks an entry up by its job.
fn batches(settled: &[Settlement]) -> Vec<(BootId, BTreeMap<JobId, Ending>)> {
    let mut batches: Vec<(BootId, BTreeMap<JobId, Ending>)> = Vec::new();
    for settlement in settled {
        let (boot, id) = (settlement.token.boot, settlement.id);
        let fits = |(of, batch): &&mut (BootId, BTreeMap<JobId, Ending>)| *of == boot && !batch.contains_key(&id);
        if let Some((_, batch)) = batches.iter_mut().find(fits) {
            batch.insert(id, Ending::of(settlement));
        } else {
            batches.push((boot, BTreeMap::from([(id, Ending::of(settlement))])));
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Token;

    fn completed(id: i64, boot: i64, claim: i64) -> Settlement {
        Settlement {
            id: JobId(id),
            token: Token { boot: BootId(boot), claim },
            verdict: Verdict::Completed { output: None, keep: Duration::ZERO },
            ran: Duration::from_micros(1_999),
        }
    }

    #[test]
    fn only_completions_without_a_trace_are_settled_in_the_claim_in_the_order_of_their_ids() {
        let plain = Plain::of(BootId(1), &[completed(7, 1, 2), completed(3, 1, 1)]).unwrap();
        assert_eq!((plain.ids, plain.claims, plain.ran_ms), (vec![3, 7], vec![1, 2], vec![1, 1]));
        let keep = Verdict::Completed { output: None, keep: Duration::from_secs(1) };
        for other in [completed(7, 2, 2), completed(3, 1, 2), Settlement { verdict: keep, ..completed(7, 1, 2) }] {
            assert!(Plain::of(BootId(1), &[completed(3, 1, 1), other]).is_none());
        }
    }

    #[test]
    fn a_batch_is_one_workers_and_names_a_job_once() {
        let batches = batches(&[completed(1, 1, 1), completed(1, 1, 2), completed(2, 1, 1), completed(1, 9, 1)]);
        let shape: Vec<_> = batches.iter().map(|(boot, batch)| (boot.0, batch.len())).collect();
        assert_eq!(shape, [(1, 2), (1, 1), (9, 1)]);
    }

    #[test]
    fn the_shortest_retention_is_not_none() {
        assert_eq!(kept(Duration::ZERO), 0);
        assert_eq!(kept(Duration::from_nanos(1)), 1);
    }
}
