//! Jobs that are handed to a third party and wait for its answer.

use std::{sync::Arc, time::Duration};

use headcount_queue::{
    AttemptOutcome, Backoff, Binding, Callback, Context, Error, Job, JobError, JobId, NewJob, Outcome, Queue,
    Resolution, Retention, State,
    store::{
        Resolve,
        faulty::{Call, Fault, Faulty, When},
    },
};
use headcount_worker::{Builder, Exit, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::common::{eventually, soon};
use crate::stage::{Event, Stage, brisk, hire, memory, until_state};

const HOUR: Duration = Duration::from_hours(1);

/// How a handler comes by its callback.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Asks {
    Never,
    Once,
    /// As often as the store fails to give it.
    UntilGiven,
}

/// A job for a third party: its first attempt waits so long, later ones an hour.
#[derive(Debug, Serialize, Deserialize)]
struct Errand {
    asks: Asks,
    wait: Duration,
    /// It asks only when the stage's gate lets it.
    gate_before: bool,
    /// It returns only when the stage's gate lets it.
    gate_after: bool,
}

const ERRAND: Errand = Errand { asks: Asks::Once, wait: HOUR, gate_before: false, gate_after: false };

impl Errand {
    /// A job that is tried again at once and kept when it has completed.
    fn kept(&self) -> NewJob {
        let retention = Retention { completed: HOUR, failed: None };
        let backoff = Backoff { base: Duration::ZERO, ..Backoff::default() };
        self.job().retention(retention).backoff(backoff)
    }

    /// Asks for the callback, and tells what came of that.
    async fn ask(&self, cx: &Context<Desk>) -> Result<(), JobError> {
        let given = &cx.state().given;
        if self.asks == Asks::Never {
            return Ok(());
        }
        loop {
            let error = match cx.callback().await {
                Ok(callback) => {
                    assert_eq!(cx.callback().await?, callback, "of one attempt it is always the same");
                    return Ok(given.send(Ok(callback))?);
                }
                Err(error) => error,
            };
            let failed = JobError::from(&error);
            given.send(Err(error))?;
            if self.asks == Asks::Once {
                return Err(failed);
            }
        }
    }
}

/// Where errands tell what they were given to hand over.
struct Desk {
    stage: Stage,
    given: UnboundedSender<Result<Callback, Error>>,
}

impl Job for Errand {
    const KIND: &'static str = "errand";
    type State = Desk;

    async fn run(self, cx: &Context<Desk>) -> Result<Outcome, JobError> {
        let Desk { stage, .. } = cx.state();
        stage.note(cx.id(), Event::Started);
        if self.gate_before {
            stage.gate.acquire().await?.forget();
        }
        self.ask(cx).await?;
        if self.gate_after {
            stage.gate.acquire().await?.forget();
        }
        Ok(Outcome::Waiting(if cx.attempt() == 1 { self.wait } else { HOUR }))
    }
}

/// A worker with one slot, and what its errands are given.
struct Office {
    stage: Stage,
    worker: Builder<Desk>,
    given: UnboundedReceiver<Result<Callback, Error>>,
}

impl Office {
    fn new(queue: &Queue) -> Self {
        let (sender, given) = unbounded_channel();
        let stage = Stage::new();
        let desk = Desk { stage: stage.clone(), given: sender };
        Self { stage, worker: brisk(Worker::builder(queue.clone()).state(desk).handle::<Errand>()).slots(1), given }
    }
}

/// The next that a handler was given.
async fn next(given: &mut UnboundedReceiver<Result<Callback, Error>>) -> Result<Callback, Error> {
    soon("a handler asks for its callback", given.recv()).await.unwrap()
}

/// A queue whose store fails on cue; its other handle never does.
async fn faulty() -> (Queue, Faulty, Queue) {
    let sound = memory().await;
    let faulty = Faulty::new(sound.store().clone());
    (Queue::new(Arc::new(faulty.clone())), faulty, sound)
}

async fn add(queue: &Queue, errand: &Errand) -> JobId {
    queue.enqueue(errand.kept()).await.unwrap().id
}

fn done(output: &str) -> Resolution {
    Resolution::Completed { output: Some(output.into()) }
}

async fn answer(queue: &Queue, callback: &Callback, resolution: Resolution) -> Result<Resolve, Error> {
    queue.resolve(callback.id, &callback.secret, &resolution).await
}

#[tokio::test]
async fn a_job_that_waits_frees_its_slot_and_completes_with_what_the_answer_says() {
    let queue = memory().await;
    let Office { stage, worker, mut given } = Office::new(&queue);
    let hired = hire(worker);
    let first = add(&queue, &ERRAND).await;
    let callback = next(&mut given).await.unwrap();
    assert_eq!(callback.id, first);
    let second = add(&queue, &ERRAND).await;
    // There is one slot: the second starts beside the first one's wait.
    assert_eq!(next(&mut given).await.unwrap().id, second);
    let record = until_state(&queue, first, State::WaitAsync).await;
    assert!(record.deadline.is_some_and(|deadline| deadline > record.started_at.unwrap()), "{record:?}");
    until_state(&queue, second, State::WaitAsync).await;
    let left = queue.store().outstanding(&Binding::Any).await.unwrap();
    assert!(left.parked && left.is_idle(), "{left:?}");

    assert_eq!(answer(&queue, &callback, done("by them")).await.unwrap(), Resolve::Done);
    let record = queue.job(first).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt, record.output.as_deref()), (State::Completed, 1, Some("by them")));
    let again = answer(&queue, &callback, done("again")).await;
    assert!(matches!(again, Err(Error::WrongState { state: State::Completed, .. })), "{again:?}");
    assert_eq!(stage.count(Event::Started), 2);
    assert_eq!(hired.stop().await, Exit::Stopped);
    assert_eq!(queue.job(second).await.unwrap().unwrap().state, State::WaitAsync, "it needs no worker to wait");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_handler_returns_settles_the_job_when_it_is_parked() {
    let queue = memory().await;
    let Office { stage, worker, mut given } = Office::new(&queue);
    let hired = hire(worker);
    let id = add(&queue, &Errand { gate_after: true, ..ERRAND }).await;
    let callback = next(&mut given).await.unwrap();
    assert_eq!(answer(&queue, &callback, done("early")).await.unwrap(), Resolve::Early);
    assert_eq!(queue.job(id).await.unwrap().unwrap().state, State::Running);
    let twice = answer(&queue, &callback, done("twice")).await;
    assert!(matches!(twice, Err(Error::Answered(_))), "{twice:?}");
    stage.gate.add_permits(1);
    assert_eq!(until_state(&queue, id, State::Completed).await.output.as_deref(), Some("early"));
    hired.stop().await;
}

#[tokio::test]
async fn a_job_whose_deadline_passes_runs_again_and_its_old_secret_is_worth_nothing() {
    let queue = memory().await;
    let Office { worker, mut given, .. } = Office::new(&queue);
    let hired = hire(worker);
    let id = add(&queue, &Errand { wait: Duration::from_secs(1), ..ERRAND }).await;
    let old = next(&mut given).await.unwrap();
    let new = next(&mut given).await.unwrap();
    let waits = || async { queue.job(id).await.unwrap().filter(|job| job.state == State::WaitAsync) };
    let record = eventually("the second attempt waits", waits).await;
    assert_eq!(record.attempt, 2);
    let attempts = queue.store().attempts(id).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].outcome), (1, AttemptOutcome::Failed));
    assert!(attempts[0].error.contains("nobody answered"), "{attempts:?}");

    let refused = answer(&queue, &old, done("too late")).await;
    assert!(matches!(refused, Err(Error::WrongSecret(_))), "{refused:?}");
    assert_eq!(answer(&queue, &new, done("in time")).await.unwrap(), Resolve::Done);
    assert_eq!(queue.job(id).await.unwrap().unwrap().output.as_deref(), Some("in time"));
    hired.stop().await;
}

#[tokio::test]
async fn a_handler_that_waits_and_has_asked_for_no_callback_fails_for_good_and_is_told_why() {
    let queue = memory().await;
    let Office { stage, worker, .. } = Office::new(&queue);
    let hired = hire(worker);
    let id = add(&queue, &Errand { asks: Asks::Never, ..ERRAND }).await;
    let error = until_state(&queue, id, State::Failed).await.error.unwrap();
    assert!(error.contains("no callback") && error.contains("cx.callback()"), "{error}");
    assert_eq!(stage.count(Event::Started), 1);
    hired.stop().await;
}

#[tokio::test]
async fn a_handler_whose_callback_the_store_does_not_take_hears_of_it_and_the_job_is_tried_again() {
    let (queue, faulty, sound) = faulty().await;
    let Office { worker, mut given, .. } = Office::new(&queue);
    let _once = faulty.rule(Call::Callback, Fault::Fail, When::First(1));
    let hired = hire(worker);
    let id = add(&sound, &ERRAND).await;
    assert!(matches!(next(&mut given).await, Err(Error::Unavailable(_))));
    let callback = next(&mut given).await.unwrap();
    let record = until_state(&sound, id, State::WaitAsync).await;
    assert_eq!(record.attempt, 2);
    let error = &sound.store().attempts(id).await.unwrap()[0].error;
    assert!(error.contains("the store does not answer"), "{error}");
    assert_eq!(answer(&sound, &callback, done("x")).await.unwrap(), Resolve::Done);
    hired.stop().await;
}

#[tokio::test]
async fn a_callback_whose_reply_was_lost_is_asked_for_again_in_the_same_attempt_and_the_new_one_is_good() {
    let (queue, faulty, sound) = faulty().await;
    let Office { stage, worker, mut given } = Office::new(&queue);
    let _once = faulty.rule(Call::Callback, Fault::LoseReply, When::First(1));
    let hired = hire(worker);
    let id = add(&sound, &Errand { asks: Asks::UntilGiven, ..ERRAND }).await;
    assert!(matches!(next(&mut given).await, Err(Error::Unavailable(_))));
    let callback = next(&mut given).await.unwrap();
    until_state(&sound, id, State::WaitAsync).await;
    assert_eq!(answer(&sound, &callback, done("x")).await.unwrap(), Resolve::Done);
    assert_eq!(sound.job(id).await.unwrap().unwrap().attempt, 1);
    assert_eq!((stage.count(Event::Started), faulty.faults(Call::Callback)), (1, 1));
    hired.stop().await;
}

#[tokio::test]
async fn a_park_whose_reply_was_lost_is_sent_again_and_parks_once() {
    let (queue, faulty, sound) = faulty().await;
    let Office { stage, worker, mut given } = Office::new(&queue);
    let _twice = faulty.rule(Call::Settle, Fault::LoseReply, When::First(2));
    let hired = hire(worker);
    let id = add(&sound, &ERRAND).await;
    let callback = next(&mut given).await.unwrap();
    soon("both replies are lost", faulty.until_faults(Call::Settle, 2)).await;
    soon("it is settled again", faulty.until_calls(Call::Settle, 3)).await;
    let parked = until_state(&sound, id, State::WaitAsync).await;
    assert_eq!(answer(&sound, &callback, Resolution::StillWaiting(2 * HOUR)).await.unwrap(), Resolve::Done);
    let longer = sound.job(id).await.unwrap().unwrap().deadline;
    assert!(longer > parked.deadline, "{longer:?}");
    assert_eq!(answer(&sound, &callback, done("x")).await.unwrap(), Resolve::Done);
    assert_eq!(stage.count(Event::Started), 1);
    hired.stop().await;
}

#[tokio::test]
async fn an_attempt_that_was_taken_away_is_given_no_callback() {
    let (queue, faulty, sound) = faulty().await;
    let Office { stage, worker, mut given } = Office::new(&queue);
    let hired = hire(worker);
    let id = add(&sound, &Errand { gate_before: true, ..ERRAND }).await;
    stage.started(id).await;
    // The worker hears nothing of its death, so that its handler goes on.
    let deaf = faulty.rule(Call::Beat | Call::Heart | Call::Claim | Call::Rescue, Fault::Fail, When::Always);
    soon("no beat is under way", faulty.until_faults(Call::Heart, 1)).await;
    let boots: Vec<_> = sound.store().workers().await.unwrap().iter().map(|worker| worker.boot).collect();
    sound.store().bury(&boots).await.unwrap();
    assert_eq!(sound.store().rescue_dead(true).await.unwrap()[0].id, id);
    stage.gate.add_permits(2);
    let refused = next(&mut given).await;
    assert!(matches!(refused, Err(Error::TakenAway(of)) if of == id), "{refused:?}");
    deaf.lift();
    // It runs again, as if nothing had been handed over.
    let callback = next(&mut given).await.unwrap();
    until_state(&sound, id, State::WaitAsync).await;
    assert_eq!(answer(&sound, &callback, done("x")).await.unwrap(), Resolve::Done);
    hired.stop().await;
}
