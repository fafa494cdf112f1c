//! A kind of job that does what its payload says, on a stage that shows what has happened.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use headcount_queue::{BootId, Context, Job, JobError, JobId, JobRecord, Outcome, Queue, State, Stop, rescue::Vigil};
use headcount_worker::{Builder, Error, Exit, Stopper, Worker};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, sync::watch, task::JoinHandle};

use crate::common::{eventually, soon};

/// What an attempt does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    Done,
    /// Completes with an output of this length that holds a NUL.
    Say(usize),
    Fail,
    FailUntil(u16),
    Fatal,
    Panic,
    Snooze(Duration),
    /// Goes on when the stage's gate lets it.
    Gate,
    /// Ends when it is told to stop, and says why.
    Obey,
    /// Never ends by itself.
    Hang,
    /// Works for a while.
    Nap(Duration),
    /// Blocks its thread of the runtime.
    Block(Duration),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) act: Act,
}

/// What has happened to which job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Started,
    Told(Stop),
    Ended,
    Dropped,
}

#[derive(Clone)]
pub(crate) struct Stage {
    events: Arc<watch::Sender<Vec<(JobId, Event)>>>,
    pub(crate) gate: Arc<Semaphore>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { events: Arc::new(watch::Sender::new(Vec::new())), gate: Arc::new(Semaphore::new(0)) }
    }

    pub(crate) fn note(&self, job: JobId, event: Event) {
        self.events.send_modify(|events| events.push((job, event)));
    }

    pub(crate) fn events(&self) -> Vec<(JobId, Event)> {
        self.events.borrow().clone()
    }

    pub(crate) fn count(&self, event: Event) -> usize {
        self.events.borrow().iter().filter(|(_, other)| *other == event).count()
    }

    pub(crate) fn count_of(&self, job: JobId, event: Event) -> usize {
        self.events.borrow().iter().filter(|other| **other == (job, event)).count()
    }

    /// Waits until something has happened.
    pub(crate) async fn until(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let mut events = self.events.subscribe();
        soon(what, events.wait_for(|_| true)).await.unwrap();
        let waiting = async {
            loop {
                events.borrow_and_update();
                if happened(self) {
                    return;
                }
                events.changed().await.unwrap();
            }
        };
        soon(what, waiting).await;
    }

    pub(crate) async fn started(&self, job: JobId) {
        self.until(&format!("job {job} starts"), |stage| stage.count_of(job, Event::Started) > 0).await;
    }
}

/// Notes the end of an attempt, or that it was dropped.
struct Noted {
    stage: Stage,
    job: JobId,
    event: Event,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.stage.note(self.job, self.event);
    }
}

impl Job for Sample {
    const KIND: &'static str = "sample";
    type State = Stage;

    async fn run(self, cx: &Context<Stage>) -> Result<Outcome, JobError> {
        let (stage, job) = (cx.state().clone(), cx.id());
        stage.note(job, Event::Started);
        let mut noted = Noted { stage: stage.clone(), job, event: Event::Dropped };
        let result = match self.act {
            Act::Say(length) => Ok(Outcome::Completed { output: Some(format!("a\0{}", "x".repeat(length))) }),
            Act::Fail => Err(JobError::retry("out of luck")),
            Act::FailUntil(attempt) if cx.attempt() < attempt => Err(JobError::retry("out of luck")),
            Act::Done | Act::FailUntil(_) => Ok(Outcome::DONE),
            Act::Fatal => Err(JobError::fatal("no such image")),
            Act::Panic => panic!("divided by zero"),
            Act::Snooze(length) => Ok(Outcome::Snooze(length)),
            Act::Gate => {
                stage.gate.acquire().await?.forget();
                Ok(Outcome::DONE)
            }
            Act::Obey => {
                let why = cx.stopped().await;
                stage.note(job, Event::Told(why));
                Err(JobError::retry("told to stop"))
            }
            Act::Hang => std::future::pending().await,
            // These two are the work of handlers, and nothing that a test waits by.
            Act::Nap(length) => {
                tokio::time::sleep(length).await;
                Ok(Outcome::DONE)
            }
            Act::Block(length) => {
                std::thread::sleep(length);
                Ok(Outcome::DONE)
            }
        };
        noted.event = Event::Ended;
        result
    }
}

/// A worker of the stage, with short windows.
pub(crate) fn worker(queue: &Queue, stage: &Stage) -> Builder<Stage> {
    brisk(Worker::builder(queue.clone()).state(stage.clone()).handle::<Sample>()).slots(4)
}

/// This worker with short windows.
pub(crate) fn brisk<S: Send + Sync + 'static>(worker: Builder<S>) -> Builder<S> {
    worker
        .poll(Duration::from_millis(20))
        .beat(Duration::from_millis(100))
        .vigil(Vigil { window: Duration::from_secs(5), scan: Duration::from_millis(100) })
        .cancel_grace(Duration::from_millis(200))
}

/// A worker that runs beside the test.
pub(crate) struct Hired {
    pub(crate) stopper: Stopper,
    running: JoinHandle<Result<Exit, Error>>,
}

pub(crate) fn hire<S: Send + Sync + 'static>(worker: Builder<S>) -> Hired {
    let worker = worker.build().unwrap();
    Hired { stopper: worker.stopper(), running: tokio::spawn(worker.run()) }
}

impl Hired {
    /// Waits for its end; returns how long that took, too.
    pub(crate) async fn end(self) -> (Exit, Duration) {
        let began = Instant::now();
        let exit = soon("the worker ends", self.running).await.unwrap().unwrap();
        (exit, began.elapsed())
    }

    pub(crate) async fn stop(self) -> Exit {
        self.stopper.stop();
        self.end().await.0
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_finished()
    }
}

pub(crate) async fn memory() -> Queue {
    Queue::connect("sqlite::memory:").await.unwrap()
}

pub(crate) async fn add(queue: &Queue, act: Act) -> JobId {
    queue.enqueue(Sample { act }).await.unwrap().id
}

/// Waits until the job's record is as wanted.
pub(crate) async fn until<F: Fn(&JobRecord) -> bool>(queue: &Queue, id: JobId, what: &str, wanted: F) -> JobRecord {
    eventually(what, || async { queue.job(id).await.unwrap().filter(|record| wanted(record)) }).await
}

pub(crate) async fn until_state(queue: &Queue, id: JobId, state: State) -> JobRecord {
    until(queue, id, &format!("job {id} is {state}"), |record| record.state == state).await
}

/// Waits until nothing is left of the job.
pub(crate) async fn until_gone(queue: &Queue, id: JobId) {
    let gone = || async { queue.job(id).await.unwrap().is_none().then_some(()) };
    eventually(&format!("job {id} completes"), gone).await;
}

/// Waits until every worker has beaten this often: a poll of 20 ms has come round several times in each beat.
pub(crate) async fn beats(queue: &Queue, times: usize) {
    let mut seen: HashMap<BootId, BTreeSet<DateTime<Utc>>> = HashMap::new();
    let all = Mutex::new(&mut seen);
    eventually("the workers beat", || async {
        let workers = queue.store().workers().await.unwrap();
        let mut seen = all.lock().unwrap();
        for worker in workers {
            seen.entry(worker.boot).or_default().insert(worker.beat_at);
        }
        seen.values().all(|beats| beats.len() > times).then_some(())
    })
    .await;
}

/// Whether no worker is on the books.
pub(crate) async fn no_workers(queue: &Queue) -> bool {
    queue.store().workers().await.unwrap().is_empty()
}

/// A future's output, for use in a `select`.
pub(crate) async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures::future::join_all(futures).await
}
