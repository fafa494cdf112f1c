//! `headcount queues` without a verb: how many jobs stand where, and how fast they go.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use anyhow::Result;
use headcount_queue::{
    Delays, Depth, Flow, LaneState, QueueState,
    store::{Store, Target},
};
use serde::Serialize;

use crate::{commands::Session, duration::human, exit::Exit, output::Table};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Only this queue.
    #[arg(long, short = 'Q', value_name = "NAME")]
    queue: Option<String>,
    /// A row for each kind, with what has happened since the store was made.
    #[arg(long)]
    kinds: bool,
    /// A row for each priority, with what has happened since the store was made. OLDEST is shown for all kinds together.
    #[arg(long)]
    priorities: bool,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<Exit> {
    let queue = session.open_store().await?;
    let store = queue.store().as_ref();
    fold(store).await?;
    let mut queues = store.queues().await?;
    queues.retain(|state| args.queue.as_ref().is_none_or(|name| *name == state.queue));
    if queues.is_empty() {
        session.note(match args.queue {
            Some(_) => "no such queue has ever had a job",
            None => "no queue has ever had a job; `headcount enqueue KIND` makes one",
        });
        return Ok(Exit::Done);
    }
    if args.kinds || args.priorities {
        let parts: Vec<Part> = queues.iter().flat_map(|state| parts(state, args.kinds, args.priorities)).collect();
        session.out.rows(&parts, part_table)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Row> = queues.into_iter().map(Row::from).collect();
    session.out.rows(&rows, table)?;
    session.out.flush()?;
    let paused: Vec<String> = store
        .settings()
        .await?
        .into_iter()
        .filter(|settings| settings.paused)
        .filter_map(|settings| if let Target::Kind(name) = settings.target { Some(name) } else { None })
        .collect();
    if !paused.is_empty() {
        session.note(&format!("paused kinds: {}", paused.join(", ")));
    }
    Ok(Exit::Done)
}

/// Brings the counts up to date, which workers do otherwise: without any the table would show the past.
async fn fold(store: &dyn Store) -> Result<()> {
    // A busy store makes new ones all the time: a few rounds are recent enough.
    for _ in 0..10 {
        if store.fold().await? == 0 {
            break;
        }
    }
    Ok(())
}

/// A queue with what follows from its counts.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    state: QueueState,
    lately: Lately,
    lanes: Vec<LaneState>,
}

impl From<QueueState> for Row {
    fn from(mut state: QueueState) -> Self {
        let lanes = std::mem::take(&mut state.lanes);
        Self { lately: Lately::of(&state), lanes, state }
    }
}

/// What happened in the last minutes, as rates a second. Nothing is known as long as `over_s` is zero.
#[derive(Debug, Serialize)]
struct Lately {
    over_s: f64,
    in_per_s: f64,
    started_per_s: f64,
    done_per_s: f64,
    errors_per_s: f64,
    late_share: Option<f64>,
    start_delay_s: Percentiles,
}

/// How long jobs waited for their start, at most, in seconds.
#[derive(Debug, Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

impl Percentiles {
    fn of(delays: &Delays) -> Self {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|p| delays.percentile(p).map(|delay| delay.as_secs_f64()));
        Self { p50, p95, p99 }
    }

    fn cells(&self) -> [String; 3] {
        let cell = |seconds: Option<f64>| seconds.map(|s| human(Duration::from_secs_f64(s))).unwrap_or_default();
        [self.p50, self.p95, self.p99].map(cell)
    }
}

impl Lately {
    fn of(state: &QueueState) -> Self {
        let (recent, flow) = (&state.recent, &state.recent.flow);
        Self {
            over_s: recent.over.as_secs_f64(),
            in_per_s: recent.rate(flow.arrived + flow.promoted),
            started_per_s: recent.rate(flow.started),
            done_per_s: recent.rate(flow.completed),
            errors_per_s: recent.rate(flow.failed),
            late_share: recent.late_share(),
            start_delay_s: Percentiles::of(&flow.delays),
        }
    }

    /// A rate as a person reads it; empty where nothing is known.
    fn rate(&self, per_second: f64) -> String {
        if self.over_s == 0.0 { String::new() } else { rate(per_second) }
    }
}

/// By the second where at least one a second, else by the minute, else by the hour.
fn rate(per_second: f64) -> String {
    let short = |rate: f64, unit: char| {
        if rate < 9.95 { format!("{rate:.1}/{unit}") } else { format!("{rate:.0}/{unit}") }
    };
    match per_second {
        r if r >= 1.0 => short(r, 's'),
        r if r * 60.0 >= 1.0 => short(r * 60.0, 'm'),
        r if r > 0.0 => short(r * 3600.0, 'h'),
        _ => "0".into(),
    }
}

fn share(share: Option<f64>) -> String {
    share.map(|share| format!("{:.0}%", share * 100.0)).unwrap_or_default()
}

fn counts(depth: &Depth) -> [String; 8] {
    let Depth { ready, scheduled, held, suspects: _, running, parked, completed, failed, cancelled } = *depth;
    [ready, scheduled, held, running, parked, failed, cancelled, completed].map(|count| count.to_string())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "QUEUE",
        ">READY",
        ">LATER",
        ">HELD",
        ">RUNNING",
        ">PARKED",
        ">FAILED",
        ">CANCELLED",
        ">COMPLETED",
        ">OLDEST",
        ">IN",
        ">DONE",
        ">ERRORS",
        ">LATE",
        ">P50",
        ">P95",
        ">P99",
        "STATE",
    ]);
    for Row { state, lately, .. } in rows {
        let [ready, later, held, running, parked, failed, cancelled, completed] = counts(&state.depth);
        let [p50, p95, p99] = lately.start_delay_s.cells();
        table.row([
            state.queue.clone(),
            ready,
            later,
            held,
            running,
            parked,
            failed,
            cancelled,
            completed,
            state.oldest.map(human).unwrap_or_default(),
            lately.rate(lately.in_per_s),
            lately.rate(lately.done_per_s),
            lately.rate(lately.errors_per_s),
            share(lately.late_share),
            p50,
            p95,
            p99,
            if state.paused { "paused" } else { "open" }.into(),
        ]);
    }
    table
}

/// A queue's jobs of one kind, one priority, or both.
#[derive(Debug, Serialize)]
struct Part {
    queue: String,
    priority: Option<i16>,
    kind: Option<String>,
    #[serde(flatten)]
    depth: Depth,
    oldest_s: Option<f64>,
    flow: Flow,
    start_delay_s: Percentiles,
}

/// The parts of a queue, the highest priority first.
fn parts(state: &QueueState, kinds: bool, priorities: bool) -> Vec<Part> {
    let mut sums = BTreeMap::<_, (Depth, Flow)>::new();
    for lane in &state.lanes {
        let part = (priorities.then_some(Reverse(lane.priority)), kinds.then_some(lane.kind.as_str()));
        let (depth, flow) = sums.entry(part).or_default();
        *depth += &lane.depth;
        *flow += &lane.flow;
    }
    sums.into_iter()
        .map(|((priority, kind), (depth, flow))| {
            let priority = priority.map(|Reverse(priority)| priority);
            let oldest = state.priorities.iter().find(|other| Some(other.priority) == priority);
            Part {
                queue: state.queue.clone(),
                priority,
                kind: kind.map(str::to_owned),
                depth,
                // Which kind the oldest is of, the counters do not say.
                oldest_s: oldest.filter(|_| !kinds).and_then(|other| other.oldest).map(|oldest| oldest.as_secs_f64()),
                start_delay_s: Percentiles::of(&flow.delays),
                flow,
            }
        })
        .collect()
}

fn part_table(parts: &[Part]) -> Table {
    let mut table = Table::new([
        "QUEUE",
        ">PRIORITY",
        "KIND",
        ">READY",
        ">LATER",
        ">HELD",
        ">RUNNING",
        ">PARKED",
        ">FAILED",
        ">CANCELLED",
        ">COMPLETED",
        ">OLDEST",
        ">STARTED",
        ">DONE",
        ">ERRORS",
        ">LATE",
        ">RUN",
        ">P50",
        ">P95",
        ">P99",
    ]);
    for part in parts {
        let [ready, later, held, running, parked, failed, cancelled, completed] = counts(&part.depth);
        let [p50, p95, p99] = part.start_delay_s.cells();
        let flow = &part.flow;
        let ended = flow.completed + flow.failed;
        let mean = (ended > 0).then(|| human(Duration::from_millis((flow.run_ms / ended).unsigned_abs())));
        table.row([
            part.queue.clone(),
            part.priority.map(|priority| priority.to_string()).unwrap_or_default(),
            part.kind.clone().unwrap_or_default(),
            ready,
            later,
            held,
            running,
            parked,
            failed,
            cancelled,
            completed,
            part.oldest_s.map(|oldest| human(Duration::from_secs_f64(oldest))).unwrap_or_default(),
            flow.started.to_string(),
            flow.completed.to_string(),
            flow.failed.to_string(),
            share((flow.started > 0).then(|| flow.late as f64 / flow.started as f64)),
            mean.unwrap_or_default(),
            p50,
            p95,
            p99,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use headcount_queue::{PriorityState, Recent};

    use super::*;

    fn state() -> QueueState {
        let lane = |priority, kind: &str, ready| LaneState {
            queue: "mail".into(),
            priority,
            kind: kind.into(),
            depth: Depth { ready, ..Depth::default() },
            flow: Flow { started: 4, late: 1, completed: 2, run_ms: 3000, ..Flow::default() },
        };
        let mut flow =
            Flow { arrived: 600, promoted: 60, completed: 30, failed: 1, started: 100, late: 25, ..Flow::default() };
        for _ in 0..100 {
            flow.delays.add(Duration::from_millis(10));
        }
        let oldest =
            |priority, seconds| PriorityState { priority, ready: 1, oldest: Some(Duration::from_secs(seconds)) };
        QueueState {
            queue: "mail".into(),
            paused: false,
            depth: Depth { ready: 9, ..Depth::default() },
            oldest: Some(Duration::from_mins(2)),
            priorities: vec![oldest(5, 1), oldest(-3, 120)],
            flow: Flow::default(),
            recent: Recent { over: Duration::from_mins(5), flow },
            lanes: vec![lane(-3, "send", 2), lane(5, "send", 3), lane(5, "fetch", 4)],
            read_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn rates_are_shown_in_the_unit_in_which_they_are_at_least_one() {
        for (per_second, text) in [
            (1234.5, "1234/s"),
            (12.0, "12/s"),
            (1.5, "1.5/s"),
            (0.5, "30/m"),
            (0.02, "1.2/m"),
            (0.001, "3.6/h"),
            (0.0, "0"),
        ] {
            assert_eq!(rate(per_second), text);
        }
    }

    #[test]
    fn a_queue_shows_its_rates_its_late_share_and_its_delays() {
        let row = Row::from(state());
        let shown = table(std::slice::from_ref(&row)).to_string();
        let cells: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells[9..], ["2m", "2.2/s", "6.0/m", "12/h", "25%", "16ms", "16ms", "16ms", "open"], "{shown}");
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["lately"]["late_share"], 0.25, "{json}");
        assert_eq!(json["lately"]["start_delay_s"]["p95"], 0.016);
        assert_eq!(json["priorities"][0]["oldest_s"], 1.0);
        assert_eq!(json["lanes"].as_array().unwrap().len(), 3);
        assert_eq!(json["ready"], 9);
    }

    #[test]
    fn a_store_that_knows_of_no_time_yet_shows_no_rates() {
        let row = Row::from(QueueState { recent: Recent::default(), ..state() });
        let shown = table(&[row]).to_string();
        let cells: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells[10..], ["-", "-", "-", "-", "-", "-", "-", "open"], "{shown}");
    }

    #[test]
    fn parts_add_up_the_lanes_and_the_highest_priority_comes_first() {
        let ready = |kinds, priorities| -> Vec<String> {
            let parts = parts(&state(), kinds, priorities);
            let shown =
                |part: Part| format!("{:?} {:?} {} {:?}", part.priority, part.kind, part.depth.ready, part.oldest_s);
            parts.into_iter().map(shown).collect()
        };
        assert_eq!(ready(false, true), ["Some(5) None 7 Some(1.0)", "Some(-3) None 2 Some(120.0)"]);
        assert_eq!(ready(true, false), [r#"None Some("fetch") 4 None"#, r#"None Some("send") 5 None"#]);
        assert_eq!(ready(true, true).len(), 3);
        let shown = part_table(&parts(&state(), true, false)).to_string();
        assert!(shown.lines().nth(1).unwrap().contains("25%   1s"), "{shown}");
    }
}
