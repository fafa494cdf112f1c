//! What an attempt costs: a failure spends it; a stop, a death or a snooze does not.

use std::time::Duration;

use super::trial::{Trial, failed, interrupt, kept, plain, retry};
use crate::{AttemptOutcome, State, limits::MAX_INTERRUPTIONS, store::Verdict};

/// It had not started: it is as if it had never been claimed.
pub async fn a_returned_job_has_paid_nothing(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q")).await;
    for _ in 0..u32::from(MAX_INTERRUPTIONS) + 2 {
        let job = worker.take_one().await;
        assert_eq!((job.attempt, job.interruptions, job.deaths), (1, 0, 0));
        worker.settle(&job, Verdict::Return).await;
    }
    let job = trial.job(id).await;
    assert_eq!((job.state, job.attempt, job.interruptions, job.error), (State::Queued, 0, 0, None));
    assert_eq!(trial.store.attempts(id).await.unwrap(), []);
}

/// The attempt's number comes again; that it was interrupted, when and why, is kept.
pub async fn an_interruption_is_counted_and_spends_no_attempt(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q").max_attempts(1)).await;
    for n in 0..3 {
        let job = worker.take_one().await;
        assert_eq!((job.attempt, job.interruptions), (1, n));
        worker.settle(&job, interrupt()).await;
        let job = trial.job(id).await;
        assert_eq!((job.state, job.attempt, job.interruptions), (State::Queued, 0, n + 1));
    }
    let attempts = trial.store.attempts(id).await.unwrap();
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        assert_eq!((attempt.attempt, attempt.outcome), (1, AttemptOutcome::Interrupted));
        assert_eq!(attempt.error, "the worker stops");
    }
}

/// A job that never gets to its end is failed, and says so; a person may try again.
pub async fn at_the_cap_of_interruptions_a_job_is_quarantined(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q")).await;
    for _ in 0..MAX_INTERRUPTIONS {
        trial.assert_state(id, State::Queued).await;
        let job = worker.take_one().await;
        worker.settle(&job, interrupt()).await;
    }
    let job = trial.job(id).await;
    assert_eq!((job.state, job.interruptions, job.attempt), (State::Failed, MAX_INTERRUPTIONS, 0));
    assert!(job.finished_at.is_some());
    let error = job.error.expect("a quarantine says why");
    assert!(error.contains("quarantined") && error.contains("interrupted"), "{error:?}");
    assert!(error.contains(&MAX_INTERRUPTIONS.to_string()), "how often: {error:?}");
    assert!(error.contains("retry"), "what to do about it: {error:?}");
    assert_eq!(worker.take(1).await, []);

    trial.store.retry(id).await.unwrap();
    let job = worker.take_one().await;
    assert_eq!(job.interruptions, 0);
    worker.settle(&job, kept("done")).await;
    trial.assert_state(id, State::Completed).await;
}

/// The next attempt has the next number, and each error stays.
pub async fn a_failed_attempt_is_spent_and_kept_with_its_error(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q").max_attempts(3)).await;
    for n in 1..=3_u16 {
        let job = worker.take_one().await;
        assert_eq!((job.attempt, job.max_attempts), (n, 3));
        let running = trial.job(id).await;
        assert_eq!((running.state, running.attempt), (State::Running, n));
        let error = format!("error {n}");
        let verdict = match n {
            3 => Verdict::Failed { error: error.clone(), keep: None },
            _ => Verdict::Retry { error: error.clone(), after: Duration::ZERO },
        };
        worker.settle(&job, verdict).await;
        let after = trial.job(id).await;
        assert_eq!((after.attempt, after.error.as_deref()), (n, Some(&*error)));
        if n < 3 {
            assert_eq!((after.state, after.finished_at), (State::Scheduled, None));
            trial.until_promoted(id).await;
        }
    }
    let job = trial.job(id).await;
    assert_eq!((job.state, job.attempt, job.interruptions), (State::Failed, 3, 0));
    assert!(job.finished_at.is_some());
    let attempts = trial.store.attempts(id).await.unwrap();
    let shown: Vec<_> = attempts.iter().map(|a| (a.job, a.attempt, a.outcome, &*a.error)).collect();
    let failed = AttemptOutcome::Failed;
    assert_eq!(shown, [(id, 1, failed, "error 1"), (id, 2, failed, "error 2"), (id, 3, failed, "error 3")]);
}

/// It waits, as it asked, and may do so as often as it likes.
pub async fn a_snooze_spends_nothing_and_says_why(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q").max_attempts(1)).await;
    for _ in 0..3 {
        let job = worker.take_one().await;
        assert_eq!((job.attempt, job.interruptions), (1, 0));
        worker.settle(&job, Verdict::Snooze { reason: Some("the shop is shut".into()), after: Duration::ZERO }).await;
        let job = trial.job(id).await;
        assert_eq!((job.state, job.attempt, job.interruptions), (State::Scheduled, 0, 0));
        assert_eq!(job.error.as_deref(), Some("the shop is shut"));
        trial.until_promoted(id).await;
    }
    let job = worker.take_one().await;
    worker.settle(&job, Verdict::Snooze { reason: None, after: Duration::ZERO }).await;
    assert_eq!(trial.job(id).await.error, None, "a snooze without a reason has none");
    assert_eq!(trial.store.attempts(id).await.unwrap(), []);
}

/// Attempts come oldest first, with the worker that ran each.
pub async fn attempts_are_shown_in_order_with_their_times(trial: &Trial<'_>) {
    use AttemptOutcome::{Died, Failed, Interrupted};
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q")).await;
    let first = worker.take_one().await;
    worker.settle(&first, interrupt()).await;
    let second = worker.take_one().await;
    worker.settle(&second, retry(Duration::ZERO)).await;
    trial.until_promoted(id).await;
    let third = worker.take_one().await;
    trial.dies(&worker, &[&third], &[&third]).await;
    let mut worker = trial.worker("q").await;
    let fourth = worker.take_one().await;
    worker.settle(&fourth, failed()).await;
    let now = trial.now().await;

    let attempts = trial.store.attempts(id).await.unwrap();
    let shown: Vec<_> = attempts.iter().map(|a| (a.attempt, a.outcome)).collect();
    assert_eq!(shown, [(1, Interrupted), (1, Failed), (2, Died), (2, Failed)]);
    for (attempt, claimed) in attempts.iter().zip([first, second, third, fourth]) {
        assert_eq!(attempt.started_at, claimed.started_at);
        assert!(attempt.ended_at >= attempt.started_at && attempt.ended_at <= now);
        assert!(attempt.worker.contains("instance-1"), "the worker is named by its instance: {:?}", attempt.worker);
        assert!(!attempt.error.is_empty());
    }
}
