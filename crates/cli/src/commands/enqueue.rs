//! `headcount enqueue`: one job, or a job for each line of standard input.

mod lines;

use std::{
    io::{self, Read as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use headcount_queue::{
    Coalesce, Conflict, NewJob, Scope,
    limits::MAX_PAYLOAD,
    store::{Admission, Enqueued},
};
use serde_json::Value;

use crate::{
    commands::{Session, flush},
    duration,
    exit::{Exit, usage},
};

/// Enqueue a job, or one for each line of standard input
///
/// Prints the job's id, or with --lines each job's, in the order of the lines. The job is safe in the store when its
/// id is printed. If it coalesced with another (see --key), the id is of the job that does the work, and that is said on
/// standard error, or with --json by `admission`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The job's kind: the name under which workers know its handler.
    kind: String,
    /// The job's data, as JSON of at most 1 MiB; `-` reads it from standard input.
    #[arg(default_value = "null", allow_negative_numbers = true)]
    payload: String,
    /// Each line of standard input is the payload of a job of its own.
    ///
    /// Lines are enqueued in bulks of up to 1,000, each bulk whole or not at all, while standard input still flows.
    /// Empty lines are skipped. A line that is no JSON, is not UTF-8 or has more than 1 MiB stops it with status 2: the
    /// line is named, nothing of its bulk is enqueued, and the number of the line to go on from is told.
    #[arg(long)]
    lines: bool,
    /// The queue.
    #[arg(long, short = 'Q', value_name = "NAME", default_value = "default")]
    queue: String,
    /// From -32768 to 32767; higher runs first, within a queue.
    #[arg(long, short, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i16,
    /// Run it after this delay at the earliest, like 90s, 5m or 2d; at most ten years. Default: at once.
    #[arg(long, value_name = "DELAY", value_parser = duration::parse, conflicts_with = "at")]
    r#in: Option<Duration>,
    /// Run it at this time at the earliest, like 2026-01-31T08:00:00Z (RFC 3339). Default: at once.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<DateTime<Utc>>,
    /// Coalesce with other jobs of its queue that have this key (1 to 512 bytes): of those, one is enough.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["key_field", "lines"])]
    key: Option<String>,
    /// The same, the key being this field of the payload (a text or a number): names joined by dots, like user.id. With
    /// --lines each line has its own.
    #[arg(long, value_name = "PATH")]
    key_field: Option<String>,
    /// How long it holds its key: pending (until it is first claimed), unfinished (until it has completed, failed for
    /// good or was cancelled) or unfinished-or-failed (a failed one goes on holding it).
    #[arg(long, value_name = "SCOPE", default_value_t = Scope::Unfinished)]
    scope: Scope,
    /// What becomes of it if another job holds its key: keep (it is dropped), replace (it is dropped, and the one that
    /// waits gets its payload and its time) or run-again (it waits until one that runs is over, once for all that come
    /// meanwhile).
    #[arg(long, value_name = "RULE", default_value_t = Conflict::Keep)]
    on_conflict: Conflict,
    /// How many attempts it has before it is failed, 1 to 10000. Interruptions spend none.
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_attempts: u16,
    /// An attempt that takes longer is stopped and counts as failed, like 30s or 10m. Default: as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

impl Args {
    /// The job with this payload.
    ///
    /// # Errors
    /// The payload has no such field as its key is to be.
    fn job(&self, payload: String) -> Result<NewJob> {
        let key = match &self.key_field {
            Some(path) => Some(key_in(&payload, path)?),
            None => self.key.clone(),
        };
        let mut job =
            NewJob::new(&self.kind, payload).queue(&self.queue).priority(self.priority).max_attempts(self.max_attempts);
        if let Some(delay) = self.r#in {
            job = job.delay(delay);
        }
        if let Some(at) = self.at {
            job = job.run_at(at);
        }
        if let Some(timeout) = self.timeout {
            job = job.timeout(timeout);
        }
        if let Some(key) = key {
            job = job.key(key).coalesce(Coalesce { scope: self.scope, conflict: self.on_conflict });
        }
        Ok(job)
    }
}

/// The text or number at this path of a payload.
fn key_in(payload: &str, path: &str) -> Result<String> {
    let payload: Value =
        serde_json::from_str(payload).map_err(|error| usage(format!("the payload is no JSON: {error}")))?;
    let field = path.split('.').try_fold(&payload, |value, name| value.get(name));
    match field {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(usage(format!("the payload has no text or number at {path:?}, which is to be the job's key"))),
    }
}

/// What to say of a job that is no new one.
fn coalesced(enqueued: &Enqueued) -> Option<String> {
    let id = enqueued.id;
    match enqueued.admission {
        Admission::New => None,
        Admission::Kept => Some(format!("coalesced: job {id} holds this key and is enough")),
        Admission::Replaced => Some(format!("coalesced: job {id}, which waits, has the new payload")),
        Admission::Again { holder } => Some(format!("job {id} runs when job {holder}, which holds this key, is over")),
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|error| format!("{error}; write for example 2026-01-31T08:00:00Z"))
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    if args.lines {
        if !matches!(args.payload.as_str(), "null" | "-") {
            return Err(usage("--lines reads the payloads from standard input: leave out PAYLOAD"));
        }
        // What is wrong with every line is said before the first is read.
        Args { key_field: None, ..args.clone() }.job("null".into())?.check()?;
        let queue = session.open_store().await?;
        let done = lines::enqueue(&queue, io::stdin(), |payload| args.job(payload), &mut session.out).await;
        flush(&queue).await;
        let old = done?;
        if old > 0 {
            session.note(&format!("{old} of the lines coalesced with jobs that were there"));
        }
        return Ok(Exit::Done);
    }
    let payload = if args.payload == "-" { read_payload(io::stdin())? } else { args.payload.clone() };
    let job = args.job(payload)?;
    job.check()?;
    let queue = session.open_store().await?;
    let enqueued = queue.enqueue(job).await?;
    flush(&queue).await;
    session.out.row(&enqueued, |enqueued| enqueued.id.to_string())?;
    if let Some(text) = coalesced(&enqueued) {
        session.note(&text);
    }
    Ok(Exit::Done)
}

/// A whole payload, without the line break at its end. Of one that is too long no more is read than shows it.
fn read_payload(input: impl io::Read) -> Result<String> {
    let mut bytes = Vec::new();
    input.take(MAX_PAYLOAD as u64 + 3).read_to_end(&mut bytes).context("reading the payload from standard input")?;
    let mut text = String::from_utf8(bytes)
        .map_err(|_| usage("the payload is not UTF-8: JSON is; encode binary data, for example as base64"))?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    if text.is_empty() {
        return Err(usage("standard input held no payload: write null for a job without data"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn options_become_the_job() {
        let line = "x thumb -5 --queue media -p -3 --in 5m --max-attempts 2 --timeout 30s";
        let args = Line::parse_from(line.split(' ')).args;
        let job = args.job(args.payload.clone()).unwrap();
        let expected = NewJob::new("thumb", "-5").queue("media").priority(-3).max_attempts(2);
        assert_eq!(job, expected.delay(Duration::from_mins(5)).timeout(Duration::from_secs(30)));

        let args = Line::parse_from(["x", "thumb", "--at", "2026-01-31T10:00:00+02:00"]).args;
        let expected = NewJob::new("thumb", "null").run_at("2026-01-31T08:00:00Z".parse().unwrap());
        assert_eq!(args.job(args.payload.clone()).unwrap(), expected);
        for bad in [["--in", "5"], ["--at", "tomorrow"], ["--priority", "40000"]] {
            assert!(Line::try_parse_from(["x", "thumb"].into_iter().chain(bad)).is_err(), "{bad:?}");
        }
        assert!(Line::try_parse_from("x k --in 5m --at 2026-01-31T10:00:00Z".split(' ')).is_err());
    }

    #[test]
    fn a_key_is_given_or_found_in_the_payload() {
        let job = |words: &[&str]| {
            let args = Line::parse_from([&["x", "k"], words].concat()).args;
            args.job(args.payload.clone())
        };
        let payload = r#"{"user":{"id":7},"mail":"a@b"}"#;
        let rule = Coalesce { scope: Scope::Pending, conflict: Conflict::RunAgain };
        let given = job(&["--key", "a@b", "--scope", "pending", "--on-conflict", "run-again"]).unwrap();
        assert_eq!(given, NewJob::new("k", "null").key("a@b").coalesce(rule));
        for (path, key) in [("mail", "a@b"), ("user.id", "7")] {
            assert_eq!(job(&[payload, "--key-field", path]).unwrap(), NewJob::new("k", payload).key(key));
        }
        for path in ["user", "user.name", "mail.x"] {
            assert!(job(&[payload, "--key-field", path]).unwrap_err().to_string().contains(path), "{path}");
        }
        for bad in [&["--scope", "always"][..], &["--key", "a", "--key-field", "b"], &["--key", "a", "--lines"]] {
            assert!(Line::try_parse_from([&["x", "k"], bad].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_payload_is_read_without_its_last_line_break() {
        assert_eq!(read_payload(&b"{\"a\":\n1}\r\n"[..]).unwrap(), "{\"a\":\n1}");
        assert!(read_payload(&b"\n"[..]).unwrap_err().to_string().contains("null"));
        assert!(read_payload(&b"\"\xff\""[..]).unwrap_err().to_string().contains("UTF-8"));
        let endless = read_payload(io::repeat(b'1')).unwrap();
        assert!(NewJob::new("k", endless).check().unwrap_err().to_string().contains("at most"));
    }
}
