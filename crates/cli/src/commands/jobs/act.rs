//! `headcount jobs retry | cancel | delete`: moves by hand, of named jobs or of all that a filter finds.
//!
//! By filter the jobs are counted first, and exactly those that were counted are touched: a job that comes later, or
//! that someone else moves in between, is left alone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Result;
use headcount_queue::{Error, JobId, Queue, State, store::Cancel};
use serde::Serialize;

use super::Which;
use crate::{
    commands::Session,
    exit::{Exit, usage},
    output::tell,
};

/// Jobs are looked up this many at a time: their payloads come along, of up to 1 MiB each.
const PAGE: u32 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The jobs' numbers.
    #[arg(value_name = "ID", value_parser = super::job_id, conflicts_with_all = ["queue", "kind", "state", "yes"])]
    ids: Vec<JobId>,
    #[command(flatten)]
    which: Which,
    /// Do not ask, where a filter finds the jobs.
    #[arg(long, short = 'y')]
    yes: bool,
}

/// A move by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Cancel,
    Delete,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
        }
    }

    /// The states from which it may move a job that was named.
    fn allows(self, state: State) -> bool {
        match self {
            Self::Retry => state.may_become(State::Queued) && state.is_final(),
            Self::Cancel => state.may_become(State::Cancelled),
            Self::Delete => state != State::Running,
        }
    }

    /// The states that a filter without any means. Deleting what has not run yet must be asked for by name.
    fn default_states(self) -> Vec<State> {
        let means = |state: &State| self.allows(*state) && (self != Self::Delete || state.is_final());
        State::ALL.into_iter().filter(means).collect()
    }
}

/// What became of one job.
#[derive(Debug, Serialize)]
struct Acted {
    id: JobId,
    /// `retried`, `cancelled`, `asked` (it runs, and its worker is told), `deleted`; none on an error.
    result: Option<&'static str>,
    error: Option<String>,
}

pub(crate) async fn run(verb: Verb, args: Args, session: &mut Session) -> Result<Exit> {
    let name = verb.name();
    if args.ids.is_empty() && args.which.is_everything() {
        return Err(usage(format!(
            "which jobs? name their ids, or narrow with --queue, --kind or --state; `headcount jobs {name} --help`"
        )));
    }
    if let Some(state) = args.which.state.iter().find(|state| !verb.allows(**state)) {
        return Err(usage(format!(
            "a job that is {state} cannot be moved by `jobs {name}`: leave out --state {state}"
        )));
    }
    let queue = session.open_store().await?;
    if !args.ids.is_empty() {
        return act_on_each(verb, &queue, &args.ids, None, session).await;
    }

    let mut which = args.which;
    if which.state.is_empty() {
        which.state = verb.default_states();
    }
    let ids = find(&queue, &which).await?;
    if ids.is_empty() {
        session.note("no such jobs: nothing was changed");
        return Ok(Exit::Done);
    }
    if !args.yes && !ask(verb, ids.len())? {
        session.note("nothing was changed");
        return Ok(Exit::Failed);
    }
    act_on_each(verb, &queue, &ids, Some(&which), session).await
}

/// The ids of all jobs that a filter finds.
async fn find(queue: &Queue, which: &Which) -> Result<Vec<JobId>> {
    let mut ids: Vec<JobId> = Vec::new();
    loop {
        let page = queue.store().jobs(&which.filter(ids.last().copied()), PAGE).await?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page.iter().map(|job| job.id));
    }
}

/// Asks the person at the terminal. Where there is none, `--yes` must have said it.
fn ask(verb: Verb, count: usize) -> Result<bool> {
    let what = format!("{} {count} {}", verb.name(), if count == 1 { "job" } else { "jobs" });
    if !io::stdin().is_terminal() {
        return Err(usage(format!("this would {what}: say so with --yes; nothing was changed")));
    }
    let mut terminal = io::stderr();
    write!(terminal, "{what}? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Moves each job and tells what became of it. `found_by`: what found them, if they were not named.
async fn act_on_each(
    verb: Verb,
    queue: &Queue,
    ids: &[JobId],
    found_by: Option<&Which>,
    session: &mut Session,
) -> Result<Exit> {
    let (mut done, mut moved_on, mut failed) = (0_u64, 0_u64, 0_u64);
    for &id in ids {
        let acted = match act(verb, queue, id, found_by).await {
            Ok(result) => Acted { id, result: Some(result), error: None },
            // What moved between the look and the move is nobody's error, if nobody named it.
            Err(Error::NotFound(_) | Error::WrongState { .. }) if found_by.is_some() => {
                moved_on += 1;
                continue;
            }
            Err(error @ (Error::NotFound(_) | Error::WrongState { .. } | Error::Busy(_))) => {
                Acted { id, result: None, error: Some(error.to_string()) }
            }
            Err(error) => {
                let context = format!("{} of {} jobs were moved", done, ids.len());
                return Err(anyhow::Error::new(error).context(context));
            }
        };
        if acted.result.is_some() {
            done += 1;
        } else {
            failed += 1;
        }
        if session.out.is_json() || acted.result.is_some() {
            session.out.row(&acted, describe)?;
        }
        if let Some(error) = &acted.error {
            tell(&format!("headcount: {error}"));
        }
    }
    session.out.flush()?;
    if moved_on > 0 {
        session.note(&format!("{moved_on} had moved on by themselves and were left alone"));
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

async fn act(verb: Verb, queue: &Queue, id: JobId, found_by: Option<&Which>) -> Result<&'static str, Error> {
    match verb {
        Verb::Retry => queue.retry(id).await.map(|()| "retried"),
        Verb::Cancel => Ok(match queue.cancel(id).await? {
            Cancel::Done => "cancelled",
            Cancel::Asked => "asked",
        }),
        Verb::Delete => {
            // Deleting is legal from nearly every state, so that the move itself would not notice that a job which was
            // found as failed has been retried since.
            if let Some(which) = found_by {
                let job = queue.job(id).await?.ok_or(Error::NotFound(id))?;
                if !which.state.contains(&job.state) {
                    return Err(Error::WrongState { id, state: job.state, wanted: "deleted" });
                }
            }
            queue.delete(id).await.map(|()| "deleted")
        }
    }
}

fn describe(acted: &Acted) -> String {
    match acted.result {
        Some("asked") => format!("job {} runs: its worker is told to stop it", acted.id),
        Some(result) => format!("{result} job {}", acted.id),
        None => acted.error.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_without_states_means_what_the_verb_can_safely_move() {
        assert_eq!(Verb::Retry.default_states(), [State::Failed, State::Cancelled]);
        assert_eq!(
            Verb::Cancel.default_states(),
            [State::Scheduled, State::Queued, State::Running, State::WaitAsync],
            "what is not over"
        );
        assert_eq!(Verb::Delete.default_states(), [State::Completed, State::Failed, State::Cancelled]);
        assert!(Verb::Delete.allows(State::Queued) && !Verb::Delete.allows(State::Running));
    }
}
