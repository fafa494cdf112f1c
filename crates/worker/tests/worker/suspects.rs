//! Jobs whose process died under them twice run alone.

use std::time::Duration;

use headcount_queue::{
    Binding, Job, JobId, Queue, State,
    store::{Beat, BootId, NewWorker, Want},
};

use crate::{
    common::eventually,
    stage::{Act, Event, Sample, Stage, add, hire, memory, until_gone, worker},
};

/// A job whose process has died under it twice.
async fn suspect(queue: &Queue, act: Act) -> JobId {
    let id = queue.enqueue(Sample { act }.job().queue("bombs")).await.unwrap().id;
    let binding: Binding = "bombs".parse().unwrap();
    for _ in 0..2 {
        let boot = BootId::random();
        let victim = NewWorker {
            boot,
            instance: None,
            host: "test".into(),
            pid: 1,
            pool: None,
            queues: binding.clone(),
            kinds: Vec::new(),
            slots: 1,
        };
        queue.store().register(&victim).await.unwrap();
        let want = Want { claim: 1, jobs: 1, alone: false, sweep: true };
        let claimed = queue.store().claimer(boot, &binding).next(&[], want).await.unwrap();
        assert_eq!(claimed.jobs.len(), 1);
        let beat = Beat { boot, holds: vec![(id, 1)], started: vec![id], through: 1 };
        queue.store().beat(&beat).await.unwrap();
        queue.store().bury(&[boot]).await.unwrap();
        queue.store().rescue_dead(true).await.unwrap();
    }
    id
}

#[tokio::test]
async fn a_suspect_runs_alone_and_nothing_is_claimed_beside_it() {
    let (queue, stage) = (memory().await, Stage::new());
    let bomb = suspect(&queue, Act::Gate).await;
    let hired = hire(worker(&queue, &stage));
    stage.started(bomb).await;
    let neighbour = add(&queue, Act::Done).await;
    // The neighbour would start within a poll; what proves that it does not is that it starts after the suspect's end.
    stage.gate.add_permits(1);
    until_gone(&queue, neighbour).await;
    let order: Vec<_> = stage.events();
    let at = |wanted| order.iter().position(|event| *event == wanted).unwrap();
    assert!(at((bomb, Event::Ended)) < at((neighbour, Event::Started)), "{order:?}");
    hired.stop().await;
}

#[tokio::test]
async fn a_suspect_is_named_as_started_before_its_handler_starts() {
    let (queue, stage) = (memory().await, Stage::new());
    let bomb = suspect(&queue, Act::Hang).await;
    let hired = hire(worker(&queue, &stage).beat(Duration::from_secs(1)));
    stage.started(bomb).await;
    // Killed in this very moment, it counts.
    let boot = queue.store().workers().await.unwrap().last().unwrap().boot;
    queue.store().bury(&[boot]).await.unwrap();
    queue.store().rescue_dead(true).await.unwrap();
    let record = queue.job(bomb).await.unwrap().unwrap();
    assert_eq!(record.state, State::Failed, "{record:?}");
    hired.stopper.stop_now();
    hired.end().await;
}

#[tokio::test]
async fn a_suspect_does_not_starve_behind_a_busy_worker() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).slots(2));
    // There is always another job waiting when one ends.
    let feeding = {
        let (queue, stage) = (queue.clone(), stage.clone());
        tokio::spawn(async move {
            loop {
                let ended = stage.count(Event::Ended);
                let id = add(&queue, Act::Gate).await;
                add(&queue, Act::Gate).await;
                stage.started(id).await;
                stage.gate.add_permits(1);
                stage.until("one ends", |stage| stage.count(Event::Ended) > ended).await;
            }
        })
    };
    stage.until("it is busy", |stage| stage.count(Event::Ended) > 5).await;
    let bomb = suspect(&queue, Act::Done).await;
    let gate = stage.gate.clone();
    eventually("the suspect runs", || async {
        gate.add_permits(1);
        (stage.count_of(bomb, Event::Ended) > 0).then_some(())
    })
    .await;
    feeding.abort();
    hired.stopper.stop_now();
    hired.end().await;
}
