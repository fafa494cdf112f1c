//! Only the attempt that holds the token settles a job; whatever comes late changes nothing and is no error.

use std::time::Duration;

use super::trial::{Trial, completed, end, failed, ids, kept, plain, retry, snooze, verdicts};
use crate::{
    State,
    store::{BootId, ClaimedJob, Token, Verdict},
};

/// The job waits again, since its worker was taken for dead; the worker was not dead, and ends it.
pub async fn a_late_verdict_on_an_attempt_that_was_taken_away_changes_nothing(trial: &Trial<'_>) {
    for (n, (verdict, _)) in verdicts().into_iter().enumerate() {
        let queue = format!("q{n}");
        let id = trial.enqueue(plain(&queue)).await;
        let mut worker = trial.worker(&queue).await;
        let job = worker.take_one().await;
        trial.dies(&worker, &[&job], &[&job]).await;

        let before = trial.job(id).await;
        assert_eq!(before.state, State::Queued);
        let attempts = trial.store.attempts(id).await.unwrap();
        worker.settle(&job, verdict.clone()).await;
        assert_eq!(trial.job(id).await, before, "{verdict:?}");
        assert_eq!(trial.store.attempts(id).await.unwrap(), attempts, "{verdict:?}");
    }
}

/// The job runs on another worker already; the first one's verdict does not end that attempt.
pub async fn a_late_verdict_on_a_job_that_runs_elsewhere_changes_nothing(trial: &Trial<'_>) {
    for (n, (verdict, _)) in verdicts().into_iter().enumerate() {
        let queue = format!("q{n}");
        let id = trial.enqueue(plain(&queue)).await;
        let mut first = trial.worker(&queue).await;
        let taken_away = first.take_one().await;
        trial.dies(&first, &[&taken_away], &[&taken_away]).await;
        let mut second = trial.worker(&queue).await;
        let job = second.take_one().await;
        assert_eq!(job.id, id);

        let before = trial.job(id).await;
        let attempts = trial.store.attempts(id).await.unwrap();
        first.settle(&taken_away, verdict.clone()).await;
        assert_eq!(trial.job(id).await, before, "{verdict:?}");
        assert_eq!(trial.store.attempts(id).await.unwrap(), attempts, "{verdict:?}");

        second.settle(&job, kept("by the second")).await;
        assert_eq!(trial.job(id).await.output.as_deref(), Some("by the second"));
    }
}

/// The first verdict stands, whichever it was and whichever comes second.
pub async fn a_second_settlement_of_the_same_attempt_changes_nothing(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for (first, state) in verdicts() {
        for (second, _) in verdicts() {
            let id = trial.enqueue(plain("q")).await;
            let job = worker.take_one().await;
            assert_eq!(job.id, id);
            worker.settle(&job, first.clone()).await;
            let before = trial.find(id).await;
            assert_eq!(before.as_ref().map(|job| job.state), state);
            let attempts = trial.store.attempts(id).await.unwrap();

            worker.settle(&job, second.clone()).await;
            assert_eq!(trial.find(id).await, before, "{second:?} after {first:?}");
            assert_eq!(trial.store.attempts(id).await.unwrap(), attempts, "{second:?} after {first:?}");
            if state == Some(State::Queued) {
                trial.store.delete(id).await.unwrap();
            }
        }
    }
}

/// A worker that sends an end twice in one call has ended the attempt once.
pub async fn a_settlement_that_is_named_twice_in_one_call_counts_once(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for (verdict, state) in verdicts() {
        let id = trial.enqueue(plain("q")).await;
        let job = worker.take_one().await;
        worker.settle_all(&[end(&job, verdict.clone()), end(&job, verdict.clone())]).await;
        let after = trial.find(id).await;
        assert_eq!(after.as_ref().map(|job| job.state), state, "{verdict:?}");
        assert!(trial.store.attempts(id).await.unwrap().len() <= 1, "{verdict:?}");
        if let Some(after) = after {
            assert!(after.attempt <= 1 && after.interruptions <= 1, "{verdict:?}: {after:?}");
            trial.store.delete(id).await.unwrap();
        }
    }
    let flow = trial.queue("q").await.flow;
    assert_eq!((flow.started, flow.completed, flow.returned, flow.failed), (9, 2, 2, 2));
    assert_eq!(trial.store.audit().await.unwrap(), []);
}

/// It is the claim that is the attempt, and not the worker.
pub async fn the_same_worker_claiming_the_same_job_again_is_another_attempt(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q")).await;
    let first = worker.take_one().await;
    worker.settle(&first, Verdict::Return).await;
    let second = worker.take_one().await;
    assert_eq!(second.id, id);
    assert_ne!(second.token, first.token);
    let before = trial.job(id).await;
    for (verdict, _) in verdicts() {
        worker.settle(&first, verdict.clone()).await;
        assert_eq!(trial.job(id).await, before, "{verdict:?}");
    }
    worker.settle(&second, completed()).await;
    assert_eq!(trial.find(id).await, None);
}

/// Neither an unknown worker's boot nor a living one's with the same claim number settles what is not theirs.
pub async fn another_workers_number_settles_nothing(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q")).await;
    let job = worker.take_one().await;
    let other = trial.worker("q").await;
    let before = trial.job(id).await;
    for boot in [other.boot, BootId::random(), BootId(-worker.boot.0), BootId(0)] {
        let stolen = ClaimedJob { token: Token { boot, ..job.token }, ..job.clone() };
        for (verdict, _) in verdicts() {
            // Whoever speaks: the token decides, not whose claimer it goes through.
            other.settle(&stolen, verdict.clone()).await;
            worker.settle(&stolen, verdict.clone()).await;
            assert_eq!(trial.job(id).await, before, "{verdict:?} by {boot}");
        }
    }
    worker.settle(&job, completed()).await;
    assert_eq!(trial.find(id).await, None);
}

/// A stale end among good ones: they take effect, and the claim of the same call is answered.
pub async fn a_stale_settlement_does_not_hinder_the_others_of_its_call(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 6).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(5).await;
    worker.settle(&claimed[1], failed()).await;
    let settled = [
        end(&claimed[0], completed()),
        end(&claimed[1], completed()),
        end(&claimed[2], retry(Duration::from_mins(1))),
        end(&ClaimedJob { id: crate::JobId(i64::MAX), ..claimed[0].clone() }, completed()),
        end(&claimed[3], snooze(Duration::from_mins(1))),
        end(&claimed[4], Verdict::Return),
    ];
    let next = worker.next(&settled, 10, false).await;
    assert_eq!(ids(&next.jobs), [jobs[4], jobs[5]], "what the call gives back it may claim again");
    assert_eq!(trial.find(jobs[0]).await, None);
    for (id, state) in [(jobs[1], State::Failed), (jobs[2], State::Scheduled), (jobs[3], State::Scheduled)] {
        trial.assert_state(id, state).await;
    }
}

/// An end whose reply was lost is sent again alone: it took effect the first time, and once.
pub async fn a_settlement_whose_reply_was_lost_may_be_sent_again_alone(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 4).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(2).await;
    let settled = [end(&claimed[0], completed()), end(&claimed[1], retry(Duration::from_mins(1)))];
    // The reply to this call, with its two jobs, never arrives.
    let lost = worker.next(&settled, 2, false).await;
    assert_eq!(ids(&lost.jobs), jobs[2..]);
    worker.settle_all(&settled).await;
    assert_eq!(trial.find(jobs[0]).await, None);
    assert_eq!(trial.job(jobs[1]).await.attempt, 1);
    assert_eq!(worker.beat(&[], &[]).await.given_back, 2);
    assert_eq!(ids(&worker.take(10).await), jobs[2..]);
    let flow = trial.queue("q").await.flow;
    assert_eq!((flow.started, flow.completed, flow.failed), (6, 1, 1));
}
