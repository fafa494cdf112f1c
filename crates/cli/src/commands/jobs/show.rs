//! `headcount jobs show`: one job whole.

use std::fmt::Write as _;

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use headcount_queue::{AttemptRecord, Error, JobId, JobRecord, Queue, State, store::Filter};
use serde::Serialize;

use crate::{
    commands::Session,
    duration::{human, since},
    exit::Exit,
    output::{Table, brief, printable},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job's number.
    #[arg(value_name = "ID", value_parser = super::job_id)]
    id: JobId,
}

/// A job with its attempts, as `--json` shows it.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    job: JobRecord,
    /// Of a job that runs after the one that holds its key: that one.
    holder: Option<JobId>,
    attempts: Vec<AttemptRecord>,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let job = queue.job(args.id).await?.ok_or(Error::NotFound(args.id))?;
    let holder = holder(&queue, &job).await?;
    let attempts = queue.store().attempts(args.id).await?;
    let now = queue.store().now().await?;
    session.out.row(&Whole { job, holder, attempts }, |whole| describe(whole, now))?;
    Ok(Exit::Done)
}

/// The job that holds the key for which this one waits. None if it is over by now.
async fn holder(queue: &Queue, job: &JobRecord) -> Result<Option<JobId>> {
    if job.reason.as_deref() != Some("again") {
        return Ok(None);
    }
    let filter = Filter { queue: Some(job.queue.clone()), key: job.key.clone(), ..Filter::default() };
    let same_key = queue.store().jobs(&filter, 100).await?;
    let waits_for = |other: &&JobRecord| {
        other.reason.as_deref() != Some("again") && !matches!(other.state, State::Completed | State::Cancelled)
    };
    // A failed one holds its key only under a scope that says so: one that is not over comes first.
    let holder = same_key.iter().filter(waits_for).min_by_key(|other| other.state.is_final());
    Ok(holder.map(|other| other.id))
}

/// What holds a queued job back, in words.
fn held(reason: &str, holder: Option<JobId>) -> String {
    match (reason, holder) {
        ("again", Some(holder)) => format!("again: it runs when job {holder}, which holds its key, is over"),
        ("again", None) => "again: the job that held its key is over, and it is about to be queued".into(),
        ("suspect", _) => "suspect: its process died under it, so that it runs only alone".into(),
        ("paused", _) => "paused: its kind is".into(),
        (other, _) => other.into(),
    }
}

fn describe(Whole { job, holder, attempts }: &Whole, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{}", printable(value, false));
    };
    line("job", &job.id.to_string());
    line("kind", &job.kind);
    line("queue", &job.queue);
    line("state", job.state.as_str());
    if let Some(key) = &job.key {
        line("key", key);
    }
    if let Some(reason) = &job.reason {
        line("held", &held(reason, *holder));
    }
    line("priority", &job.priority.to_string());
    line("attempt", &format!("{} of {}", job.attempt, job.max_attempts));
    if job.interruptions > 0 {
        line("interruptions", &format!("{}, by {} deaths of its process", job.interruptions, job.deaths));
    }
    for (name, time) in [
        ("enqueued", Some(job.enqueued_at)),
        ("not before", Some(job.run_at)),
        ("ready", job.ready_at),
        ("started", job.started_at),
        ("deadline", job.deadline),
        ("finished", job.finished_at),
    ] {
        if let Some(time) = time {
            line(name, &moment(time, now));
        }
    }
    if let Some(worker) = &job.worker {
        line("worker", worker);
    }
    for (name, value) in [
        ("payload", Some(&job.payload.0)),
        ("meta", job.meta.as_ref().map(|meta| &meta.0)),
        ("error", job.error.as_ref()),
        ("output", job.output.as_ref()),
    ] {
        if let Some(value) = value {
            block(&mut text, name, value);
        }
    }
    if !attempts.is_empty() {
        let _ = write!(text, "\n{}", table(attempts));
    }
    text.trim_end().to_owned()
}

/// A value on its heading's line where it has one line, else beneath it.
fn block(text: &mut String, name: &str, value: &str) {
    let value = printable(value.trim_end(), true);
    if value.contains('\n') {
        let _ = writeln!(text, "{name}\n    {}", value.replace('\n', "\n    "));
    } else {
        let _ = writeln!(text, "{name:<14}{value}");
    }
}

fn moment(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let stamp = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    if time > now {
        format!("{stamp}  (in {})", human(since(now, time)))
    } else {
        format!("{stamp}  ({} ago)", human(since(time, now)))
    }
}

fn table(attempts: &[AttemptRecord]) -> Table {
    let mut table = Table::new([">ATTEMPT", "OUTCOME", "STARTED", ">RAN", "WORKER", "ERROR"]);
    for attempt in attempts {
        table.row([
            attempt.attempt.to_string(),
            attempt.outcome.as_str().into(),
            attempt.started_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            human(since(attempt.started_at, attempt.ended_at)),
            attempt.worker.clone(),
            brief(&attempt.error, 100),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use headcount_queue::{AttemptOutcome, Json};

    use super::*;

    fn whole() -> Whole {
        let mut job = super::super::list::tests::job(State::Failed);
        job.payload = Json("{\"n\": 10000000000000000000000,\n \"s\":\"\u{9b}\"}".into());
        let attempt = AttemptRecord {
            job: job.id,
            attempt: 1,
            outcome: AttemptOutcome::Failed,
            started_at: job.enqueued_at,
            ended_at: job.run_at,
            worker: "h:1".into(),
            error: "no route\nto host".into(),
        };
        Whole { job, holder: None, attempts: vec![attempt] }
    }

    #[test]
    fn json_keeps_the_payload_as_it_is_on_one_line() {
        let line = serde_json::to_string(&whole()).unwrap();
        assert!(!line.contains('\n'));
        assert!(line.contains(r#""payload":{"n": 10000000000000000000000,"#), "{line}");
        assert!(line.contains(r#""attempts":[{"job":7,"attempt":1,"outcome":"failed""#), "{line}");
    }

    #[test]
    fn a_job_that_is_held_back_says_why_and_for_whom_it_waits() {
        let mut whole = whole();
        whole.job.key = Some("user 7".into());
        whole.job.reason = Some("again".into());
        whole.holder = Some(JobId(3));
        let text = describe(&whole, "2026-01-01T00:05:00Z".parse().unwrap());
        assert!(text.contains("key           user 7\nheld          again: it runs when job 3, which"), "{text}");
        assert_eq!(serde_json::to_value(&whole).unwrap()["holder"], 3);
        assert!(held("again", None).contains("is over"));
        assert!(held("paused", None).contains("its kind is"));
    }

    #[test]
    fn a_person_sees_every_attempt_and_no_control_character() {
        let text = describe(&whole(), "2026-01-01T00:05:00Z".parse().unwrap());
        assert!(text.contains("attempt       1 of 5"), "{text}");
        assert!(text.contains("not before    2026-01-01T00:10:00.000Z  (in 5m)"), "{text}");
        assert!(text.contains("error\n    no route\n    to host"), "{text}");
        assert!(text.contains("failed   2026-01-01T00:00:00.000Z  10m  h:1     no route…"), "{text}");
        assert!(!text.contains('\u{9b}'));
    }
}
