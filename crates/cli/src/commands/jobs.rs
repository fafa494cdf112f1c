//! `headcount jobs`: look at jobs, and move them by hand.

mod act;
mod list;
mod resolve;
mod show;

use std::time::Duration;

use anyhow::Result;
use headcount_queue::{
    JobId, State,
    store::{Action, Filter},
};

use crate::{commands::Session, duration, exit::Exit};

/// Look at jobs, and retry, cancel or delete them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Jobs {
    /// List jobs in the order of their ids
    ///
    /// A completed job is gone unless its retention keeps it; failed and cancelled ones stay. Every option narrows.
    List(list::Args),
    /// Show one job whole: its data, its error, what holds it back, and every attempt that did not complete
    Show(show::Args),
    /// Queue failed or cancelled jobs again, with all their attempts
    ///
    /// A job takes its coalesce key again; if another has it by now, the job is left as it is.
    Retry(act::Args),
    /// Cancel jobs that are scheduled, queued or running
    ///
    /// A running job's handler is told to stop at its worker's next beat and dropped after a grace.
    Cancel(act::Args),
    /// Answer for a job that waits for a third party
    ///
    /// The callback is what the job's handler was given to hand over. Its secret is used up by any answer but
    /// --still-waiting. On an error nothing was changed.
    Resolve(resolve::Args),
    /// Delete jobs that do not run
    ///
    /// By id a job in any state but running; by filter, without --state, only jobs that are over (completed, failed,
    /// cancelled).
    Delete(act::Args),
}

pub(crate) async fn run(verb: Jobs, session: &mut Session) -> Result<Exit> {
    match verb {
        Jobs::List(args) => list::run(args, session).await,
        Jobs::Show(args) => show::run(args, session).await,
        Jobs::Retry(args) => act::run(Action::Retry, args, session).await,
        Jobs::Cancel(args) => act::run(Action::Cancel, args, session).await,
        Jobs::Resolve(args) => resolve::run(args, session).await,
        Jobs::Delete(args) => act::run(Action::Delete, args, session).await,
    }
}

/// Which jobs: those for which everything that is given holds.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which jobs")]
struct Which {
    /// Only this job; repeat it, or separate several with commas.
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = job_id)]
    id: Vec<JobId>,
    /// Only jobs in this queue.
    #[arg(long, short = 'Q', value_name = "NAME")]
    queue: Option<String>,
    /// Only jobs of this kind.
    #[arg(long, short = 'k', value_name = "NAME")]
    kind: Option<String>,
    /// Only jobs in this state; repeat it, or separate several with commas: scheduled, queued, running, wait_async,
    /// completed, failed, cancelled.
    #[arg(long, short = 's', value_name = "STATE", value_delimiter = ',')]
    state: Vec<State>,
    /// Only jobs with this coalesce key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only jobs whose last error contains this text.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only jobs that were enqueued longer ago than this, like 7d.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Only jobs whose payload has this value at this path: names, or places in a list from 0, joined by dots, like
    /// user.id=7.
    #[arg(long, value_name = "PATH=VALUE", value_parser = payload)]
    payload: Option<(String, String)>,
}

impl Which {
    fn filter(&self, after: Option<JobId>) -> Filter {
        let Self { id, queue, kind, state, key, error, older_than, payload } = self.clone();
        Filter { ids: id, queue, kind, states: state, key, error, older_than, payload, after }
    }

    fn is_everything(&self) -> bool {
        self.filter(None) == Filter::default()
    }
}

fn payload(text: &str) -> Result<(String, String), String> {
    let (path, value) =
        text.split_once('=').filter(|(path, _)| !path.is_empty()).ok_or("write PATH=VALUE: user.id=7")?;
    Ok((path.to_owned(), value.to_owned()))
}

/// Reads a job's number.
fn job_id(text: &str) -> Result<JobId, String> {
    text.parse().map(JobId).map_err(|_| "a job's id is a number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_asked_for_by_the_first_equals_sign() {
        assert_eq!(payload("user.id=7").unwrap(), ("user.id".into(), "7".into()));
        assert_eq!(payload("q=a=b").unwrap(), ("q".into(), "a=b".into()));
        assert_eq!(payload("note=").unwrap(), ("note".into(), String::new()));
        for bad in ["user.id", "=7"] {
            assert!(payload(bad).unwrap_err().contains("user.id=7"));
        }
    }
}
