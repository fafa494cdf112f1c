//! An answer for a parked job: who may give it, what it does, and that it is never lost, however early it comes.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::trial::{
    HOUR, Hand, Trial, again, broken, completed, done, instance_of, interrupt, park, park_for, plain, resolutions,
    retry, verdicts,
};
use crate::{
    AttemptOutcome, Error, Expiry, JobId, NewJob, Resolution, Result, Retention, Secret, State,
    limits::MAX_DELAY,
    store::{Cancel, ClaimedJob, Resolve, Store, Verdict},
};

/// A job of this queue that runs and may be answered for already.
async fn handed_over(trial: &Trial<'_>, worker: &mut Hand, job: NewJob) -> (ClaimedJob, Secret) {
    let id = trial.enqueue(job).await;
    let job = worker.take_one().await;
    assert_eq!(job.id, id);
    let secret = worker.callback(&job).await;
    (job, secret)
}

/// Answers, and must be heard so.
async fn answer(trial: &Trial<'_>, id: JobId, secret: &Secret, resolution: &Resolution, expected: Resolve) {
    let heard = trial.store.resolve(id, secret, resolution).await;
    assert!(matches!(heard, Ok(done) if done == expected), "{resolution:?} for {id}: {heard:?}");
}

/// Answers, and must be refused for this reason; nothing of the job has changed.
async fn refused(trial: &Trial<'_>, id: JobId, secret: &Secret, why: impl Fn(&Error) -> bool) {
    let before = trial.shown(id).await;
    for (resolution, _) in resolutions() {
        let heard = trial.store.resolve(id, secret, &resolution).await;
        assert!(heard.as_ref().is_err_and(&why), "{resolution:?} for {before:?}: {heard:?}");
        assert_eq!(trial.shown(id).await, before, "{resolution:?}");
    }
}

fn wrong_secret(error: &Error) -> bool {
    matches!(error, Error::WrongSecret(_))
}

fn answered_already(error: &Error) -> bool {
    matches!(error, Error::Answered(_))
}

fn in_state(state: State) -> impl Fn(&Error) -> bool {
    move |error| matches!(error, Error::WrongState { state: is, wanted: "resolved", .. } if *is == state)
}

/// What its state says of the job's attempt is true, whichever answer brought it there.
async fn assert_answered(trial: &Trial<'_>, job: &ClaimedJob, resolution: &Resolution) {
    let shown = trial.job(job.id).await;
    let attempts = trial.store.attempts(job.id).await.unwrap();
    let now = trial.now().await;
    assert_eq!(shown.attempt, job.attempt, "{resolution:?}");
    assert_eq!(
        (shown.started_at, shown.worker.as_deref()),
        (Some(job.started_at), Some(&*instance_of(job.token.boot)))
    );
    assert_eq!(shown.deadline.is_some(), shown.state == State::WaitAsync, "{resolution:?}");
    assert_eq!(shown.finished_at.is_some(), shown.state.is_final(), "{resolution:?}");
    let why = match resolution {
        Resolution::Completed { output } => {
            assert_eq!((&shown.output, &shown.error), (output, &None));
            None
        }
        Resolution::StillWaiting(_) => None,
        Resolution::Failed { error } | Resolution::Retry { error, .. } => Some(error),
    };
    if let Some(why) = why {
        assert_eq!(shown.error.as_ref(), Some(why));
        let last = attempts.last().expect("a spent attempt is recorded");
        assert_eq!((last.attempt, last.outcome, &last.error), (job.attempt, AttemptOutcome::Failed, why));
        assert_eq!((last.started_at, &*last.worker), (job.started_at, &*instance_of(job.token.boot)));
        assert!(last.started_at <= last.ended_at && last.ended_at <= now, "{last:?}");
    }
    let spent = usize::from(job.attempt) - 1 + usize::from(why.is_some());
    assert_eq!(attempts.len(), spent, "{resolution:?}");
}

/// Completed with what it has to show, failed, put off for the answer's time or for its own, or waited for longer.
pub async fn each_answer_does_what_it_says(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for (resolution, state) in resolutions() {
        let id = trial.enqueue(plain("q")).await;
        let (job, secret) = worker.park_one(park_for(3 * HOUR, Expiry::Retry)).await;
        let before = trial.now().await;
        answer(trial, id, &secret, &resolution, Resolve::Done).await;
        let after = trial.now().await;
        trial.assert_state(id, state).await;
        assert_answered(trial, &job, &resolution).await;
        let shown = trial.job(id).await;
        let within = |at: Option<chrono::DateTime<chrono::Utc>>, wait: Duration| {
            let wait = TimeDelta::from_std(wait).expect("it fits");
            assert!(at.is_some_and(|at| before + wait <= at && at <= after + wait), "{resolution:?}: {at:?}");
        };
        match resolution {
            Resolution::Retry { .. } => within(Some(shown.run_at), HOUR),
            Resolution::StillWaiting(wait) => {
                within(shown.deadline, wait);
                // Sooner or later, as often as they like, by the same secret.
                let (sooner, later) = (Resolution::StillWaiting(HOUR), Resolution::StillWaiting(MAX_DELAY));
                answer(trial, id, &secret, &sooner, Resolve::Done).await;
                assert!(trial.job(id).await.deadline < shown.deadline);
                answer(trial, id, &secret, &later, Resolve::Done).await;
                assert!(trial.job(id).await.deadline > shown.deadline);
                answer(trial, id, &secret, &done("at last"), Resolve::Done).await;
                trial.assert_state(id, State::Completed).await;
            }
            _ => {
                within(shown.finished_at, Duration::ZERO);
                refused(trial, id, &secret, in_state(state)).await;
            }
        }
    }
    // A retry may name another wait than the one it was parked with.
    let id = trial.enqueue(plain("q")).await;
    let (_, secret) = worker.park_one(park()).await;
    answer(trial, id, &secret, &again(Some(Duration::ZERO)), Resolve::Done).await;
    trial.until_promoted(id).await;
    trial.assert_counted().await;
}

/// By what it was parked with, whoever answers and when.
pub async fn an_answered_job_is_kept_as_long_as_it_was_parked_to_be(trial: &Trial<'_>) {
    let ms = Duration::from_millis(1);
    let mut worker = trial.worker("q").await;
    for early in [false, true] {
        for (completed, failed) in [(Duration::ZERO, None), (ms, Some(ms)), (HOUR, Some(HOUR))] {
            let keep = Retention { completed, failed };
            let verdict = Verdict::Park { wait: HOUR, expiry: Expiry::Retry, keep, retry: HOUR };
            for resolution in [done("done"), broken()] {
                // An attempt that failed before is gone with it.
                let id = trial.enqueue(plain("q").key(format!("{early}"))).await;
                let first = worker.take_one().await;
                worker.settle(&first, retry(Duration::ZERO)).await;
                trial.until_promoted(id).await;
                let job = worker.take_one().await;
                let secret = worker.callback(&job).await;
                if early {
                    answer(trial, id, &secret, &resolution, Resolve::Early).await;
                    worker.settle(&job, verdict.clone()).await;
                } else {
                    worker.settle(&job, verdict.clone()).await;
                    answer(trial, id, &secret, &resolution, Resolve::Done).await;
                }
                let kept = match resolution {
                    Resolution::Completed { .. } => Some(completed).filter(|keep| !keep.is_zero()),
                    _ => Some(failed.unwrap_or(HOUR)),
                };
                let what = format!("{resolution:?} with {keep:?}, early: {early}");
                match kept {
                    None => refused(trial, id, &secret, |error| matches!(error, Error::NotFound(_))).await,
                    Some(keep) if keep == ms => {
                        assert_answered(trial, &job, &resolution).await;
                        super::trial::eventually("what is kept for a moment is purged", async || {
                            trial.store.purge(100).await.expect("a purge passes");
                            trial.find(id).await.is_none().then_some(())
                        })
                        .await;
                    }
                    Some(_) => {
                        assert_answered(trial, &job, &resolution).await;
                        assert_eq!(trial.store.purge(100).await.unwrap(), 0, "{what}");
                        trial.store.delete(id).await.unwrap();
                    }
                }
                assert_eq!(trial.shown(id).await, (None, vec![]), "{what}");
            }
        }
    }
    trial.assert_counted().await;
}

/// A retry is an attempt, with a secret of its own; after the last one nothing is left but failure.
pub async fn a_retry_spends_an_attempt_and_the_last_one_fails(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for early in [false, true] {
        let id = trial.enqueue(plain("q").max_attempts(2)).await;
        let mut secrets: Vec<Secret> = Vec::new();
        for attempt in 1..=2 {
            let job = worker.take_one().await;
            assert_eq!((job.id, job.attempt), (id, attempt));
            let secret = worker.callback(&job).await;
            for old in &secrets {
                refused(trial, id, old, wrong_secret).await;
            }
            let resolution = again(Some(Duration::ZERO));
            if early {
                answer(trial, id, &secret, &resolution, Resolve::Early).await;
                worker.settle(&job, park()).await;
            } else {
                worker.settle(&job, park()).await;
                for old in &secrets {
                    refused(trial, id, old, wrong_secret).await;
                }
                answer(trial, id, &secret, &resolution, Resolve::Done).await;
            }
            assert_answered(trial, &job, &resolution).await;
            if attempt == 1 {
                refused(trial, id, &secret, in_state(State::Scheduled)).await;
                trial.until_promoted(id).await;
                refused(trial, id, &secret, in_state(State::Queued)).await;
            }
            secrets.push(secret);
        }
        trial.assert_state(id, State::Failed).await;
        refused(trial, id, &secrets[1], in_state(State::Failed)).await;
    }
    trial.assert_counted().await;
}

/// It waits with the attempt, which goes on as if nothing were; when the job parks, it is done in that moment.
pub async fn an_early_answer_settles_its_job_when_it_parks(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for (resolution, state) in resolutions() {
        let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
        let before = trial.shown(job.id).await;
        answer(trial, job.id, &secret, &resolution, Resolve::Early).await;
        assert_eq!(trial.shown(job.id).await, before, "{resolution:?}: it still runs");
        assert_eq!(worker.beat(&[&job], &[&job]).await.lost, []);
        let before = trial.now().await;
        worker.settle(&job, park()).await;
        trial.assert_state(job.id, state).await;
        assert_answered(trial, &job, &resolution).await;
        let shown = trial.job(job.id).await;
        match resolution {
            Resolution::StillWaiting(wait) => {
                let from = before + TimeDelta::from_std(wait).expect("it fits");
                assert!(shown.deadline.is_some_and(|at| at >= from), "so long from the park: {:?}", shown.deadline);
                answer(trial, job.id, &secret, &broken(), Resolve::Done).await;
            }
            Resolution::Retry { .. } => assert!(shown.run_at >= before + TimeDelta::hours(1)),
            _ => refused(trial, job.id, &secret, in_state(state)).await,
        }
    }
    assert_eq!(trial.store.expire(100).await.unwrap(), []);
    trial.assert_counted().await;
}

/// They may say that it takes longer as often as they like; what they then say is the last word, and the only one.
pub async fn of_early_answers_the_first_that_ends_the_wait_stands(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for (last, state) in resolutions().into_iter().filter(|(last, _)| !matches!(last, Resolution::StillWaiting(_))) {
        let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
        for wait in [2 * HOUR, HOUR] {
            answer(trial, job.id, &secret, &Resolution::StillWaiting(wait), Resolve::Early).await;
        }
        answer(trial, job.id, &secret, &last, Resolve::Early).await;
        refused(trial, job.id, &secret, answered_already).await;
        refused(trial, job.id, &Secret::random(), wrong_secret).await;
        worker.settle(&job, park()).await;
        trial.assert_state(job.id, state).await;
        assert_answered(trial, &job, &last).await;
    }
    // Of two waits the later word counts, though it be the shorter.
    let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
    for wait in [5 * HOUR, 2 * HOUR] {
        answer(trial, job.id, &secret, &Resolution::StillWaiting(wait), Resolve::Early).await;
    }
    worker.settle(&job, park()).await;
    let deadline = trial.job(job.id).await.deadline.expect("it waits");
    let now = trial.now().await;
    assert!(now + HOUR < deadline && deadline <= now + 2 * HOUR, "{deadline}");
    trial.assert_counted().await;
}

/// The same secret may be noted twice; another one takes its place, and what came by the first is dropped.
pub async fn an_early_answer_goes_with_the_secret_it_came_by(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for replaced in [false, true] {
        let (job, first) = handed_over(trial, &mut worker, plain("q")).await;
        answer(trial, job.id, &first, &done("early"), Resolve::Early).await;
        trial.store.callback(job.id, job.token, &first.digest()).await.unwrap();
        refused(trial, job.id, &first, answered_already).await;
        let mut holds = first.clone();
        if replaced {
            holds = worker.callback(&job).await;
            refused(trial, job.id, &first, wrong_secret).await;
        }
        worker.settle(&job, park()).await;
        if replaced {
            trial.assert_state(job.id, State::WaitAsync).await;
            refused(trial, job.id, &first, wrong_secret).await;
            answer(trial, job.id, &holds, &done("by the second"), Resolve::Done).await;
            assert_eq!(trial.job(job.id).await.output.as_deref(), Some("by the second"));
        } else {
            assert_eq!(trial.job(job.id).await.output.as_deref(), Some("early"));
        }
    }
    trial.assert_counted().await;
}

/// What came to its end has come to its end; whatever else an answer says, a job that was cancelled goes on no more.
pub async fn an_early_end_stands_above_a_cancel_and_nothing_else_does(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for cancel_first in [false, true] {
        for (resolution, state) in resolutions() {
            let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
            if cancel_first {
                assert_eq!(trial.store.cancel(job.id).await.unwrap(), Cancel::Asked);
            }
            answer(trial, job.id, &secret, &resolution, Resolve::Early).await;
            if !cancel_first {
                assert_eq!(trial.store.cancel(job.id).await.unwrap(), Cancel::Asked);
            }
            worker.settle(&job, park()).await;
            let expected = if state.is_final() { state } else { State::Cancelled };
            let shown = trial.job(job.id).await;
            assert_eq!((shown.state, shown.deadline), (expected, None), "{resolution:?}");
            assert!(shown.finished_at.is_some(), "{resolution:?}");
            assert_eq!(trial.store.attempts(job.id).await.unwrap().len(), usize::from(expected != State::Completed));
            refused(trial, job.id, &secret, in_state(expected)).await;
        }
    }
    trial.assert_counted().await;
}

/// A secret and an early answer belong to the attempt: if it does not park, nobody has waited for them, and the next
/// attempt does not meet them.
pub async fn an_attempt_that_ends_otherwise_drops_its_secret_and_its_answer(trial: &Trial<'_>) {
    #[derive(Debug)]
    enum End {
        Settled(Verdict),
        LostOnTheWay,
        Died { started: bool },
    }
    let settled = verdicts().into_iter().filter(|(verdict, _)| !matches!(verdict, Verdict::Park { .. }));
    let soon = [retry(Duration::ZERO), super::trial::snooze(Duration::ZERO), interrupt()];
    let settled = settled.map(|(verdict, _)| verdict).chain(soon).map(End::Settled);
    let others = [End::LostOnTheWay, End::Died { started: true }, End::Died { started: false }];
    for (n, end) in settled.chain(others).enumerate() {
        for cancel in [false, true] {
            let queue = format!("q{n}.{cancel}");
            let mut worker = trial.worker(&queue).await;
            let (job, secret) = handed_over(trial, &mut worker, plain(&queue)).await;
            answer(trial, job.id, &secret, &done("too early"), Resolve::Early).await;
            if cancel {
                assert_eq!(trial.store.cancel(job.id).await.unwrap(), Cancel::Asked);
            }
            match &end {
                End::Settled(verdict) => worker.settle(&job, verdict.clone()).await,
                End::LostOnTheWay => {
                    worker.beat(&[], &[]).await;
                }
                End::Died { started: true } => trial.dies(&worker, &[&job], &[&job]).await,
                End::Died { started: false } => trial.dies(&worker, &[&job], &[]).await,
            }
            let Some(shown) = trial.find(job.id).await else {
                refused(trial, job.id, &secret, |error| matches!(error, Error::NotFound(_))).await;
                continue;
            };
            assert!(
                shown.output.as_deref() != Some("too early") && shown.state != State::WaitAsync,
                "{end:?}: {shown:?}"
            );
            refused(trial, job.id, &secret, in_state(shown.state)).await;
            match shown.state {
                State::Scheduled if shown.run_at > shown.enqueued_at + HOUR / 2 => continue,
                State::Scheduled => trial.until_promoted(job.id).await,
                State::Queued => {}
                State::Failed | State::Cancelled => trial.store.retry(job.id).await.unwrap(),
                State::Completed | State::Running | State::WaitAsync => continue,
            }
            let mut next = trial.worker(&queue).await;
            let again = next.take_one().await;
            assert_eq!(again.id, job.id);
            refused(trial, job.id, &secret, in_state(State::Running)).await;
            next.settle(&again, park()).await;
            trial.assert_state(job.id, State::WaitAsync).await;
            refused(trial, job.id, &secret, wrong_secret).await;
        }
    }
    trial.assert_counted().await;
}

/// Neither a guess, nor what the store keeps of a secret, nor another job's opens a job.
pub async fn a_wrong_secret_opens_nothing(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
    let (neighbour, others) = handed_over(trial, &mut worker, plain("q")).await;
    let text = secret.reveal();
    let guesses = [
        Secret::random(),
        others.clone(),
        "".into(),
        "%".into(),
        "\0".into(),
        "' OR '1'='1".into(),
        "größe".into(),
        secret.digest().into(),
        format!("{text} ").into(),
        text[1..].into(),
        "x".repeat(100_000).into(),
    ];
    for guess in &guesses {
        refused(trial, job.id, guess, wrong_secret).await;
    }
    refused(trial, neighbour.id, &secret, wrong_secret).await;
    worker.settle(&job, park()).await;
    worker.settle(&neighbour, park()).await;
    for guess in &guesses {
        refused(trial, job.id, guess, wrong_secret).await;
    }
    refused(trial, neighbour.id, &secret, wrong_secret).await;
    // All that has spoilt nothing.
    answer(trial, job.id, &secret, &done("right"), Resolve::Done).await;
    answer(trial, neighbour.id, &others, &done("right"), Resolve::Done).await;
    assert_eq!(trial.job(job.id).await.output.as_deref(), Some("right"));

    // Nobody has been given one.
    trial.enqueue(plain("q")).await;
    let running = worker.take_one().await;
    refused(trial, running.id, &Secret::random(), in_state(State::Running)).await;
    worker.settle(&running, completed()).await;
    trial.assert_counted().await;
}

/// Wherever the job is, and even if it is nowhere; the secret is good for a better answer.
pub async fn times_beyond_the_limits_are_refused(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
    let over = MAX_DELAY + Duration::from_secs(1);
    let bad = [
        Resolution::StillWaiting(Duration::ZERO),
        Resolution::StillWaiting(over),
        Resolution::StillWaiting(Duration::MAX),
        again(Some(over)),
        again(Some(Duration::MAX)),
    ];
    let unknown = JobId(job.id.0 + 1_000_000);
    for parked in [false, true] {
        if parked {
            worker.settle(&job, park()).await;
        }
        let before = trial.shown(job.id).await;
        for resolution in &bad {
            for (id, secret) in [(job.id, &secret), (job.id, &Secret::random()), (unknown, &secret)] {
                let heard = trial.store.resolve(id, secret, resolution).await;
                assert!(matches!(heard, Err(Error::Rejected(_))), "{resolution:?}: {heard:?}");
            }
        }
        assert_eq!(trial.shown(job.id).await, before);
        let heard = if parked { Resolve::Done } else { Resolve::Early };
        answer(trial, job.id, &secret, &Resolution::StillWaiting(MAX_DELAY), heard).await;
    }
    answer(trial, job.id, &secret, &again(Some(MAX_DELAY)), Resolve::Done).await;
    trial.assert_state(job.id, State::Scheduled).await;
    assert_eq!(trial.store.promote(10).await.unwrap().jobs, 0);
}

/// Spoken at once through two handles.
async fn all_at_once(
    trial: &Trial<'_>,
    id: JobId,
    secret: &Secret,
    resolutions: impl IntoIterator<Item = Resolution>,
) -> Vec<Result<Resolve>> {
    let handles = [trial.store.clone(), trial.another_handle().await];
    let tasks = resolutions.into_iter().enumerate().map(|(n, resolution)| {
        let (store, secret): (Arc<dyn Store>, _) = (handles[n % handles.len()].clone(), secret.clone());
        tokio::spawn(async move { store.resolve(id, &secret, &resolution).await })
    });
    let heard = futures::future::join_all(tasks).await;
    heard.into_iter().map(|heard| heard.expect("no answer panics")).collect()
}

/// Whoever is told that it is done has done it, and the others are told what is so.
pub async fn of_twenty_answers_at_once_one_wins(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for (parked, keep) in [(true, HOUR), (true, Duration::ZERO), (false, HOUR)] {
        let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
        let keep = Retention { completed: keep, failed: None };
        let verdict = Verdict::Park { wait: HOUR, expiry: Expiry::Retry, keep, retry: HOUR };
        if parked {
            worker.settle(&job, verdict.clone()).await;
        }
        let heard = all_at_once(trial, job.id, &secret, (0..20).map(|n| done(&n.to_string()))).await;
        let mut winner = None;
        for (n, heard) in heard.iter().enumerate() {
            match heard {
                Ok(Resolve::Done) if parked => assert_eq!(winner.replace(n), None, "one wins"),
                Ok(Resolve::Early) if !parked => assert_eq!(winner.replace(n), None, "one wins"),
                Err(Error::Answered(_)) if !parked => {}
                Err(Error::NotFound(_)) if parked && keep.completed.is_zero() => {}
                Err(Error::WrongState { state: State::Completed, .. }) if parked && !keep.completed.is_zero() => {}
                other => panic!("parked: {parked}, {keep:?}: {other:?}"),
            }
        }
        let winner = winner.expect("one wins").to_string();
        if !parked {
            worker.settle(&job, verdict).await;
        }
        if keep.completed.is_zero() {
            assert_eq!(trial.shown(job.id).await, (None, vec![]));
        } else {
            assert_eq!(trial.job(job.id).await.output, Some(winner));
        }
    }
    let queue = trial.queue("q").await;
    assert_eq!((queue.flow.started, queue.flow.completed, queue.flow.failed), (3, 3, 0));
    trial.assert_counted().await;
}

/// In the very moment in which its job parks, over and over: it is heard before or after, and never lost between.
pub async fn an_answer_that_races_the_park_is_never_lost(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for round in 0..60 {
        let (job, secret) = handed_over(trial, &mut worker, plain("q")).await;
        let last = if round % 3 == 0 { broken() } else { done("raced") };
        let said = [Resolution::StillWaiting(2 * HOUR), last.clone(), Resolution::StillWaiting(3 * HOUR)];
        let said = if round % 2 == 0 { said.to_vec() } else { vec![last.clone()] };
        let (heard, ()) = tokio::join!(all_at_once(trial, job.id, &secret, said), worker.settle(&job, park()));
        let only = usize::from(heard.len() > 1);
        for (n, heard) in heard.into_iter().enumerate() {
            match heard {
                Ok(_) => {}
                Err(Error::Answered(_) | Error::WrongState { state: State::Completed | State::Failed, .. })
                    if n != only => {}
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        let expected = if round % 3 == 0 { State::Failed } else { State::Completed };
        trial.assert_state(job.id, expected).await;
        assert_answered(trial, &job, &last).await;
    }
    let queue = trial.queue("q").await;
    assert_eq!((queue.flow.started, queue.flow.completed, queue.flow.failed), (60, 40, 20));
    trial.assert_counted().await;
}
