//! Orders that reach a worker through the store: drain, recall, leave, cancel, and the word that it is dead.

use std::time::Duration;

use headcount_queue::{
    Queue, State, Stop,
    store::{BootId, Cancel, WorkerState},
};
use headcount_worker::Exit;

use crate::{
    common::eventually,
    stage::{Act, Event, Sample, Stage, add, hire, memory, no_workers, until, until_gone, until_state, worker},
};

async fn boot(queue: &Queue) -> BootId {
    let first = || async { queue.store().workers().await.unwrap().first().map(|worker| worker.boot) };
    eventually("the worker registers", first).await
}

#[tokio::test]
async fn a_draining_worker_claims_nothing_keeps_what_it_runs_and_goes_on_when_recalled() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let running = add(&queue, Act::Gate).await;
    stage.started(running).await;
    let boot = boot(&queue).await;
    assert_eq!(queue.store().drain(&[boot], "test", None).await.unwrap().len(), 1);
    let waiting = add(&queue, Act::Done).await;
    stage.gate.add_permits(1);
    until_gone(&queue, running).await;
    let record = queue.job(waiting).await.unwrap().unwrap();
    assert_eq!((record.state, stage.count_of(waiting, Event::Started)), (State::Queued, 0));
    assert_eq!(queue.store().recall(&[boot]).await.unwrap(), [boot]);
    until_gone(&queue, waiting).await;
    assert_eq!(hired.stop().await, Exit::Stopped);
}

#[tokio::test]
async fn a_worker_that_is_marked_as_leaving_ends_by_itself() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let boot = boot(&queue).await;
    let drained = queue.store().drain(&[boot], "test", None).await.unwrap();
    assert!(queue.store().leave(boot, drained[0].1).await.unwrap());
    assert_eq!(hired.end().await.0, Exit::Left);
    assert!(no_workers(&queue).await);
}

#[tokio::test]
async fn the_handler_of_a_cancelled_job_is_told_and_one_that_does_not_listen_is_dropped() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    for (act, end) in [(Act::Obey, Event::Ended), (Act::Hang, Event::Dropped)] {
        let id = add(&queue, act).await;
        stage.started(id).await;
        assert_eq!(queue.cancel(id).await.unwrap(), Cancel::Asked);
        let record = until_state(&queue, id, State::Cancelled).await;
        assert!(record.error.is_some_and(|reason| reason.contains("cancelled")));
        stage.until("the handler ends", |stage| stage.count_of(id, end) == 1).await;
    }
    assert_eq!(stage.count(Event::Told(Stop::Cancelled)), 1);
    assert_eq!(hired.stop().await, Exit::Stopped);
}

#[tokio::test]
async fn a_worker_taken_for_dead_drops_its_jobs_and_registers_anew() {
    let (queue, stage) = (memory().await, Stage::new());
    // It does not poll: only its beat can tell it.
    let hired = hire(worker(&queue, &stage).poll(Duration::from_hours(1)));
    let id = add(&queue, Act::Hang).await;
    stage.started(id).await;
    let before = boot(&queue).await;
    assert_eq!(queue.store().bury(&[before]).await.unwrap(), [before]);
    queue.store().rescue_dead(true).await.unwrap();
    stage
        .until("its job is dropped and runs anew", |stage| {
            stage.count_of(id, Event::Dropped) >= 1 && stage.count_of(id, Event::Started) >= 2
        })
        .await;
    let active = || async {
        let workers = queue.store().workers().await.unwrap();
        workers.into_iter().find(|worker| worker.state == WorkerState::Active && worker.running == 1)
    };
    assert_ne!(eventually("it registers anew", active).await.boot, before);
    let record = until(&queue, id, "it runs", |record| record.state == State::Running).await;
    assert_eq!((record.attempt, record.interruptions), (1, 1));
    hired.stopper.stop_now();
    assert_eq!(hired.end().await.0, Exit::Forced { given_back: 1 });
}

#[tokio::test]
async fn a_job_that_was_taken_away_stops_its_handler_and_its_result_does_not_count() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).poll(Duration::from_hours(1)));
    let id = add(&queue, Act::Obey).await;
    stage.started(id).await;
    let before = boot(&queue).await;
    queue.store().bury(&[before]).await.unwrap();
    stage
        .until("the handler is told or dropped", |stage| {
            stage.count_of(id, Event::Told(Stop::TakenAway)) + stage.count_of(id, Event::Dropped) >= 1
        })
        .await;
    let attempts = queue.store().attempts(id).await.unwrap();
    assert!(attempts.iter().all(|attempt| !attempt.error.contains("told to stop")), "{attempts:?}");
    hired.stopper.stop_now();
    hired.end().await;
}

#[tokio::test]
async fn a_job_cancelled_between_its_claim_and_its_start_never_starts() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).slots(1));
    let done = || std::iter::repeat_with(|| Sample { act: Act::Done }).take(20);
    queue.enqueue_all(done()).await.unwrap();
    stage.until("short jobs are run", |stage| stage.count(Event::Ended) == 20).await;
    let jobs = queue.enqueue_all(std::iter::once(Sample { act: Act::Gate }).chain(done())).await.unwrap();
    stage.started(jobs[0].id).await;
    let cancelled = jobs[5].id;
    queue.cancel(cancelled).await.unwrap();
    until_state(&queue, cancelled, State::Cancelled).await;
    stage.gate.add_permits(1);
    until_gone(&queue, jobs[20].id).await;
    assert_eq!(stage.count_of(cancelled, Event::Started), 0);
    hired.stop().await;
}
