//! A pool in small: jobs arrive and run, workers boot, drain and go, and `decide` is asked at every tick.
//!
//! Discrete and without a clock: what happens between two ticks is done in the order of its time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use headcount_queue::Flow;
use headcount_scaler::{
    PoolSpec,
    decide::{Decision, History, Memory, Step, decide},
    driver::{InstanceId, Limits},
    observe::{Demand, KindWork, Member, Observation, QueueWork, Standing, Workload},
};

/// A job: when it arrives, and how long it runs, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) arrives_at: u64,
    pub(crate) runs: u64,
    /// No worker was up when it came.
    pub(crate) cold: bool,
}

/// What is simulated.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) spec: PoolSpec,
    /// How often it is looked at.
    pub(crate) tick: Duration,
    /// How long a boot really takes.
    pub(crate) boot: Duration,
    pub(crate) limits: Limits,
    pub(crate) slots: u32,
    /// What counts as late.
    pub(crate) within: Duration,
    /// At this tick the process is replaced by another, which reads what this one stored.
    pub(crate) restart: Option<u32>,
}

/// How it went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) jobs: u64,
    pub(crate) late: u64,
    /// Those of the late ones that came when no worker was up.
    pub(crate) cold: u64,
    /// Seconds that all jobs ran.
    pub(crate) work: f64,
    /// Seconds that were paid for, from the order to the removal, times the slots of a worker.
    pub(crate) paid: f64,
    pub(crate) most: u32,
    /// How often the pool shrank and grew again.
    pub(crate) turns: u32,
    /// Boots ordered.
    pub(crate) ordered: u32,
    /// The size at each tick.
    pub(crate) sizes: Vec<u32>,
    /// Why it was decided so, each wording once for each rule.
    pub(crate) reasons: Vec<String>,
}

impl Outcome {
    pub(crate) fn late_share(&self) -> f64 {
        self.late as f64 / self.jobs.max(1) as f64
    }

    /// Keeps a reason, unless there is one already of the same rule.
    fn hear(&mut self, decision: &Decision) {
        let said = decision.reason.to_string();
        let words = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
        if self.reasons.len() < 50 && self.reasons.iter().all(|other| words(other) != words(&said)) {
            self.reasons.push(said);
        }
    }

    pub(crate) fn cost(&self) -> f64 {
        self.paid / self.work.max(1e-9)
    }
}

#[derive(Debug)]
struct Worker {
    id: u32,
    asked_at: u64,
    up_at: u64,
    running: u32,
    draining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Up(u32),
    Ends { worker: u32, ran: u64 },
}

struct Simulation<'a> {
    setting: &'a Setting,
    now: u64,
    workers: Vec<Worker>,
    started: u32,
    queue: VecDeque<Job>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    flow: Flow,
    outcome: Outcome,
    grew_last: Option<bool>,
}

/// Runs these jobs, in the order of their arrival, and goes on until the pool is at rest.
pub(crate) fn run(setting: &Setting, jobs: &[Job]) -> Outcome {
    let mut simulation = Simulation {
        setting,
        now: 0,
        workers: Vec::new(),
        started: 0,
        queue: VecDeque::new(),
        events: BinaryHeap::new(),
        flow: Flow::default(),
        outcome: Outcome::default(),
        grew_last: None,
    };
    let mut history = History::default();
    let mut jobs = jobs.iter().copied().peekable();
    let tick = setting.tick.as_micros() as u64;
    // It ends after two hours without anything to do, whatever the pool does then.
    let mut quiet = 0;
    for n in 0.. {
        let until = simulation.now + tick;
        simulation.advance(&mut jobs, until);
        if setting.restart == Some(n) {
            history = History::remembering(Memory::restore(&history.memory().to_json()));
        }
        let seen = simulation.observe();
        history.learn(&setting.spec, &seen);
        let decision = decide(&setting.spec, &Ok(seen.clone()), &history, seen.at);
        history.decided(&setting.spec, &seen, &decision);
        simulation.act(decision.step);
        simulation.outcome.hear(&decision);
        quiet = if jobs.peek().is_none() && simulation.is_quiet() { quiet + tick } else { 0 };
        if quiet > 7_200_000_000 || (quiet > 0 && simulation.workers.is_empty()) {
            break;
        }
    }
    simulation.outcome.paid *= f64::from(setting.slots);
    simulation.outcome
}

impl Simulation<'_> {
    fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.workers.iter().all(|worker| worker.running == 0)
    }

    /// Lets everything happen until this time.
    fn advance(&mut self, jobs: &mut std::iter::Peekable<impl Iterator<Item = Job>>, until: u64) {
        loop {
            let event = self.events.peek().map(|Reverse((at, _))| *at).filter(|at| *at <= until);
            let arrival = jobs.peek().map(|job| job.arrives_at).filter(|at| *at <= until);
            match (event, arrival) {
                (None, None) => break,
                (Some(at), arrival) if arrival.is_none_or(|arrival| at <= arrival) => {
                    let Reverse((_, event)) = self.events.pop().expect("it was just seen");
                    self.now = at;
                    self.happen(event);
                }
                _ => {
                    let mut job = jobs.next().expect("it was just seen");
                    self.now = job.arrives_at;
                    job.cold = !self.workers.iter().any(|worker| !worker.draining && worker.up_at <= self.now);
                    self.flow.arrived += 1;
                    self.outcome.jobs += 1;
                    self.outcome.work += job.runs as f64 / 1e6;
                    self.queue.push_back(job);
                }
            }
            self.claim();
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        if let Event::Ends { worker, ran } = event {
            let worker = self.workers.iter_mut().find(|one| one.id == worker).expect("nobody goes who runs a job");
            worker.running -= 1;
            self.flow.completed += 1;
            self.flow.run_ms += (ran / 1000) as i64;
        }
    }

    fn claim(&mut self) {
        while !self.queue.is_empty() {
            let (now, slots) = (self.now, self.setting.slots);
            let free = |worker: &&mut Worker| !worker.draining && worker.up_at <= now && worker.running < slots;
            // The busiest first, so that others become idle.
            let Some(worker) = self.workers.iter_mut().filter(free).max_by_key(|worker| worker.running) else { return };
            let job = self.queue.pop_front().expect("it is not empty");
            worker.running += 1;
            let waited = Duration::from_micros(now - job.arrives_at);
            self.flow.started += 1;
            self.flow.delays.add(waited);
            if waited > self.setting.within {
                self.flow.late += 1;
                self.outcome.late += 1;
                self.outcome.cold += u64::from(job.cold);
            }
            self.events.push(Reverse((now + job.runs, Event::Ends { worker: worker.id, ran: job.runs })));
        }
    }

    fn observe(&self) -> Observation {
        let member = |worker: &Worker| {
            let up = worker.up_at <= self.now;
            Member {
                ordinal: None,
                epoch: None,
                oldest: None,
                id: InstanceId::from(format!("i-{:07}", worker.id)),
                listed: true,
                ending: false,
                held: false,
                overdue: false,
                standing: match (worker.draining, up) {
                    (true, _) => Standing::Drained,
                    (false, true) => Standing::Active,
                    (false, false) => Standing::Booting,
                },
                boots: Vec::new(),
                slots: if up { self.setting.slots } else { 0 },
                running: worker.running,
                born_at: Some(at(worker.asked_at)),
                started_at: up.then(|| at(worker.up_at)),
                drained_for: None,
                idle_for: None,
            }
        };
        let members: Vec<Member> = self.workers.iter().map(member).collect();
        let kind = KindWork {
            kind: "k".into(),
            known: true,
            ready: self.queue.len() as u64,
            running: members.iter().map(|member| u64::from(member.running)).sum(),
            flow: self.flow.clone(),
        };
        let queue = QueueWork {
            queue: "q".into(),
            oldest: self.queue.front().map(|job| Duration::from_micros(self.now - job.arrives_at)),
            kinds: vec![kind],
            ..QueueWork::default()
        };
        Observation {
            at: at(self.now),
            vacant: Vec::new(),
            strays: 0,
            strangers: 0,
            platform_age: Duration::ZERO,
            demand: Demand { ready: self.queue.len() as u64, ..Demand::default() },
            workload: Workload { queues: vec![queue], ..Workload::default() },
            desired: members.len() as u32,
            members,
            unlisted: 0,
            trouble: None,
            release: None,
            foreign: None,
            peers: Vec::new(),
            limits: self.setting.limits,
        }
    }

    /// Recalls, orders and drains. Who is drained and idle goes at once.
    fn act(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Grow { from, to } => {
                let mut more = to - from;
                for worker in self.workers.iter_mut().filter(|worker| worker.draining).take(more as usize) {
                    worker.draining = false;
                    more -= 1;
                }
                for _ in 0..more {
                    self.started += 1;
                    let up_at = now + self.setting.boot.as_micros() as u64;
                    let worker = Worker { id: self.started, asked_at: now, up_at, running: 0, draining: false };
                    self.events.push(Reverse((up_at, Event::Up(worker.id))));
                    self.workers.push(worker);
                }
                self.outcome.ordered += more;
                self.turn(true);
            }
            Step::Shrink { from, to } => {
                let mut active: Vec<&mut Worker> =
                    self.workers.iter_mut().filter(|worker| !worker.draining && worker.up_at <= now).collect();
                active.sort_by_key(|worker| worker.running);
                active.into_iter().take((from - to) as usize).for_each(|worker| worker.draining = true);
                self.turn(false);
            }
            Step::Keep(_) | Step::Hold => {}
        }
        let (outcome, paid) = (&mut self.outcome, |worker: &Worker| (now - worker.asked_at) as f64 / 1e6);
        self.workers.retain(|worker| {
            let stays = !worker.draining || worker.running > 0;
            outcome.paid += if stays { 0.0 } else { paid(worker) };
            stays
        });
        let size = self.workers.iter().filter(|worker| !worker.draining).count() as u32;
        self.outcome.most = self.outcome.most.max(size);
        self.outcome.sizes.push(size);
        self.claim();
    }

    fn turn(&mut self, grows: bool) {
        self.outcome.turns += u32::from(grows && self.grew_last == Some(false));
        self.grew_last = Some(grows);
    }
}

fn at(micros: u64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::microseconds(micros as i64)
}
