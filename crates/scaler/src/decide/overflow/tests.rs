//! Two pools on the same queue, of which one has the other's overflow: second after second, in a closed loop.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::{Binding, Flow};
use proptest::prelude::*;

use super::*;
use crate::{
    decide::{Decision, History, Reason, Step, decide},
    driver::{InstanceId, Limits},
    observe::{Demand, KindWork, Member, Peer, QueueWork, Standing, Workload},
    pool::{Policy, PoolSpec},
};

const S: Duration = Duration::from_secs(1);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

/// A pool of workers that are up at once; each is as many jobs as it runs, and whether it is drained.
struct Pool {
    spec: PoolSpec,
    slots: u32,
    history: History,
    workers: Vec<Worker>,
}

#[derive(Debug, Clone, Default)]
struct Worker {
    /// When its jobs end.
    jobs: Vec<i64>,
    drained: bool,
}

impl Pool {
    fn of(name: &str, max: u32, slots: u32, policy: Policy) -> Self {
        let spec = PoolSpec::new(name, Binding::Any, 0..=max).unwrap().policy(policy);
        let spec = spec.interval(S).hold(10 * S).idle_to_zero(30 * S);
        Self { spec, slots, history: History::default(), workers: Vec::new() }
    }

    fn claiming(&self) -> u32 {
        self.workers.iter().filter(|worker| !worker.drained).count() as u32
    }

    fn running(&self) -> u32 {
        self.workers.iter().filter(|worker| !worker.drained).map(|worker| worker.jobs.len() as u32).sum()
    }

    fn as_peer(&self, rank: Rank) -> Peer {
        Peer {
            name: self.spec.name().clone(),
            rank,
            claiming: self.claiming(),
            booting: 0,
            boot: S,
            slots: self.slots,
            running: self.running(),
            most: self.spec.max(),
        }
    }

    fn decide(&mut self, now: i64, waiting: &VecDeque<i64>, flow: &Flow, peer: Peer) -> Decision {
        let member = |(i, worker): (usize, &Worker)| Member {
            id: InstanceId::from(format!("i-{i}")),
            ordinal: None,
            listed: true,
            ending: false,
            held: false,
            overdue: false,
            standing: if worker.drained { Standing::Drained } else { Standing::Active },
            epoch: None,
            boots: Vec::new(),
            slots: self.slots,
            running: worker.jobs.len() as u32,
            oldest: None,
            born_at: None,
            started_at: Some(at(0)),
            drained_for: None,
            idle_for: None,
        };
        let ready = waiting.len() as u64;
        let kind = KindWork { known: true, ready, flow: flow.clone(), ..KindWork::default() };
        let oldest = waiting.front().map(|since| S * (now - since) as u32);
        let queue = QueueWork { oldest, kinds: vec![kind], ..QueueWork::default() };
        let seen = Observation {
            at: at(now),
            platform_age: Duration::ZERO,
            demand: Demand { ready, ..Demand::default() },
            workload: Workload { queues: vec![queue], ..Workload::default() },
            members: self.workers.iter().enumerate().map(member).collect(),
            vacant: Vec::new(),
            strays: 0,
            strangers: 0,
            desired: self.workers.len() as u32,
            unlisted: 0,
            trouble: None,
            release: None,
            foreign: None,
            peers: vec![peer],
            limits: Limits { boot: S, ..Limits::DEFAULT },
        };
        self.history.learn(&self.spec, &seen);
        let decision = decide(&self.spec, &Ok(seen.clone()), &self.history, at(now));
        self.history.decided(&self.spec, &seen, &decision);
        let target = decision.step.target().unwrap();
        for worker in
            self.workers.iter_mut().filter(|worker| worker.drained).take(target.saturating_sub(seen.current()) as usize)
        {
            worker.drained = false;
        }
        while self.claiming() < target {
            self.workers.push(Worker::default());
        }
        let surplus = self.claiming().saturating_sub(target) as usize;
        for worker in self.workers.iter_mut().filter(|worker| !worker.drained).take(surplus) {
            worker.drained = true;
        }
        self.workers.retain(|worker| !(worker.drained && worker.jobs.is_empty()));
        decision
    }
}

struct Both {
    now: i64,
    /// When each waiting job arrived.
    waiting: VecDeque<i64>,
    flow: Flow,
    first: Pool,
    over: Pool,
    /// How long a job runs.
    job: i64,
}

impl Both {
    fn of(policy: Policy, first: (u32, u32), over: (u32, u32), job: i64) -> Self {
        Self {
            now: 0,
            waiting: VecDeque::new(),
            flow: Flow::default(),
            first: Pool::of("first", first.0, first.1, policy),
            over: Pool::of("over", over.0, over.1, policy),
            job,
        }
    }

    /// A second: jobs end, arrive, and are claimed by whoever is free, the overflow's workers first; then both look.
    fn tick(&mut self, arrivals: u64) -> (Decision, Decision) {
        self.now += 1;
        self.waiting.extend(vec![self.now; arrivals as usize]);
        self.flow.arrived += arrivals as i64;
        let now = self.now;
        for pool in [&mut self.over, &mut self.first] {
            let slots = pool.slots as usize;
            for worker in &mut pool.workers {
                let before = worker.jobs.len();
                worker.jobs.retain(|end| *end > now);
                let ended = (before - worker.jobs.len()) as i64;
                self.flow.completed += ended;
                self.flow.run_ms += ended * self.job * 1000;
                while !worker.drained && worker.jobs.len() < slots && self.waiting.pop_front().is_some() {
                    self.flow.started += 1;
                    worker.jobs.push(now + self.job);
                }
            }
        }
        let first = self.first.decide(now, &self.waiting, &self.flow, self.over.as_peer(Rank::Below));
        let over = self.over.decide(now, &self.waiting, &self.flow, self.first.as_peer(Rank::Above));
        (first, over)
    }

    fn sizes(&self) -> (u32, u32) {
        (self.first.claiming(), self.over.claiming())
    }
}

#[test]
fn the_overflow_gets_what_the_first_cannot_meet_and_shrinks_first() {
    let mut both = Both::of(Policy::Linear, (4, 1), (9, 1), 60);
    let (first, over) = both.tick(3);
    assert_eq!(both.sizes(), (3, 0), "{first}; {over}");
    let (_, over) = both.tick(4);
    assert_eq!(both.sizes(), (4, 3), "{over}");
    assert!(matches!(over.reason, Reason::Overflow(..)));
    assert!(
        over.to_string().contains("3 are left for the overflow, since it takes 7 and first has at most 4"),
        "{over}"
    );
    // Whoever runs them: what the first could run by itself is no reason to keep the overflow.
    both.job = 30;
    (0..70).for_each(|_| drop(both.tick(0)));
    assert_eq!(both.sizes().1, 0);
    let mut both = Both::of(Policy::Linear, (4, 1), (9, 1), 20);
    both.tick(8);
    assert_eq!(both.sizes(), (4, 4));
    // One job every ten seconds: two run at a time, and the overflow's workers claim first.
    for second in 0..60 {
        both.tick(u64::from(second % 10 == 0));
    }
    assert_eq!(both.sizes().1, 0, "it is the overflow that has shrunk");
    assert!(both.sizes().0 >= 1);
}

#[test]
fn workers_of_other_sizes_are_reckoned_in_jobs() {
    let mut both = Both::of(Policy::Linear, (2, 10), (9, 4), 600);
    // One has not said yet how many jobs a worker runs: it is assumed to be one, and grows in steps.
    (0..3).for_each(|_| drop(both.tick(0)));
    both.first.workers = vec![Worker::default(); 2];
    both.over.workers = vec![Worker::default(); 1];
    both.tick(33);
    both.tick(0);
    assert_eq!(both.sizes(), (2, 4), "33 jobs, of which 20 fit into the first: 13 are left, 4 a worker");
}

#[test]
fn a_first_pool_that_cannot_grow_leaves_all_but_what_works() {
    let mut first = Pool::of("first", 4, 1, Policy::Linear);
    first.workers = vec![Worker::default(); 1];
    let stuck = Peer { most: 1, ..first.as_peer(Rank::Above) };
    let mut over = Pool::of("over", 9, 1, Policy::Linear);
    assert_eq!(over.decide(1, &[1; 5].into(), &Flow::default(), stuck).step, Step::Grow { from: 0, to: 4 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Steady load, whatever the policy: both together have what it takes, the overflow only what is beyond the first's
    /// max, and nobody comes and goes.
    #[test]
    fn together_they_meet_the_need_and_neither_flaps(
        max in 1u32..8, arrivals in 0u64..4, job in 2i64..8, policy in prop::sample::select(vec![Policy::Linear, Policy::WaitingTime]),
    ) {
        let mut both = Both::of(policy, (max, 1), (40, 1), job);
        (0..150).for_each(|_| drop(both.tick(arrivals)));
        let load = arrivals * job as u64;
        let mut grown = 0;
        for _ in 0..100 {
            let before = both.sizes();
            let (first, over) = both.tick(arrivals);
            let (first_now, over_now) = both.sizes();
            grown += u32::from(first_now > before.0) + u32::from(over_now > before.1);
            if policy == Policy::Linear {
                prop_assert!(u64::from(first_now + over_now) >= load, "{first}; {over}");
                // What arrives in this second is beside what runs.
                prop_assert!(over_now == 0 || load + arrivals > u64::from(max), "{first}; {over}");
            }
            prop_assert!(over_now == 0 || first_now == max, "the first comes first: {first}; {over}");
        }
        let wait = both.waiting.front().map_or(0, |since| both.now - since);
        prop_assert!(wait <= 60, "they start in time: the oldest waits for {wait} s");
        prop_assert!(grown <= 2, "it flaps: grown {grown} times under a steady load");
        // And when nothing arrives, it empties.
        (0..150).for_each(|_| drop(both.tick(0)));
        prop_assert_eq!((both.waiting.len(), both.sizes()), (0, (0, 0)));
    }

    /// Whatever arrives: the overflow has nobody while the first's max suffices.
    #[test]
    fn the_overflow_is_empty_while_the_first_suffices(
        max in 2u32..8, load in prop::collection::vec(0u64..3, 1..80), job in 1i64..6,
    ) {
        let mut both = Both::of(Policy::Linear, (max, 1), (40, 1), job);
        for arrivals in load {
            let there = both.waiting.len() as u64 + both.first.workers.iter().map(|worker| worker.jobs.len() as u64).sum::<u64>();
            let (first, over) = both.tick(if there + arrivals <= u64::from(max) { arrivals } else { 0 });
            prop_assert_eq!(both.sizes().1, 0, "{}; {}", first, over);
        }
    }
}
