//! Being told of jobs, and sleeping until then.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use headcount_queue::{
    Binding, JobId, Queue, Result,
    store::{
        Beat, BeatAnswer, BootId, Claim, Claimed, Claimer, NewWorker, Setting, Settlement, Store, Target, Token, Wakes,
        Want, WorkerState,
        faulty::{Call, Fault, Faulty, When},
    },
};
use tokio::sync::{Notify, watch};

use crate::{
    common::soon,
    stage::{Act, Event, Hired, Sample, Stage, add, hire, memory, until_gone, worker},
};

/// What a store tells workers and they tell it, in the test's hands.
#[derive(Debug, Default)]
struct Bell {
    asleep: AtomicBool,
    /// Everything that was said of sleep.
    said: watch::Sender<Vec<bool>>,
    rung: Notify,
    /// Whether each claim that was sent was to look at everything.
    looks: watch::Sender<Vec<bool>>,
    aging: Mutex<Option<Duration>>,
    /// How many slots beats say are free on workers with lower numbers.
    free_below: AtomicU32,
    /// The kinds that beats say are to be left to those, if they ask.
    spares: Mutex<Vec<String>>,
    /// What the latest beat said of the worker's grace.
    grace: Mutex<Option<Duration>>,
    /// The kinds that each claim left.
    left: watch::Sender<Vec<Vec<String>>>,
}

impl Bell {
    async fn until_said(&self, what: &str, said: &[bool]) {
        soon(what, self.said.subscribe().wait_for(|all| all == said)).await.unwrap();
    }

    /// Waits until a claim has left these kinds, or none, to others.
    async fn until_left(&self, what: &str, kinds: &[&str]) {
        soon(what, self.left.subscribe().wait_for(|left| left.last().is_some_and(|left| left == kinds))).await.unwrap();
    }

    async fn until_looks(&self, what: &str, enough: impl Fn(&[bool]) -> bool) {
        soon(what, self.looks.subscribe().wait_for(|looks| enough(looks))).await.unwrap();
    }
}

/// A store whose workers hear the bell.
#[derive(Debug, Clone)]
struct Belled {
    store: Arc<dyn Store>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct BelledClaimer {
    inner: Box<dyn Claimer>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Ear(Arc<Bell>);

#[async_trait]
impl Wakes for Ear {
    async fn next(&mut self) {
        self.0.rung.notified().await;
    }
}

#[async_trait]
impl Claim for Belled {
    async fn register(&self, worker: &NewWorker) -> Result<WorkerState> {
        self.store.register(worker).await
    }

    async fn deregister(&self, boot: BootId) -> Result<bool> {
        self.store.deregister(boot).await
    }

    fn claimer(&self, boot: BootId, queues: &Binding, aging: Option<Duration>) -> Box<dyn Claimer> {
        *self.bell.aging.lock().unwrap() = aging;
        Box::new(BelledClaimer { inner: self.store.claimer(boot, queues, aging), bell: Arc::clone(&self.bell) })
    }

    async fn listen(&self, _: &Binding) -> Result<Option<Box<dyn Wakes>>> {
        Ok(Some(Box::new(Ear(Arc::clone(&self.bell)))))
    }

    async fn sleep(&self, _: &Binding, asleep: bool) -> Result<()> {
        self.bell.asleep.store(asleep, Ordering::SeqCst);
        self.bell.said.send_modify(|said| said.push(asleep));
        Ok(())
    }

    async fn beat(&self, beat: &Beat) -> Result<BeatAnswer> {
        let free_below = Some(self.bell.free_below.load(Ordering::SeqCst));
        *self.bell.grace.lock().unwrap() = beat.grace;
        let spares = beat.grace.map(|_| self.bell.spares.lock().unwrap().clone()).unwrap_or_default();
        Ok(BeatAnswer { free_below, spares, ..self.store.beat(beat).await? })
    }

    async fn callback(&self, id: JobId, token: Token, digest: &str) -> Result<()> {
        self.store.callback(id, token, digest).await
    }

    async fn heart(&self) -> Result<Arc<dyn Claim>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Claimer for BelledClaimer {
    async fn next(&mut self, settled: &[Settlement], want: Want) -> Result<Claimed> {
        let Want { claim, sweep, ref spares, .. } = want;
        let left = spares.clone();
        let mut claimed = self.inner.next(settled, want).await?;
        claimed.asleep = self.bell.asleep.load(Ordering::SeqCst);
        if claim > 0 {
            self.bell.looks.send_modify(|looks| looks.push(sweep));
            self.bell.left.send_modify(|all| all.push(left));
        }
        Ok(claimed)
    }
}

/// A queue whose workers hear the bell, its faults, and another handle, whose enqueues no worker notices by itself.
async fn belled() -> (Queue, Arc<Bell>, Faulty, Queue) {
    let sound = memory().await;
    let bell = Arc::<Bell>::default();
    let claim = Belled { store: Arc::clone(sound.store()), bell: Arc::clone(&bell) };
    let faulty = Faulty::new(Arc::clone(sound.store())).claiming_through(Arc::new(claim));
    (Queue::new(Arc::new(faulty.clone())), bell, faulty, sound)
}

/// A worker that would not look again by itself while the test lasts.
fn sleeper(queue: &Queue, stage: &Stage) -> Hired {
    hire(worker(queue, stage).poll(Duration::from_hours(1)))
}

/// The same in a pool, with a grace of seven seconds.
fn sleeper_of_a_pool(queue: &Queue, stage: &Stage) -> Hired {
    hire(worker(queue, stage).pool("web").grace(Duration::from_secs(7)).poll(Duration::from_hours(1)))
}

#[tokio::test]
async fn an_idle_worker_falls_asleep_looks_at_everything_once_more_and_starts_what_it_is_told_of() {
    let (queue, bell, _, sound) = belled().await;
    let stage = Stage::new();
    let hired = sleeper(&queue, &stage);
    bell.until_said("it says that it sleeps", &[true]).await;
    bell.until_looks("it looks once more, at everything", |looks| looks.last() == Some(&true)).await;
    for _ in 0..3 {
        let id = add(&sound, Act::Done).await;
        bell.rung.notify_one();
        until_gone(&sound, id).await;
    }
    assert_eq!(*bell.said.borrow(), [true], "it sleeps on: single jobs are no reason to be woken");
    hired.stop().await;
    assert!(bell.asleep.load(Ordering::SeqCst), "who ends leaves it to others, who may sleep");
}

#[tokio::test]
async fn a_job_that_comes_while_a_worker_says_that_it_sleeps_is_found_by_its_last_look() {
    let (queue, bell, faulty, sound) = belled().await;
    let stage = Stage::new();
    // Its listening is the first call; the word takes effect, and its answer waits.
    let word = faulty.rule(Call::Wake, Fault::StallAfter, When::After(1));
    let hired = sleeper(&queue, &stage);
    soon("it says that it sleeps", faulty.until_faults(Call::Wake, 1)).await;
    // Nobody rings: whoever enqueued this saw queues that were awake.
    let id = add(&sound, Act::Done).await;
    word.lift();
    until_gone(&sound, id).await;
    assert_eq!(*bell.said.borrow(), [true]);
    hired.stop().await;
}

#[tokio::test]
async fn a_busy_worker_says_that_its_queues_are_awake() {
    let (queue, bell, _, sound) = belled().await;
    let stage = Stage::new();
    bell.asleep.store(true, Ordering::SeqCst);
    // More than any claim brings.
    let jobs = (0..3000).map(|n| Sample { act: if n < 3 { Act::Gate } else { Act::Done } });
    sound.enqueue_all(jobs).await.unwrap();
    let hired = hire(worker(&queue, &stage).slots(3));
    stage.until("the slots are full", |stage| stage.count(Event::Started) == 3).await;
    assert!(bell.said.borrow().is_empty(), "three jobs for three slots are not much");
    stage.gate.add_permits(3);
    bell.until_said("the second full claim in a row is", &[false]).await;
    hired.stop().await;
}

#[tokio::test]
async fn a_worker_that_does_not_listen_or_is_to_end_when_nothing_is_left_never_says_that_it_sleeps() {
    let (queue, bell, faulty, sound) = belled().await;
    let stage = Stage::new();
    let id = add(&sound, Act::Done).await;
    hire(worker(&queue, &stage).exit_if_empty(true)).end().await;
    let hired = hire(worker(&queue, &stage).listen(false));
    until_gone(&sound, id).await;
    let calls = faulty.calls(Call::Claim);
    soon("it polls", faulty.until_calls(Call::Claim, calls + 5)).await;
    assert!(bell.said.borrow().is_empty(), "{bell:?}");
    hired.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_listen_is_asked_again_and_polled_meanwhile() {
    let (queue, bell, faulty, sound) = belled().await;
    let stage = Stage::new();
    let deaf = faulty.rule(Call::Wake, Fault::Fail, When::Always);
    let hired = hire(worker(&queue, &stage));
    soon("listening fails again and again", faulty.until_faults(Call::Wake, 2)).await;
    let id = add(&sound, Act::Done).await;
    until_gone(&sound, id).await;
    assert!(hired.is_running() && bell.said.borrow().is_empty());
    deaf.lift();
    bell.until_said("once it hears, it sleeps", &[true]).await;
    hired.stop().await;
}

#[tokio::test]
async fn priorities_age_in_the_claim_only_for_a_worker_that_asks_for_it() {
    for aging in [None, Some(Duration::from_mins(10))] {
        let (queue, bell, _, sound) = belled().await;
        let stage = Stage::new();
        let worker = worker(&queue, &stage).exit_after(1);
        let worker = if let Some(aging) = aging { worker.age_priorities(aging) } else { worker };
        add(&sound, Act::Done).await;
        hire(worker).end().await;
        assert_eq!(*bell.aging.lock().unwrap(), aging);
    }
}

/// Waits until the worker has taken up a beat that was sent from now on.
async fn beaten(faulty: &Faulty) {
    let beats = faulty.calls(Call::Beat);
    soon("it beats, and once more when the first is taken up", faulty.until_calls(Call::Beat, beats + 3)).await;
}

#[tokio::test]
async fn a_worker_leaves_what_comes_to_those_with_lower_numbers_and_takes_what_they_leave_lying() {
    let (queue, bell, faulty, sound) = belled().await;
    let stage = Stage::new();
    let hired = sleeper(&queue, &stage);
    bell.until_said("it says that it sleeps", &[true]).await;
    bell.until_looks("it looks once more", |looks| looks.last() == Some(&true)).await;
    bell.free_below.store(3, Ordering::SeqCst);
    beaten(&faulty).await;
    let looks = bell.looks.borrow().len();
    let id = add(&sound, Act::Done).await;
    bell.rung.notify_one();
    beaten(&faulty).await;
    assert_eq!(bell.looks.borrow().len(), looks, "there are others for it");
    bell.free_below.store(0, Ordering::SeqCst);
    beaten(&faulty).await;
    bell.rung.notify_one();
    until_gone(&sound, id).await;
    hired.stop().await;
    // One that polls finds what the others leave, though they have room.
    bell.free_below.store(3, Ordering::SeqCst);
    let hired = hire(worker(&queue, &stage).listen(false));
    beaten(&faulty).await;
    let id = add(&sound, Act::Done).await;
    until_gone(&sound, id).await;
    hired.stop().await;
}

#[tokio::test]
async fn a_worker_leaves_kinds_to_those_with_lower_numbers_as_long_as_beats_name_them() {
    let (queue, bell, faulty, sound) = belled().await;
    let stage = Stage::new();
    let named = |kinds: &[&str]| *bell.spares.lock().unwrap() = kinds.iter().map(|&kind| kind.to_owned()).collect();
    let hired = sleeper_of_a_pool(&queue, &stage);
    bell.until_said("it says that it sleeps", &[true]).await;
    bell.until_looks("it looks once more", |looks| looks.last() == Some(&true)).await;
    named(&["sample", "other"]);
    beaten(&faulty).await;
    assert_eq!(*bell.grace.lock().unwrap(), Some(Duration::from_secs(7)));
    let id = add(&sound, Act::Done).await;
    bell.rung.notify_one();
    bell.until_left("it looks, and passes it over", &["sample", "other"]).await;
    beaten(&faulty).await;
    assert_eq!(stage.count(Event::Started), 0);
    // Once it is told otherwise it looks for it: nobody would ring for that.
    named(&["other"]);
    until_gone(&sound, id).await;
    bell.until_left("the others it leaves still", &["other"]).await;
    named(&[]);
    bell.until_left("and then nothing", &[]).await;
    hired.stop().await;
}

#[tokio::test]
async fn a_worker_that_passes_jobs_over_looks_again_at_its_poll_and_no_sooner() {
    let (queue, bell, faulty, sound) = belled().await;
    let stage = Stage::new();
    bell.spares.lock().unwrap().push("sample".into());
    let hired = sleeper_of_a_pool(&queue, &stage);
    bell.until_said("it says that it sleeps", &[true]).await;
    beaten(&faulty).await;
    let looks = bell.left.borrow().len();
    let id = add(&sound, Act::Done).await;
    bell.rung.notify_one();
    soon("it looks", bell.left.subscribe().wait_for(|left| left.len() > looks)).await.unwrap();
    beaten(&faulty).await;
    let looks = bell.left.borrow().len();
    beaten(&faulty).await;
    assert_eq!(bell.left.borrow().len(), looks, "it does not look on and on");
    assert_eq!(stage.count(Event::Started), 0);
    hired.stop().await;
    // One that polls takes it when it has waited for half of its time.
    let hired = hire(worker(&queue, &stage).pool("web").listen(false));
    beaten(&faulty).await;
    bell.until_left("it passes it over, too", &["sample"]).await;
    sound.store().set(&Target::Queue("default".into()), Setting::StartWithin(Some(Duration::ZERO))).await.unwrap();
    until_gone(&sound, id).await;
    hired.stop().await;
}

#[tokio::test]
async fn a_worker_outside_a_pool_or_to_end_when_nothing_is_left_leaves_nothing_to_others() {
    let (queue, bell, faulty, sound) = belled().await;
    let stage = Stage::new();
    bell.spares.lock().unwrap().push("sample".into());
    let hired = hire(worker(&queue, &stage));
    beaten(&faulty).await;
    let id = add(&sound, Act::Done).await;
    until_gone(&sound, id).await;
    assert_eq!(*bell.grace.lock().unwrap(), None);
    hired.stop().await;
    // It would else end with jobs left, or not at all.
    let ids = [add(&sound, Act::Gate).await, add(&sound, Act::Done).await];
    let hired = hire(worker(&queue, &stage).pool("web").exit_if_empty(true).slots(1));
    stage.started(ids[0]).await;
    beaten(&faulty).await;
    stage.gate.add_permits(1);
    hired.end().await;
    for id in ids {
        assert!(sound.job(id).await.unwrap().is_none());
    }
    assert!(bell.left.borrow().iter().all(Vec::is_empty), "{bell:?}");
}
