//! `headcount queues pause | resume | set | settings`: what holds for all jobs of a queue or a kind.

use std::time::Duration;

use anyhow::Result;
use headcount_queue::{
    Queue, Retention,
    store::{Setting, Settings, Target},
};
use serde::Serialize;

use super::Targets;
use crate::{
    commands::{Session, flush},
    duration::{self, human},
    exit::{Exit, usage},
    output::Table,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The queue.
    #[arg(value_name = "QUEUE", required_unless_present = "kind", conflicts_with = "kind")]
    queue: Option<String>,
    /// The kind, in every queue.
    #[arg(long, short = 'k', value_name = "NAME")]
    kind: Option<String>,
    /// How long completed jobs are kept, like 7d; 0s removes them at once. `default` leaves it, and the failed ones, to
    /// the code of each kind again. If only --keep-failed is given and nothing was set before: 0s.
    #[arg(long, value_name = "TIME|default", value_parser = keep_completed)]
    keep_completed: Option<Keep>,
    /// How long failed jobs are kept, like 30d; `forever`: until someone retries or deletes them. `default` as above. If
    /// only --keep-completed is given and nothing was set before: forever.
    #[arg(long, value_name = "TIME|forever|default", value_parser = keep_failed)]
    keep_failed: Option<Keep>,
    /// A start later than this after the job became ready counts as late, like 30s; `default` is 1m. Queues only.
    #[arg(long, value_name = "TIME|default", value_parser = start_within, conflicts_with = "kind")]
    start_within: Option<Keep>,
}

/// A length of time to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    For(Duration),
    Forever,
    Default,
}

fn keep_completed(text: &str) -> Result<Keep, String> {
    match text {
        "default" => Ok(Keep::Default),
        text => duration::parse(text).map(Keep::For),
    }
}

fn keep_failed(text: &str) -> Result<Keep, String> {
    if text == "forever" { Ok(Keep::Forever) } else { keep_completed(text) }
}

fn start_within(text: &str) -> Result<Keep, String> {
    match keep_completed(text)? {
        Keep::For(length) if length.is_zero() => Err("every start would be late".into()),
        keep => Ok(keep),
    }
}

/// Pauses or resumes each.
pub(super) async fn pause(targets: Targets, paused: bool, session: &mut Session) -> Result<Exit> {
    #[derive(Serialize)]
    struct Done<'a> {
        #[serde(flatten)]
        target: &'a Target,
        paused: bool,
    }

    let targets = targets.all()?;
    let queue = session.open_store().await?;
    for target in &targets {
        let set = if paused { queue.pause(target).await } else { queue.resume(target).await };
        set?;
        let done = Done { target, paused };
        session.out.row(&done, |done| format!("{} is {}", done.target, if paused { "paused" } else { "open" }))?;
    }
    session.out.flush()?;
    if !paused {
        flush(&queue).await;
    }
    Ok(Exit::Done)
}

/// Sets what the arguments say.
pub(super) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let target = match (args.queue, args.kind) {
        (_, Some(kind)) => Target::Kind(kind),
        (queue, None) => Target::Queue(queue.unwrap_or_default()),
    };
    target.check()?;
    if args.keep_completed.is_none() && args.keep_failed.is_none() && args.start_within.is_none() {
        return Err(usage("what is to be set? --keep-completed, --keep-failed or --start-within"));
    }
    let queue = session.open_store().await?;
    let before = settings(&queue, &target).await?;
    if let Some(setting) = retention(before.retention, args.keep_completed, args.keep_failed)? {
        queue.store().set(&target, setting).await?;
    }
    if let Some(within) = args.start_within {
        let within = if let Keep::For(length) = within { Some(length) } else { None };
        queue.store().set(&target, Setting::StartWithin(within)).await?;
    }
    let now = settings(&queue, &target).await?;
    session.out.rows(&[now], table)?;
    Ok(Exit::Done)
}

/// What is set for a queue or a kind, if only that nothing is.
async fn settings(queue: &Queue, target: &Target) -> Result<Settings> {
    let all = queue.store().settings().await?;
    let nothing = || Settings { target: target.clone(), paused: false, retention: None, start_within: None };
    Ok(all.into_iter().find(|settings| settings.target == *target).unwrap_or_else(nothing))
}

/// What to set of the retention, if anything: its two lengths are set together, and the one not given stays as it was.
fn retention(before: Option<Retention>, completed: Option<Keep>, failed: Option<Keep>) -> Result<Option<Setting>> {
    if completed.is_none() && failed.is_none() {
        return Ok(None);
    }
    if [completed, failed].contains(&Some(Keep::Default)) {
        if [completed, failed].into_iter().flatten().any(|keep| keep != Keep::Default) {
            return Err(usage("--keep-completed and --keep-failed hold together: `default` is for both"));
        }
        return Ok(Some(Setting::Retention(None)));
    }
    let mut retention = before.unwrap_or(Retention::DEFAULT);
    if let Some(Keep::For(length)) = completed {
        retention.completed = length;
    }
    match failed {
        Some(Keep::For(length)) => retention.failed = Some(length),
        Some(_) => retention.failed = None,
        None => {}
    }
    Ok(Some(Setting::Retention(Some(retention))))
}

/// Lists everything that is set.
pub(super) async fn list(session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let settings = queue.store().settings().await?;
    if settings.is_empty() {
        session.note("nothing is set: queues are open, and the code of each kind says how long its jobs are kept");
        return Ok(Exit::Done);
    }
    session.out.rows(&settings, table)?;
    Ok(Exit::Done)
}

fn table(all: &[Settings]) -> Table {
    let mut table = Table::new(["FOR", "NAME", "STATE", "COMPLETED", "FAILED", "LATE"]);
    for settings in all {
        let (what, name) = match &settings.target {
            Target::Queue(name) => ("queue", name),
            Target::Kind(name) => ("kind", name),
        };
        let kept = |length: Option<Duration>| length.map_or_else(|| "forever".into(), human);
        table.row([
            what.into(),
            name.clone(),
            if settings.paused { "paused" } else { "open" }.into(),
            settings.retention.map(|retention| human(retention.completed)).unwrap_or_default(),
            settings.retention.map(|retention| kept(retention.failed)).unwrap_or_default(),
            settings.start_within.map(human).unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn the_length_that_is_not_given_stays_and_default_is_for_both() {
        let set = Retention { completed: DAY, failed: Some(DAY * 2) };
        let days = |days| Some(Keep::For(DAY * days));
        for (before, completed, failed, expected) in [
            (None, days(7), None, Some(Setting::Retention(Some(Retention { completed: DAY * 7, failed: None })))),
            (
                None,
                None,
                days(30),
                Some(Setting::Retention(Some(Retention { completed: Duration::ZERO, failed: Some(DAY * 30) }))),
            ),
            (
                Some(set),
                days(7),
                None,
                Some(Setting::Retention(Some(Retention { completed: DAY * 7, failed: Some(DAY * 2) }))),
            ),
            (
                Some(set),
                None,
                Some(Keep::Forever),
                Some(Setting::Retention(Some(Retention { completed: DAY, failed: None }))),
            ),
            (Some(set), None, Some(Keep::Default), Some(Setting::Retention(None))),
            (Some(set), None, None, None),
        ] {
            assert_eq!(retention(before, completed, failed).unwrap(), expected);
        }
        let error = retention(None, days(1), Some(Keep::Default)).unwrap_err();
        assert!(error.to_string().contains("for both"), "{error}");
    }

    #[test]
    fn what_is_set_is_shown_and_the_rest_left_to_the_code() {
        let settings = |target, retention, start_within| Settings { target, paused: false, retention, start_within };
        let forever = Retention { completed: DAY * 7, failed: None };
        let shown = table(&[
            settings(Target::Queue("mail".into()), Some(forever), Some(Duration::from_secs(30))),
            settings(Target::Kind("send".into()), None, None),
        ])
        .to_string();
        let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["queue", "mail", "open", "7d", "forever", "30s"]);
        assert_eq!(rows[2], ["kind", "send", "open", "-", "-", "-"]);
    }
}
