//! A release in the very moment in which a pool would shrink, or is at its limit.

use chrono::TimeDelta;
use headcount_queue::Binding;
use proptest::prelude::*;

use super::*;
use crate::{
    decide::{Decision, History, Memory, Reason, Step, decide},
    driver::{InstanceId, Limits},
    observe::{Demand, Workload},
    pool::{Policy, PoolSpec},
};

const S: Duration = Duration::from_secs(1);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn spec(policy: Policy) -> PoolSpec {
    let spec = PoolSpec::new("here", Binding::Any, 0..=50).unwrap().policy(policy).interval(S);
    spec.hold(5 * S).idle_to_zero(Duration::ZERO)
}

/// A fleet whose boot takes 20 s, so many of it up since a second, the rest silent.
struct Fleet {
    history: History,
    spec: PoolSpec,
    slots: u32,
    ready: u64,
    running: u32,
    release: &'static str,
    /// Since when each is up; none is silent.
    up: Vec<Option<i64>>,
}

impl Fleet {
    fn of(size: usize, policy: Policy) -> Self {
        let (history, spec) = (History::default(), spec(policy));
        Self { history, spec, slots: 1, ready: 0, running: 0, release: "v1", up: vec![Some(0); size] }
    }

    fn seen(&self, second: i64) -> Observation {
        let mut left = self.running;
        let members = self.up.iter().enumerate().map(|(i, up)| {
            let running = if up.is_some() { left.min(self.slots) } else { 0 };
            left -= running;
            Member {
                id: InstanceId::from(format!("worker.{}", i + 1)),
                ordinal: Some(i as u32 + 1),
                listed: true,
                ending: false,
                held: false,
                overdue: false,
                standing: if up.is_some() { Standing::Active } else { Standing::Booting },
                epoch: None,
                boots: Vec::new(),
                slots: up.map_or(0, |_| self.slots),
                running,
                oldest: None,
                born_at: None,
                started_at: up.map(at),
                drained_for: None,
                idle_for: None,
            }
        });
        Observation {
            at: at(second),
            platform_age: Duration::ZERO,
            demand: Demand { ready: self.ready, ..Demand::default() },
            workload: Workload::default(),
            members: members.collect(),
            vacant: Vec::new(),
            strays: 0,
            strangers: 0,
            desired: self.up.len() as u32,
            unlisted: 0,
            trouble: None,
            release: Some(self.release.into()),
            foreign: None,
            peers: Vec::new(),
            limits: Limits { boot: 20 * S, ..Limits::DEFAULT },
        }
    }

    fn tick(&mut self, second: i64) -> Decision {
        let seen = self.seen(second);
        self.history.learn(&self.spec, &seen);
        let decision = decide(&self.spec, &Ok(seen.clone()), &self.history, at(second));
        self.history.decided(&self.spec, &seen, &decision);
        decision
    }

    /// The release restarts all of it; what ran is given back.
    fn release(&mut self) {
        self.release = "v2";
        self.up.fill(None);
        self.ready += u64::from(std::mem::take(&mut self.running));
    }
}

#[test]
fn a_release_that_lands_when_the_pool_would_shrink_freezes_it_until_the_fleet_beats_again() {
    let mut fleet = Fleet::of(3, Policy::Linear);
    for second in 1..=5 {
        assert_eq!(fleet.tick(second).step, Step::Keep(3));
    }
    fleet.release();
    for second in 6..=15 {
        let frozen = fleet.tick(second);
        assert_eq!(frozen.step, Step::Keep(3), "{frozen}");
        assert!(matches!(frozen.reason, Reason::Release { .. }), "{frozen}");
        assert!(frozen.to_string().contains("release v2 is coming up"), "{frozen}");
    }
    fleet.up = vec![Some(14), Some(15), None];
    assert_eq!(fleet.tick(16).step, Step::Keep(3), "one is still silent");
    fleet.up[2] = Some(16);
    assert_eq!(fleet.tick(17).step, Step::Shrink { from: 3, to: 0 });
}

#[test]
fn a_fleet_that_still_runs_the_old_release_has_not_come_up() {
    let mut fleet = Fleet::of(2, Policy::Linear);
    (1..=5).for_each(|second| drop(fleet.tick(second)));
    // The platform tells of the release before it restarts anybody.
    fleet.release = "v2";
    assert_eq!(fleet.tick(6).step, Step::Keep(2));
    fleet.up = vec![Some(7), Some(7)];
    assert_eq!(fleet.tick(8).step, Step::Shrink { from: 2, to: 0 });
}

#[test]
fn it_is_waited_for_no_longer_than_a_boot_takes() {
    let mut fleet = Fleet::of(3, Policy::Linear);
    (1..=5).for_each(|second| drop(fleet.tick(second)));
    fleet.release();
    fleet.tick(6);
    fleet.up = vec![Some(10), Some(10), None];
    assert_eq!(fleet.tick(25).step, Step::Keep(3));
    assert_eq!(fleet.tick(26).step, Step::Shrink { from: 3, to: 1 }, "one boots, and cannot be drained");
}

#[test]
fn the_scaler_that_the_release_restarts_too_knows_of_it() {
    let mut fleet = Fleet::of(3, Policy::Linear);
    (1..=5).for_each(|second| drop(fleet.tick(second)));
    fleet.history = History::remembering(Memory::restore(&fleet.history.memory().to_json()));
    fleet.release();
    for second in 6..=25 {
        assert_eq!(fleet.tick(second).step, Step::Keep(3), "second {second}");
    }
}

#[test]
fn without_a_change_nothing_is_frozen() {
    for release in [None, Some("v1".to_owned())] {
        let mut rollout = Rollout::default();
        for second in 0..9 {
            let seen = Observation { release: release.clone(), ..Fleet::of(2, Policy::Linear).seen(second) };
            rollout.watch(&seen, 20 * S);
            assert_eq!(rollout.left(seen.at), None);
        }
    }
}

proptest! {
    /// Whatever waits and runs: that the whole fleet is silent calls for nobody whom the same jobs do not call for.
    #[test]
    fn a_release_is_no_reason_to_grow(
        size in 1usize..12, slots in 1u32..8, ready in 0u64..60, share in 0.0f64..=1.0,
        policy in prop::sample::select(Policy::ALL.to_vec()),
    ) {
        let mut fleet = Fleet { slots, ready, ..Fleet::of(size, policy) };
        fleet.running = (f64::from(size as u32 * slots) * share) as u32;
        (1..=4).for_each(|second| drop(fleet.tick(second)));
        let ready = ready + u64::from(fleet.running);
        let mut unhurt = Fleet { slots, ready, history: fleet.history.clone(), ..Fleet::of(size, policy) };
        fleet.release();
        for second in 5..=9 {
            let (silent, working) = (fleet.tick(second), unhurt.tick(second));
            let most = working.step.target().unwrap().max(size as u32);
            prop_assert!(silent.step.target().unwrap() <= most, "{silent}, and without a release {working}");
        }
    }
}
