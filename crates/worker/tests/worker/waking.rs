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
        Beat, BeatAnswer, BootId, Claim, Claimed, Claimer, NewWorker, Settlement, Store, Token, Wakes, Want,
        WorkerState,
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
}

impl Bell {
    async fn until_said(&self, what: &str, said: &[bool]) {
        soon(what, self.said.subscribe().wait_for(|all| all == said)).await.unwrap();
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
        Ok(BeatAnswer { free_below, ..self.store.beat(beat).await? })
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
        let Want { claim, sweep, .. } = want;
        let mut claimed = self.inner.next(settled, want).await?;
        claimed.asleep = self.bell.asleep.load(Ordering::SeqCst);
        if claim > 0 {
            self.bell.looks.send_modify(|looks| looks.push(sweep));
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
