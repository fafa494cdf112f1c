//! `headcount jobs retry | cancel | delete`: moves by hand, of named jobs one by one, or of all that a filter finds.
//!
//! By filter the jobs are counted before a person is asked, and what is then moved is what the filter finds: jobs that
//! come into it meanwhile are included. That is why a filter without states means only those from which the move does
//! no harm, and why deleting what has not run yet must be asked for by name.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Result;
use headcount_queue::{
    Error, JobId, Queue, State,
    store::{Action, Cancel, Filter},
};
use serde::Serialize;

use super::Which;
use crate::{
    commands::{Session, flush},
    exit::{Exit, usage},
    output::tell,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The jobs' numbers. What cannot be moved is told, and the rest is moved all the same.
    #[arg(value_name = "ID", value_parser = super::job_id)]
    #[arg(conflicts_with_all = ["id", "queue", "kind", "state", "key", "error", "older_than", "payload", "yes"])]
    ids: Vec<JobId>,
    /// Do not ask, where options say which jobs. It is asked with their number; jobs of which the same holds by the time
    /// of the answer are included.
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    which: Which,
}

const fn name(action: Action) -> &'static str {
    match action {
        Action::Retry => "retry",
        Action::Cancel => "cancel",
        Action::Delete => "delete",
    }
}

/// The states that a filter without any means.
fn default_states(action: Action) -> Vec<State> {
    let means = |state: &State| action != Action::Delete || state.is_final();
    action.states().iter().copied().filter(means).collect()
}

pub(crate) async fn run(action: Action, args: Args, session: &mut Session) -> Result<Exit> {
    let name = name(action);
    if args.ids.is_empty() && args.which.is_everything() {
        return Err(usage(format!(
            "which jobs? name their ids, or narrow with --queue, --kind, --state …; `headcount jobs {name} --help`"
        )));
    }
    if let Some(state) = args.which.state.iter().find(|state| !action.states().contains(state)) {
        return Err(usage(format!(
            "a job that is {state} cannot be moved by `jobs {name}`: leave out --state {state}"
        )));
    }
    let queue = session.open_store().await?;
    let exit = if args.ids.is_empty() {
        let mut filter = args.which.filter(None);
        if filter.states.is_empty() {
            filter.states = default_states(action);
        }
        act_on_all(action, &queue, &filter, args.yes, session).await
    } else {
        act_on_each(action, &queue, &args.ids, session).await
    };
    if action == Action::Retry {
        flush(&queue).await;
    }
    exit
}

/// What became of all jobs that a filter found.
#[derive(Debug, Serialize)]
struct ActedOnAll {
    action: Action,
    jobs: u64,
}

/// Moves whatever the filter finds, once a person has agreed to its number.
async fn act_on_all(action: Action, queue: &Queue, filter: &Filter, yes: bool, session: &mut Session) -> Result<Exit> {
    let count = queue.store().count(filter).await?;
    if count > 0 && !yes && !ask(action, count)? {
        session.note("nothing was changed");
        return Ok(Exit::Failed);
    }
    let jobs = if count > 0 { queue.act(action, filter).await? } else { 0 };
    if jobs > 0 {
        session.out.row(&ActedOnAll { action, jobs }, describe_all)?;
        session.out.flush()?;
    }
    if jobs < count {
        let left = count - jobs;
        session.note(&format!(
            "{left} of {count} had moved on by themselves, or their key is taken: they were left alone"
        ));
    } else if jobs == 0 {
        session.note("no such jobs: nothing was changed");
    }
    Ok(Exit::Done)
}

fn describe_all(acted: &ActedOnAll) -> String {
    let running = if acted.action == Action::Cancel { "; workers are told to stop those that run" } else { "" };
    format!("{} {}{running}", acted.action.done(), number(acted.jobs))
}

fn number(jobs: u64) -> String {
    format!("{jobs} {}", if jobs == 1 { "job" } else { "jobs" })
}

/// Asks the person at the terminal. Where there is none, `--yes` must have said it.
fn ask(action: Action, count: u64) -> Result<bool> {
    let what = format!("{} {}", name(action), number(count));
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

/// What became of one job.
#[derive(Debug, Serialize)]
struct Acted {
    id: JobId,
    /// `retried`, `cancelled`, `asked` (it runs, and its worker is told), `deleted`; none on an error.
    result: Option<&'static str>,
    error: Option<String>,
}

/// Moves each named job and tells what became of it.
async fn act_on_each(action: Action, queue: &Queue, ids: &[JobId], session: &mut Session) -> Result<Exit> {
    let (mut done, mut failed) = (0_u64, 0_u64);
    for &id in ids {
        let acted = match act(action, queue, id).await {
            Ok(result) => Acted { id, result: Some(result), error: None },
            Err(error @ (Error::NotFound(_) | Error::WrongState { .. } | Error::KeyTaken { .. } | Error::Busy(_))) => {
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
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

async fn act(action: Action, queue: &Queue, id: JobId) -> Result<&'static str, Error> {
    match action {
        Action::Retry => queue.retry(id).await?,
        Action::Delete => queue.delete(id).await?,
        Action::Cancel => {
            if queue.cancel(id).await? == Cancel::Asked {
                return Ok("asked");
            }
        }
    }
    Ok(action.done())
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
        assert_eq!(default_states(Action::Retry), [State::Failed, State::Cancelled]);
        assert_eq!(
            default_states(Action::Cancel),
            [State::Scheduled, State::Queued, State::Running, State::WaitAsync],
            "what is not over"
        );
        assert_eq!(default_states(Action::Delete), [State::Completed, State::Failed, State::Cancelled]);
    }

    #[test]
    fn what_was_done_to_how_many_is_told() {
        let told = |action, jobs| describe_all(&ActedOnAll { action, jobs });
        assert_eq!(told(Action::Retry, 1), "retried 1 job");
        assert_eq!(told(Action::Delete, 12), "deleted 12 jobs");
        assert_eq!(told(Action::Cancel, 2), "cancelled 2 jobs; workers are told to stop those that run");
        let json = serde_json::to_string(&ActedOnAll { action: Action::Retry, jobs: 3 }).unwrap();
        assert_eq!(json, r#"{"action":"retry","jobs":3}"#);
    }
}
