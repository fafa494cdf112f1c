//! A scaler on a real store, with a platform that misbehaves on cue and workers that do what a test says.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use headcount_queue::{
    Binding, BootId, NewJob, WorkerRecord,
    store::{
        Beat, Claim as _, ClaimedJob, Claimer, Enqueue as _, Options, Settlement, Store, Verdict, Want, faulty::Faulty,
    },
};

use crate::{
    Money, Policy, PoolSpec, Reconciler, TickRecord,
    driver::{
        Applied, Change, DriverError, Ended, Instance, InstanceId, InstanceState, Limits, PoolRef, PoolStatus,
        ScalerDriver,
    },
};

/// How the platform meets a call, instead of doing what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It says no.
    Refuse,
    /// Nothing happens, and its answer does not tell.
    Lose,
    /// It happens, and its answer does not tell.
    DoAndLose,
    /// It says yes, and does it only when told to: see [`Fake::catch_up`].
    Late,
    /// It never answers.
    Hang,
    /// Its driver is broken.
    Panic,
}

/// A platform with one pool.
#[derive(Default)]
pub(super) struct Fake(Mutex<Platform>);

#[derive(Default)]
struct Platform {
    instances: Vec<InstanceId>,
    ending: Vec<InstanceId>,
    late: Vec<InstanceId>,
    ended: Vec<Ended>,
    started: u32,
    asked: Vec<Change>,
    moods: VecDeque<Mood>,
    status: Option<Mood>,
    age: Duration,
    overdue: Option<Duration>,
    price: Option<Money>,
    shared: bool,
}

impl Fake {
    /// The next changes are met so.
    pub(super) fn mood(&self, mood: Mood) {
        self.0.lock().unwrap().moods.push_back(mood);
    }

    /// Readings are met so until further notice.
    pub(super) fn status_mood(&self, mood: Option<Mood>) {
        self.0.lock().unwrap().status = mood;
    }

    /// Its readings are so old from now on.
    pub(super) fn grow_old(&self, age: Duration) {
        self.0.lock().unwrap().age = age;
    }

    /// An instance without a worker is overdue after so long.
    pub(super) fn overdue(&self, overdue: Duration) {
        self.0.lock().unwrap().overdue = Some(overdue);
    }

    /// An instance costs so much an hour.
    pub(super) fn cost(&self, price: Option<Money>) {
        self.0.lock().unwrap().price = price;
    }

    /// What was asked for since one last looked.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked).iter().map(ToString::to_string).collect()
    }

    /// Does at last what it put off.
    pub(super) fn catch_up(&self) {
        let mut platform = self.0.lock().unwrap();
        let late = std::mem::take(&mut platform.late);
        platform.instances.retain(|id| !late.contains(id));
    }

    /// Others may change its size too.
    pub(super) fn share(&self) {
        self.0.lock().unwrap().shared = true;
    }

    /// It has this size from now on, whoever asked for it.
    pub(super) fn grow(&self, size: u32) {
        self.0.lock().unwrap().make(&Change::GrowTo { pool: PoolRef::from("here"), size });
    }

    /// An instance is gone, and whether the platform is certain of it.
    pub(super) fn lose(&self, id: &str, certain: bool) {
        let mut platform = self.0.lock().unwrap();
        let id = InstanceId::from(id);
        platform.instances.retain(|instance| *instance != id);
        if certain {
            platform.ended.push(Ended { id, how: "signal 9".into(), asked: false });
        }
    }
}

impl Platform {
    fn make(&mut self, change: &Change) {
        match change {
            Change::GrowTo { size, .. } => {
                while (self.instances.len() as u32) < *size {
                    self.started += 1;
                    self.instances.push(InstanceId::from(format!("i-{}", self.started)));
                }
            }
            Change::Remove { instances, .. } | Change::Complete { instances, .. } => {
                self.instances.retain(|id| !instances.contains(id));
            }
            Change::Extend { .. } => {}
        }
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl fmt::Display for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fake")
    }
}

#[async_trait]
impl ScalerDriver for Fake {
    fn limits(&self, _: &PoolRef) -> Limits {
        let boot = Duration::from_secs(1);
        let platform = self.0.lock().unwrap();
        let overdue = platform.overdue.unwrap_or(Limits::DEFAULT.overdue);
        Limits { boot, overdue, shared: platform.shared, ..Limits::DEFAULT }
    }

    fn price(&self, _: &PoolRef) -> Option<Money> {
        self.0.lock().unwrap().price
    }

    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>> {
        let mood = self.0.lock().unwrap().status;
        match mood {
            None => {}
            Some(Mood::Hang) => std::future::pending().await,
            Some(Mood::Panic) => panic!("on cue"),
            Some(_) => return pools.iter().map(|_| Err(DriverError::Unavailable("503".into()))).collect(),
        }
        let platform = self.0.lock().unwrap();
        let instance = |id: &InstanceId| Instance {
            id: id.clone(),
            pid: None,
            ordinal: None,
            age: Duration::ZERO,
            state: if platform.ending.contains(id) { InstanceState::Ending } else { InstanceState::Up },
        };
        let status = PoolStatus {
            desired: platform.instances.len() as u32,
            instances: platform.instances.iter().map(instance).collect(),
            ended: platform.ended.clone(),
            age: platform.age,
            ..PoolStatus::default()
        };
        pools.iter().map(|_| Ok(status.clone())).collect()
    }

    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        let mood = {
            let mut platform = self.0.lock().unwrap();
            platform.asked.extend_from_slice(changes);
            platform.moods.pop_front()
        };
        match mood {
            Some(Mood::Hang) => std::future::pending().await,
            Some(Mood::Panic) => panic!("on cue"),
            _ => {}
        }
        let mut platform = self.0.lock().unwrap();
        let mut answers = Vec::new();
        for change in changes {
            if matches!(mood, None | Some(Mood::DoAndLose)) {
                platform.make(change);
            }
            answers.push(match mood {
                None => Ok(Applied { desired: platform.instances.len() as u32, changed: true }),
                Some(Mood::Late) => {
                    if let Change::Remove { instances, .. } = change {
                        platform.late.extend_from_slice(instances);
                    }
                    Ok(Applied { desired: platform.instances.len() as u32, changed: true })
                }
                Some(Mood::Refuse) => Err(DriverError::Refused("no".into())),
                Some(_) => Err(DriverError::Unknown("connection reset".into())),
            });
        }
        answers
    }
}

/// A worker process, in the hands of the test.
pub(super) struct Hand {
    pub(super) boot: BootId,
    claims: i64,
    claimer: Box<dyn Claimer>,
}

impl Hand {
    /// Claims up to so many jobs.
    pub(super) async fn claim(&mut self, jobs: u32, alone: bool) -> Vec<ClaimedJob> {
        self.claims += 1;
        self.claimer
            .next(&[], Want { claim: self.claims, jobs, alone, sweep: true, ..Want::default() })
            .await
            .unwrap()
            .jobs
    }

    /// Completes a job.
    pub(super) async fn complete(&mut self, job: &ClaimedJob) {
        let verdict = Verdict::Completed { output: None, keep: Duration::ZERO };
        let settled = Settlement { id: job.id, token: job.token, verdict, ran: Duration::ZERO };
        self.claimer.next(&[settled], Want::default()).await.unwrap();
    }
}

/// A scaler with one pool, `here`, which serves the queue `q` with 0 to 4 workers and neither holds nor waits.
pub(super) struct Stage {
    pub(super) store: Faulty,
    pub(super) platform: Arc<Fake>,
    pub(super) scaler: Reconciler,
}

/// The platform's time limit: the scaler believes what it sees after twice this.
pub(super) const LIMIT: Duration = Duration::from_millis(100);

pub(super) fn spec() -> PoolSpec {
    let spec = PoolSpec::new("here", "q".parse().unwrap(), 0..=4).unwrap();
    spec.policy(Policy::Linear).hold(Duration::ZERO).remove_after(Duration::ZERO).idle_to_zero(Duration::ZERO)
}

pub(super) async fn store() -> Faulty {
    let store = headcount_queue::store::open(&"sqlite::memory:".parse().unwrap(), &Options::default()).await.unwrap();
    Faulty::new(store)
}

fn scaler(store: &Faulty, spec: PoolSpec, platform: &Arc<Fake>) -> Reconciler {
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    Reconciler::new(shared, "me").call_timeouts(LIMIT, LIMIT).pool(spec, platform.clone()).unwrap()
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(spec()).await
    }

    pub(super) async fn with(spec: PoolSpec) -> Self {
        let (store, platform) = (store().await, Arc::new(Fake::default()));
        let scaler = scaler(&store, spec, &platform);
        Self { store, platform, scaler }
    }

    /// Its scaler is killed, its lease runs out, and the next takes over.
    pub(super) async fn replace_scaler(&mut self, spec: PoolSpec) {
        self.scaler.tenure.give_back().await;
        self.scaler = scaler(&self.store, spec, &self.platform);
    }

    /// One tick; of the one pool.
    pub(super) async fn tick(&mut self) -> TickRecord {
        self.scaler.tick().await.remove(0)
    }

    /// A tick, and what was asked of the platform.
    pub(super) async fn asks(&mut self) -> Vec<String> {
        self.tick().await;
        self.platform.asked()
    }

    pub(super) async fn enqueue(&self, jobs: usize) {
        self.store.enqueue(&vec![NewJob::new("k", "{}").queue("q"); jobs]).await.unwrap();
    }

    /// A worker comes up on this instance.
    pub(super) async fn worker(&self, instance: &str) -> Hand {
        self.worker_of("here", instance).await
    }

    /// A worker that says it is of this pool comes up on this instance.
    pub(super) async fn worker_of(&self, pool: &str, instance: &str) -> Hand {
        let boot = BootId::random();
        let queues: Binding = "q".parse().unwrap();
        let worker = headcount_queue::store::NewWorker {
            boot,
            instance: Some(instance.into()),
            host: "h".into(),
            pid: 7,
            pool: Some(pool.into()),
            queues: queues.clone(),
            kinds: Vec::new(),
            slots: 1,
        };
        self.store.register(&worker).await.unwrap();
        Hand { boot, claims: 0, claimer: self.store.claimer(boot, &queues, None) }
    }

    /// The pool with so many workers up and as many jobs to keep them.
    pub(super) async fn up(&mut self, workers: usize) -> Vec<Hand> {
        self.enqueue(workers).await;
        self.tick().await;
        self.platform.asked();
        let mut hands = Vec::new();
        for i in 1..=workers {
            hands.push(self.worker(&format!("i-{i}")).await);
        }
        hands
    }

    /// The pool with one worker up, idle and drained, for which no work is left.
    pub(super) async fn one_drained(&mut self) -> Hand {
        let mut hand = self.up(1).await.remove(0);
        let job = hand.claim(1, false).await.remove(0);
        hand.complete(&job).await;
        self.tick().await;
        assert_eq!(self.record(&hand).await.state, headcount_queue::store::WorkerState::Draining);
        hand
    }

    /// What the store knows of a worker.
    pub(super) async fn record(&self, hand: &Hand) -> WorkerRecord {
        let workers = self.store.inner().workers().await.unwrap();
        workers.into_iter().find(|worker| worker.boot == hand.boot).expect("the worker is known")
    }

    /// The worker beats, and its handlers have started.
    pub(super) async fn beat(&self, hand: &Hand, jobs: &[ClaimedJob]) {
        let beat = Beat {
            boot: hand.boot,
            holds: jobs.iter().map(|job| (job.id, job.token.claim)).collect(),
            started: jobs.iter().map(|job| job.id).collect(),
            through: hand.claims,
            grace: None,
        };
        self.store.beat(&beat).await.unwrap();
    }
}
