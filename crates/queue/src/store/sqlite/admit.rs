//! Whether jobs that come in are new, or coalesce with one that is there.

use std::collections::{BTreeMap, HashMap};

use super::{
    admin::{Found, find},
    coalesce::{self, Claim, Holder, Key},
    connection::Tx,
    enqueue::{PART_ROWS, Part, allocate, due, put_apart, split},
    fault::fault,
    json,
    tally::Place,
};
use crate::{
    Conflict, JobId, NewJob, Result,
    store::{Admission, Enqueued},
};

/// What becomes of a bulk.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The answers, in its order.
    pub(super) answers: Vec<Enqueued>,
    /// Those that run once the holder of their key is over, by their places in the bulk.
    again: Vec<usize>,
    /// Which job gets its payload and run time from which of the bulk.
    replacements: Vec<(JobId, usize)>,
}

/// Decides for each job, of which the first would have this id.
///
/// All that come first with a key try to take it in one statement; the others meet whoever holds it. A bulk changes a
/// job at most once, however many of it replace each other.
pub(super) async fn admit(tx: &mut Tx<'_>, jobs: &[NewJob], first: i64) -> Result<Admitted> {
    let answers: Vec<Enqueued> = (first..).take(jobs.len()).map(|id| Enqueued::new(JobId(id))).collect();
    let mut admitted = Admitted { answers, again: Vec::new(), replacements: Vec::new() };
    let mut firsts: BTreeMap<Key, usize> = BTreeMap::new();
    for (n, job) in jobs.iter().enumerate() {
        if let Some(key) = key(job) {
            firsts.entry(key).or_insert(n);
        }
    }
    let claims: Vec<Claim> = firsts
        .into_iter()
        .map(|(key, n)| Claim(key.0, key.1, admitted.answers[n].id, jobs[n].coalesce.scope))
        .collect();
    let mut meetings: HashMap<Key, Meeting> = HashMap::new();
    for part in claims.chunks(PART_ROWS) {
        let holders = coalesce::take_or_find(tx, part).await?;
        meetings.extend(holders.into_iter().map(|(key, holder)| (key, Meeting { holder, replacement: None })));
    }
    for (n, job) in jobs.iter().enumerate() {
        let Some(meeting) = key(job).and_then(|key| meetings.get_mut(&key)) else { continue };
        let answer = &mut admitted.answers[n];
        if meeting.holder.id != answer.id {
            let id = answer.id;
            *answer = meeting.meet(n, id, job.coalesce.conflict);
            if answer.id == id {
                admitted.again.push(n);
            }
        }
    }
    admitted.replacements = meetings.into_values().filter_map(|meeting| meeting.replacement).collect();
    Ok(admitted)
}

impl Admitted {
    /// Writes what comes of those that are not new. The new ones are written: they may be among those replaced.
    pub(super) async fn apply(&self, tx: &mut Tx<'_>, jobs: &[NewJob]) -> Result<()> {
        let mut part = Part::default();
        for &n in &self.again {
            part.add(tx, self.answers[n].id, &jobs[n], true).await?;
        }
        part.write(tx).await?;
        for &(id, n) in &self.replacements {
            replace(tx, id, &jobs[n]).await?;
        }
        Ok(())
    }
}

fn key(job: &NewJob) -> Option<Key> {
    job.key.as_ref().map(|key| Key(job.queue.clone(), key.clone()))
}

/// A key's holder, and what a bulk makes of it.
#[derive(Debug)]
struct Meeting {
    holder: Holder,
    /// Which job gets its payload and run time from which of the bulk: the last one counts.
    replacement: Option<(JobId, usize)>,
}

impl Meeting {
    /// What becomes of the bulk's `n`th job, which has this id if it is to run once the holder is over.
    fn meet(&mut self, n: usize, id: JobId, conflict: Conflict) -> Enqueued {
        let holder = &mut self.holder;
        match conflict {
            Conflict::Keep => Enqueued::coalesced(holder.id, Admission::Kept),
            Conflict::RunAgain if holder.waits => Enqueued::coalesced(holder.id, Admission::Kept),
            Conflict::Replace if holder.waits => {
                self.replacement = Some((holder.id, n));
                Enqueued::coalesced(holder.id, Admission::Replaced)
            }
            Conflict::Replace | Conflict::RunAgain => {
                let waiting = *holder.again.get_or_insert(id);
                if conflict == Conflict::Replace && waiting != id {
                    self.replacement = Some((waiting, n));
                }
                Enqueued::coalesced(waiting, Admission::Again { holder: holder.id })
            }
        }
    }
}

/// Gives a job that waits this one's payload and run time.
async fn replace(tx: &mut Tx<'_>, id: JobId, job: &NewJob) -> Result<()> {
    let Found { place, lane, .. } = find(tx, id).await?;
    let run_at = due(tx.now, job.when);
    let waits = run_at > tx.now;
    let (inline, apart) = split(job)?;
    let update = match place {
        Place::Ready => "UPDATE ready SET payload = ?2, payload_codec = NULL, run_at = ?3 WHERE id = ?1",
        Place::Later => "UPDATE later SET payload = ?2, payload_codec = NULL, run_at = ?3 WHERE id = ?1",
        _ => "UPDATE held SET payload = ?2, payload_codec = NULL, run_at = ?3 WHERE id = ?1",
    };
    sqlx::query(update).bind(id.0).bind(inline).bind(run_at).execute(&mut **tx).await.map_err(fault)?;
    sqlx::query("DELETE FROM body WHERE job = ?1 AND part = 'payload'")
        .bind(id.0)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    if let Some(payload) = apart {
        put_apart(tx, id, payload).await?;
    }
    match (place, waits) {
        (Place::Ready, true) => {
            for statement in [include_str!("defer.sql"), "DELETE FROM ready WHERE id = ?1"] {
                sqlx::query(statement).bind(id.0).execute(&mut **tx).await.map_err(fault)?;
            }
            let change = tx.tally.lane(&lane);
            change.leave(Place::Ready);
            change.enter(Place::Later);
        }
        (Place::Later, false) => {
            let moves = json(&[(id, allocate(tx, 1).await?)]);
            sqlx::query(include_str!("promote.sql")).bind(moves).execute(&mut **tx).await.map_err(fault)?;
            sqlx::query("DELETE FROM later WHERE id = ?1").bind(id.0).execute(&mut **tx).await.map_err(fault)?;
            let change = tx.tally.lane(&lane);
            change.leave(Place::Later);
            change.enter(Place::Ready);
            change.flow.promoted += 1;
        }
        // What is held goes where it belongs once nothing holds it back.
        _ => {}
    }
    Ok(())
}
