//! The end of a wait without an answer.

use std::time::Duration;

use super::trial::{
    HOUR, Hand, Trial, completed, done, eventually, ids, instance_of, keyed, park, park_for, plain, resolutions,
};
use crate::{
    AttemptOutcome, Binding, Conflict, Error, Expiry, JobId, Resolution, Retention, Scope, Secret, State,
    store::{ClaimedJob, Expired, Resolve, Setting, Verdict, Want},
};

const MOMENT: Duration = Duration::from_millis(1);

/// Parks a job of this queue for a moment, and waits until that has passed.
async fn overdue(trial: &Trial<'_>, worker: &mut Hand, expiry: Expiry) -> (ClaimedJob, Secret) {
    let (job, secret) = worker.park_one(park_for(MOMENT, expiry)).await;
    let deadline = trial.job(job.id).await.deadline.expect("it waits");
    trial.until_past(deadline).await;
    (job, secret)
}

/// The attempt is spent either way, and its record says for what; then the job comes back at once or is failed.
pub async fn a_deadline_that_passes_brings_the_job_back_or_fails_it(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    for (expiry, state) in [(Expiry::Retry, State::Queued), (Expiry::Fail, State::Failed)] {
        let id = trial.enqueue(plain("q")).await;
        let (job, secret) = overdue(trial, &mut worker, expiry).await;
        trial.assert_state(id, State::WaitAsync).await;
        let before = trial.now().await;
        assert_eq!(trial.store.expire(100).await.unwrap(), [Expired { id, state }]);
        let now = trial.now().await;

        let shown = trial.job(id).await;
        assert_eq!((shown.state, shown.attempt, shown.deadline, &shown.reason), (state, 1, None, &None));
        assert_eq!((shown.interruptions, shown.deaths), (0, 0));
        let attempts = trial.store.attempts(id).await.unwrap();
        assert_eq!(attempts.len(), 1);
        let attempt = &attempts[0];
        assert_eq!((attempt.attempt, attempt.outcome), (1, AttemptOutcome::Failed));
        assert_eq!((attempt.started_at, &*attempt.worker), (job.started_at, &*instance_of(job.token.boot)));
        assert!(before <= attempt.ended_at && attempt.ended_at <= now, "{attempt:?}");
        assert!(attempt.error.contains("deadline"), "it says why: {:?}", attempt.error);
        assert_eq!(shown.error.as_ref(), Some(&attempt.error));
        if state == State::Queued {
            assert!(shown.ready_at.is_some_and(|at| before <= at && at <= now), "its wait begins anew: {shown:?}");
        } else {
            assert!(shown.finished_at.is_some_and(|at| before <= at && at <= now), "{shown:?}");
        }
        for (resolution, _) in resolutions() {
            let late = trial.store.resolve(id, &secret, &resolution).await;
            assert!(matches!(late, Err(Error::WrongState { state: is, .. }) if is == state), "{late:?}");
        }
        assert_eq!(trial.store.expire(100).await.unwrap(), [], "once");
        if state == State::Queued {
            let next = worker.take_one().await;
            assert_eq!((next.id, next.attempt), (id, 2));
            worker.settle(&next, completed()).await;
        } else {
            assert_eq!(trial.store.purge(100).await.unwrap(), 0, "it is kept until someone decides");
            trial.store.retry(id).await.unwrap();
            let next = worker.take_one().await;
            assert_eq!((next.id, next.attempt), (id, 1));
            worker.settle(&next, completed()).await;
        }
    }
    trial.assert_counted().await;
}

/// Whatever its expiry: without attempts left it is failed, and kept as it was parked to be.
pub async fn the_last_attempt_fails_when_nobody_answers(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let id = trial.enqueue(plain("q").max_attempts(2)).await;
    overdue(trial, &mut worker, Expiry::Retry).await;
    assert_eq!(trial.store.expire(100).await.unwrap(), [Expired { id, state: State::Queued }]);
    let job = worker.take_one().await;
    assert_eq!(job.attempt, 2);
    let keep = Retention { completed: HOUR, failed: Some(MOMENT) };
    worker.settle(&job, Verdict::Park { wait: MOMENT, expiry: Expiry::Retry, keep, retry: HOUR }).await;
    assert_eq!(trial.until_expired(id).await, State::Failed);
    let shown = trial.job(id).await;
    assert_eq!((shown.state, shown.attempt), (State::Failed, 2));
    assert_eq!(trial.store.attempts(id).await.unwrap().len(), 2);
    eventually("what is kept for a moment is purged", async || {
        (trial.store.purge(100).await.expect("a purge passes") > 0).then_some(())
    })
    .await;
    assert_eq!(trial.shown(id).await, (None, vec![]));
    trial.assert_counted().await;
}

/// Before those that came after it; a claimer that is past that place finds it at once.
pub async fn a_job_that_nobody_answered_for_takes_its_old_place(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 8).await;
    let mut holder = trial.worker("q").await;
    let mut other = trial.worker("q").await;
    let mut claimer = other.claimer();
    let next = async |claimer: &mut Box<dyn crate::store::Claimer>, other: &mut Hand| {
        let want = Want { sweep: false, ..other.want(1) };
        ids(&claimer.next(&[], want).await.expect("a claim passes").jobs)
    };
    overdue(trial, &mut holder, Expiry::Retry).await;
    for id in &jobs[1..3] {
        assert_eq!(next(&mut claimer, &mut other).await, [*id]);
    }
    assert_eq!(trial.store.expire(100).await.unwrap().len(), 1);
    assert_eq!(next(&mut claimer, &mut other).await, [jobs[0]]);
    assert_eq!(next(&mut claimer, &mut other).await, [jobs[3]]);

    // Its priority counts as before, too.
    let urgent = trial.enqueue(plain("q").priority(5)).await;
    overdue(trial, &mut holder, Expiry::Retry).await;
    let later = trial.enqueue(plain("q").priority(5)).await;
    assert_eq!(trial.store.expire(100).await.unwrap(), [Expired { id: urgent, state: State::Queued }]);
    assert_eq!(ids(&holder.take(3).await), [urgent, later, jobs[4]]);
    trial.assert_counted().await;
}

/// It is not early by a moment, and an answer may move it both ways.
pub async fn a_wait_is_not_ended_before_its_deadline(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 4).await;
    let mut worker = trial.worker("q").await;
    worker.park_one(park()).await;
    let (_, longer) = worker.park_one(park_for(MOMENT, Expiry::Fail)).await;
    let (_, sooner) = worker.park_one(park()).await;
    let early = worker.take_one().await;
    let secret = worker.callback(&early).await;
    trial.store.resolve(jobs[3], &secret, &Resolution::StillWaiting(HOUR)).await.unwrap();
    worker.settle(&early, park_for(MOMENT, Expiry::Fail)).await;
    let answered = trial.store.resolve(jobs[1], &longer, &Resolution::StillWaiting(HOUR)).await.unwrap();
    assert_eq!(answered, Resolve::Done, "an answer is in time until someone has ended the wait");
    trial.until_past(trial.now().await + MOMENT).await;
    assert_eq!(trial.store.expire(100).await.unwrap(), []);
    trial.store.resolve(jobs[2], &sooner, &Resolution::StillWaiting(MOMENT)).await.unwrap();
    assert_eq!(trial.until_expired(jobs[2]).await, State::Queued);
    for id in [jobs[0], jobs[1], jobs[3]] {
        trial.assert_state(id, State::WaitAsync).await;
    }

    let id = trial.enqueue(plain("q").priority(9)).await;
    worker.park_one(park_for(Duration::from_millis(200), Expiry::Fail)).await;
    let deadline = trial.job(id).await.deadline.expect("it waits");
    assert_eq!(trial.until_expired(id).await, State::Failed);
    let ended_at = trial.store.attempts(id).await.unwrap()[0].ended_at;
    assert!(ended_at >= deadline, "it was ended at {ended_at}, before {deadline}");
}

/// As many as are asked for, those first who have waited past their deadline the longest.
pub async fn an_expiry_takes_the_earlier_deadlines_up_to_its_limit(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 6).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take(6).await;
    // Parked in another order than that of their ids, each with a deadline of its own.
    let order = [4, 1, 5, 0, 3, 2];
    for n in order {
        worker.settle(&claimed[n], park_for(MOMENT, Expiry::Fail)).await;
        let deadline = trial.job(jobs[n]).await.deadline.expect("it waits");
        trial.until_past(deadline).await;
    }
    for (limit, expected) in [(0, &order[..0]), (1, &order[..1]), (2, &order[1..3]), (100, &order[3..]), (100, &[])] {
        let mut expired: Vec<JobId> = trial.store.expire(limit).await.unwrap().iter().map(|e| e.id).collect();
        let mut expected: Vec<JobId> = expected.iter().map(|&n| jobs[n]).collect();
        expired.sort();
        expected.sort();
        assert_eq!(expired, expected, "with a limit of {limit}");
    }
    trial.assert_counted().await;
}

/// However many do it at once, each wait ends once.
pub async fn expiries_at_once_end_each_wait_once(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 40).await;
    let mut worker = trial.worker("q").await;
    for job in worker.take(40).await {
        worker.settle(&job, park_for(MOMENT, Expiry::Retry)).await;
    }
    let other = trial.another_handle().await;
    let mut ended = Vec::new();
    eventually("every wait is ended", async || {
        let (a, b) = tokio::join!(trial.store.expire(7), other.expire(7));
        for expired in [a, b] {
            let expired = expired.expect("an expiry passes");
            assert!(expired.len() <= 7 && expired.iter().all(|e| e.state == State::Queued), "{expired:?}");
            ended.extend(expired.into_iter().map(|e| e.id));
        }
        (ended.len() >= jobs.len()).then_some(())
    })
    .await;
    ended.sort();
    assert_eq!(ended, jobs);
    assert_eq!(ids(&worker.take(100).await), jobs);
    let flow = trial.queue("q").await.flow;
    assert_eq!((flow.started, flow.failed, flow.returned), (80, 40, 40));
    trial.assert_counted().await;
}

/// An answer, a cancel and an expiry in the same moment: one of them is what became of the job, and only its doer is
/// told so.
pub async fn an_answer_a_cancel_and_an_expiry_at_once_end_a_wait_once(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let other = trial.another_handle().await;
    let mut rounds = 0;
    while rounds < 30 {
        let id = trial.enqueue(plain("q")).await;
        let (_, secret) = overdue(trial, &mut worker, Expiry::Fail).await;
        let answer = async {
            let heard = trial.store.resolve(id, &secret, &done("in time")).await;
            match heard {
                Ok(Resolve::Done) => Some(State::Completed),
                Err(Error::WrongState { .. }) => None,
                other => panic!("an answer for a job whose deadline has passed gave {other:?}"),
            }
        };
        let cancel = async {
            match other.cancel(id).await {
                Ok(_) => Some(State::Cancelled),
                Err(Error::WrongState { .. }) => None,
                other => panic!("a cancel of a job whose deadline has passed gave {other:?}"),
            }
        };
        let expiry = async { other.expire(10).await.expect("an expiry passes").pop().map(|expired| expired.state) };
        // Whoever begins first wins most often, so they take turns.
        let done = match rounds % 3 {
            0 => tokio::join!(answer, cancel, expiry),
            1 => {
                let (cancel, expiry, answer) = tokio::join!(cancel, expiry, answer);
                (answer, cancel, expiry)
            }
            _ => {
                let (expiry, answer, cancel) = tokio::join!(expiry, answer, cancel);
                (answer, cancel, expiry)
            }
        };
        let done: Vec<State> = [done.0, done.1, done.2].into_iter().flatten().collect();
        assert_eq!(done.len(), 1, "one of them did it: {done:?}");
        trial.assert_state(id, done[0]).await;
        rounds += 1;
    }
    trial.assert_counted().await;
}

/// It goes on holding its key when it comes back, and with its failure the key goes as with any.
pub async fn a_key_goes_only_with_the_last_deadline(trial: &Trial<'_>) {
    for scope in [Scope::Unfinished, Scope::UnfinishedOrFailed] {
        let queue = scope.as_str();
        let job = keyed(queue, "k", scope, Conflict::RunAgain).max_attempts(2);
        let id = trial.enqueue(job.clone()).await;
        let mut worker = trial.worker(queue).await;
        overdue(trial, &mut worker, Expiry::Retry).await;
        let waiting = trial.admit(job.clone()).await;
        assert_ne!(waiting.id, id, "{queue}: one waits for it to be over");
        assert_eq!(trial.store.expire(100).await.unwrap().len(), 1);
        assert_eq!(trial.job(waiting.id).await.reason.as_deref(), Some("again"), "{queue}: it is not over");

        let claimed = worker.take(10).await;
        assert_eq!(ids(&claimed), [id], "{queue}");
        worker.settle(&claimed[0], park_for(MOMENT, Expiry::Retry)).await;
        assert_eq!(trial.until_expired(id).await, State::Failed);
        let holds = scope == Scope::UnfinishedOrFailed;
        assert_eq!(trial.job(waiting.id).await.reason.as_deref(), holds.then_some("again"), "{queue}");
        assert_eq!(ids(&worker.take(10).await), if holds { vec![] } else { vec![waiting.id] }, "{queue}");
    }
    trial.assert_counted().await;
}

/// What is paused holds back who comes back, and not who waits.
pub async fn a_job_that_comes_back_under_a_pause_is_held_as_any(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let answered = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    worker.park_one(park_for(MOMENT, Expiry::Retry)).await;
    let (_, secret) = worker.park_one(park()).await;
    let before = trial.shown(answered).await;
    trial.set_kind("kind", Setting::Paused(true)).await;
    trial.set_queue("q", Setting::Paused(true)).await;
    trial.release_all().await;
    assert_eq!(trial.shown(answered).await, before);
    assert_eq!(trial.until_expired(id).await, State::Queued);
    trial.store.resolve(answered, &secret, &done("by them")).await.unwrap();
    trial.assert_state(answered, State::Completed).await;
    trial.release_all().await;
    trial.set_queue("q", Setting::Paused(false)).await;
    assert_eq!(worker.take(10).await, []);
    assert_eq!(trial.job(id).await.reason.as_deref(), Some("paused"));
    trial.assert_counted().await;
    trial.set_kind("kind", Setting::Paused(false)).await;
    trial.release_all().await;
    assert_eq!(ids(&worker.take(10).await), [id]);
}

/// Workers that sleep are told of a job that comes back, as of a new one.
pub async fn who_listens_hears_of_a_job_that_nobody_answered_for(trial: &Trial<'_>) {
    let binding: Binding = "q".parse().expect("a binding");
    let Some(mut wakes) = trial.store.listen(&binding).await.expect("a store listens or does not") else {
        // Its workers poll.
        return;
    };
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    overdue(trial, &mut worker, Expiry::Retry).await;
    trial.store.sleep(&binding, true).await.unwrap();
    assert_eq!(worker.take(10).await, []);
    let other = trial.another_handle().await;
    let told = async {
        assert_eq!(other.expire(100).await.expect("an expiry passes").len(), 1);
        other.flush().await.expect("what is to be told is told");
    };
    let heard = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(wakes.next(), told) });
    heard.await.expect("it hears of it");
    assert_eq!(ids(&worker.take(10).await), [id]);
}
