//! Jobs whose process died under them twice run alone.

use std::time::Duration;

use headcount_queue::{
    Binding, Job, JobId, Queue, State,
    store::{Beat, BootId, NewWorker, Want},
};

use crate::stage::{Act, Event, Sample, Stage, add, beats, hire, memory, until_gone, worker};

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
        let want = Want { claim: 1, jobs: 1, sweep: true, ..Want::default() };
        let claimed = queue.store().claimer(boot, &binding, None).next(&[], want).await.unwrap();
        assert_eq!(claimed.jobs.len(), 1);
        let beat = Beat { boot, holds: vec![(id, 1)], started: vec![id], through: 1, grace: None };
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
    let neighbour = add(&queue, Act::Done).await;
    let hired = hire(worker(&queue, &stage));
    stage.started(bomb).await;
    beats(&queue, 3).await;
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
    let nap = |i: u64| Sample { act: Act::Nap(Duration::from_millis(50 + i * 37 % 400)) };
    let bomb = suspect(&queue, Act::Done).await;
    queue
        .store()
        .set(&headcount_queue::store::Target::Queue("bombs".into()), headcount_queue::store::Setting::Paused(true))
        .await
        .unwrap();
    let backlog = queue.enqueue_all((0..3000).map(nap)).await.unwrap();
    let hired = hire(worker(&queue, &stage).slots(16));
    stage.until("it is busy", |stage| stage.count(Event::Ended) > 20).await;
    assert_eq!(stage.count_of(bomb, Event::Started), 0);
    queue
        .store()
        .set(&headcount_queue::store::Target::Queue("bombs".into()), headcount_queue::store::Setting::Paused(false))
        .await
        .unwrap();
    stage.until("the suspect runs", |stage| stage.count_of(bomb, Event::Ended) == 1).await;
    let last = backlog.last().unwrap().id;
    assert_eq!(stage.count_of(last, Event::Started), 0, "it ran before the backlog was worked off");
    let events = stage.events();
    let at = |event| events.iter().position(|other| *other == (bomb, event)).unwrap();
    assert_eq!(at(Event::Started) + 1, at(Event::Ended), "alone");
    let before = |event| events[..at(Event::Started)].iter().filter(|(_, other)| *other == event).count();
    assert_eq!(before(Event::Started), before(Event::Ended), "nothing ran beside it");
    hired.stopper.stop_now();
    hired.end().await;
}
