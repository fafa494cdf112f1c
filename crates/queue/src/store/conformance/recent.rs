//! What a scaler reads of a queue beyond its depths: its priorities, its suspects, and what happened lately.

use std::time::Duration;

use super::trial::{HOUR, Trial, completed, failed, ids, keyed, plain, tick};
use crate::{
    Conflict, NewJob, QueueState, Scope,
    store::{Setting, Verdict},
};

/// The age of a job that has been claimable since then, at the time of the reading, is what is shown.
fn assert_age(queue: &QueueState, shown: Option<Duration>, ready_at: chrono::DateTime<chrono::Utc>) {
    let age = (queue.read_at - ready_at).to_std().expect("it was read after the job was there");
    let shown = shown.expect("jobs wait");
    assert!(shown.abs_diff(age) < Duration::from_millis(1), "{shown:?} is shown for {age:?}");
}

/// The highest first, each with its jobs and the age of its oldest; a priority without claimable jobs is none.
pub async fn each_priority_shows_how_many_wait_and_for_how_long(trial: &Trial<'_>) {
    trial.enqueue(plain("q").priority(7).delay(HOUR)).await;
    assert_eq!(trial.queue("q").await.priorities, []);
    let mut oldest = Vec::new();
    for priority in [0, 5, -5] {
        let id = trial.enqueue(plain("q").priority(priority)).await;
        let since = trial.job(id).await.ready_at.expect("it is claimable");
        oldest.push((priority, since));
        // Far enough apart to be told from those that come later.
        trial.until_past(since + Duration::from_millis(10)).await;
    }
    // Of another kind: a priority is all its kinds together.
    trial.enqueue(NewJob::new("other", "{}").queue("q").priority(5)).await;
    trial.fill("q", 2).await;
    trial.fill("elsewhere", 4).await;

    let queue = trial.queue("q").await;
    let shown: Vec<_> = queue.priorities.iter().map(|p| (p.priority, p.ready)).collect();
    assert_eq!(shown, [(5, 2), (0, 3), (-5, 1)]);
    assert_eq!(queue.priorities.iter().map(|p| p.ready).sum::<i64>(), queue.depth.ready);
    for (priority, ready_at) in oldest {
        let of = queue.priorities.iter().find(|p| p.priority == priority).expect("it is shown");
        assert_age(&queue, of.oldest, ready_at);
    }
    let eldest = queue.priorities.iter().filter_map(|p| p.oldest).max();
    assert_eq!(queue.oldest, eldest, "the queue's oldest is the oldest of them");

    let mut worker = trial.worker("q").await;
    assert_eq!(worker.take(2).await.len(), 2);
    let queue = trial.queue("q").await;
    assert_eq!(queue.priorities.iter().map(|p| (p.priority, p.ready)).collect::<Vec<_>>(), [(0, 3), (-5, 1)]);
    assert_eq!(worker.take(10).await.len(), 4);
    assert_eq!(trial.queue("q").await.priorities, []);
}

/// Lateness is counted from the time a job was due, and a job that comes back waits anew.
pub async fn a_promoted_jobs_age_counts_from_when_it_was_due(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q").delay(Duration::from_millis(1))).await;
    let due = trial.job(id).await.run_at;
    trial.until_past(due + Duration::from_millis(20)).await;
    trial.store.promote(10).await.unwrap();
    let queue = trial.queue("q").await;
    assert_age(&queue, queue.oldest, due);
    assert_age(&queue, queue.priorities[0].oldest, due);
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.settle(&job, Verdict::Return).await;
    let back = trial.job(id).await.ready_at.expect("it is claimable");
    let queue = trial.queue("q").await;
    assert_age(&queue, queue.priorities[0].oldest, back);
}

/// Only what a worker would take once it holds nothing else is demand; what waits for a key or a resume is none.
pub async fn suspects_are_counted_apart_from_all_that_is_held(trial: &Trial<'_>) {
    let suspect = trial.suspect(plain("q")).await;
    let depth = trial.queue("q").await.depth;
    assert_eq!((depth.ready, depth.held, depth.suspects), (0, 1, 1));
    let job = keyed("q", "k", Scope::Unfinished, Conflict::RunAgain);
    let holder = trial.enqueue(job.clone()).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(10).await;
    assert_eq!(ids(&claimed), [holder]);
    trial.enqueue(job).await;
    trial.enqueue(NewJob::new("slow", "{}").queue("q")).await;
    trial.set_kind("slow", Setting::Paused(true)).await;
    trial.release_all().await;
    let queue = trial.queue("q").await;
    assert_eq!((queue.depth.ready, queue.depth.held, queue.depth.suspects, queue.depth.running), (0, 3, 1, 1));
    assert_eq!((queue.oldest, &*queue.priorities), (None, &[][..]), "none of them may be claimed");
    let lanes = |count: fn(&crate::Depth) -> i64| queue.lanes.iter().map(|lane| count(&lane.depth)).sum::<i64>();
    assert_eq!((lanes(|depth| depth.held), lanes(|depth| depth.suspects)), (3, 1));
    trial.assert_counted().await;

    worker.settle(&claimed[0], completed()).await;
    trial.set_kind("slow", Setting::Paused(false)).await;
    trial.release_all().await;
    let depth = trial.queue("q").await.depth;
    assert_eq!((depth.ready, depth.held, depth.suspects), (2, 1, 1));
    let mut alone = trial.worker("q").await;
    assert_eq!(alone.take_one().await.id, suspect);
    let depth = trial.queue("q").await.depth;
    assert_eq!((depth.held, depth.suspects, depth.running), (0, 0, 1));
    trial.assert_counted().await;
}

/// In a store that is younger than that, all that ever happened is recent, over all the time that it is there.
pub async fn what_happened_in_the_last_minutes_is_recent(trial: &Trial<'_>) {
    let begun = trial.now().await;
    let mut worker = trial.worker("q").await;
    trial.fill("q", 4).await;
    trial.enqueue(plain("q").delay(HOUR)).await;
    let claimed = worker.take(3).await;
    worker.settle(&claimed[0], completed()).await;
    worker.settle(&claimed[1], failed()).await;
    worker.settle(&claimed[2], Verdict::Return).await;
    tick(&*trial.store).await;
    let queue = trial.queue("q").await;
    assert_eq!(queue.recent.flow, queue.flow);
    let since = (queue.read_at - begun).to_std().expect("it was read afterwards");
    let over = queue.recent.over;
    assert!(over >= since, "it covers {over:?} of {since:?}");
    assert!(over <= Duration::from_mins(6), "it covers {over:?}: no more than six minutes");
    assert!(queue.recent.rate(queue.recent.flow.arrived) > 0.0);
    assert_eq!(queue.recent.late_share(), Some(0.0));
    // More happens, and the next reading covers it.
    trial.fill("q", 2).await;
    let again = trial.queue("q").await;
    assert_eq!(again.recent.flow.arrived, 6);
    assert!(again.recent.over >= over || over > Duration::from_mins(5));
}
