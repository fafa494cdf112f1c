//! A table of what is decided when, and properties that hold whatever is seen.

mod policies;

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::Binding;
use proptest::prelude::*;

use super::*;
use crate::{
    driver::{DriverError, InstanceId, Limits, Trouble},
    observe::{Demand, Member, Standing, Workload},
};

const LIMITS: Limits = Limits { boot: Duration::from_secs(1), ..Limits::DEFAULT };
const S: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::microseconds((seconds * 1e6) as i64)
}

fn spec(min: u32, max: u32) -> PoolSpec {
    let spec = PoolSpec::new("here", Binding::Any, min..=max).unwrap().policy(Policy::Linear);
    spec.hold(10 * S).idle_to_zero(Duration::ZERO)
}

fn member(i: usize, standing: Standing, slots: u32, running: u32) -> Member {
    let silent = matches!(standing, Standing::Booting | Standing::Overdue);
    Member {
        id: InstanceId::from(format!("i-{i}")),
        ordinal: None,
        listed: true,
        ending: standing == Standing::Leaving,
        held: false,
        overdue: standing == Standing::Overdue,
        standing,
        epoch: None,
        boots: Vec::new(),
        slots: if silent { 0 } else { slots },
        running: if silent { 0 } else { running },
        oldest: None,
        born_at: None,
        started_at: None,
        drained_for: None,
        idle_for: None,
    }
}

/// A pool with these members (each with its running jobs) and so many ready jobs, seen at second 1000.
fn seen(ready: u64, slots: u32, members: &[(Standing, u32)]) -> Observation {
    let members: Vec<Member> =
        members.iter().enumerate().map(|(i, &(standing, running))| member(i, standing, slots, running)).collect();
    Observation {
        at: at(1000.0),
        platform_age: Duration::ZERO,
        demand: Demand { ready, ..Demand::default() },
        workload: Workload::default(),
        desired: members.iter().filter(|m| m.standing != Standing::Leaving).count() as u32,
        members,
        vacant: Vec::new(),
        strays: 0,
        strangers: 0,
        unlisted: 0,
        trouble: None,
        release: None,
        foreign: None,
        peers: Vec::new(),
        limits: LIMITS,
    }
}

/// A past of so many seconds in which the pool wished for the same all the time.
fn past(seconds: u32, wish: u32) -> History {
    let mut history = History::default();
    for second in 0..seconds {
        history.note(wish, wish > 0, Duration::from_hours(1), at(1000.0 - f64::from(seconds - second)));
    }
    history
}

fn target(spec: &PoolSpec, seen: &Observation, history: &History) -> Option<u32> {
    decide(spec, &Ok(seen.clone()), history, seen.at).step.target()
}

#[test]
fn a_slot_for_every_job_that_runs_or_could() {
    use Standing::{Active, Booting, Drained, Leaving, Overdue, Withheld};
    let quiet = past(60, 0);
    for (ready, slots, members, wanted) in [
        (0, 1, &[][..], 0),
        (1, 1, &[], 1),
        (7, 2, &[], 4),
        (100, 1, &[], 8),
        (2, 2, &[(Active, 2), (Active, 1)], 3),
        // Booting ones count, so that they are ordered once.
        (3, 1, &[(Booting, 0), (Booting, 0), (Booting, 0)], 3),
        (3, 1, &[(Booting, 0)], 3),
        // What runs on draining ones is neither capacity nor demand.
        (1, 1, &[(Drained, 1), (Withheld, 1), (Leaving, 0)], 1),
        (0, 1, &[(Drained, 1), (Withheld, 1)], 0),
        // An overdue one counts for nothing, except against max.
        (2, 1, &[(Overdue, 0)], 2),
        (20, 1, &[(Overdue, 0), (Overdue, 0), (Withheld, 0)], 5),
        (20, 1, &[(Overdue, 0), (Drained, 0)], 7),
        // Fewer are enough, and have been for the whole hold.
        (0, 1, &[(Active, 0), (Active, 1), (Active, 0)], 1),
        // One cannot drain what boots.
        (0, 1, &[(Booting, 0), (Active, 0)], 1),
    ] {
        let spec = spec(0, 8).slots(NonZeroU32::new(slots).unwrap());
        assert_eq!(target(&spec, &seen(ready, slots, members), &quiet), Some(wanted), "{ready} {members:?}");
    }
}

#[test]
fn half_linear_asks_for_half_rounded_up() {
    let spec = spec(0, 8).policy(Policy::HalfLinear);
    for (ready, wanted) in [(0, 0), (1, 1), (2, 1), (3, 2), (10, 5), (100, 8)] {
        assert_eq!(target(&spec, &seen(ready, 1, &[]), &History::default()), Some(wanted), "{ready}");
    }
}

#[test]
fn due_jobs_and_suspects_wake_a_pool_at_zero() {
    for demand in [Demand { due: true, ..Demand::default() }, Demand { suspects: true, ..Demand::default() }] {
        let seen = Observation { demand, ..seen(0, 1, &[]) };
        assert_eq!(target(&spec(0, 8), &seen, &History::default()), Some(1), "{demand:?}");
    }
}

#[test]
fn live_workers_say_how_many_slots_they_have() {
    let spec = spec(0, 8).slots(NonZeroU32::new(2).unwrap());
    assert_eq!(target(&spec, &seen(8, 4, &[]), &History::default()), Some(4));
    assert_eq!(target(&spec, &seen(8, 4, &[(Standing::Active, 0)]), &History::default()), Some(2));
}

#[test]
fn min_and_the_platform_bind_by_name() {
    let decided = decide(&spec(2, 8), &Ok(seen(0, 1, &[])), &History::default(), at(1000.0));
    assert_eq!((decided.step, decided.bound), (Step::Grow { from: 0, to: 2 }, Some(Bound::Min(2))));
    let narrow = Observation { limits: Limits { max: Some(3), ..LIMITS }, ..seen(9, 1, &[]) };
    let decided = decide(&spec(0, 8), &Ok(narrow), &History::default(), at(1000.0));
    assert_eq!((decided.step, decided.bound), (Step::Grow { from: 0, to: 3 }, Some(Bound::Platform(3))));
    assert_eq!(decided.to_string(), "grow from 0 to 3: 9 ready, 1 a worker, call for 9 (the platform gives at most 3)");
}

#[test]
fn fewer_must_be_enough_for_the_whole_hold() {
    let two = seen(0, 1, &[(Standing::Active, 0), (Standing::Active, 0)]);
    // Looked at for too short a time.
    assert_eq!(target(&spec(0, 8), &two, &past(5, 0)), Some(2));
    assert_eq!(target(&spec(0, 8), &two, &past(11, 0)), Some(0));
    // Two were called for half a hold ago.
    let mut history = past(60, 0);
    history.note(2, true, Duration::from_hours(1), at(995.0));
    let decided = decide(&spec(0, 8), &Ok(two.clone()), &history, two.at);
    assert_eq!(decided.step, Step::Keep(2));
    assert_eq!(decided.reason, Reason::Holding { wish: 0, left: 5 * S });
    // And one since: as many as were called for at any time in the hold.
    let mut history = past(60, 0);
    history.note(1, true, Duration::from_hours(1), at(995.0));
    assert_eq!(target(&spec(0, 8), &two, &history), Some(1));
}

#[test]
fn the_last_worker_waits_for_more_work() {
    let spec = spec(0, 8).idle_to_zero(30 * S);
    let one = seen(0, 1, &[(Standing::Active, 0), (Standing::Active, 0)]);
    let mut history = past(60, 0);
    history.note(0, true, Duration::from_hours(1), at(980.0));
    let decided = decide(&spec, &Ok(one.clone()), &history, one.at);
    assert_eq!((decided.step.target(), decided.reason), (Some(1), Reason::KeepLast { left: 10 * S }));
    assert_eq!(target(&spec, &one, &past(60, 0)), Some(0));
    // None is started for it.
    assert_eq!(target(&spec, &seen(0, 1, &[]), &history), Some(0));
}

#[test]
fn draining_workers_are_recalled_even_when_no_new_one_comes_up() {
    use Standing::{Active, Drained};
    let trouble = |retry_in| Some(Trouble { message: "boom".into(), failures: 3, retry_in });
    for (wait, wanted) in [(None, 2), (Some(S), 2), (Some(Duration::ZERO), 5)] {
        let seen = Observation { trouble: trouble(wait), ..seen(4, 1, &[(Active, 1), (Drained, 1)]) };
        let decided = decide(&spec(0, 8), &Ok(seen.clone()), &History::default(), seen.at);
        assert_eq!(decided.step, Step::Grow { from: 1, to: wanted }, "{wait:?}");
        assert_eq!(matches!(decided.reason, Reason::Trouble(_)), wanted == 2);
    }
}

#[test]
fn what_is_not_seen_or_long_past_is_held_on() {
    let idle = || seen(0, 1, &[(Standing::Active, 0), (Standing::Active, 0)]);
    let history = past(60, 0);
    let decide = |seen: Result<Observation, Unseen>, late: f64| decide(&spec(0, 8), &seen, &history, at(1000.0 + late));
    for unseen in [Unseen::Store("gone".into()), Unseen::Platform(DriverError::Unavailable("503".into()))] {
        let decided = decide(Err(unseen), 0.0);
        assert_eq!((decided.step, decided.wish), (Step::Hold, None));
        assert!(decided.to_string().starts_with("hold: the "), "{decided}");
    }
    assert_eq!(decide(Ok(idle()), 14.0).step, Step::Shrink { from: 2, to: 0 });
    assert_eq!(decide(Ok(idle()), 16.0).step, Step::Hold);
    let platform = |age: u32| Ok(Observation { platform_age: age * S, ..idle() });
    assert_eq!(decide(platform(121), 0.0).step, Step::Hold);
    // Not fresh enough to drain anybody, and good enough to grow.
    assert_eq!(decide(platform(61), 0.0).step, Step::Keep(2));
    let mut busy = platform(61).unwrap();
    busy.demand.ready = 4;
    assert_eq!(decide(Ok(busy), 0.0).step, Step::Grow { from: 2, to: 4 });
}

#[test]
fn after_not_seeing_the_hold_begins_anew() {
    let idle = seen(0, 1, &[(Standing::Active, 0)]);
    let mut history = past(60, 0);
    history.lost_sight();
    assert_eq!(target(&spec(0, 8), &idle, &history), Some(1));
    history.note(0, false, Duration::from_hours(1), at(995.0));
    assert_eq!(target(&spec(0, 8), &idle, &history), Some(1));
}

fn standings() -> impl Strategy<Value = Vec<(Standing, u32)>> {
    use Standing::{Active, Booting, Drained, Leaving, Overdue, Withheld};
    let standing = prop::sample::select(vec![Active, Booting, Overdue, Drained, Withheld, Leaving]);
    prop::collection::vec((standing, 0u32..5), 0..12)
}

fn histories() -> impl Strategy<Value = History> {
    prop::collection::vec((0u32..12, any::<bool>()), 0..30).prop_map(|wishes| {
        let mut history = History::default();
        let len = wishes.len();
        for (i, (wish, working)) in wishes.into_iter().enumerate() {
            history.note(wish, working, Duration::from_hours(1), at(1000.0 - (len - i) as f64));
        }
        history
    })
}

proptest! {
    #[test]
    fn a_target_is_never_outside_min_and_max_except_on_the_way_back(
        ready in 0u64..40, slots in 1u32..5, members in standings(), history in histories(),
        min in 0u32..4, more in 1u32..6,
    ) {
        let (spec, seen) = (spec(min, min + more), seen(ready, slots, &members));
        let current = seen.current();
        let to = target(&spec, &seen, &history).unwrap();
        prop_assert!(to <= spec.max().max(current), "{to} of {current}");
        let useless = seen.useless();
        prop_assert!(to + useless >= min.min(current), "{to} of {current}");
        prop_assert!(to >= min || to >= current, "{to} of {current}");
        // However many instances do not work: those that exist never become more than max by growing.
        let started = to.saturating_sub(current + seen.count(Standing::Drained));
        prop_assert!(started == 0 || seen.existing() + started <= spec.max());
    }

    #[test]
    fn more_work_never_means_fewer_workers(
        ready in 0u64..40, more in 0u64..40, slots in 1u32..5, members in standings(), history in histories(),
        min in 0u32..4, idle in 0u32..60, half in any::<bool>(),
    ) {
        let policy = if half { Policy::HalfLinear } else { Policy::Linear };
        let spec = spec(min, 9).policy(policy).idle_to_zero(idle * S);
        let less = target(&spec, &seen(ready, slots, &members), &history);
        prop_assert!(target(&spec, &seen(ready + more, slots, &members), &history) >= less);
    }

    #[test]
    fn a_pool_never_shrinks_on_a_stale_reading(
        members in standings(), history in histories(), late in 0.0f64..100.0, platform_age in 0u32..300,
    ) {
        let seen = Observation { platform_age: platform_age * S, ..seen(0, 1, &members) };
        let decided = decide(&spec(0, 8), &Ok(seen), &history, at(1000.0 + late));
        if late > 15.0 || platform_age > 60 {
            prop_assert!(!matches!(decided.step, Step::Shrink { .. }), "{decided}");
        }
    }

    #[test]
    fn a_pool_with_a_worker_at_work_is_never_let_go(
        members in standings(), history in histories(), idle in 0u32..60,
    ) {
        let seen = seen(0, 1, &members);
        prop_assume!(seen.running() > 0);
        let to = target(&spec(0, 8).idle_to_zero(idle * S), &seen, &history).unwrap();
        prop_assert!(to >= 1);
    }
}
