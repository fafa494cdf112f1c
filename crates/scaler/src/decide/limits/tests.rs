//! Each limit by itself, their order, and what holds whatever happens.

use chrono::TimeDelta;
use headcount_queue::Binding;
use proptest::prelude::*;

use super::{orders::Override, *};
use crate::{
    act::{GivenBack, Removals, plan},
    decide::{Decision, History, Step, decide},
    driver::{Applied, Change, DriverError, InstanceId, Limits, PoolRef},
    observe::{Demand, Member, source::Backlog},
    schedule::{Entry, Schedule, Timezone},
};

const S: Duration = Duration::from_secs(1);

/// Noon, plus so many seconds.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-03-02T12:00:00Z").unwrap().with_timezone(&Utc) + TimeDelta::seconds(seconds)
}

fn spec(min: u32, max: u32, rules: Rules) -> PoolSpec {
    let spec = PoolSpec::new("here", Binding::Any, min..=max)
        .unwrap()
        .policy(crate::Policy::Linear)
        .hold(S)
        .idle_to_zero(Duration::ZERO);
    spec.rules(rules).unwrap()
}

/// A pool whose workers are idle, with so many ready jobs.
fn seen(ready: u64, active: u32, now: DateTime<Utc>) -> Observation {
    let member = |i| Member {
        ordinal: None,
        epoch: None,
        oldest: None,
        born_at: None,
        id: InstanceId::from(format!("i-{i}")),
        listed: true,
        ending: false,
        held: false,
        overdue: false,
        standing: Standing::Active,
        boots: Vec::new(),
        slots: 1,
        running: 0,
        started_at: None,
        drained_for: None,
        idle_for: None,
    };
    Observation {
        at: now,
        vacant: Vec::new(),
        strays: 0,
        strangers: 0,
        workload: crate::observe::Workload::default(),
        platform_age: Duration::ZERO,
        demand: Demand { ready, ..Demand::default() },
        desired: active,
        members: (0..active).map(member).collect(),
        unlisted: 0,
        trouble: None,
        release: None,
        foreign: None,
        peers: Vec::new(),
        limits: Limits::DEFAULT,
    }
}

/// A past of ten seconds without a wish, so that nothing but the limits keeps a pool from shrinking.
fn quiet(now: DateTime<Utc>) -> History {
    let mut history = History::default();
    for second in 0..10 {
        history.note(0, false, Duration::from_mins(1), now - TimeDelta::seconds(10 - second));
    }
    history
}

/// A pool over time: its state, and what it is given at each tick.
struct Pool {
    spec: PoolSpec,
    state: State,
    orders: Orders,
    connections: Option<Connections>,
    flow: Option<Flow>,
    foreign: Option<Backlog>,
    now: DateTime<Utc>,
    size: u32,
}

impl Pool {
    fn new(min: u32, max: u32, rules: Rules) -> Self {
        let spec = spec(min, max, rules);
        let (state, orders) = (State::default(), Orders::default());
        Self { spec, state, orders, connections: None, flow: None, foreign: None, now: at(0), size: 0 }
    }

    /// One tick, `seconds` after the last, with so many ready jobs; what is decided is done.
    fn tick(&mut self, seconds: i64, ready: u64) -> Decision {
        let decision = self.look(seconds, ready);
        match decision.step {
            Step::Grow { to, .. } => self.grown(to),
            Step::Shrink { to, .. } => {
                self.state.drained(self.now);
                self.removed(to);
            }
            _ => {}
        }
        decision
    }

    /// The same, and nothing is done.
    fn look(&mut self, seconds: i64, ready: u64) -> Decision {
        self.now += TimeDelta::seconds(seconds);
        let inputs = Inputs {
            now: self.now,
            platform_age: Duration::ZERO,
            current: self.size,
            instances: self.size,
            price: self.spec.rules_in_force().price,
            desired: Some(self.size),
            flow: self.flow,
            connections: self.connections,
            foreign: self.foreign,
            orders: &self.orders,
        };
        self.state.observe(&self.spec, &inputs);
        let seen = Ok(seen(ready, self.size, self.now));
        bounded(&self.spec, &self.state, &inputs, |spec| decide(spec, &seen, &quiet(self.now), self.now))
    }

    fn grown(&mut self, size: u32) {
        let answer = Ok(Applied { desired: size, changed: size != self.size });
        self.state.asked(&Change::GrowTo { pool: PoolRef::from("here"), size }, &answer, self.now);
        self.size = size;
    }

    fn removed(&mut self, size: u32) {
        let change = Change::Remove { pool: PoolRef::from("here"), instances: Vec::new(), size };
        self.state.asked(&change, &Ok(Applied { desired: size, changed: true }), self.now);
        self.size = size;
    }
}

#[test]
fn without_rules_nothing_is_limited() {
    let mut pool = Pool::new(0, 8, Rules::default());
    for (ready, size) in [(5, 5), (20, 8), (0, 0), (1, 1)] {
        pool.tick(5, ready);
        assert_eq!(pool.size, size);
    }
}

#[test]
fn a_pool_cools_down_after_what_was_really_done() {
    let rules = Rules { grow_cooldown: 30 * S, shrink_cooldown: 60 * S, ..Rules::default() };
    let mut pool = Pool::new(0, 8, rules);
    assert_eq!(pool.tick(0, 2).step, Step::Grow { from: 0, to: 2 });
    let early = pool.tick(10, 4);
    assert_eq!((early.step, early.bound), (Step::Keep(2), Some(Bound::GrowCooldown(20 * S))));
    assert_eq!(pool.tick(20, 4).step, Step::Grow { from: 2, to: 4 });
    let early = pool.tick(59, 0);
    assert_eq!((early.step, early.bound), (Step::Keep(4), Some(Bound::ShrinkCooldown(S))));
    assert_eq!(pool.tick(1, 0).step, Step::Shrink { from: 4, to: 0 });
}

#[test]
fn a_refused_a_lost_and_an_empty_call_start_no_cool_down() {
    let rules = Rules { grow_cooldown: 30 * S, ..Rules::default() };
    let change = Change::GrowTo { pool: PoolRef::from("here"), size: 4 };
    for answer in [
        Err(DriverError::Refused("quota".into())),
        Err(DriverError::Unavailable("503".into())),
        Err(DriverError::Unknown("timeout".into())),
        Ok(Applied { desired: 4, changed: false }),
    ] {
        let mut pool = Pool::new(0, 8, rules.clone());
        pool.state.asked(&change, &answer, pool.now);
        assert_eq!(pool.look(1, 4).step, Step::Grow { from: 0, to: 4 }, "{answer:?}");
    }
}

#[test]
fn a_pool_changes_by_steps() {
    let rules = Rules { grow_step: Some(3), shrink_step: Some(2), ..Rules::default() };
    let mut pool = Pool::new(0, 8, rules);
    let sizes: Vec<u32> = [9, 9, 9, 0, 0, 0, 0].map(|ready| (pool.tick(5, ready), pool.size).1).into();
    assert_eq!(sizes, [3, 6, 8, 6, 4, 2, 0]);
    assert_eq!(pool.look(5, 9).bound, Some(Bound::GrowStep(3)));
}

#[test]
fn a_small_change_is_not_made_and_the_last_worker_goes_all_the_same() {
    let rules = Rules { tolerance: Share::new(0.25).unwrap(), ..Rules::default() };
    let mut pool = Pool::new(0, 20, rules);
    pool.size = 8;
    let small = pool.look(5, 9);
    assert_eq!((small.step, small.bound), (Step::Keep(8), Some(Bound::Tolerance(Share::new(0.25).unwrap()))));
    assert_eq!(pool.look(5, 7).step, Step::Keep(8));
    assert_eq!(pool.look(5, 10).step, Step::Grow { from: 8, to: 10 });
    pool.size = 1;
    assert_eq!(pool.look(5, 0).step, Step::Shrink { from: 1, to: 0 });
}

#[test]
fn the_way_back_into_the_range_is_not_slowed() {
    let rules = Rules {
        grow_cooldown: 60 * S,
        shrink_cooldown: 60 * S,
        grow_step: Some(1),
        shrink_step: Some(1),
        tolerance: Share::new(0.9).unwrap(),
        ..Rules::default()
    };
    let mut pool = Pool::new(3, 5, rules);
    pool.state.changes = pace::Changes { grew_at: Some(at(0)), changed_at: Some(at(0)) };
    let up = pool.look(1, 9);
    assert_eq!(up.step, Step::Grow { from: 0, to: 3 }, "up to its min, and no further: {up}");
    pool.size = 9;
    assert_eq!(pool.look(1, 0).step, Step::Shrink { from: 9, to: 5 }, "down to its max, and no further");
}

fn office() -> Schedule {
    let entry = |cron, min, max| Entry::new(cron, min, max).unwrap();
    let entries = vec![entry("0 8 * * *", Some(4), Some(6)), entry("0 19 * * *", Some(0), None)];
    Schedule::new(Timezone::default(), entries)
}

#[test]
fn the_schedules_bounds_hold_instead_of_the_pools_and_orders_instead_of_both() {
    let mut pool = Pool::new(1, 8, Rules { schedule: office(), ..Rules::default() });
    let noon = pool.look(0, 0);
    assert_eq!((noon.step, noon.bound), (Step::Grow { from: 0, to: 4 }, Some(Bound::ScheduledMin(4))));
    assert_eq!(pool.look(0, 9).bound, Some(Bound::ScheduledMax(6)));
    let until = Some(at(3600));
    pool.orders.bounds = Some(Override { min: None, max: Some(12), until });
    let ordered = pool.look(0, 20);
    assert_eq!((ordered.step, ordered.bound), (Step::Grow { from: 0, to: 12 }, Some(Bound::OrderedMax(12, until))));
    assert_eq!(pool.look(0, 0).step.target(), Some(4), "the schedule's min stays");
    assert_eq!(pool.look(3600, 20).step.target(), Some(6), "an order ends");
    // In the evening.
    assert_eq!((pool.look(7 * 3600, 0).step, pool.look(0, 20).step.target()), (Step::Keep(0), Some(8)));
}

#[test]
fn a_min_that_is_ordered_stays_below_the_max_unless_that_is_ordered_too() {
    let mut pool = Pool::new(0, 4, Rules::default());
    pool.orders.bounds = Some(Override { min: Some(6), max: None, until: None });
    assert_eq!(pool.look(0, 0).step.target(), Some(4));
    pool.orders.bounds = Some(Override { min: Some(6), max: Some(6), until: None });
    assert_eq!(pool.look(0, 0).step.target(), Some(6));
    assert!(Override::default().check().is_err());
    assert!(Override { min: Some(2), max: Some(1), until: None }.check().is_err());
}

#[test]
fn a_paused_pool_keeps_its_size_whatever_else_is_said() {
    let mut pool = Pool::new(0, 8, Rules::default());
    pool.size = 3;
    pool.connections = Some(Connections::of(0));
    pool.orders.bounds = Some(Override { min: Some(5), max: Some(5), until: None });
    pool.orders.pause = Some(orders::Pause { until: Some(at(60)) });
    for ready in [0, 20] {
        let paused = pool.look(5, ready);
        assert_eq!((paused.step, paused.bound), (Step::Keep(3), Some(Bound::Paused(Some(at(60))))));
    }
    assert_ne!(pool.look(60, 0).step, Step::Keep(3), "a pause ends");
}

#[test]
fn a_raise_by_hand_is_a_floor_for_a_while() {
    let mut pool = Pool::new(0, 8, Rules::default());
    pool.tick(0, 2);
    pool.look(100, 2);
    // Somebody scales to 5 on the platform.
    pool.size = 5;
    let raised = pool.look(5, 0);
    let until = at(105 + 30 * 60);
    assert_eq!((raised.step, raised.bound), (Step::Keep(5), Some(Bound::RaisedByHand { size: 5, until })));
    assert_eq!(pool.look(5, 7).step, Step::Grow { from: 5, to: 7 }, "it is no ceiling");
    assert_eq!(pool.look(29 * 60, 0).step, Step::Keep(5));
    assert_eq!(pool.look(60, 0).step, Step::Shrink { from: 5, to: 0 });

    let mut pool = Pool::new(0, 8, Rules { respect_manual: Duration::ZERO, ..Rules::default() });
    pool.look(0, 0);
    pool.size = 5;
    assert_eq!(pool.look(5, 0).step, Step::Shrink { from: 5, to: 0 }, "nobody's hand is respected");
}

#[test]
fn a_raise_by_hand_stays_within_max() {
    let mut pool = Pool::new(0, 4, Rules::default());
    pool.look(0, 0);
    pool.size = 9;
    let raised = pool.look(5, 0);
    assert_eq!((raised.step, raised.bound), (Step::Shrink { from: 9, to: 4 }, Some(Bound::Max(4))));
}

#[test]
fn a_drop_by_hand_is_undone_only_when_the_work_needs_it_and_that_is_said() {
    let mut pool = Pool::new(0, 8, Rules::default());
    pool.tick(0, 6);
    pool.look(100, 6);
    pool.size = 2;
    let accepted = pool.look(5, 2);
    assert_eq!((accepted.step, accepted.bound), (Step::Keep(2), None));
    let undone = pool.look(5, 6);
    assert_eq!(
        (undone.step, undone.bound),
        (Step::Grow { from: 2, to: 6 }, Some(Bound::LoweredByHand { from: 6, to: 2 }))
    );
    assert!(undone.to_string().contains("undoes that it was lowered from 6 to 2 by hand"), "{undone}");
}

#[test]
fn what_the_scaler_asked_for_itself_is_nobodys_hand_however_late_it_shows() {
    let mut pool = Pool::new(0, 8, Rules::default());
    pool.tick(0, 2);
    let grow = |size| Change::GrowTo { pool: PoolRef::from("here"), size };
    // The platform takes it and shows the old size for a while.
    pool.state.asked(&grow(6), &Ok(Applied { desired: 6, changed: true }), pool.now);
    assert_eq!(pool.look(20, 2).bound, None);
    pool.size = 6;
    assert_eq!(pool.look(5, 0).step, Step::Shrink { from: 6, to: 0 }, "six was asked for: no floor");
    // It does not say whether it took it, and does so a minute later.
    pool.state.asked(&grow(8), &Err(DriverError::Unknown("timeout".into())), pool.now);
    assert_eq!(pool.look(70, 6).bound, None);
    pool.size = 8;
    assert_eq!(pool.look(5, 0).step, Step::Shrink { from: 8, to: 0 });
}

fn budget(budget: f64) -> Rules {
    Rules { price: Money::new(1.0), budget: Money::new(budget), ..Rules::default() }
}

#[test]
fn a_spent_budget_brings_the_pool_to_its_min_until_the_day_ends() {
    let timezone = Timezone::named("Europe/Berlin").unwrap();
    let schedule = Schedule::new(timezone, Vec::new());
    let mut pool = Pool::new(1, 8, Rules { schedule, ..budget(4.0) });
    pool.tick(0, 4);
    assert_eq!(pool.tick(3599, 4).step, Step::Keep(4));
    pool.flow = Some(Flow::default());
    let spent = pool.tick(1, 4);
    assert_eq!(spent.step, Step::Shrink { from: 4, to: 1 });
    let Some(Bound::Budget { until, .. }) = spent.bound else { panic!("{spent}") };
    assert_eq!(until, at(11 * 3600), "midnight in Berlin");
    // It wins over what is set by hand, and says what it costs.
    pool.size = 5;
    pool.flow = Some(Flow { started: 40, late: 10, ..Flow::default() });
    let told = pool.tick(0, 20);
    assert_eq!(told.step, Step::Shrink { from: 5, to: 1 });
    assert!(
        told.to_string().ends_with(
            "(the day's budget of 4.00 is spent (4.00) until 2026-03-02 23:00 UTC; 25.0 % of the 40 jobs started since \
             were late)"
        ),
        "{told}"
    );
    assert_eq!(pool.tick(9 * 3600 + 3599, 20).step, Step::Keep(1));
    let fresh = pool.tick(1, 4);
    assert_eq!(fresh.step, Step::Grow { from: 1, to: 4 }, "a new day: {fresh}");
}

#[test]
fn a_spent_budget_takes_the_last_worker_though_jobs_wait() {
    let mut pool = Pool::new(0, 8, budget(1.0));
    pool.spec = pool.spec.idle_to_zero(Duration::from_hours(1));
    pool.size = 1;
    pool.look(0, 1);
    let mut history = quiet(at(3600));
    history.note(1, true, Duration::from_mins(1), at(3598));
    pool.now = at(3600);
    let orders = Orders::default();
    let inputs = Inputs {
        now: pool.now,
        platform_age: Duration::ZERO,
        current: 1,
        instances: 1,
        price: pool.spec.rules_in_force().price,
        desired: None,
        flow: None,
        connections: None,
        foreign: None,
        orders: &orders,
    };
    pool.state.observe(&pool.spec, &inputs);
    let seen = Ok(seen(5, 1, pool.now));
    let decision = bounded(&pool.spec, &pool.state, &inputs, |spec| decide(spec, &seen, &history, pool.now));
    assert_eq!(decision.step, Step::Shrink { from: 1, to: 0 }, "{decision}");
}

#[test]
fn a_spent_budget_lowers_the_wish_and_ends_nobody_at_work() {
    let mut pool = Pool::new(1, 8, budget(1.0));
    pool.size = 4;
    pool.look(0, 4);
    pool.now = at(3600);
    let orders = Orders::default();
    let inputs = Inputs {
        now: pool.now,
        platform_age: Duration::ZERO,
        current: 4,
        instances: 4,
        price: pool.spec.rules_in_force().price,
        desired: Some(4),
        flow: None,
        connections: None,
        foreign: None,
        orders: &orders,
    };
    pool.state.observe(&pool.spec, &inputs);
    let mut seen = seen(9, 4, pool.now);
    for member in &mut seen.members {
        member.running = 1;
    }
    let seen = Ok(seen);
    let decision = bounded(&pool.spec, &pool.state, &inputs, |spec| decide(spec, &seen, &quiet(pool.now), pool.now));
    let plan = plan(
        &pool.spec,
        seen.as_ref().unwrap(),
        &decision,
        &mut Removals::default(),
        &mut GivenBack::default(),
        Duration::ZERO,
    );
    assert_eq!(
        (plan.drain.len(), plan.remove.len(), plan.grow_to),
        (3, 0, None),
        "drained, and not removed: {decision}"
    );
}

#[test]
fn spending_counts_what_exists_and_yesterday_is_yesterdays() {
    let mut pool = Pool::new(0, 8, budget(100.0));
    pool.size = 3;
    pool.look(0, 3);
    // Nobody looked for an hour, and then there are two.
    pool.size = 2;
    pool.look(3600, 2);
    assert_eq!(pool.state.spent(Money::new(1.0).unwrap()).to_string(), "3.00");
    // From noon and an hour to one in the night: only the last hour is of the new day.
    pool.look(12 * 3600, 2);
    assert_eq!(pool.state.spent(Money::new(1.0).unwrap()).to_string(), "2.00");
}

#[test]
fn a_pool_grows_no_further_than_the_databases_connections() {
    for (server, others, workers) in [(100, 0, 26), (100, 60, 6), (20, 0, 5), (3, 0, 0), (10, 99, 0)] {
        let connections = Connections { others, ..Connections::of(server) };
        assert_eq!(connections.workers(), workers, "{connections}");
    }
    let mut pool = Pool::new(2, 20, Rules::default());
    pool.connections = Some(Connections::of(20));
    let capped = pool.tick(0, 20);
    assert_eq!(capped.step, Step::Grow { from: 0, to: 5 });
    assert!(
        capped.to_string().ends_with(
            "(at most 5, for each uses 3 of the database's 20 connections, and 20 % stay for the application)"
        ),
        "{capped}"
    );
    // Even below its min, and what is too much is drained.
    pool.connections = Some(Connections::of(4));
    assert_eq!(pool.tick(5, 20).step, Step::Shrink { from: 5, to: 1 });
}

/// A pool whose jobs take `run` seconds, whose workers are all busy, and which together finish at most `most` in a
/// second. It grows by two whenever it may, for so long. Returns its size, and the last bound.
fn grow_under(most: f64, run: f64, minutes: i64) -> (u32, Option<Bound>) {
    let mut pool = Pool::new(2, 40, Rules { grow_step: Some(2), grow_cooldown: 60 * S, ..Rules::default() });
    let run_time = Some(Duration::from_secs_f64(run));
    let (mut finished, mut bound) = (0.0, None);
    pool.size = 2;
    for _ in 0..minutes * 12 {
        finished += 5.0 * (f64::from(pool.size) / run).min(most);
        pool.flow = Some(Flow { finished: finished as u64, busy: pool.size, run_time, boot: S, ..Flow::default() });
        bound = pool.tick(5, 1000).bound;
    }
    (pool.size, bound)
}

#[test]
fn growth_that_helps_goes_on() {
    assert_eq!(grow_under(f64::INFINITY, 1.0, 60).0, 40);
    assert_eq!(grow_under(f64::INFINITY, 30.0, 60).0, 40);
}

#[test]
fn growth_that_does_not_help_is_stopped_and_said() {
    // Four workers finish as much as any number.
    let (size, bound) = grow_under(4.0, 1.0, 60);
    assert!((10..30).contains(&size), "{size}");
    let bound = bound.unwrap();
    assert!(matches!(bound, Bound::Futile { .. }), "{bound}");
    assert!(bound.to_string().starts_with("the work is not short of workers"), "{bound}");
}

#[test]
fn few_finishes_are_no_verdict() {
    // One job in five minutes: nobody can tell.
    assert_eq!(grow_under(1.0 / 300.0, 1.0, 120).0, 40);
}

#[test]
fn a_pool_that_cannot_be_drained_shrinks_only_when_nothing_waits_or_runs() {
    let backlog = |pending, running| Backlog { pending, oldest: None, running };
    let mut pool = Pool::new(0, 3, budget(1.0));
    pool.size = 5;
    pool.look(0, 0);
    // Too many for its max, and the budget is spent.
    for (pending, running, step) in [
        (0, Some(1), Step::Keep(5)),
        (1, Some(0), Step::Keep(5)),
        (0, None, Step::Keep(5)),
        (0, Some(0), Step::Shrink { from: 5, to: 0 }),
    ] {
        pool.foreign = Some(backlog(pending, running));
        let decision = pool.look(1200, 0);
        assert_eq!(decision.step, step, "{decision}");
        let said = decision.to_string().contains("without heartbeats no worker can be drained");
        assert_eq!(said, step == Step::Keep(5), "{decision}");
    }
}

#[test]
fn a_state_outlives_its_scaler_and_a_broken_one_begins_anew() {
    let mut pool = Pool::new(0, 8, Rules { grow_cooldown: 60 * S, ..budget(9.0) });
    pool.flow = Some(Flow { finished: 3, run_time: Some(S), ..Flow::default() });
    pool.tick(0, 4);
    pool.tick(30, 4);
    let text = pool.state.save();
    assert_eq!(State::load(&text, pool.now), (pool.state.clone(), None));
    pool.state = State::load(&text, pool.now).0;
    assert_eq!(pool.look(0, 8).bound, Some(Bound::GrowCooldown(30 * S)));

    let later = text.replace("\"version\":1", "\"version\":2");
    for (broken, now) in [
        ("", pool.now),
        ("null", pool.now),
        ("{}", pool.now),
        (&text[..text.len() / 2], pool.now),
        (later.as_str(), pool.now),
        // The clock was an hour ahead when this was written.
        (text.as_str(), pool.now - TimeDelta::hours(1)),
    ] {
        let (state, why) = State::load(broken, now);
        assert_eq!(state, State::default(), "{broken}");
        assert!(why.unwrap().starts_with("the saved state of the limits"));
    }
}

#[test]
fn the_stronger_rule_wins() {
    // All at once: the schedule says 4 to 6, a hand 5, the budget is spent, and three workers' connections fit.
    let mut pool = Pool::new(1, 8, Rules { schedule: office(), ..budget(1.0) });
    let range = |pool: &mut Pool| {
        pool.look(0, 0);
        let inputs = Inputs {
            now: pool.now,
            platform_age: Duration::ZERO,
            current: pool.size,
            instances: pool.size,
            price: pool.spec.rules_in_force().price,
            desired: Some(pool.size),
            flow: pool.flow,
            connections: pool.connections,
            foreign: None,
            orders: &pool.orders,
        };
        let range = Range::of(&pool.spec, &pool.state, &inputs);
        (range.low, range.low_by.to_string(), range.high, range.high_by.to_string())
    };
    let begins = |found: (u32, String, u32, String), low: (u32, &str), high: (u32, &str)| {
        assert_eq!((found.0, found.2), (low.0, high.0), "{found:?}");
        assert!(found.1.starts_with(low.1) && found.3.starts_with(high.1), "{found:?}");
    };
    pool.size = 3;
    begins(range(&mut pool), (4, "at least 4 by the schedule"), (6, "at most 6 by the schedule"));
    pool.size = 5;
    begins(range(&mut pool), (5, "raised to 5 by hand"), (6, "at most 6 by the schedule"));
    pool.orders.bounds = Some(Override { min: Some(2), max: Some(7), until: None });
    begins(range(&mut pool), (5, "raised to 5 by hand"), (7, "at most 7 by order"));
    pool.look(1200, 0);
    begins(range(&mut pool), (2, "the day's budget"), (2, "the day's budget"));
    pool.connections = Some(Connections::of(5));
    begins(range(&mut pool), (1, "at most 1, for each uses 3"), (1, "at most 1, for each uses 3"));
    pool.orders.pause = Some(orders::Pause::default());
    begins(range(&mut pool), (5, "paused"), (5, "paused"));
}

/// Something that happens between two ticks.
#[derive(Debug, Clone)]
enum Event {
    Ready(u64),
    ByHand(u32),
    Connections(Option<u32>),
    Bounds(Option<(Option<u32>, Option<u32>)>),
    Flow(u64, u64),
    Pass(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0u64..40).prop_map(Event::Ready),
        (0u32..12).prop_map(Event::ByHand),
        prop::option::of(0u32..60).prop_map(Event::Connections),
        prop::option::of((prop::option::of(0u32..10), prop::option::of(0u32..10))).prop_map(Event::Bounds),
        (0u64..200, 0u64..10).prop_map(|(finished, late)| Event::Flow(finished, late)),
        (1i64..20_000).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..40)
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let length = || prop_oneof![Just(0u64), 1u64..600].prop_map(Duration::from_secs);
    let step = || prop::option::of(1u32..5);
    let schedule = prop_oneof![Just(Schedule::default()), Just(office())];
    (length(), length(), step(), step(), 0.0f64..0.9, schedule, prop::option::of(0.5f64..40.0), length()).prop_map(
        |(grow_cooldown, shrink_cooldown, grow_step, shrink_step, tolerance, schedule, budget, respect_manual)| Rules {
            grow_cooldown,
            shrink_cooldown,
            grow_step,
            shrink_step,
            tolerance: Share::new(tolerance).unwrap(),
            schedule,
            price: Money::new(1.0),
            budget: budget.and_then(Money::new),
            respect_manual,
            drain_timeout: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_the_size_stays_in_its_range_and_changes_at_its_pace(
        rules in any_rules(), min in 0u32..3, events in events(),
    ) {
        let mut pool = Pool::new(min, 8, rules.clone());
        let (mut ready, mut finished, mut started, mut late) = (0, 0, 0, 0);
        for event in events {
            match event {
                Event::Ready(jobs) => ready = jobs,
                Event::ByHand(size) => pool.size = size,
                Event::Connections(server) => pool.connections = server.map(Connections::of),
                Event::Bounds(bounds) => {
                    pool.orders.bounds = bounds.map(|(min, max)| Override { min, max, until: None });
                }
                Event::Flow(more, more_late) => {
                    (finished, started, late) = (finished + more, started + more + more_late, late + more_late);
                    let (run_time, boot) = (Some(S), S);
                    pool.flow = Some(Flow { started, late, finished, busy: pool.size, run_time, boot });
                }
                Event::Pass(seconds) => pool.now += TimeDelta::seconds(seconds),
            }
            let (before, changes) = (pool.size, pool.state.changes);
            let decision = pool.look(1, ready);
            let to = decision.step.target().unwrap();
            let inputs = Inputs {
                now: pool.now,
                platform_age: Duration::ZERO,
                current: before,
                instances: before,
                price: pool.spec.rules_in_force().price,
                desired: Some(before),
                flow: pool.flow,
                connections: pool.connections,
                foreign: None,
                orders: &pool.orders,
            };
            let range = Range::of(&pool.spec, &pool.state, &inputs);
            prop_assert!(range.low <= range.high);
            prop_assert!((range.low..=range.high).contains(&to), "{to} of {before} is not in {range:?}: {decision}");
            // Never above the strictest of what holds.
            if let Some(connections) = pool.connections {
                prop_assert!(to <= connections.workers());
            }
            if pool.orders.bounds.is_none() {
                prop_assert!(to <= 8);
            }
            // Within the range, cool-downs and steps are kept.
            let cooling = |since: Option<DateTime<Utc>>, length: Duration| {
                since.is_some_and(|since| (pool.now - since).to_std().unwrap_or_default() < length)
            };
            if to < before && before <= range.high {
                prop_assert!(!cooling(changes.changed_at, rules.shrink_cooldown), "shrinks in a cool-down: {decision}");
                prop_assert!(rules.shrink_step.is_none_or(|step| before - to <= step));
            }
            if to > before && before >= range.low {
                prop_assert!(!cooling(changes.grew_at, rules.grow_cooldown), "grows in a cool-down: {decision}");
                prop_assert!(rules.grow_step.is_none_or(|step| to - before <= step));
            }
            match decision.step {
                Step::Grow { to, .. } => pool.grown(to),
                // A budget, like every limit, lowers the wish: the way down is a drain, never a removal at once.
                Step::Shrink { to, .. } => { pool.state.drained(pool.now); pool.removed(to); }
                _ => {}
            }
            let saved = pool.state.save();
            let (loaded, why) = State::load(&saved, pool.now);
            prop_assert_eq!(why, None);
            prop_assert_eq!(
                (loaded.changes, loaded.manual, loaded.spending),
                (pool.state.changes, pool.state.manual.clone(), pool.state.spending)
            );
        }
    }
}
