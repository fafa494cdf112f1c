//! What a memory makes of readings, and of what is stored as one.

use chrono::TimeDelta;
use headcount_queue::Binding;

use super::*;
use headcount_queue::store::Known;

use crate::observe::{Demand, KindWork, Workload};

const S: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits { boot: Duration::from_secs(20), ..Limits::DEFAULT };

fn at(second: u32) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::from(second))
}

fn spec() -> PoolSpec {
    PoolSpec::new("here", Binding::Any, 0..=50).unwrap().start_within(60 * S).unwrap()
}

fn queue(name: &str, ready: u64, flow: Flow) -> QueueWork {
    let kind = KindWork { kind: "k".into(), known: true, ready, running: 0, flow };
    QueueWork { queue: name.into(), kinds: vec![kind], oldest: (ready > 0).then_some(S), ..QueueWork::default() }
}

fn seen(second: u32, up: u32, queues: Vec<QueueWork>) -> Observation {
    let member = |i| Member {
        ordinal: None,
        epoch: None,
        oldest: None,
        id: format!("i-{i}").into(),
        listed: true,
        ending: false,
        held: false,
        overdue: false,
        standing: Standing::Active,
        boots: Vec::new(),
        slots: 1,
        running: 0,
        born_at: None,
        started_at: None,
        drained_for: None,
        idle_for: None,
    };
    let ready = queues.iter().map(QueueWork::ready).sum();
    Observation {
        at: at(second),
        vacant: Vec::new(),
        strays: 0,
        strangers: 0,
        platform_age: Duration::ZERO,
        demand: Demand { ready, ..Demand::default() },
        workload: Workload { queues, ..Workload::default() },
        members: (0..up).map(member).collect(),
        desired: up,
        unlisted: 0,
        trouble: None,
        release: None,
        foreign: None,
        peers: Vec::new(),
        limits: LIMITS,
    }
}

/// Counts of a stream: two jobs a second, each of which runs for 3 s.
fn stream(second: u32) -> Flow {
    let jobs = i64::from(second) * 2;
    Flow { arrived: jobs, started: jobs, completed: jobs, run_ms: jobs * 3000, ..Flow::default() }
}

fn watched(spec: &PoolSpec, seconds: u32) -> Memory {
    let mut memory = Memory::default();
    for second in (0..=seconds).step_by(5) {
        memory.learn(spec, &seen(second, 7, vec![queue("q", 0, stream(second))]));
    }
    memory
}

#[test]
fn rates_and_run_times_are_learned_from_counts() {
    let memory = watched(&spec(), 1800);
    assert!((memory.targets[""].arrivals.expected() - 2.0).abs() < 0.05);
    assert!((memory.learned.kinds["k"].mean().unwrap() - 3.0).abs() < 1e-6);
    // Six are busy on average.
    let need = memory.need(&spec(), &seen(1800, 7, vec![queue("q", 0, stream(1800))]), false);
    assert!((5..=9).contains(&need.keep), "{need}");
    assert!((7000..=7200).contains(&need.hourly), "{need}");
}

#[test]
fn what_is_stored_goes_on_where_it_ended() {
    let memory = watched(&spec(), 1800);
    let mut other = Memory::restore(&memory.to_json());
    let reading = seen(1805, 7, vec![queue("q", 0, stream(1805))]);
    other.learn(&spec(), &reading);
    let mut same = memory;
    same.learn(&spec(), &reading);
    assert_eq!(other.need(&spec(), &reading, false).hourly, same.need(&spec(), &reading, false).hourly);
    assert_eq!(other.need(&spec(), &reading, false).keep, same.need(&spec(), &reading, false).keep);
}

#[test]
fn what_is_no_memory_of_ours_is_a_fresh_one() {
    let stored = watched(&spec(), 600).to_json();
    assert_ne!(Memory::restore(&stored), Memory::default());
    let newer = stored.replacen("\"version\":1", "\"version\":2", 1);
    let wild = stored.replacen("\"z\":", "\"z\":1e308,\"y\":", 1);
    let short = stored.replacen("\"buckets\":[", "\"buckets\":[1.0,", 1);
    for bad in ["", "null", "{}", "[1", &stored[..stored.len() / 2], &newer, &wild, &short] {
        assert_eq!(Memory::restore(bad), Memory::default(), "{bad:.60}");
    }
}

#[test]
fn a_memory_from_a_clock_ahead_of_this_one_still_learns() {
    let mut memory = watched(&spec(), 7200);
    for second in (0..=600).step_by(5) {
        memory.learn(&spec(), &seen(second, 7, vec![queue("q", 0, stream(second))]));
    }
    assert_eq!(memory.at, Some(600.0));
    assert!((memory.targets[""].arrivals.expected() - 2.0).abs() < 0.3);
}

#[test]
fn the_same_reading_again_teaches_nothing() {
    let mut memory = watched(&spec(), 600);
    let before = memory.to_json();
    memory.learn(&spec(), &seen(600, 7, vec![queue("q", 0, stream(900))]));
    assert_eq!(memory.to_json(), before);
}

#[test]
fn paused_queues_and_unknown_kinds_are_no_arrivals() {
    for (paused, known, arrives) in [(false, true, true), (true, true, false), (false, false, false)] {
        let mut memory = Memory::default();
        for second in (0..=600).step_by(5) {
            let mut work = queue("q", 9, stream(second));
            work.paused = paused;
            work.kinds[0].known = known;
            memory.learn(&spec(), &seen(second, 7, vec![work]));
        }
        assert_eq!(memory.targets[""].arrivals.expected() > 1.0, arrives);
    }
}

#[test]
fn jobs_that_fall_due_are_new_unless_they_were_known() {
    for (known, rate) in [(None, 1.0), (Some(Vec::<Known>::new()), 0.0)] {
        let mut memory = Memory::default();
        for second in (0..=1800).step_by(5) {
            let flow = Flow { promoted: i64::from(second), ..Flow::default() };
            memory.learn(&spec(), &seen(second, 7, vec![QueueWork { known: known.clone(), ..queue("q", 0, flow) }]));
        }
        assert!((memory.targets[""].arrivals.expected() - rate).abs() < 0.05);
    }
}

#[test]
fn late_starts_are_counted_by_the_target_whatever_the_store_counts_by() {
    let mut flow = Flow { late: 0, started: 30, ..Flow::default() };
    for (wait, jobs) in [(1, 10), (50, 10), (200, 10)] {
        (0..jobs).for_each(|_| flow.delays.add(wait * S));
    }
    // The store's own limit is an hour: only what the buckets prove is late.
    assert_eq!(late(&flow, 60 * S), 10);
    assert_eq!(late(&flow, 10 * S), 20);
    // It is the target: its count is right.
    flow.late = 20;
    assert_eq!(late(&flow, 40 * S), 20);
    // A source that tells no delays.
    assert_eq!(late(&Flow { late: 7, ..Flow::default() }, S), 7);
}

/// A pool that is late with everything for ten minutes, with what made it so.
fn late_while(blocked: impl Fn(&mut Memory, &mut Observation)) -> f64 {
    let mut memory = Memory::default();
    let spec = spec().start_within(10 * S).unwrap();
    for second in (0..=600).step_by(5) {
        let flow = Flow { late: i64::from(second), ..stream(second) };
        let mut seen = seen(second, 7, vec![queue("q", 1, flow)]);
        blocked(&mut memory, &mut seen);
        memory.learn(&spec, &seen);
    }
    memory.targets[""].safety.z()
}

#[test]
fn starts_that_no_decision_could_have_saved_teach_nothing() {
    assert!(late_while(|_, _| {}) > 3.0);
    assert!(late_while(|memory, seen| memory.bound(seen.at)) <= 1.0, "a limit binds");
    assert!(late_while(|memory, _| memory.lost_sight()) <= 1.0, "readings fail");
    assert!(late_while(|_, seen| seen.members.clear()) <= 1.0, "they met an empty pool, and a boot is too slow");
}

#[test]
fn each_target_learns_by_itself() {
    let spec = spec().targets([("mail", 10 * S)]).unwrap();
    let mut memory = Memory::default();
    for second in (0..=1800).step_by(5) {
        let slow = Flow { arrived: i64::from(second / 10), ..Flow::default() };
        memory.learn(&spec, &seen(second, 7, vec![queue("mail", 0, stream(second)), queue("q", 0, slow)]));
    }
    assert!((memory.targets["mail"].arrivals.expected() - 2.0).abs() < 0.05);
    assert!((memory.targets[""].arrivals.expected() - 0.1).abs() < 0.05);
    // A target that is no more is forgotten.
    memory.learn(&self::spec(), &seen(1805, 7, vec![queue("mail", 0, stream(1805))]));
    assert_eq!(memory.targets.keys().collect::<Vec<_>>(), [""]);
}
