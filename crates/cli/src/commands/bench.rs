//! `headcount bench`: what Headcount costs, beside what the same work would cost at least.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use headcount_bench::{Bar, Figure, Plan, Scenario, Unit, labour};
use serde::Serialize;

use crate::{
    commands::Session,
    exit::{Exit, usage},
    output::Table,
};

/// Measure how fast this is, on this machine or a server of yours
///
/// Each scenario is run several times, in turn with its floor: the same moves by the least SQL that makes them, on tables
/// of the same shape in the same server. BESIDE names the floor, or what else a figure is measured beside, and RATIO is
/// the middle of the ratios pair by pair; BAR is what it should reach, with an exclamation mark where it does not. COMMIT
/// is how long a bare durable commit took meanwhile: figures of different disks compare no better than those do.
///
/// A Postgres server of its own is started for it, in the folder for temporary files, and removed again; --url names
/// another one, in which schemas `headcount_bench_…` are made and removed. No other setting names the server: nobody
/// measures their production by mistake.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these scenarios: bulk, single, work-off, deep, lanes, keys, payloads, cold, churn, idle, probe, pooled, embedded,
    /// or long-churn, which takes half an hour a round and is run by name only.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// How often each is run.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// How large: 0.1 is a tenth of the jobs and of the time. Small sizes say whether it works, not how fast it is.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
    /// Be one of the bench's worker processes.
    #[arg(long, hide = true)]
    labour: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    if args.labour {
        labour().await?;
        return Ok(Exit::Done);
    }
    if session.global.schema.is_some() {
        return Err(usage("bench makes schemas of its own: leave --schema out"));
    }
    let program = std::env::current_exe().context("this program's own file, to start workers from")?;
    let mut plan = Plan::new(program, ["bench", "--labour", "--quiet"].map(OsString::from).into());
    plan.url.clone_from(&session.global.url);
    plan.rounds = args.rounds;
    plan.scale = args.scale;
    if !args.only.is_empty() {
        plan.only = args.only;
    }
    let report = plan.run(|what| session.note(what)).await?;
    let rows: Vec<Row> = report.figures.iter().map(Row::of).collect();
    session.out.rows(&rows, table)?;
    session.out.flush()?;
    session.note(&format!(
        "{}; {} processors; headcount {}; {} rounds at scale {}",
        report.server, report.processors, report.version, report.rounds, report.scale
    ));
    for figure in report.short() {
        session.note(&format!("short of its bar: {}, {}", figure.scenario, figure.name));
    }
    Ok(Exit::Done)
}

/// A figure as it is printed.
#[derive(Debug, Serialize)]
struct Row<'f> {
    #[serde(flatten)]
    figure: &'f Figure,
    median: f64,
    least: f64,
    greatest: f64,
    ratio: Option<f64>,
    commit_ms: f64,
    reached: Option<bool>,
}

impl<'f> Row<'f> {
    fn of(figure: &'f Figure) -> Self {
        let (least, greatest) = figure.spread();
        Self {
            figure,
            median: figure.median(),
            least,
            greatest,
            ratio: figure.ratio(),
            commit_ms: figure.commit(),
            reached: figure.reaches(),
        }
    }
}

fn table(rows: &[Row<'_>]) -> Table {
    let mut table =
        Table::new(["SCENARIO", "FIGURE", ">MEDIAN", ">LEAST", ">GREATEST", "BESIDE", ">RATIO", "BAR", ">COMMIT"]);
    for row in rows {
        let figure = row.figure;
        let value = |value: f64| told(figure.unit, value);
        table.row([
            figure.scenario.to_owned(),
            figure.name.clone(),
            value(row.median),
            value(row.least),
            value(row.greatest),
            figure.against.unwrap_or_default().to_owned(),
            row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            bar(figure, row.reached),
            format!("{:.2} ms", row.commit_ms),
        ]);
    }
    table
}

fn told(unit: Unit, value: f64) -> String {
    match unit {
        Unit::JobsPerSecond if value >= 10_000.0 => format!("{:.1} k/s", value / 1000.0),
        Unit::JobsPerSecond => format!("{value:.0}/s"),
        Unit::Milliseconds => format!("{value:.2} ms"),
        Unit::MicrosecondsPerJob => format!("{value:.1} µs/job"),
        Unit::BytesPerJob => format!("{value:.0} B/job"),
        Unit::Mebibytes => format!("{value:.1} MiB"),
    }
}

fn bar(figure: &Figure, reached: Option<bool>) -> String {
    let bar = match figure.bar {
        None => return String::new(),
        Some(Bar::Share(share)) => format!("≥ {share}"),
        Some(Bar::Times(times)) => format!("≤ {times}"),
        Some(Bar::AtMost(most)) => format!("≤ {}", told(figure.unit, most)),
        Some(Bar::AtMostWhereCommitsTake(most, commit)) => {
            let bar = format!("≤ {}", told(figure.unit, most));
            if reached.is_none() { format!("({bar} where COMMIT ≤ {commit} ms)") } else { bar }
        }
    };
    if reached == Some(false) { format!("{bar} !") } else { bar }
}
