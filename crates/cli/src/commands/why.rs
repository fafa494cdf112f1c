//! `headcount why`: what the scaler decided for a pool, and why.

use std::fmt::Write as _;

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use headcount_queue::store::{Decided, Weight};
use headcount_scaler::Detail;
use serde::Serialize;

use crate::{
    commands::Session,
    duration::{human, since},
    exit::{Exit, usage},
    output::printable,
};

/// Say why a pool has the size that it has: what its scaler saw, which rule bound, what it asked, what was answered
///
/// Reads the ledger, the latest decision first. Equal decisions in a row are told once, with how often and until when.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pool.
    #[arg(value_name = "POOL")]
    pool: String,
    /// What was decided at this time: like 2026-01-31T14:05:00Z, or 10m for ten minutes ago.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// How many decisions to tell.
    #[arg(long, short = 'n', default_value_t = 1, value_name = "N")]
    last: u32,
    /// Only decisions that changed something, or tried to.
    #[arg(long)]
    changes: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let store = queue.store();
    let now = store.now().await?;
    let at = args.at.as_deref().map(|at| moment(at, now)).transpose()?;
    let mut told = 0;
    // Holds between changes are passed over here, so more is read than told.
    for decided in store.ledger(Some(&args.pool), at, if args.changes { MOST } else { args.last }).await? {
        if args.changes && decided.weight == Weight::Hold {
            continue;
        }
        if told == args.last {
            break;
        }
        told += 1;
        let detail = serde_json::from_str(&decided.detail.0).unwrap_or_default();
        session.out.row(&Told { decided, detail }, |told| describe(told, now))?;
    }
    if told == 0 {
        let known = store.pools(None).await?;
        if !known.iter().any(|pool| pool.name == args.pool) {
            let names: Vec<&str> = known.iter().map(|pool| pool.name.as_str()).collect();
            let names = if names.is_empty() { "no pool is known".into() } else { names.join(", ") };
            return Err(usage(format!("no scaler has made a pool {:?} known; known: {names}", args.pool)));
        }
        session.note("nothing was decided for it then, or it is no longer kept");
    }
    Ok(Exit::Done)
}

/// How many entries are read at most in search of changes.
const MOST: u32 = 1000;

/// An entry of the ledger, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    decided: Decided,
    #[serde(skip)]
    detail: Detail,
}

/// A moment, or a time ago.
fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    match crate::duration::parse(text) {
        Ok(ago) => Ok(now - ago),
        Err(_) => Err(usage(format!("{text:?} is no time: write 2026-01-31T14:05:00Z, or 10m for ten minutes ago"))),
    }
}

fn describe(Told { decided, detail }: &Told, now: DateTime<Utc>) -> String {
    let stamp = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut text = format!("{}  ({} ago)", stamp(decided.first_at), human(since(decided.first_at, now)));
    if decided.count > 1 {
        let _ = write!(text, "  {} times, last at {}", decided.count, stamp(decided.last_at));
    }
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(text, "\n  {name:<10}{}", printable(value, false));
        }
    };
    line("decided", &detail.step);
    line("because", &detail.reason);
    line("bound by", detail.bound.as_deref().unwrap_or_default());
    if let Some(seen) = &detail.seen {
        let (waiting, running) = (seen.demand.ready, seen.running);
        line("jobs", &format!("{waiting} ready, {running} running, {} finishing on drained workers", seen.finishing));
        line(
            "workers",
            &format!(
                "{} up, {} booting, {} overdue, {} drained, {} leaving",
                seen.up, seen.booting, seen.overdue, seen.draining, seen.leaving
            ),
        );
    }
    for action in &detail.actions {
        line("did", action);
    }
    for lost in &detail.lost {
        line("lost", lost);
    }
    line("trouble", detail.trouble.as_deref().unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_so_long_ago() {
        let now: DateTime<Utc> = "2026-01-31T14:05:00Z".parse().unwrap();
        assert_eq!(moment("10m", now).unwrap(), now - chrono::TimeDelta::minutes(10));
        assert_eq!(moment("2026-01-31T15:05:00+01:00", now).unwrap(), now);
        assert!(moment("noon", now).unwrap_err().to_string().contains("10m"));
    }

    #[test]
    fn a_decision_tells_what_was_seen_decided_and_done() {
        let at: DateTime<Utc> = "2026-01-31T14:00:00Z".parse().unwrap();
        let detail = Detail {
            step: "grow from 1 to 3".into(),
            reason: "5 ready".into(),
            bound: Some("at most 3".into()),
            seen: Some(headcount_scaler::Counts { up: 1, ..Default::default() }),
            actions: vec!["grow to 3: the platform refuses: no".into()],
            ..Detail::default()
        };
        let decided = Decided {
            id: 1,
            pool: "worker".into(),
            weight: Weight::Change,
            gist: String::new(),
            detail: headcount_queue::Json("{}".into()),
            first_at: at,
            last_at: at,
            count: 1,
        };
        let text = describe(&Told { decided, detail }, at + chrono::TimeDelta::minutes(5));
        let words = [
            "(5m ago)",
            "decided   grow from 1 to 3",
            "bound by  at most 3",
            "1 up, 0 booting",
            "did       grow to 3: the",
        ];
        for word in words {
            assert!(text.contains(word), "{word:?} in {text}");
        }
    }
}
