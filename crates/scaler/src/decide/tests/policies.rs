//! What holds for every policy, whatever it has seen before, and however wild the numbers are.

use headcount_queue::Flow;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use super::*;
use headcount_queue::store::Known;

use crate::observe::{KindWork, QueueWork, RunningJob};

const BEGIN: f64 = 1000.0;
const TICK: f64 = 5.0;

/// A queue of one kind, of which these counts are known.
#[derive(Debug, Clone)]
struct Past {
    /// For each look: new jobs, of which so many start, of which so many late; jobs that run for so long.
    looks: Vec<(u64, u64, u64, u64)>,
}

fn pasts() -> impl Strategy<Value = Past> {
    let look = (0u64..40, 0u64..40, 0u64..40, 1u64..90_000);
    prop::collection::vec(look, 0..60).prop_map(|looks| Past { looks })
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![Policy::WaitingTime, Policy::Linear, Policy::HalfLinear])
}

fn pool(policy: Policy, min: u32, max: u32, within: u64) -> PoolSpec {
    spec(min, max).policy(policy).start_within(Duration::from_secs(within)).unwrap()
}

fn work(ready: u64, oldest: Option<u64>, running: u64, flow: Flow) -> QueueWork {
    let kind = KindWork { kind: "k".into(), known: true, ready, running, flow };
    let oldest = oldest.filter(|_| ready > 0).map(Duration::from_secs);
    QueueWork { queue: "q".into(), oldest, kinds: vec![kind], ..QueueWork::default() }
}

fn reading(second: f64, ready: u64, members: &[(Standing, u32)], flow: Flow) -> Observation {
    let mut seen = seen(ready, 1, members);
    seen.at = at(second);
    let running = seen.members.iter().map(|member| u64::from(member.running)).sum();
    seen.workload.queues = vec![work(ready, Some(3), running, flow)];
    seen
}

/// What a pool remembers that has seen this past with these members, up to the look before second 1000 + its length.
fn remembered(spec: &PoolSpec, past: &Past, members: &[(Standing, u32)]) -> (History, Flow, f64) {
    let (mut history, mut flow, mut second) = (History::default(), Flow::default(), BEGIN);
    for &(new, started, late, run_ms) in &past.looks {
        let started = started.min(new) as i64;
        flow.arrived += new as i64;
        flow.started += started;
        flow.late += started.min(late as i64);
        flow.completed += started;
        flow.run_ms += started * run_ms as i64;
        let ready = (flow.arrived - flow.started) as u64;
        let seen = reading(second, ready, members, flow.clone());
        history.learn(spec, &seen);
        let decision = decide(spec, &Ok(seen.clone()), &history, seen.at);
        history.decided(spec, &seen, &decision);
        second += TICK;
    }
    (history, flow, second)
}

fn check(spec: &PoolSpec, seen: &Observation, decision: &Decision) -> Result<(), TestCaseError> {
    let (current, to) = (seen.current(), decision.step.target().unwrap_or(seen.current()));
    let useless = seen.useless();
    prop_assert!(to <= spec.max().max(current), "{decision}");
    prop_assert!(to + useless >= spec.min().min(current), "{decision}");
    prop_assert!(to >= spec.min() || to >= current, "{decision}");
    let said = decision.to_string();
    prop_assert!(!said.contains("NaN") && !said.contains("inf"), "{said}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_policy_ever_leaves_min_and_max(
        policy in policies(), past in pasts(), members in standings(), ready in 0u64..5000,
        min in 0u32..4, more in 1u32..6, within in 1u64..2000,
    ) {
        let spec = pool(policy, min, min + more, within);
        let (history, flow, second) = remembered(&spec, &past, &members);
        let seen = reading(second, ready, &members, flow);
        let decision = decide(&spec, &Ok(seen.clone()), &history, seen.at);
        check(&spec, &seen, &decision)?;
    }

    #[test]
    fn no_policy_shrinks_on_what_it_does_not_see_or_saw_long_ago(
        policy in policies(), past in pasts(), members in standings(), late in 16.0f64..100.0, platform in 61u32..300,
    ) {
        let spec = pool(policy, 0, 50, 60);
        let (mut history, flow, second) = remembered(&spec, &past, &members);
        let seen = reading(second, 0, &members, flow);
        history.learn(&spec, &seen);
        let unseen = decide(&spec, &Err(Unseen::Store("gone".into())), &history, seen.at);
        prop_assert_eq!(unseen.step, Step::Hold);
        let stale = decide(&spec, &Ok(seen.clone()), &history, at(second + late));
        prop_assert_eq!(stale.step, Step::Hold);
        let seen = Observation { platform_age: platform * S, ..seen };
        let blind = decide(&spec, &Ok(seen.clone()), &history, seen.at);
        prop_assert!(!matches!(blind.step, Step::Shrink { .. }), "{}", blind);
    }

    #[test]
    fn the_same_reading_decides_the_same(
        policy in policies(), past in pasts(), members in standings(), ready in 0u64..500, within in 1u64..2000,
    ) {
        let spec = pool(policy, 0, 50, within);
        let (mut history, flow, second) = remembered(&spec, &past, &members);
        let seen = reading(second, ready, &members, flow);
        history.learn(&spec, &seen);
        let first = decide(&spec, &Ok(seen.clone()), &history, seen.at);
        prop_assert_eq!(&decide(&spec, &Ok(seen.clone()), &history, seen.at), &first);
        history.learn(&spec, &seen);
        prop_assert_eq!(&decide(&spec, &Ok(seen.clone()), &history, seen.at), &first);
    }

    #[test]
    fn more_that_waits_never_means_fewer_workers_under_any_policy(
        policy in policies(), past in pasts(), members in standings(), ready in 0u64..500, more in 0u64..500,
        within in 1u64..2000,
    ) {
        let spec = pool(policy, 0, 50, within);
        let (history, flow, second) = remembered(&spec, &past, &members);
        let target = |ready| {
            let seen = reading(second, ready, &members, flow.clone());
            decide(&spec, &Ok(seen.clone()), &history, seen.at).step.target()
        };
        prop_assert!(target(ready + more) >= target(ready), "{:?} < {:?}", target(ready + more), target(ready));
    }

    #[test]
    fn what_drains_is_neither_demand_nor_capacity(
        policy in policies(), past in pasts(), members in standings(), ready in 0u64..500, draining in 1u32..6,
        running in 0u32..2, within in 1u64..2000,
    ) {
        let members: Vec<(Standing, u32)> =
            members.into_iter().filter(|(standing, _)| *standing != Standing::Drained).collect();
        let spec = pool(policy, 0, 1000, within);
        let (history, flow, second) = remembered(&spec, &past, &members);
        let without = reading(second, ready, &members, flow);
        let mut with = without.clone();
        with.members.extend((0..draining).map(|i| member(100 + i as usize, Standing::Drained, 1, running)));
        let target = |seen: &Observation| decide(&spec, &Ok(seen.clone()), &history, seen.at).step;
        prop_assert_eq!(target(&with), target(&without));
    }

    #[test]
    fn a_fresh_memory_may_grow_a_pool_and_not_shrink_it(
        past in pasts(), members in standings(), hold in 0u64..300, within in 1u64..300,
    ) {
        let spec = pool(Policy::WaitingTime, 0, 50, within).hold(Duration::from_secs(hold));
        let (mut history, mut flow, mut second) = (History::default(), Flow::default(), BEGIN);
        let settled = BEGIN + (hold.max(within).max(60)) as f64;
        for &(new, ..) in &past.looks {
            flow.arrived += new as i64;
            flow.started = flow.arrived;
            let seen = reading(second, 0, &members, flow.clone());
            history.learn(&spec, &seen);
            let decision = decide(&spec, &Ok(seen.clone()), &history, seen.at);
            prop_assert!(second >= settled || !matches!(decision.step, Step::Shrink { .. }), "{second}: {decision}");
            history.decided(&spec, &seen, &decision);
            // One that reads a memory is as new to the pool as one without.
            let other = History::remembering(history.memory().clone());
            let decision = decide(&spec, &Ok(seen.clone()), &other, seen.at);
            prop_assert!(!matches!(decision.step, Step::Shrink { .. }), "{decision}");
            second += TICK;
        }
    }

    #[test]
    fn however_wild_the_numbers_a_decision_is_within_bounds(
        looks in prop::collection::vec((wild(), wild(), wild(), wild_time(), 0u64..1 << 40), 1..12),
        members in standings(), within in wild_time(), boot in wild_time(), bill in wild_time(),
    ) {
        let within = within.min(headcount_queue::limits::MAX_DELAY).max(Duration::from_nanos(1));
        let spec = spec(0, 1000).policy(Policy::WaitingTime).hold(bill).start_within(within).unwrap();
        let (mut history, mut second) = (History::default(), BEGIN);
        for (a, b, c, time, step) in looks {
            let flow = Flow { arrived: a, promoted: b, returned: c, started: b, late: c, completed: a, failed: c, run_ms: b, ..Flow::default() };
            let mut seen = reading(second, 0, &members, flow);
            let queue = &mut seen.workload.queues[0];
            (queue.kinds[0].ready, queue.kinds[0].running) = (c as u64, a as u64);
            queue.oldest = Some(time);
            queue.recent = Some((a as u64, time));
            queue.known = Some(vec![Known { at: at(second + step as f64 / 1e3), count: b as u64 }]);
            seen.workload.running = vec![RunningJob { kind: "k".into(), age: time }];
            seen.demand.ready = c as u64;
            seen.limits = Limits { boot, min_bill: bill, overdue: bill, ..LIMITS };
            history.learn(&spec, &seen);
            let decision = decide(&spec, &Ok(seen.clone()), &history, seen.at);
            check(&spec, &seen, &decision)?;
            history.decided(&spec, &seen, &decision);
            let stored = history.memory().to_json();
            prop_assert!(all_finite(&stored), "{stored}");
            let other = History::remembering(Memory::restore(&stored));
            check(&spec, &seen, &decide(&spec, &Ok(seen.clone()), &other, seen.at))?;
            second += (step as f64 / 1e6).max(0.001);
        }
    }

    #[test]
    fn a_damaged_memory_decides_like_any_other(
        past in pasts(), members in standings(), ready in 0u64..500, place in 0usize..4000,
        put in prop::sample::select(vec!["1e308", "-1", "null", "9", "\"", "[", "}", "-1e-300", ""]),
    ) {
        let spec = pool(Policy::WaitingTime, 0, 50, 60);
        let (history, flow, second) = remembered(&spec, &past, &members);
        let mut stored = history.memory().to_json();
        let place = place % stored.len();
        stored.replace_range(place..=place, put);
        let mut history = History::remembering(Memory::restore(&stored));
        let seen = reading(second, ready, &members, flow);
        history.learn(&spec, &seen);
        let decision = decide(&spec, &Ok(seen.clone()), &history, seen.at);
        check(&spec, &seen, &decision)?;
        let after = history.memory().to_json();
        prop_assert!(all_finite(&after), "{stored}\n{after}");
    }
}

/// Whether a stored memory holds numbers only: what is not finite is written as null, and only `started_at` may be
/// missing.
fn all_finite(stored: &str) -> bool {
    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(has_null),
            Value::Object(fields) => fields.iter().any(|(name, value)| name != "started_at" && has_null(value)),
            _ => false,
        }
    }
    !has_null(&serde_json::from_str(stored).expect("a stored memory is JSON"))
}

fn wild() -> impl Strategy<Value = i64> {
    prop_oneof![prop::sample::select(vec![0, 1, -1, i64::MAX, i64::MIN, i64::MAX / 2]), any::<i64>(), 0i64..1000]
}

fn wild_time() -> impl Strategy<Value = Duration> {
    let times = vec![Duration::ZERO, Duration::from_nanos(1), Duration::MAX, Duration::from_secs(u64::MAX / 1000)];
    prop_oneof![prop::sample::select(times), (0u64..1 << 50).prop_map(Duration::from_micros)]
}
