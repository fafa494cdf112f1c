//! `headcount jobs list`: jobs in the order of their ids, a page at a time.

use anyhow::Result;
use chrono::{DateTime, Utc};
use headcount_queue::{JobId, JobRecord, State};

use super::Which;
use crate::{
    commands::Session,
    duration::{human, since},
    exit::Exit,
    output::{Table, brief},
};

/// Rows are fetched and printed this many at a time, so that a long list costs no more memory than a short one.
const PAGE: u32 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The most jobs to list; 0 lists all.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Only jobs with an id above this one: go on where the last list ended.
    #[arg(long, value_name = "ID", value_parser = super::job_id)]
    after: Option<JobId>,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let store = queue.store();
    let now = store.now().await?;
    let mut filter = args.which.filter(args.after);
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut widths = None;
    loop {
        // One more than is shown, to know whether there is more.
        let show = left.min(u64::from(PAGE)) as usize;
        let mut jobs = store.jobs(&filter, show as u32 + 1).await?;
        let more = jobs.len() > show;
        jobs.truncate(show);
        let Some(last) = jobs.last().map(|job| job.id) else {
            if filter.after == args.after {
                session.note("no such jobs");
            }
            break;
        };
        session.out.rows(&jobs, |jobs| {
            let table = table(jobs, now).after(widths.take());
            widths = Some(table.widths());
            table
        })?;
        left -= show as u64;
        filter.after = Some(last);
        if !more {
            break;
        }
        if left == 0 {
            session.out.flush()?;
            session.note(&format!("there are more: go on with --after {last}, or list all with --limit 0"));
            break;
        }
    }
    Ok(Exit::Done)
}

fn table(jobs: &[JobRecord], now: DateTime<Utc>) -> Table {
    let mut table = Table::new([">ID", "QUEUE", "KIND", "STATE", ">PRIORITY", ">ATTEMPT", ">AGE", "WHEN", "NOTE"]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            job.queue.clone(),
            job.kind.clone(),
            job.state.to_string(),
            job.priority.to_string(),
            format!("{}/{}", job.attempt, job.max_attempts),
            human(since(job.enqueued_at, now)),
            when(job, now),
            note(job),
        ]);
    }
    table
}

/// What holds it back, else why it failed.
fn note(job: &JobRecord) -> String {
    match (&job.reason, &job.error) {
        (Some(reason), _) => format!("held: {reason}"),
        (None, Some(error)) => brief(error, 60),
        (None, None) => String::new(),
    }
}

/// How long the job has stood where it stands, or will.
fn when(job: &JobRecord, now: DateTime<Utc>) -> String {
    let ago = |time: Option<DateTime<Utc>>| human(since(time.unwrap_or(job.enqueued_at), now));
    match job.state {
        State::Scheduled if job.run_at > now => format!("due in {}", human(since(now, job.run_at))),
        State::Scheduled => "due".into(),
        State::Queued => format!("waits {}", ago(job.ready_at)),
        State::Running => format!("runs {}", ago(job.started_at)),
        State::WaitAsync => match job.deadline {
            Some(deadline) if deadline > now => format!("parked, {} left", human(since(now, deadline))),
            _ => "parked, deadline passed".into(),
        },
        State::Completed | State::Failed | State::Cancelled => format!("{} ago", ago(job.finished_at)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use headcount_queue::Json;

    use super::*;

    /// A job as the tests of these verbs need it.
    pub(in super::super) fn job(state: State) -> JobRecord {
        let at = |text: &str| format!("2026-01-01T00:{text}Z").parse::<DateTime<Utc>>().unwrap();
        JobRecord {
            id: JobId(7),
            queue: "mail".into(),
            kind: "send".into(),
            state,
            priority: 5,
            attempt: 1,
            max_attempts: 5,
            interruptions: 0,
            deaths: 0,
            run_at: at("10:00"),
            ready_at: Some(at("01:00")),
            enqueued_at: at("00:00"),
            started_at: Some(at("02:00")),
            finished_at: Some(at("03:00")),
            worker: None,
            payload: Json("{}".into()),
            meta: None,
            key: None,
            deadline: None,
            reason: None,
            error: Some("no route\nto host".into()),
            output: None,
        }
    }

    #[test]
    fn a_row_says_how_long_a_job_has_stood_where_it_stands() {
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        for (state, text) in [
            (State::Scheduled, "due in 5m"),
            (State::Queued, "waits 4m"),
            (State::Running, "runs 3m"),
            (State::Failed, "2m ago"),
        ] {
            let shown = table(&[job(state)], now).to_string();
            let row = shown.lines().nth(1).unwrap();
            assert!(row.contains(text) && row.contains("1/5") && row.ends_with("no route…"), "{row}");
        }
    }
}
