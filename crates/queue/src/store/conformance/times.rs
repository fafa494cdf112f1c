//! Times: every one is the store's own clock's.

use std::time::Duration;

use super::trial::{HOUR, Trial, eventually, failed, ids, interrupt, kept, plain, retry, snooze, tick};
use crate::{
    JobId, State,
    store::{ClaimedJob, Verdict},
};

/// A lenience for stores that keep times in microseconds.
const MICRO: Duration = Duration::from_micros(1);

/// However eagerly one promotes and claims: not before its time, and then soon.
pub async fn a_delayed_job_is_never_early(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let at = trial.now().await + Duration::from_millis(300);
    let by_time = trial.enqueue(plain("q").run_at(at)).await;
    let by_delay = trial.enqueue(plain("q").delay(Duration::from_millis(200))).await;
    for id in [by_time, by_delay] {
        let job = trial.job(id).await;
        assert_eq!((job.state, job.ready_at, job.started_at), (State::Scheduled, None, None));
    }
    let job = trial.job(by_delay).await;
    let delay = (job.run_at - job.enqueued_at).to_std().expect("it is due after it was enqueued");
    assert!(delay.abs_diff(Duration::from_millis(200)) < Duration::from_millis(1), "a delay counts from the enqueue");
    assert_eq!(trial.job(by_time).await.run_at.timestamp_micros(), at.timestamp_micros());

    let mut claimed: Vec<ClaimedJob> = Vec::new();
    eventually("both jobs fall due", async || {
        let due = trial.store.promote(10).await.unwrap();
        claimed.extend(worker.take(10).await);
        if let Some(wait) = due.next_due {
            assert!(wait <= Duration::from_millis(300));
        }
        (claimed.len() == 2).then_some(())
    })
    .await;
    for job in claimed {
        assert!(job.started_at >= job.run_at, "job {} started {} before its time", job.id, job.run_at - job.started_at);
    }
}

/// Nobody schedules into the past.
pub async fn a_time_that_has_passed_means_now(trial: &Trial<'_>) {
    let now = trial.now().await;
    tick(&*trial.store).await;
    let jobs = [
        plain("q").run_at(now),
        plain("q").run_at(now - Duration::from_hours(24 * 365 * 30)),
        plain("q").delay(Duration::ZERO),
        plain("q"),
    ];
    let enqueued: Vec<JobId> = trial.store.enqueue(&jobs).await.unwrap().into_iter().map(|e| e.id).collect();
    for &id in &enqueued {
        let job = trial.job(id).await;
        assert_eq!(job.state, State::Queued);
        assert!(job.ready_at.unwrap() > now, "it is claimable since it was enqueued, not since a time before that");
    }
    let mut worker = trial.worker("q").await;
    assert_eq!(ids(&worker.take(10).await), enqueued);
    assert_eq!(trial.queue("q").await.flow.late, 0);
}

/// Enqueued, claimable, started, finished, one after the other, and all within what the clock showed.
pub async fn the_times_of_a_job_stand_in_order(trial: &Trial<'_>) {
    let before = trial.now().await;
    let id = trial.enqueue(plain("q")).await;
    let queued = trial.job(id).await;
    assert_eq!((queued.started_at, queued.finished_at, queued.worker.as_deref()), (None, None, None));
    let ready_at = queued.ready_at.expect("a queued job has been claimable since");
    let between = tick(&*trial.store).await;

    let mut worker = trial.worker("q").await;
    let claimed = worker.take_one().await;
    let running = trial.job(id).await;
    assert_eq!(running.started_at, Some(claimed.started_at));
    assert_eq!((running.enqueued_at, running.run_at), (claimed.enqueued_at, claimed.run_at));
    assert_eq!((running.ready_at, running.finished_at), (Some(claimed.ready_at), None));
    assert_eq!(claimed.ready_at, ready_at);
    assert!(running.worker.as_deref().is_some_and(|worker| worker.contains("instance-1")), "{:?}", running.worker);
    tick(&*trial.store).await;

    worker.settle(&claimed, kept("done")).await;
    let after = trial.now().await;
    let job = trial.job(id).await;
    let finished_at = job.finished_at.expect("it is finished");
    assert_eq!(job.started_at, Some(claimed.started_at));
    assert!(job.worker.as_deref().is_some_and(|worker| worker.contains("instance-1")), "who ran it last");
    let times = [before, job.enqueued_at, ready_at, between, claimed.started_at, finished_at, after];
    assert!(times.is_sorted(), "{times:?}");
    assert!(claimed.started_at < finished_at);
}

/// Each waits as long as was asked, from the end of the attempt.
pub async fn a_retry_and_a_snooze_wait_their_time(trial: &Trial<'_>) {
    const WAIT: Duration = Duration::from_millis(200);
    let mut worker = trial.worker("q").await;
    for verdict in [retry(WAIT), snooze(WAIT)] {
        let id = trial.enqueue(plain("q")).await;
        let job = worker.take_one().await;
        let before = trial.now().await;
        worker.settle(&job, verdict.clone()).await;
        let after = trial.now().await;
        let waiting = trial.job(id).await;
        assert_eq!(waiting.state, State::Scheduled);
        assert!(waiting.run_at >= before + WAIT - MICRO && waiting.run_at <= after + WAIT, "{verdict:?}");
        assert_eq!(waiting.enqueued_at, job.enqueued_at);

        let again = eventually("it falls due", async || {
            trial.store.promote(10).await.unwrap();
            worker.take(10).await.pop()
        })
        .await;
        assert_eq!(again.id, id);
        assert!(again.started_at >= waiting.run_at, "{verdict:?} was early");
        worker.settle(&again, kept("done")).await;
    }
}

/// Its lateness counts from when it was due, not from when somebody noticed.
pub async fn a_promoted_job_has_been_claimable_since_it_was_due(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q").delay(Duration::from_millis(20))).await;
    let due = trial.job(id).await.run_at;
    trial.until_past(due + Duration::from_millis(50)).await;
    assert_eq!(trial.store.promote(10).await.unwrap().jobs, 1);
    assert_eq!(trial.job(id).await.ready_at, Some(due));
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    assert_eq!((job.ready_at, job.run_at), (due, due));

    worker.settle(&job, retry(Duration::ZERO)).await;
    let due = trial.job(id).await.run_at;
    assert!(due > job.started_at);
    trial.until_promoted(id).await;
    assert_eq!(trial.job(id).await.ready_at, Some(due));
}

/// It keeps its place, but its wait is a new one.
pub async fn a_job_given_back_is_claimable_since_then(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let since = async |before| {
        let ready_at = trial.job(id).await.ready_at.expect("a queued job has been claimable since");
        assert!(ready_at >= before && ready_at <= trial.now().await, "{ready_at} is not after {before}");
    };
    for verdict in [Verdict::Return, interrupt()] {
        let job = worker.take_one().await;
        let before = tick(&*trial.store).await;
        worker.settle(&job, verdict).await;
        since(before).await;
    }
    worker.take_one().await;
    let before = tick(&*trial.store).await;
    worker.beat(&[], &[]).await;
    since(before).await;
    let job = worker.take_one().await;
    let before = tick(&*trial.store).await;
    trial.dies(&worker, &[&job], &[&job]).await;
    since(before).await;

    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.settle(&job, failed()).await;
    let before = tick(&*trial.store).await;
    trial.store.retry(id).await.unwrap();
    since(before).await;
}

/// A pass takes so many at most, the earliest due first, and says when the next falls due.
pub async fn a_promotion_takes_the_earlier_due_up_to_its_limit(trial: &Trial<'_>) {
    let now = trial.now().await;
    let mut due = Vec::new();
    for ms in [50, 10, 30, 20, 40] {
        let at = now + Duration::from_millis(300 + ms);
        due.push((at, trial.enqueue(plain("q").run_at(at)).await));
    }
    let later = trial.enqueue(plain("q").delay(HOUR)).await;
    due.sort();
    let first = trial.store.promote(0).await.unwrap();
    assert_eq!(first.jobs, 0);
    trial.until_past(due[4].0).await;

    let pass = trial.store.promote(2).await.unwrap();
    assert_eq!((pass.jobs, pass.next_due), (2, Some(Duration::ZERO)), "more is due already");
    for (n, &(_, id)) in due.iter().enumerate() {
        trial.assert_state(id, if n < 2 { State::Queued } else { State::Scheduled }).await;
    }
    let pass = trial.store.promote(10).await.unwrap();
    let next = pass.next_due.expect("one is left");
    assert_eq!(pass.jobs, 3);
    assert!(next <= HOUR && next + Duration::from_mins(5) > HOUR, "{next:?}");
    trial.assert_state(later, State::Scheduled).await;
    trial.store.cancel(later).await.unwrap();
    let pass = trial.store.promote(10).await.unwrap();
    assert_eq!((pass.jobs, pass.next_due), (0, None));
}

/// Two processes with the same idea do it once.
pub async fn two_promotions_at_once_promote_each_job_once(trial: &Trial<'_>) {
    let jobs = vec![plain("q").delay(Duration::from_millis(1)); 200];
    trial.store.enqueue(&jobs).await.unwrap();
    trial.until_past(trial.now().await + Duration::from_millis(1)).await;
    let other = trial.another_handle().await;
    let mut promoted = 0;
    eventually("all are promoted", async || {
        let (one, two) = tokio::join!(trial.store.promote(30), other.promote(30));
        promoted += one.unwrap().jobs + two.unwrap().jobs;
        (trial.store.outstanding(&"q".parse().unwrap()).await.unwrap()
            == crate::store::Outstanding { ready: true, ..Default::default() })
        .then_some(())
    })
    .await;
    assert_eq!(promoted, 200);
    let mut worker = trial.worker("q").await;
    let mut claimed = ids(&worker.take(1000).await);
    claimed.dedup();
    assert_eq!(claimed.len(), 200);
    assert_eq!(trial.queue("q").await.flow.promoted, 200);
}

/// Two readings differ, and the later one is later, through whichever handle.
pub async fn the_clock_goes_on(trial: &Trial<'_>) {
    let other = trial.another_handle().await;
    let mut last = trial.now().await;
    for _ in 0..5 {
        tick(&*trial.store).await;
        let now = other.now().await.unwrap();
        assert!(now > last);
        last = now;
    }
}
