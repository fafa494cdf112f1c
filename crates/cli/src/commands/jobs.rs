//! `headcount jobs`: look at jobs, and move them by hand.

mod act;
mod list;
mod show;

use anyhow::Result;
use headcount_queue::{JobId, State, store::Filter};

use crate::{commands::Session, exit::Exit};

/// Look at jobs, and retry, cancel or delete them
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Jobs {
    /// List jobs in the order of their ids
    ///
    /// A completed job is gone unless its retention keeps it; failed and cancelled ones stay.
    List(list::Args),
    /// Show one job whole: its data, its error, and every attempt that did not complete
    Show(show::Args),
    /// Queue failed or cancelled jobs again, with all their attempts
    Retry(act::Args),
    /// Cancel jobs that are scheduled, queued or running
    ///
    /// A running job's handler is told to stop at its worker's next beat and dropped after a grace.
    Cancel(act::Args),
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
        Jobs::Retry(args) => act::run(act::Verb::Retry, args, session).await,
        Jobs::Cancel(args) => act::run(act::Verb::Cancel, args, session).await,
        Jobs::Delete(args) => act::run(act::Verb::Delete, args, session).await,
    }
}

/// Which jobs.
#[derive(Debug, Clone, Default, clap::Args)]
struct Which {
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
}

impl Which {
    fn filter(&self, after: Option<JobId>) -> Filter {
        Filter {
            queue: self.queue.clone(),
            kind: self.kind.clone(),
            states: self.state.clone(),
            after,
            ..Filter::default()
        }
    }

    const fn is_everything(&self) -> bool {
        self.queue.is_none() && self.kind.is_none() && self.state.is_empty()
    }
}

/// Reads a job's number.
fn job_id(text: &str) -> Result<JobId, String> {
    text.parse().map(JobId).map_err(|_| "a job's id is a number".into())
}
