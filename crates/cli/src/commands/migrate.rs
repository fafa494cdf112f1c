//! `headcount migrate`: makes or updates a store's tables, or says what that would do, or whether they are as it made
//! them.

use anyhow::Result;
use headcount_queue::store::{Difference, Grants, Step, Store};
use serde::Serialize;

use crate::{commands::Session, exit::Exit, store};

/// Make or update the store's tables
///
/// Safe to run again, from several processes at once, and while workers run. Prints the version of the tables. A
/// Postgres store needs it once before its first use and after an upgrade that says so; an embedded store does it by
/// itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Change nothing: print the statements that would be run, for someone else to read or to run.
    #[arg(long)]
    plan: bool,
    /// Change nothing: compare the tables with what the migrations make, and end with 1 if they differ. What you have
    /// added beside them is no difference.
    #[arg(long, conflicts_with = "plan")]
    check: bool,
    /// Then give database roles, which must exist, exactly what their task needs: TASK=ROLE, the task being enqueue
    /// (applications), worker, scaler or read (dashboards, you). Repeat it, or separate several with commas:
    /// enqueue=web,enqueue=cron,worker=jobs.
    #[arg(long, value_name = "TASK=ROLE", value_delimiter = ',', value_parser = grant)]
    #[arg(conflicts_with_all = ["plan", "check"])]
    grant: Vec<(Task, String)>,
}

/// What a role is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Enqueue,
    Worker,
    Scaler,
    Read,
}

fn grant(text: &str) -> Result<(Task, String), String> {
    let (task, role) =
        text.split_once('=').filter(|(_, role)| !role.is_empty()).ok_or("write TASK=ROLE: worker=jobs")?;
    let task = match task {
        "enqueue" => Task::Enqueue,
        "worker" => Task::Worker,
        "scaler" => Task::Scaler,
        "read" => Task::Read,
        _ => return Err(format!("no task is called {task:?}: it is one of enqueue, worker, scaler, read")),
    };
    Ok((task, role.to_owned()))
}

fn grants(pairs: Vec<(Task, String)>) -> Grants {
    let mut grants = Grants::default();
    for (task, role) in pairs {
        match task {
            Task::Enqueue => &mut grants.enqueue,
            Task::Worker => &mut grants.worker,
            Task::Scaler => &mut grants.scaler,
            Task::Read => &mut grants.read,
        }
        .push(role);
    }
    grants
}

#[derive(Serialize)]
struct Migrated {
    store: String,
    version: i64,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let choice = session.choose_store()?;
    let store = store::open_unchecked(&choice).await?;
    if args.plan {
        return plan(&*store, session).await;
    }
    if args.check {
        return check(&*store, session).await;
    }
    let version = store::migrate(&*store, &choice).await?;
    let granted = !args.grant.is_empty();
    if granted {
        store.grant(&grants(args.grant)).await?;
    }
    let migrated = Migrated { store: choice.url.to_string(), version };
    session.out.row(&migrated, |migrated| format!("the store is at version {}", migrated.version))?;
    if granted {
        session.note("the roles have what their tasks need");
    }
    Ok(Exit::Done)
}

async fn plan(store: &dyn Store, session: &mut Session) -> Result<Exit> {
    let steps = store.plan().await?;
    for step in &steps {
        session.out.row(step, describe_step)?;
    }
    if steps.is_empty() {
        session.note("nothing is to be done");
    }
    Ok(Exit::Done)
}

fn describe_step(step: &Step) -> String {
    format!("-- to version {}: {}\n{}\n", step.version, step.name, step.sql.trim_end())
}

async fn check(store: &dyn Store, session: &mut Session) -> Result<Exit> {
    let steps = store.plan().await?;
    if let Some(last) = steps.last() {
        session.note(&format!("not migrated to version {} yet: run `headcount migrate` first", last.version));
        return Ok(Exit::Failed);
    }
    let differences = store.drift().await?;
    for difference in &differences {
        session.out.row(difference, describe)?;
    }
    if differences.is_empty() {
        session.note("the tables are as the migrations make them");
        return Ok(Exit::Done);
    }
    Ok(Exit::Failed)
}

fn describe(Difference { object, expected, found }: &Difference) -> String {
    match (expected, found) {
        (Some(expected), None) => format!("{object} is missing: {expected}"),
        (None, Some(found)) => format!("{object} should not be there: {found}"),
        (expected, found) => {
            let [expected, found] = [expected, found].map(|text| text.as_deref().unwrap_or_default());
            format!("{object} differs\n  expected  {expected}\n  found     {found}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_granted_one_task_at_a_time_and_a_task_may_have_several() {
        let pairs = ["enqueue=web", "worker=jobs", "enqueue=cron"].map(|text| grant(text).unwrap());
        let grants = grants(pairs.into());
        assert_eq!(grants.enqueue, ["web", "cron"]);
        assert_eq!(grants.worker, ["jobs"]);
        assert!(grants.scaler.is_empty() && grants.read.is_empty());
        for (bad, why) in [("web", "TASK=ROLE"), ("worker=", "TASK=ROLE"), ("admin=web", "one of enqueue")] {
            assert!(grant(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn a_difference_says_what_should_be_there_and_what_is() {
        let difference = |expected: Option<&str>, found: Option<&str>| {
            describe(&Difference {
                object: "index later_due".into(),
                expected: expected.map(Into::into),
                found: found.map(Into::into),
            })
        };
        assert_eq!(difference(Some("a"), None), "index later_due is missing: a");
        assert_eq!(difference(None, Some("b")), "index later_due should not be there: b");
        assert!(difference(Some("a"), Some("b")).ends_with("expected  a\n  found     b"));
    }
}
