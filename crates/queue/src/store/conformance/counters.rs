//! The counters: what is shown of queues costs nothing and is right.

use std::time::{Duration, Instant};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestRunner},
};

use super::{
    history,
    trial::{HOUR, Trial, completed, end, failed, kept, plain, retry, snooze, tick, verdicts},
};
use crate::{Depth, Flow, NewJob, store::Verdict};

/// Twelve random histories, each of up to a hundred and twenty steps. A failure is simplified before it is shown.
pub async fn the_counters_agree_with_a_recount_after_any_history(trial: &Trial<'_>) {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut played = 0;
    for _ in 0..12 {
        let mut tree = history::histories(1..=120).new_tree(&mut runner).expect("a history is drawn");
        let mut play = async |steps: &[history::Step]| {
            played += 1;
            history::play(trial, &format!("h{played}"), steps).await
        };
        let Err(mut why) = play(&tree.current()).await else { continue };
        let mut simplest = tree.current();
        // For so long at most, since each is played on the store.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            match play(&tree.current()).await {
                Err(reason) => {
                    (why, simplest) = (reason, tree.current());
                    if !tree.simplify() {
                        break;
                    }
                }
                Ok(()) if tree.complicate() => {}
                Ok(()) => break,
            }
        }
        panic!("{why}\nafter this history: {simplest:#?}");
    }
}

/// Each thing that happened is counted once, where it belongs.
pub async fn the_flows_say_what_happened(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let ms = Duration::from_millis;
    trial.fill("q", 6).await;
    let due = trial.enqueue(plain("q").delay(ms(1))).await;
    trial.enqueue(plain("q").delay(HOUR)).await;
    trial.until_promoted(due).await;

    let claimed = worker.take(7).await;
    let ran = |n: usize, verdict, millis| crate::store::Settlement { ran: ms(millis), ..end(&claimed[n], verdict) };
    worker
        .settle_all(&[
            ran(0, completed(), 1000),
            ran(1, kept("done"), 200),
            ran(2, retry(HOUR), 30),
            ran(3, failed(), 4),
            ran(4, snooze(HOUR), 50_000),
            ran(5, Verdict::Return, 60_000),
        ])
        .await;
    trial.dies(&worker, &[&claimed[6]], &[&claimed[6]]).await;

    let queue = trial.queue("q").await;
    let Flow { arrived, deferred, promoted, returned, started, late, completed, failed, run_ms, ref delays } =
        queue.flow;
    assert_eq!((arrived, deferred, promoted), (6, 2, 1));
    assert_eq!((started, late, returned), (7, 0, 2));
    assert_eq!((completed, failed, run_ms), (2, 2, 1234));
    assert_eq!(delays.0.iter().sum::<i64>(), started, "each start had a delay");
    let depth = Depth { ready: 2, scheduled: 3, completed: 1, failed: 1, ..Depth::default() };
    assert_eq!(queue.depth, depth);
    assert_eq!(trial.store.fold().await.unwrap(), 0, "nothing is left to be folded");
    let again = trial.queue("q").await;
    assert_eq!((again.flow, again.depth), (queue.flow, queue.depth), "a reading changes nothing");
    assert!(again.read_at >= queue.read_at);
}

/// A retry is no arrival, and a cancel no failure: a scaler that reads rates does not take a person's hand for load.
pub async fn what_is_done_by_hand_shows_in_the_depths_and_is_no_flow(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let jobs = trial.fill("q", 4).await;
    let job = worker.take_one().await;
    worker.settle(&job, failed()).await;
    let before = trial.queue("q").await;
    trial.store.retry(jobs[0]).await.unwrap();
    trial.store.cancel(jobs[1]).await.unwrap();
    trial.store.cancel(jobs[2]).await.unwrap();
    trial.store.retry(jobs[2]).await.unwrap();
    trial.store.delete(jobs[3]).await.unwrap();
    let after = trial.queue("q").await;
    assert_eq!(before.depth, Depth { ready: 3, failed: 1, ..Depth::default() });
    assert_eq!(after.depth, Depth { ready: 2, cancelled: 1, ..Depth::default() });
    assert_eq!(after.flow, before.flow);
}

/// What changed nothing is counted nowhere.
pub async fn a_stale_settlement_is_not_counted(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    trial.fill("q", 2).await;
    let jobs = worker.take(2).await;
    worker.settle(&jobs[0], completed()).await;
    worker.settle(&jobs[1], retry(HOUR)).await;
    let before = trial.queue("q").await;
    for (verdict, _) in verdicts() {
        worker.settle_all(&[end(&jobs[0], verdict.clone()), end(&jobs[1], verdict)]).await;
    }
    let after = trial.queue("q").await;
    assert_eq!((&after.flow, after.depth), (&before.flow, before.depth));
    assert_eq!(trial.store.audit().await.unwrap(), []);
}

/// A job that waited long counts in a higher bucket than one that did not.
pub async fn each_start_has_its_delay(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    trial.enqueue(plain("q")).await;
    let long = trial.now().await + Duration::from_millis(300);
    trial.until_past(long).await;
    let job = worker.take_one().await;
    let delay = (job.started_at - job.ready_at).to_std().expect("it started after it was ready");
    assert!(delay >= Duration::from_millis(290), "it waited at least {delay:?}");
    let mut expected = crate::Delays::default();
    expected.add(delay);
    assert_eq!(trial.queue("q").await.flow.delays, expected);

    // Given back, its wait begins anew, and its next start is another start.
    worker.settle(&job, Verdict::Return).await;
    let job = worker.take_one().await;
    let delay = (job.started_at - job.ready_at).to_std().expect("it started after it was ready");
    assert!(job.ready_at >= long, "it became claimable when it was given back");
    expected.add(delay);
    assert_eq!(trial.queue("q").await.flow.delays, expected);
}

/// A lane is one kind at one priority of one queue; the queue is their sum.
pub async fn lanes_tell_kinds_and_priorities_apart_and_add_up(trial: &Trial<'_>) {
    let job = |kind: &str, priority| NewJob::new(kind, "{}").queue("q").priority(priority);
    let jobs = [job("a", 0), job("a", 0), job("a", 5), job("b", 0), job("b", -5), job("b", 0).delay(HOUR)];
    trial.store.enqueue(&jobs).await.unwrap();
    trial.fill("other", 3).await;
    let mut worker = trial.worker("q").await;
    let first = worker.take_one().await;
    worker.settle(&first, completed()).await;

    let queue = trial.queue("q").await;
    let mut lanes: Vec<_> = queue
        .lanes
        .iter()
        .map(|lane| {
            assert_eq!(lane.queue, "q");
            let (depth, flow) = (lane.depth, &lane.flow);
            (&*lane.kind, lane.priority, depth.ready, depth.scheduled, flow.arrived, flow.deferred, flow.completed)
        })
        .collect();
    lanes.sort_unstable();
    assert_eq!(
        lanes,
        [("a", 0, 2, 0, 2, 0, 0), ("a", 5, 0, 0, 1, 0, 1), ("b", -5, 1, 0, 1, 0, 0), ("b", 0, 1, 1, 1, 1, 0)]
    );
    let sum = |count: fn(&crate::LaneState) -> i64| queue.lanes.iter().map(count).sum::<i64>();
    assert_eq!(queue.depth.ready, sum(|lane| lane.depth.ready));
    assert_eq!(queue.depth.scheduled, sum(|lane| lane.depth.scheduled));
    assert_eq!(queue.flow.arrived, sum(|lane| lane.flow.arrived));
    assert_eq!(queue.flow.started, sum(|lane| lane.flow.started));
    assert_eq!(queue.flow.completed, sum(|lane| lane.flow.completed));
}

/// It is the wait of the one that has waited longest; without any there is none.
pub async fn the_oldest_waiting_jobs_age_is_shown(trial: &Trial<'_>) {
    trial.enqueue(plain("q").delay(HOUR)).await;
    assert_eq!(trial.queue("q").await.oldest, None, "a scheduled job does not wait yet");
    let id = trial.enqueue(plain("q")).await;
    let ready_at = trial.job(id).await.ready_at.expect("a queued job has been claimable since");
    tick(&*trial.store).await;
    trial.fill("q", 2).await;
    let queue = trial.queue("q").await;
    let age = (queue.read_at - ready_at).to_std().expect("it was read after the job was there");
    let shown = queue.oldest.expect("jobs wait");
    assert!(shown.abs_diff(age) < Duration::from_millis(1), "{shown:?} is shown for {age:?}");
    let mut worker = trial.worker("q").await;
    assert_eq!(worker.take(5).await.len(), 3);
    assert_eq!(trial.queue("q").await.oldest, None, "a running job waits no more");
}

/// What a scaler watches does not vanish when there is nothing to do.
pub async fn an_emptied_queue_is_still_listed(trial: &Trial<'_>) {
    assert!(trial.queues().await.is_empty());
    trial.enqueue(plain("q")).await;
    let deleted = trial.enqueue(plain("other")).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.settle(&job, completed()).await;
    trial.store.delete(deleted).await.unwrap();
    let queues = trial.queues().await;
    assert_eq!(queues.keys().collect::<Vec<_>>(), ["other", "q"]);
    assert!(queues.values().all(|queue| queue.depth == Depth::default() && queue.oldest.is_none()));
    assert_eq!(queues["q"].flow.completed, 1);
    assert_eq!(queues["other"].flow.arrived, 1);
}
