//! Whom a plan is about, and a whole pool in a closed loop: decided, planned, done, second after second.

use chrono::TimeDelta;
use headcount_queue::{Binding, BootId};
use proptest::prelude::*;

use super::*;
use crate::{
    decide::{History, Step, decide},
    driver::Limits,
    observe::{Demand, Workload},
    pool::Policy,
};

const S: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits { boot: S, ..Limits::DEFAULT };
const MAX: u32 = 6;

fn at(second: u32) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::from(second))
}

fn spec() -> PoolSpec {
    let spec = PoolSpec::new("here", Binding::Any, 0..=MAX).unwrap();
    spec.policy(Policy::Linear).hold(5 * S).remove_after(3 * S).idle_to_zero(5 * S)
}

fn member(n: u32, standing: Standing, running: u32, idle_for: Option<Duration>) -> Member {
    Member {
        id: InstanceId::from(format!("i-{n:03}")),
        ordinal: Some(n),
        listed: true,
        ending: false,
        held: false,
        overdue: standing == Standing::Overdue,
        standing,
        epoch: matches!(standing, Standing::Drained | Standing::Leaving).then_some(7),
        boots: vec![BootId(i64::from(n))],
        slots: 1,
        running,
        oldest: (running > 0).then_some((JobId(1), S)),
        born_at: None,
        started_at: Some(at(n)),
        drained_for: None,
        idle_for,
    }
}

fn seen(second: u32, members: Vec<Member>) -> Observation {
    Observation {
        at: at(second),
        platform_age: Duration::ZERO,
        demand: Demand::default(),
        workload: Workload::default(),
        desired: members.iter().filter(|member| member.standing != Standing::Leaving).count() as u32,
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

fn planned(seen: &Observation, step: Step) -> Plan {
    let decision = Decision { step, wish: None, reason: crate::decide::Reason::KeepLast { left: S }, bound: None };
    plan(&spec(), seen, &decision, &mut Removals::default(), &mut GivenBack::default(), S)
}

fn numbers<'i>(ids: impl IntoIterator<Item = &'i InstanceId>) -> Vec<u32> {
    ids.into_iter().map(|id| id.as_str()[2..].parse().unwrap()).collect()
}

fn removed(plan: &Plan) -> Vec<u32> {
    numbers(plan.remove.iter().map(|(id, _)| id))
}

#[test]
fn growing_recalls_the_busiest_first_and_starts_only_the_rest() {
    use Standing::{Active, Drained, Withheld};
    let members = || {
        vec![
            member(1, Active, 1, None),
            member(2, Drained, 0, Some(S)),
            member(3, Drained, 2, None),
            member(4, Withheld, 0, None),
        ]
    };
    let one = planned(&seen(9, members()), Step::Grow { from: 1, to: 2 });
    assert_eq!((numbers(&one.recall), one.grow_to, numbers(&one.renew)), (vec![3], None, vec![2]));
    let all = planned(&seen(9, members()), Step::Grow { from: 1, to: 5 });
    assert_eq!((numbers(&all.recall), all.grow_to, all.renew.len()), (vec![3, 2], Some(6), 0));
}

#[test]
fn shrinking_drains_the_idlest_and_of_these_the_youngest_but_none_of_somebody_elses() {
    let mut foreign = member(9, Standing::Active, 0, None);
    foreign.listed = false;
    let members = [(1, 0), (2, 3), (3, 0), (4, 1)].map(|(n, running)| member(n, Standing::Active, running, None));
    let seen = seen(9, members.into_iter().chain([foreign]).collect());
    assert_eq!(numbers(&planned(&seen, Step::Shrink { from: 5, to: 2 }).drain), [3, 1, 4]);
}

#[test]
fn only_what_has_been_drained_and_idle_for_long_enough_is_removed() {
    use Standing::{Drained, Leaving, Withheld};
    let members = vec![
        member(1, Drained, 0, Some(3 * S)),
        member(2, Drained, 0, Some(2 * S)),
        member(3, Drained, 1, None),
        member(4, Withheld, 0, None),
        member(5, Leaving, 0, None),
    ];
    let plan = planned(&seen(9, members.clone()), Step::Keep(0));
    let mut renewed = numbers(&plan.renew);
    renewed.sort_unstable();
    assert_eq!((removed(&plan), renewed), (vec![1], vec![1, 2, 3]));
    // Who holds touches nobody, not even to renew a lease.
    assert_eq!(planned(&seen(9, members), Step::Hold), Plan { desired: 4, ..Plan::default() });
}

#[test]
fn what_the_platform_ends_gets_time_for_its_jobs_and_is_dismissed_once_it_is_shut_and_idle() {
    use Standing::Leaving;
    let held = |n, running, epoch| Member { ending: true, held: true, epoch, ..member(n, Leaving, running, None) };
    let gone = |n, epoch| Member { boots: Vec::new(), ..held(n, 0, epoch) };
    let members = vec![
        held(1, 1, None),
        held(2, 1, Some(7)),
        held(3, 0, None),
        held(4, 0, Some(7)),
        gone(5, None),
        gone(6, Some(7)),
        Member { held: false, ..held(7, 0, Some(7)) },
        member(8, Leaving, 0, None),
    ];
    // A decision to hold, or one about a pool that is paused, changes nothing about it.
    for step in [Step::Hold, Step::Keep(0)] {
        let plan = planned(&seen(9, members.clone()), step);
        assert_eq!(numbers(&plan.shut), [1, 2, 3, 4, 5, 6]);
        assert_eq!(numbers(&plan.extend), [1, 2]);
        assert_eq!(numbers(plan.dismiss.iter().map(|(id, _)| id)), [4, 6]);
        assert_eq!((plan.drain.len(), plan.remove.len(), plan.grow_to), (0, 0, None));
    }
    // A worker that does not say where it lives may live there.
    let plan = planned(&Observation { strays: 1, ..seen(9, members) }, Step::Hold);
    assert_eq!(numbers(plan.dismiss.iter().map(|(id, _)| id)), [4]);
}

#[test]
fn an_empty_instance_is_the_last_to_be_recalled() {
    let left = Member { boots: Vec::new(), ..member(1, Standing::Drained, 0, Some(S)) };
    let members = vec![left, member(2, Standing::Drained, 0, Some(9 * S))];
    assert_eq!(numbers(&planned(&seen(9, members), Step::Grow { from: 0, to: 1 }).recall), [2]);
}

/// One whose worker should have come up long ago.
fn silent(n: u32, standing: Standing, idle_for: Option<Duration>) -> Member {
    Member { boots: Vec::new(), overdue: true, ..member(n, standing, 0, idle_for) }
}

#[test]
fn an_instance_where_no_worker_comes_up_is_drained_though_none_is_surplus_and_is_never_recalled() {
    use Standing::{Active, Drained, Overdue};
    let there = |more: Member| seen(9, vec![member(1, Active, 1, None), more]);
    let lost = there(silent(2, Overdue, None));
    let plan = planned(&lost, Step::Grow { from: 1, to: 2 });
    assert_eq!((numbers(&plan.drain), plan.grow_to), (vec![2], Some(3)), "and it is replaced");
    assert_eq!(numbers(&planned(&lost, Step::Keep(1)).drain), [2]);
    // Once drained, it goes like any other, and does not come back for want of workers.
    let drained = there(silent(2, Drained, Some(3 * S)));
    let plan = planned(&drained, Step::Grow { from: 1, to: 2 });
    assert_eq!((removed(&plan), plan.recall.len(), plan.grow_to), (vec![2], 0, Some(3)));
}

#[test]
fn an_instance_without_a_worker_stays_while_one_might_live_there() {
    let lost = seen(9, vec![member(1, Standing::Active, 1, None), silent(2, Standing::Overdue, None)]);
    let drained = seen(9, vec![silent(2, Standing::Drained, Some(3 * S))]);
    let may = |seen: &Observation, reason: Reason, bound: Option<Bound>| {
        let decision = Decision { step: Step::Keep(1), wish: None, reason, bound };
        !plan(&spec(), seen, &decision, &mut Removals::default(), &mut GivenBack::default(), S).drain.is_empty()
    };
    let usual = || Reason::KeepLast { left: S };
    assert!(may(&lost, usual(), None));
    assert!(!may(&lost, usual(), Some(Bound::Paused(None))));
    assert!(!may(&lost, Reason::Release { release: "v2".into(), wish: 0, left: S }, None));
    assert!(!may(&Observation { platform_age: 61 * S, ..lost.clone() }, usual(), None));
    let with_stray = |seen: &Observation| Observation { strays: 1, ..seen.clone() };
    assert!(!may(&with_stray(&lost), usual(), None));
    assert_eq!(removed(&planned(&drained, Step::Keep(0))), [2]);
    assert_eq!(removed(&planned(&with_stray(&drained), Step::Keep(0))), [0; 0]);
}

/// The same on a platform that removes the highest numbers.
fn highest(second: u32, members: Vec<Member>) -> Observation {
    Observation { limits: Limits { removal: Removal::Highest, ..LIMITS }, ..seen(second, members) }
}

#[test]
fn where_the_highest_go_first_only_those_above_all_that_work_are_drained_for_want_of_a_worker() {
    use Standing::{Active, Booting, Drained, Overdue};
    let lost = |n| silent(n, Overdue, None);
    for (members, expected) in [
        (vec![member(1, Active, 0, None), lost(2), lost(3)], vec![2, 3]),
        (vec![lost(1), member(2, Active, 0, None), lost(3)], vec![3]),
        (vec![lost(1), member(2, Booting, 0, None)], vec![]),
        (vec![lost(1), member(2, Drained, 0, None)], vec![1]),
    ] {
        assert_eq!(numbers(&planned(&highest(9, members), Step::Keep(1)).drain), expected);
    }
}

#[test]
fn where_the_highest_go_first_only_the_unbroken_run_at_the_top_goes() {
    use Standing::{Active, Booting, Drained};
    let idle = |n| member(n, Drained, 0, Some(9 * S));
    for (members, expected) in [
        (vec![member(1, Active, 0, None), idle(2), idle(3)], vec![3, 2]),
        // One at work at the top: the idle ones below it cannot go.
        (vec![idle(1), idle(2), member(3, Drained, 1, None)], vec![]),
        (vec![idle(1), member(2, Active, 0, None), idle(3)], vec![3]),
        (vec![idle(1), member(2, Drained, 0, Some(S)), idle(3)], vec![3]),
        (vec![idle(1), idle(2), member(3, Booting, 0, None)], vec![]),
    ] {
        assert_eq!(removed(&planned(&highest(9, members.clone()), Step::Keep(0))), expected, "{members:?}");
    }
    // Asked for and not listed yet: it boots.
    let unlisted = Observation { desired: 4, unlisted: 1, ..highest(9, vec![idle(1), idle(2), idle(3)]) };
    assert_eq!(removed(&planned(&unlisted, Step::Keep(0))), [0; 0]);
}

#[test]
fn where_the_highest_go_first_they_are_drained_first_and_the_lowest_come_back_first() {
    use Standing::{Active, Drained};
    let all = (1..=4).map(|n| member(n, Active, u32::from(n == 4), None)).collect();
    assert_eq!(numbers(&planned(&highest(9, all), Step::Shrink { from: 4, to: 2 }).drain), [4, 3]);
    let drained = vec![member(1, Active, 1, None), member(2, Drained, 0, None), member(3, Drained, 2, None)];
    assert_eq!(numbers(&planned(&highest(9, drained), Step::Grow { from: 1, to: 2 }).recall), [2]);
}

#[test]
fn below_one_that_keeps_working_nothing_is_drained_and_the_drained_work() {
    use Standing::{Active, Drained};
    let long = |n, standing| Member { oldest: Some((JobId(5), 60 * S)), ..member(n, standing, 1, None) };
    let members =
        vec![member(1, Active, 0, None), member(2, Active, 0, None), long(3, Active), member(4, Active, 0, None)];
    let plan = planned(&highest(99, members), Step::Shrink { from: 4, to: 1 });
    assert_eq!(numbers(&plan.drain), [4]);
    assert_eq!(plan.blocked_by, Some(("i-003".into(), JobId(5), 60 * S)));
    // It is drained itself and works on: it stays so, and those below it are paid for.
    let members = vec![member(1, Drained, 0, Some(9 * S)), long(2, Drained), member(3, Drained, 0, Some(9 * S))];
    let plan = planned(&highest(99, members), Step::Keep(0));
    assert_eq!((numbers(&plan.recall), numbers(&plan.renew), removed(&plan)), (vec![1], vec![2, 3], vec![3]));
}

#[test]
fn where_nobody_knows_which_go_nothing_goes_before_everything_is_idle() {
    use Standing::{Active, Drained};
    let unknown = |members| Observation { limits: Limits { removal: Removal::Unknown, ..LIMITS }, ..seen(9, members) };
    let busy = vec![member(1, Active, 1, None), member(2, Active, 0, None)];
    let shrink = Step::Shrink { from: 2, to: 1 };
    assert_eq!(planned(&unknown(busy), shrink).drain, []);
    let idle = vec![member(1, Active, 0, None), member(2, Active, 0, None)];
    assert_eq!(planned(&unknown(idle), shrink).drain.len(), 2);
    let part = vec![member(1, Drained, 0, Some(9 * S)), member(2, Drained, 1, None)];
    assert_eq!(removed(&planned(&unknown(part), Step::Keep(0))), [0; 0]);
    let all = vec![member(1, Drained, 0, Some(9 * S)), member(2, Drained, 0, Some(9 * S))];
    assert_eq!(removed(&planned(&unknown(all), Step::Keep(0))), [1, 2]);
}

#[test]
fn a_leaving_one_stays_only_after_a_reading_that_shows_it_long_after_the_removal_was_sent() {
    let (spec, mut removals) = (spec(), Removals::default());
    let decision =
        Decision { step: Step::Keep(0), wish: None, reason: crate::decide::Reason::KeepLast { left: S }, bound: None };
    let stays = |removals: &mut Removals, second, ending| {
        let mut leaving = member(1, Standing::Leaving, 0, None);
        leaving.ending = ending;
        plan(&spec, &seen(second, vec![leaving]), &decision, removals, &mut GivenBack::default(), 20 * S).keep.len()
    };
    removals.sent(&[InstanceId::from("i-001")], at(100));
    assert_eq!(stays(&mut removals, 120, false), 0);
    assert_eq!(stays(&mut removals, 121, true), 0, "the platform is ending it");
    // Another life of the scaler sent it: it counts from here.
    assert_eq!(stays(&mut removals, 130, false), 0);
    assert_eq!(stays(&mut removals, 150, false), 0);
    assert_eq!(stays(&mut removals, 151, false), 1);
}

fn patient(timeout: Duration) -> PoolSpec {
    spec().rules(crate::decide::limits::Rules { drain_timeout: Some(timeout), ..Default::default() }).unwrap()
}

fn step(step: Step) -> Decision {
    Decision { step, wish: Some(0), reason: crate::decide::Reason::KeepLast { left: S }, bound: None }
}

#[test]
fn a_drain_that_takes_too_long_is_given_back_and_its_place_is_left_alone_for_as_long() {
    use Standing::{Active, Drained};
    let (spec, mut given_back) = (patient(30 * S), GivenBack::default());
    let mut tick = |second, standing, running, drained: u32, decided| {
        let place = Member { drained_for: Some(drained * S), ..member(1, standing, running, None) };
        let seen = seen(second, vec![place]);
        let plan = plan(&spec, &seen, &step(decided), &mut Removals::default(), &mut given_back, S);
        assert_eq!(numbers(&plan.given_back), numbers(&plan.recall));
        (numbers(&plan.recall), numbers(&plan.renew), numbers(&plan.drain))
    };
    let (keep, shrink) = (Step::Keep(0), Step::Shrink { from: 1, to: 0 });
    assert_eq!(tick(100, Drained, 1, 29, keep), (vec![], vec![1], vec![]), "it may take so long");
    assert_eq!(tick(101, Drained, 0, 40, keep), (vec![], vec![1], vec![]), "it works no more, and is about to go");
    assert_eq!(tick(102, Drained, 1, 30, keep), (vec![1], vec![], vec![]));
    for second in 103..132 {
        assert_eq!(tick(second, Active, 1, 0, shrink), (vec![], vec![], vec![]), "second {second}");
    }
    assert_eq!(tick(132, Active, 1, 0, shrink), (vec![], vec![], vec![1]));
}

#[test]
fn where_the_highest_go_first_nothing_below_a_place_that_was_given_back_is_drained() {
    use Standing::{Active, Drained};
    let (spec, mut given_back) = (patient(30 * S), GivenBack::default());
    let idle = |n| Member { drained_for: Some(9 * S), ..member(n, Drained, 0, Some(S)) };
    let vain = Member { drained_for: Some(60 * S), ..member(2, Drained, 1, None) };
    let seen = highest(99, vec![idle(1), vain, idle(3)]);
    let plan = plan(&spec, &seen, &step(Step::Keep(0)), &mut Removals::default(), &mut given_back, S);
    assert_eq!(
        (numbers(&plan.given_back), numbers(&plan.recall), numbers(&plan.renew)),
        (vec![2], vec![2, 1], vec![3])
    );
    let seen = highest(100, (1..=3).map(|n| member(n, Active, u32::from(n == 2), None)).collect());
    let shrink = step(Step::Shrink { from: 3, to: 0 });
    let plan = super::plan(&spec, &seen, &shrink, &mut Removals::default(), &mut given_back, S);
    assert_eq!((numbers(&plan.drain), plan.blocked_by.map(|(by, ..)| by)), (vec![3], Some("i-002".into())));
}

/// A pool of workers with one slot each, its platform and its queue.
#[derive(Debug, Default)]
struct World {
    now: u32,
    workers: Vec<Worker>,
    ready: u64,
    started: u32,
    history: History,
    removals: Removals,
    given_back: GivenBack,
    /// Whether its platform removes the highest numbers.
    highest: bool,
}

#[derive(Debug, Clone)]
struct Worker {
    n: u32,
    /// Up from this second.
    up_at: u32,
    drained: bool,
    /// Busy until this second.
    busy_until: u32,
    idle_since: Option<u32>,
}

impl World {
    fn observe(&mut self) -> Observation {
        let now = self.now;
        let members = self.workers.iter_mut().map(|worker| {
            let (running, idle) = (u32::from(worker.busy_until > now), worker.drained && worker.busy_until <= now);
            worker.idle_since = idle.then(|| worker.idle_since.unwrap_or(now));
            let standing = match (worker.up_at > now, worker.drained) {
                (true, _) => Standing::Booting,
                (false, true) => Standing::Drained,
                (false, false) => Standing::Active,
            };
            let idle_for = worker.idle_since.map(|since| S * (now - since));
            member(worker.n, standing, running, idle_for)
        });
        let mut seen = seen(now, members.collect());
        seen.demand.ready = self.ready;
        seen
    }

    /// One second: jobs arrive, workers claim, the scaler looks and acts. A blind one sees nothing.
    fn tick(&mut self, arrivals: u64, job: u32, blind: bool) -> Plan {
        self.now += 1;
        self.ready += arrivals;
        let now = self.now;
        for worker in self.workers.iter_mut().filter(|w| !w.drained && w.up_at <= now && w.busy_until <= now) {
            if self.ready > 0 {
                self.ready -= 1;
                worker.busy_until = now + job;
            }
        }
        let mut seen = self.observe();
        if self.highest {
            seen.limits.removal = Removal::Highest;
        }
        let before = self.workers.len() as u32;
        let view = if blind { Err(crate::observe::Unseen::Store("gone".into())) } else { Ok(seen.clone()) };
        let decision = decide(&spec(), &view, &self.history, at(now));
        let plan = plan(&spec(), &seen, &decision, &mut self.removals, &mut self.given_back, 20 * S);
        match decision.wish {
            Some(wish) => self.history.note(wish, self.ready > 0 || seen.running() > 0, 5 * S, at(now)),
            None => self.history.lost_sight(),
        }
        for worker in &mut self.workers {
            worker.drained &= !numbers(&plan.recall).contains(&worker.n);
            worker.drained |= numbers(&plan.drain).contains(&worker.n);
        }
        let named = removed(&plan);
        if self.highest {
            // It takes a number only, and whatever stands above it goes.
            let size = before - named.len() as u32;
            let goes = |worker: &Worker| worker.n > size;
            assert!(self.workers.iter().filter(|w| goes(w)).all(|w| named.contains(&w.n)), "{:?}", self.workers);
            self.workers.retain(|worker| !goes(worker));
        } else {
            self.workers.retain(|worker| !named.contains(&worker.n));
        }
        for _ in self.workers.len() as u32..plan.grow_to.unwrap_or_default() {
            self.started += 1;
            let n = if self.highest { self.workers.len() as u32 + 1 } else { self.started };
            self.workers.push(Worker { n, up_at: now + 3, drained: false, busy_until: 0, idle_since: None });
        }
        plan
    }
}

proptest! {
    #[test]
    fn a_pool_in_the_loop_kills_nothing_orders_once_and_comes_to_rest(
        load in prop::collection::vec((0u64..4, 1u32..12, prop::bool::weighted(0.1)), 1..120),
        highest: bool,
    ) {
        let mut world = World { highest, ..World::default() };
        for &(arrivals, job, blind) in &load {
            let before = world.workers.clone();
            let plan = world.tick(arrivals, job, blind);
            prop_assert!(world.workers.len() as u32 <= MAX, "more than max exist");
            for n in removed(&plan) {
                let removed = before.iter().find(|worker| worker.n == n).unwrap();
                prop_assert!(removed.drained && removed.busy_until <= world.now, "removed at work: {removed:?}");
            }
            if blind {
                prop_assert_eq!(plan, Plan { desired: before.len() as u32, run: highest, ..Plan::default() });
            } else {
                // Whatever boots has work that asked for it, so nothing is ordered twice.
                let demand = world.ready + world.workers.iter().filter(|w| w.busy_until > world.now).count() as u64;
                let grown = plan.grow_to.map_or(0, |size| u64::from(size) - before.len() as u64);
                let there = before.iter().filter(|worker| !worker.drained).count() as u64;
                prop_assert!(grown == 0 || there + grown <= demand, "ordered {grown} for {demand}");
            }
        }
        // Once nothing arrives, everything is done and the pool is empty.
        for _ in 0..200 {
            world.tick(0, 1, false);
        }
        prop_assert_eq!((world.ready, world.workers.len()), (0, 0));
    }

    #[test]
    fn a_steady_load_changes_nothing(busy in 0u32..=MAX, seconds in 30u32..200) {
        let mut world = World::default();
        // As many long jobs as there are workers, for ever.
        world.tick(u64::from(busy), 1_000_000, false);
        for _ in 0..20 {
            world.tick(0, 1_000_000, false);
        }
        for _ in 0..seconds {
            let plan = world.tick(0, 1_000_000, false);
            prop_assert_eq!(plan, Plan { desired: busy, ..Plan::default() });
        }
        prop_assert_eq!(world.started, busy);
    }
}
