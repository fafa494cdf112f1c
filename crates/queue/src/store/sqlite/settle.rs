//! Attempts end: what becomes of a job is decided by a pure function, and written by a few statements for all of them.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    coalesce,
    connection::Tx,
    fault::fault,
    json, micros,
    tally::{Lane, Place},
};
use crate::{
    AttemptOutcome, JobId, Result, Scope, State,
    limits::{INLINE_BYTES, MAX_DEATHS, MAX_ERROR, MAX_INTERRUPTIONS, MAX_OUTPUT, head, tail},
    store::{BootId, Rescue, Settlement, Verdict},
};

/// A job in `running`, as far as its end needs it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunningJob {
    pub(super) id: JobId,
    pub(super) boot: BootId,
    pub(super) claim: i64,
    lane: Lane,
    /// Attempts spent.
    attempt: u16,
    interruptions: u16,
    deaths: u16,
    started_at: i64,
    /// Someone asked that it be cancelled.
    pub(super) cancel: bool,
    /// A beat has said that its handler started.
    pub(super) begun: bool,
    worker: String,
    /// Its coalesce key, and for how long it holds that.
    key: Option<(String, Scope)>,
}

/// Where a job goes from `running`.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    /// Away, with everything that belongs to it.
    Gone,
    /// Kept as finished; `None` for good.
    Finished { state: State, error: Option<String>, output: Option<String>, keep: Option<Duration> },
    /// To be claimable again after the wait.
    Later { after: Duration, note: Option<String> },
    /// Into its place in the queue; a suspect among the held.
    Back,
}

/// An attempt that ends, and what becomes of its job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    /// The job, with its counts as they are from now on.
    job: RunningJob,
    fate: Fate,
    /// The row for the attempt, where one is kept: its number, how it ended, why.
    attempt: Option<(u16, AttemptOutcome, String)>,
    /// How long it ran, where that is counted.
    ran: Option<Duration>,
}

impl Ending {
    /// What a verdict makes of the job.
    pub(super) fn of(mut job: RunningJob, verdict: &Verdict, ran: Duration) -> Self {
        if !matches!(verdict, Verdict::Return | Verdict::Interrupt { .. }) {
            // Its handler ended by itself, so it is not what kills its process.
            job.deaths = 0;
        }
        match verdict {
            Verdict::Completed { keep: Duration::ZERO, .. } => Self { ran: Some(ran), ..Self::silent(job, Fate::Gone) },
            Verdict::Completed { output, keep } => {
                // Where a completed job is kept, it shows the attempt that completed it.
                job.attempt = job.attempt.saturating_add(1);
                let output = output.as_deref().map(|output| clean(head(output, MAX_OUTPUT)));
                let fate = Fate::Finished { state: State::Completed, error: None, output, keep: Some(*keep) };
                Self { ran: Some(ran), ..Self::silent(job, fate) }
            }
            Verdict::Retry { error, after } => {
                let note = Some(message(error));
                Self { ran: Some(ran), ..Self::spent(job, error, Fate::Later { after: *after, note }) }.heeding_cancel()
            }
            Verdict::Failed { error, keep } => {
                let fate = finished(State::Failed, message(error), *keep);
                Self { ran: Some(ran), ..Self::spent(job, error, fate) }
            }
            Verdict::Snooze { reason, after } => {
                let note = reason.as_deref().map(message);
                Self::silent(job, Fate::Later { after: *after, note }).heeding_cancel()
            }
            Verdict::Park { .. } | Verdict::Return => Self::give_back(job),
            Verdict::Interrupt { reason } => Self::interrupted(job, AttemptOutcome::Interrupted, reason),
            Verdict::Cancelled { reason } => Self::cancelled(job, reason),
        }
    }

    /// Back, as if it had never been claimed; cancelled, if that was asked.
    pub(super) fn give_back(job: RunningJob) -> Self {
        Self::silent(job, Fate::Back).heeding_cancel()
    }

    /// Its process died. `blame`: the death counts against a job that had started.
    pub(super) fn of_the_dead(mut job: RunningJob, blame: bool) -> (Self, Rescue) {
        let died = format!("worker {} died while it ran", job.worker);
        let mut ending = if !job.begun {
            Self::give_back(job)
        } else if !blame {
            let attempt = (job.attempt + 1, AttemptOutcome::Died, died.clone());
            Self { attempt: Some(attempt), ..Self::silent(job, Fate::Back) }.heeding_cancel()
        } else {
            job.deaths += 1;
            Self::interrupted(job, AttemptOutcome::Died, &died)
        };
        if ending.job.deaths >= MAX_DEATHS && ending.fate == Fate::Back {
            ending.fate = finished(
                State::Failed,
                format!(
                    "quarantined: {died}, {} times now, the last time as the only job in it; look for what it uses up \
                     (memory, most often), then retry it",
                    ending.job.deaths
                ),
                None,
            );
        }
        let rescue = match ending.fate {
            Fate::Back if ending.is_suspect() => Rescue::Isolated,
            Fate::Back => Rescue::Requeued,
            Fate::Finished { state: State::Cancelled, .. } => Rescue::Cancelled,
            _ => Rescue::Quarantined,
        };
        (ending, rescue)
    }

    fn silent(job: RunningJob, fate: Fate) -> Self {
        Self { job, fate, attempt: None, ran: None }
    }

    fn spent(mut job: RunningJob, error: &str, fate: Fate) -> Self {
        job.attempt = job.attempt.saturating_add(1);
        let attempt = (job.attempt, AttemptOutcome::Failed, message(error));
        Self { attempt: Some(attempt), ..Self::silent(job, fate) }
    }

    fn interrupted(mut job: RunningJob, outcome: AttemptOutcome, reason: &str) -> Self {
        job.interruptions = job.interruptions.saturating_add(1);
        let attempt = Some((job.attempt + 1, outcome, message(reason)));
        let fate = if job.interruptions >= MAX_INTERRUPTIONS {
            let why = format!(
                "quarantined: interrupted {} times, the last time since {reason}; give it a shorter run or its workers \
                 a longer grace, then retry it",
                job.interruptions
            );
            finished(State::Failed, message(&why), None)
        } else {
            Fate::Back
        };
        Self { attempt, ..Self::silent(job, fate) }.heeding_cancel()
    }

    fn cancelled(job: RunningJob, reason: &str) -> Self {
        let attempt = Some((job.attempt + 1, AttemptOutcome::Cancelled, message(reason)));
        Self { attempt, ..Self::silent(job, finished(State::Cancelled, message(reason), None)) }
    }

    /// A job that would run again is cancelled instead if that was asked.
    fn heeding_cancel(self) -> Self {
        if !self.job.cancel || !matches!(self.fate, Fate::Back | Fate::Later { .. }) {
            return self;
        }
        let why = match &self.attempt {
            Some((_, _, error)) => format!("cancelled while it ran; the attempt had ended: {error}"),
            None => "cancelled while a worker held it".into(),
        };
        match self.attempt {
            // A failed attempt was spent, and its row says more than that it was cancelled too.
            Some(_) => Self { fate: finished(State::Cancelled, message(&why), None), ..self },
            None => Self { ran: self.ran, ..Self::cancelled(self.job, &why) },
        }
    }

    const fn is_suspect(&self) -> bool {
        self.job.deaths + 1 >= MAX_DEATHS
    }

    fn place(&self) -> Option<Place> {
        match self.fate {
            Fate::Gone => None,
            Fate::Finished { state, .. } => Some(Place::Finished(state)),
            Fate::Later { .. } => Some(Place::Later),
            Fate::Back if self.is_suspect() => Some(Place::Suspect),
            Fate::Back => Some(Place::Ready),
        }
    }

    /// The key that the job lets go of, if this is its end.
    fn freed(&self) -> Option<(String, String, JobId)> {
        let (key, scope) = self.job.key.as_ref()?;
        let over = match self.fate {
            Fate::Finished { state: State::Failed, .. } => *scope != Scope::UnfinishedOrFailed,
            Fate::Gone | Fate::Finished { .. } => true,
            Fate::Later { .. } | Fate::Back => false,
        };
        over.then(|| (self.job.lane.queue.clone(), key.clone(), self.job.id))
    }

    fn count(&self, tx: &mut Tx<'_>) {
        let change = tx.tally.lane(&self.job.lane);
        change.leave(Place::Running);
        if let Some(place) = self.place() {
            change.enter(place);
        }
        change.flow.returned += i64::from(self.fate == Fate::Back);
        if let Some(ran) = self.ran {
            change.flow.run_ms += i64::try_from(ran.as_millis()).unwrap_or_default();
            match self.attempt {
                None => change.flow.completed += 1,
                Some(_) => change.flow.failed += 1,
            }
        }
    }
}

fn finished(state: State, error: String, keep: Option<Duration>) -> Fate {
    Fate::Finished { state, error: Some(error), output: None, keep }
}

/// A message as it is kept: its end, where the cause stands.
fn message(text: &str) -> String {
    clean(tail(text, MAX_ERROR))
}

/// Text that both stores can keep: Postgres has no U+0000.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Ends these attempts. One whose token no longer holds changes nothing.
pub(super) async fn settle(tx: &mut Tx<'_>, settled: &[Settlement]) -> Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let tokens: Vec<_> = settled.iter().map(|s| (s.id, s.token.boot, s.token.claim)).collect();
    let rows =
        sqlx::query(include_str!("held_by_token.sql")).bind(json(&tokens)).fetch_all(&mut **tx).await.map_err(fault)?;
    let mut jobs: HashMap<_, _> = rows.iter().map(running).map(|job| ((job.id, job.boot, job.claim), job)).collect();
    // In their order, and each once: a settlement that stands twice in a batch finds nothing the second time.
    let endings = settled
        .iter()
        .filter_map(|s| Some(Ending::of(jobs.remove(&(s.id, s.token.boot, s.token.claim))?, &s.verdict, s.ran)))
        .collect();
    apply(tx, endings).await
}

/// What this worker owns.
pub(super) async fn owned(tx: &mut Tx<'_>, boot: BootId) -> Result<Vec<RunningJob>> {
    let rows =
        sqlx::query(include_str!("held_by_worker.sql")).bind(boot.0).fetch_all(&mut **tx).await.map_err(fault)?;
    Ok(rows.iter().map(running).collect())
}

fn running(row: &SqliteRow) -> RunningJob {
    RunningJob {
        id: JobId(row.get(0)),
        boot: BootId(row.get(1)),
        claim: row.get(2),
        lane: Lane { queue: row.get(3), priority: row.get(4), kind: row.get(5) },
        attempt: row.get(6),
        interruptions: row.get(7),
        deaths: row.get(8),
        started_at: row.get(9),
        cancel: row.get(10),
        begun: row.get(11),
        worker: row.get(12),
        key: row.get::<Option<String>, _>(13).map(|key| (key, scope(row, 14))),
    }
}

/// How long a job with a key holds it, as its row says.
pub(super) fn scope(row: &SqliteRow, column: usize) -> Scope {
    row.get::<Option<&str>, _>(column).and_then(|name| name.parse().ok()).unwrap_or_default()
}

#[derive(Serialize)]
struct FinishedRow<'a>(JobId, &'static str, u16, u16, u16, Option<&'a str>, Option<&'a str>, Option<i64>, &'a str);

/// Moves the jobs out of `running`. They must be there: the caller has read them in this transaction.
pub(super) async fn apply(tx: &mut Tx<'_>, endings: Vec<Ending>) -> Result<()> {
    if endings.is_empty() {
        return Ok(());
    }
    let (mut all, mut gone, mut attempts, mut outputs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut finished, mut later, mut ready, mut held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ending in &endings {
        ending.count(tx);
        let job = &ending.job;
        all.push(job.id);
        if let Some((number, outcome, error)) = &ending.attempt {
            attempts.push((job.id, number, outcome.as_str(), job.started_at, &job.worker, error));
        }
        match &ending.fate {
            Fate::Gone => gone.push(job.id),
            Fate::Finished { state, error, output, keep } => {
                let inline = output.as_deref().filter(|output| output.len() <= INLINE_BYTES);
                if let (Some(output), None) = (output, inline) {
                    outputs.push((job.id, output));
                }
                let expires_at = keep.map(|keep| tx.now + micros(keep));
                let (a, i, d) = (job.attempt, job.interruptions, job.deaths);
                let name = state.as_str();
                finished.push(FinishedRow(job.id, name, a, i, d, error.as_deref(), inline, expires_at, &job.worker));
            }
            Fate::Later { after, note } => {
                let run_at = tx.now + micros(*after);
                later.push((job.id, job.attempt, job.interruptions, job.deaths, run_at, note, &job.worker));
            }
            Fate::Back => {
                let rows = if ending.is_suspect() { &mut held } else { &mut ready };
                rows.push((job.id, job.interruptions, job.deaths));
            }
        }
    }
    run(tx, include_str!("finish.sql"), &finished).await?;
    run(tx, include_str!("postpone.sql"), &later).await?;
    run(tx, include_str!("give_back.sql"), &ready).await?;
    run(tx, include_str!("isolate.sql"), &held).await?;
    run(tx, include_str!("attempt.sql"), &attempts).await?;
    for (id, output) in outputs {
        sqlx::query("INSERT INTO body (job, part, data) VALUES (?1, 'output', ?2)")
            .bind(id.0)
            .bind(output)
            .execute(&mut **tx)
            .await
            .map_err(fault)?;
    }
    run(tx, "DELETE FROM running WHERE id IN (SELECT value FROM json_each(?1))", &all).await?;
    forget(tx, &gone).await?;
    let freed: Vec<_> = endings.iter().filter_map(Ending::freed).collect();
    coalesce::let_go(tx, &freed).await.map(drop)
}

/// Removes what belongs to jobs that are no more: payloads, outputs, attempts.
pub(super) async fn forget(tx: &mut Tx<'_>, jobs: &[JobId]) -> Result<()> {
    run(tx, "DELETE FROM body WHERE job IN (SELECT value FROM json_each(?1))", jobs).await?;
    run(tx, "DELETE FROM attempt WHERE job IN (SELECT value FROM json_each(?1))", jobs).await
}

/// A statement over a list of rows in JSON (`?1`) at the transaction's time (`?2`).
pub(super) async fn run<T: Serialize>(tx: &mut Tx<'_>, statement: &'static str, rows: &[T]) -> Result<()> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(json(rows)).bind(tx.now).execute(&mut **tx).await.map_err(fault)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> RunningJob {
        RunningJob {
            id: JobId(1),
            boot: BootId(2),
            claim: 3,
            lane: Lane { queue: "q".into(), priority: 0, kind: "k".into() },
            attempt: 0,
            interruptions: 0,
            deaths: 0,
            started_at: 4,
            cancel: false,
            begun: true,
            worker: "host:5".into(),
            key: None,
        }
    }

    fn verdicts() -> [Verdict; 7] {
        let after = Duration::from_secs(1);
        [
            Verdict::Completed { output: None, keep: Duration::ZERO },
            Verdict::Retry { error: "e".into(), after },
            Verdict::Failed { error: "e".into(), keep: None },
            Verdict::Snooze { reason: None, after },
            Verdict::Return,
            Verdict::Interrupt { reason: "r".into() },
            Verdict::Cancelled { reason: "r".into() },
        ]
    }

    #[test]
    fn only_failures_spend_an_attempt_and_only_interruptions_count_as_such() {
        let counts: Vec<_> = verdicts()
            .iter()
            .map(|verdict| Ending::of(job(), verdict, Duration::ZERO).job)
            .map(|job| (job.attempt, job.interruptions))
            .collect();
        assert_eq!(counts, [(0, 0), (1, 0), (1, 0), (0, 0), (0, 0), (0, 1), (0, 0)]);
    }

    #[test]
    fn a_handler_that_ends_by_itself_clears_the_deaths_and_a_return_keeps_them() {
        let deaths: Vec<_> = verdicts()
            .iter()
            .map(|verdict| Ending::of(RunningJob { deaths: 2, ..job() }, verdict, Duration::ZERO))
            .map(|ending| (ending.job.deaths, ending.place() == Some(Place::Suspect)))
            .collect();
        let (kept, cleared) = ((2, true), (0, false));
        assert_eq!(deaths, [cleared, cleared, cleared, cleared, kept, kept, cleared]);
    }

    #[test]
    fn what_would_run_again_is_cancelled_if_that_was_asked() {
        let cancelled: Vec<_> = verdicts()
            .iter()
            .map(|verdict| Ending::of(RunningJob { cancel: true, ..job() }, verdict, Duration::ZERO))
            .map(|ending| ending.place() == Some(Place::Finished(State::Cancelled)))
            .collect();
        assert_eq!(cancelled, [false, true, false, true, true, true, true]);
    }

    #[test]
    fn a_death_counts_only_for_what_had_started_and_the_third_is_quarantine() {
        let dies = |deaths, begun, blame| {
            let (ending, rescue) = Ending::of_the_dead(RunningJob { deaths, begun, ..job() }, blame);
            (ending.job.deaths, ending.job.interruptions, rescue)
        };
        assert_eq!(dies(0, true, true), (1, 1, Rescue::Requeued));
        assert_eq!(dies(1, true, true), (2, 1, Rescue::Isolated));
        assert_eq!(dies(2, true, true), (3, 1, Rescue::Quarantined));
        assert_eq!(dies(0, false, true), (0, 0, Rescue::Requeued));
        assert_eq!(dies(2, false, true), (2, 0, Rescue::Isolated));
        assert_eq!(dies(2, true, false), (2, 0, Rescue::Isolated));
    }

    #[test]
    fn too_many_interruptions_are_quarantine_and_the_text_says_what_to_do() {
        let tired = RunningJob { interruptions: MAX_INTERRUPTIONS - 1, ..job() };
        let ending = Ending::of(tired, &Verdict::Interrupt { reason: "the worker stopped".into() }, Duration::ZERO);
        let Fate::Finished { state: State::Failed, error: Some(error), .. } = &ending.fate else {
            panic!("{ending:?}");
        };
        assert!(
            error.contains("20 times") && error.contains("the worker stopped") && error.contains("retry"),
            "{error}"
        );
    }
}
