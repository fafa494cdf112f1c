//! `headcount jobs resolve`: a third party's answer for a parked job.

use std::{io, time::Duration};

use anyhow::{Context as _, Result};
use headcount_queue::{Callback, JobId, Resolution, limits::MAX_OUTPUT, store::Resolve};
use serde::Serialize;

use crate::{
    commands::Session,
    duration,
    exit::{Exit, usage},
};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("answer").required(true)))]
pub(crate) struct Args {
    /// The callback that the job's handler handed over, as ID:SECRET. `-` reads it from standard input, so that the
    /// secret stands in no list of processes.
    #[arg(value_name = "CALLBACK")]
    callback: String,
    /// It is done. The job is kept for as long as its retention says.
    #[arg(long, group = "answer")]
    completed: bool,
    /// Not yet: wait for so much longer, from now.
    #[arg(long, group = "answer", value_name = "TIME", value_parser = duration::parse)]
    still_waiting: Option<Duration>,
    /// It failed for good, and why.
    #[arg(long, group = "answer", value_name = "WHY")]
    failed: Option<String>,
    /// The attempt failed, and why: another follows, while there are any left.
    #[arg(long, group = "answer", value_name = "WHY")]
    retry: Option<String>,
    /// What the job has to show, with --completed.
    // Said by what it conflicts with: a `requires` is waived beside another member of the group.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["still_waiting", "failed", "retry"])]
    output: Option<String>,
    /// The wait before the next attempt, with --retry; otherwise the kind's own.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["completed", "still_waiting", "failed"],
        value_parser = duration::parse)]
    after: Option<Duration>,
}

impl Args {
    fn resolution(self) -> Resolution {
        let Self { still_waiting, failed, retry, output, after, .. } = self;
        match (still_waiting, failed, retry) {
            (Some(wait), _, _) => Resolution::StillWaiting(wait),
            (_, Some(error), _) => Resolution::Failed { error },
            (_, _, Some(error)) => Resolution::Retry { error, after },
            (None, None, None) => Resolution::Completed { output },
        }
    }
}

/// What the answer did.
#[derive(Debug, Serialize)]
struct Resolved {
    id: JobId,
    resolution: &'static str,
    /// `done`, or `early`: the job still runs, and the answer counts once it is parked.
    result: Resolve,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let callback: Callback = if args.callback == "-" {
        let text = io::read_to_string(io::stdin()).context("the callback could not be read")?;
        text.trim().parse().map_err(|error: headcount_queue::Error| usage(error.to_string()))?
    } else {
        args.callback.parse().map_err(|error: headcount_queue::Error| usage(error.to_string()))?
    };
    if args.output.as_ref().is_some_and(|output| output.len() > MAX_OUTPUT) {
        return Err(usage(format!("an output has at most {MAX_OUTPUT} bytes")));
    }
    let resolution = args.resolution();
    resolution.check().map_err(|error| usage(error.to_string()))?;
    let queue = session.open_store().await?;
    let result = queue.resolve(callback.id, &callback.secret, &resolution).await?;
    let resolved = Resolved { id: callback.id, resolution: resolution.as_str(), result };
    session.out.row(&resolved, describe)?;
    Ok(Exit::Done)
}

fn describe(Resolved { id, resolution, result }: &Resolved) -> String {
    let did = match *resolution {
        "completed" => "completed",
        "still_waiting" => "waits on",
        "failed" => "failed",
        _ => "retried, while it has attempts left",
    };
    match result {
        Resolve::Done => format!("job {id}: {did}"),
        Resolve::Early => format!("job {id} still runs: once it is parked: {did}"),
    }
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

    fn read(line: &[&str]) -> Result<Resolution, clap::Error> {
        Line::try_parse_from([&["resolve", "7:x"], line].concat()).map(|line| line.args.resolution())
    }

    #[test]
    fn exactly_one_answer_is_given_and_its_options_go_with_it() {
        let second = Duration::from_secs(1);
        for (line, expected) in [
            (&["--completed"][..], Resolution::Completed { output: None }),
            (&["--completed", "--output", "{}"], Resolution::Completed { output: Some("{}".into()) }),
            (&["--still-waiting", "1s"], Resolution::StillWaiting(second)),
            (&["--failed", "no"], Resolution::Failed { error: "no".into() }),
            (&["--retry", "no", "--after", "1s"], Resolution::Retry { error: "no".into(), after: Some(second) }),
        ] {
            assert_eq!(read(line).unwrap(), expected);
        }
        for bad in [
            &[][..],
            &["--completed", "--failed", "no"],
            &["--failed", "no", "--output", "x"],
            &["--completed", "--after", "1s"],
            &["--still-waiting", "1s", "--after", "1s"],
            &["--output", "x"],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
