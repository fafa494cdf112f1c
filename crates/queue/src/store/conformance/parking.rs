//! A job that is handed to a third party: who may hand it over, what shows of it while it waits, and what it is to
//! others meanwhile.
//!
//! What an answer makes of it is [`answers`](super::answers)' affair, and its end without one
//! [`deadlines`](super::deadlines)'.

use std::time::Duration;

use chrono::TimeDelta;

use super::trial::{
    HOUR, Trial, again, broken, coalescings, completed, done, ids, instance_of, park, park_for, plain, resolutions,
    retry, verdicts,
};
use crate::{
    AttemptOutcome, Conflict, Depth, Error, Expiry, Flow, JobId, NewJob, Resolution, Scope, Secret, State,
    store::{
        Action, Admission, Beat, BootId, Cancel, Filter, Outstanding, Rescue, Rescued, Resolve, Token, WorkerState,
    },
};

/// It runs no more: its worker is free, may leave, and it is shown until when whose attempt waits.
pub async fn a_parked_job_leaves_its_worker_free_and_shows_what_it_waits_for(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let first = worker.take_one().await;
    worker.settle(&first, retry(Duration::ZERO)).await;
    trial.until_promoted(id).await;
    let job = worker.take_one().await;
    worker.callback(&job).await;
    let before = trial.now().await;
    worker.settle(&job, park()).await;
    let after = trial.now().await;

    let shown = trial.job(id).await;
    assert_eq!((shown.state, shown.attempt, shown.interruptions), (State::WaitAsync, 2, 0));
    let deadline = shown.deadline.expect("it has a deadline");
    let hour = TimeDelta::hours(1);
    assert!(before + hour <= deadline && deadline <= after + hour, "{deadline} is in an hour from {before}");
    assert_eq!((shown.started_at, shown.worker.as_deref()), (Some(job.started_at), Some(&*instance_of(worker.boot))));
    assert_eq!((shown.finished_at, shown.output, shown.reason), (None, None, None));
    assert_eq!(shown.error.as_deref(), Some("it broke"), "what its last attempt said");
    assert_eq!(trial.store.attempts(id).await.unwrap().len(), 1, "this attempt has not ended");

    let workers = trial.store.workers().await.unwrap();
    assert_eq!(workers[0].running, 0);
    let answer = worker.beat(&[&job], &[&job]).await;
    assert_eq!((answer.lost, answer.given_back), (vec![(id, job.token.claim)], 0));
    let drained = trial.store.drain(&[worker.boot], "the suite", None).await.unwrap();
    assert!(trial.store.leave(worker.boot, drained[0].1).await.unwrap(), "it is idle");
    assert!(trial.store.deregister(worker.boot).await.unwrap());
    trial.assert_state(id, State::WaitAsync).await;
    trial.assert_counted().await;
}

/// Nobody has to do anything for it: no claim gets it, no scaler counts it, and what waits behind it passes it by.
pub async fn a_parked_job_is_no_demand(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q").priority(9)).await;
    let mut worker = trial.worker("q").await;
    worker.park_one(park()).await;
    let binding = "q".parse().expect("a binding");
    let left = trial.store.outstanding(&binding).await.unwrap();
    assert_eq!(left, Outstanding { parked: true, ..Outstanding::default() });
    assert!(left.is_idle() && !left.is_empty());
    let elsewhere = trial.store.outstanding(&"other".parse().expect("a binding")).await.unwrap();
    assert_eq!(elsewhere, Outstanding::default());
    assert_eq!(trial.store.next_due(&binding).await.unwrap(), None);
    let queue = trial.queue("q").await;
    assert_eq!((queue.depth, queue.oldest), (Depth { parked: 1, ..Depth::default() }, None));
    assert!(queue.priorities.is_empty());

    assert!(worker.next(&[], 5, true).await.jobs.is_empty());
    let promoted = trial.store.promote(100).await.unwrap();
    assert_eq!((promoted.jobs, promoted.next_due), (0, None));
    assert_eq!(trial.store.release(100).await.unwrap(), 0);
    assert_eq!(trial.store.purge(100).await.unwrap(), 0);
    assert_eq!(trial.store.expire(100).await.unwrap(), []);
    let next = trial.enqueue(plain("q")).await;
    assert_eq!(ids(&worker.take(5).await), [next]);
    trial.assert_state(id, State::WaitAsync).await;
}

/// An attempt that was taken away has nothing to hand over, is told so, and leaves the one that runs as it is.
pub async fn only_the_attempt_that_holds_its_job_may_hand_it_over(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut first = trial.worker("q").await;
    let taken_away = first.take_one().await;
    trial.dies(&first, &[&taken_away], &[]).await;
    let refused = async |id: JobId, token: Token| {
        let before = trial.shown(id).await;
        let secret = Secret::random();
        let refused = trial.store.callback(id, token, &secret.digest()).await;
        assert!(matches!(refused, Err(Error::TakenAway(named)) if named == id), "{token:?}: {refused:?}");
        assert_eq!(trial.shown(id).await, before);
        secret
    };
    refused(id, taken_away.token).await;

    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    let secret = worker.callback(&job).await;
    let Token { boot, claim } = job.token;
    for token in [
        taken_away.token,
        Token { boot, claim: claim + 1 },
        Token { boot: BootId::random(), claim },
        Token { boot: first.boot, claim },
    ] {
        let other = refused(id, token).await;
        let answer = trial.store.resolve(id, &other, &done("stolen")).await;
        assert!(matches!(answer, Err(Error::WrongSecret(_))), "{token:?}: {answer:?}");
    }
    refused(JobId(id.0 + 1_000_000), job.token).await;
    worker.settle(&job, park()).await;
    // Its own token opens nothing either, once it is parked.
    refused(id, job.token).await;
    assert_eq!(trial.store.resolve(id, &secret, &done("mine")).await.unwrap(), Resolve::Done);
    assert_eq!(trial.job(id).await.output.as_deref(), Some("mine"));
    refused(id, job.token).await;

    for (verdict, _) in verdicts() {
        let id = trial.enqueue(plain("q")).await;
        let job = worker.take_one().await;
        worker.settle(&job, verdict).await;
        refused(id, job.token).await;
        if let Some(State::Queued | State::Scheduled) = trial.find(id).await.map(|job| job.state) {
            trial.store.cancel(id).await.unwrap();
        }
    }
}

/// Whoever parks without having asked for a secret waits for the deadline, or for a person.
pub async fn a_job_parked_without_a_secret_opens_to_nobody(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.settle(&job, park_for(Duration::from_millis(1), Expiry::Fail)).await;
    let before = trial.shown(id).await;
    for secret in [Secret::random(), "".into(), "null".into()] {
        let refused = trial.store.resolve(id, &secret, &done("")).await;
        assert!(matches!(refused, Err(Error::WrongSecret(named)) if named == id), "{refused:?}");
    }
    assert_eq!(trial.shown(id).await, before);
    assert_eq!(trial.until_expired(id).await, State::Failed);
}

/// It belongs to nobody: no death, no lost answer and no beat takes it anywhere.
pub async fn a_parked_job_outlives_its_worker(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 3).await;
    let mut worker = trial.worker("q").await;
    let (job, secret) = worker.park_one(park()).await;
    let (no_secret, runs) = (worker.take_one().await, worker.take_one().await);
    worker.settle(&no_secret, park()).await;
    let before = [trial.shown(jobs[0]).await, trial.shown(jobs[1]).await];
    // Its worker has not heard that it parked, or thinks that its claim was lost.
    worker.beat(&[&job, &no_secret, &runs], &[&job, &no_secret, &runs]).await;
    assert_eq!(trial.store.beat(&Beat { through: 1_000, ..worker.sign(&[&runs], &[]) }).await.unwrap().given_back, 0);
    trial.store.bury(&[worker.boot]).await.unwrap();
    let rescued = trial.store.rescue_dead(true).await.unwrap();
    assert_eq!(rescued, [Rescued { id: jobs[2], boot: worker.boot, rescue: Rescue::Requeued }]);
    assert_eq!(worker.beat(&[], &[]).await.state, WorkerState::Dead);
    assert_eq!([trial.shown(jobs[0]).await, trial.shown(jobs[1]).await], before);
    assert_eq!(trial.store.resolve(jobs[0], &secret, &done("late")).await.unwrap(), Resolve::Done);
    trial.assert_state(jobs[0], State::Completed).await;
    trial.assert_counted().await;
}

/// Its handler ended by itself, so it is not what kills its process; and when it comes again, it comes as any other.
pub async fn a_parked_job_is_no_suspect_any_more(trial: &Trial<'_>) {
    let id = trial.suspect(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let (job, secret) = worker.park_one(park()).await;
    assert!(job.is_suspect());
    let parked = trial.job(id).await;
    assert_eq!((parked.deaths, parked.interruptions, parked.reason), (0, job.interruptions, None));
    let depth = trial.queue("q").await.depth;
    assert_eq!((depth.held, depth.suspects, depth.parked), (0, 0, 1));
    trial.store.resolve(id, &secret, &again(Some(Duration::ZERO))).await.unwrap();
    trial.until_promoted(id).await;
    let claimed = worker.next(&[], 1, false).await;
    assert_eq!((ids(&claimed.jobs), claimed.suspects), (vec![id], false));
}

/// A job that someone cancelled while it ran waits for nobody.
pub async fn a_job_that_was_cancelled_is_not_parked(trial: &Trial<'_>) {
    let id = trial.enqueue(plain("q")).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    let secret = worker.callback(&job).await;
    assert_eq!(trial.store.cancel(id).await.unwrap(), Cancel::Asked);
    worker.settle(&job, park()).await;
    let shown = trial.job(id).await;
    assert_eq!((shown.state, shown.deadline, shown.attempt), (State::Cancelled, None, 0));
    assert!(shown.finished_at.is_some());
    let attempts = trial.store.attempts(id).await.unwrap();
    assert_eq!(attempts.iter().map(|a| (a.attempt, a.outcome)).collect::<Vec<_>>(), [(1, AttemptOutcome::Cancelled)]);
    let late = trial.store.resolve(id, &secret, &done("late")).await;
    assert!(matches!(late, Err(Error::WrongState { state: State::Cancelled, .. })), "{late:?}");
    trial.assert_counted().await;
}

/// A person may end it at once, or remove it; there is nothing to be retried.
pub async fn a_parked_job_is_cancelled_at_once_or_deleted_but_not_retried(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    let (_, secret) = worker.park_one(park()).await;
    let (_, other) = worker.park_one(park()).await;
    let before = trial.shown(jobs[0]).await;
    let refused = trial.store.retry(jobs[0]).await;
    assert!(
        matches!(refused, Err(Error::WrongState { id, state: State::WaitAsync, wanted: "retried" }) if id == jobs[0]),
        "{refused:?}"
    );
    assert_eq!(trial.shown(jobs[0]).await, before);

    assert_eq!(trial.store.cancel(jobs[0]).await.unwrap(), Cancel::Done);
    let shown = trial.job(jobs[0]).await;
    assert_eq!((shown.state, shown.attempt, shown.deadline), (State::Cancelled, 0, None));
    assert!(shown.finished_at.is_some());
    trial.store.delete(jobs[1]).await.unwrap();
    assert_eq!(trial.shown(jobs[1]).await, (None, vec![]));
    for (resolution, _) in resolutions() {
        let late = trial.store.resolve(jobs[0], &secret, &resolution).await;
        assert!(matches!(late, Err(Error::WrongState { state: State::Cancelled, .. })), "{late:?}");
        let late = trial.store.resolve(jobs[1], &other, &resolution).await;
        assert!(matches!(late, Err(Error::NotFound(id)) if id == jobs[1]), "{late:?}");
    }
    // Retried after that, it is a job like any other, and knows nothing of its wait.
    trial.store.retry(jobs[0]).await.unwrap();
    let job = worker.take_one().await;
    assert_eq!((job.id, job.attempt), (jobs[0], 1));
    let late = trial.store.resolve(jobs[0], &secret, &done("late")).await;
    assert!(matches!(late, Err(Error::WrongState { state: State::Running, .. })), "{late:?}");
    worker.settle(&job, park()).await;
    trial.assert_state(jobs[0], State::WaitAsync).await;
    trial.assert_counted().await;
}

/// Filters find them, each by its field, and what is done to many is done to them.
pub async fn filters_and_actions_find_parked_jobs(trial: &Trial<'_>) {
    let long = format!("{{\"user\":7,\"pad\":\"{}\"}}", "x".repeat(4 * crate::limits::INLINE_BYTES));
    let bulk =
        [NewJob::new("mail", "{\"user\":7}").queue("q").key("k"), NewJob::new("thumb", long).queue("q"), plain("q")];
    let jobs: Vec<JobId> = trial.store.enqueue(&bulk).await.unwrap().into_iter().map(|e| e.id).collect();
    let mut worker = trial.worker("q").await;
    let first = worker.take_one().await;
    worker.settle(&first, retry(Duration::ZERO)).await;
    trial.until_promoted(jobs[0]).await;
    for _ in 0..3 {
        worker.park_one(park()).await;
    }
    let others = trial.fill("q", 2).await;
    let running = worker.take_one().await;

    let all = Filter { states: vec![State::WaitAsync], ..Filter::default() };
    let old = trial.job(others[1]).await.enqueued_at;
    trial.until_past(old + TimeDelta::milliseconds(2)).await;
    for (filter, expected) in [
        (all.clone(), &jobs[..]),
        (Filter { queue: Some("q".into()), ..all.clone() }, &jobs[..]),
        (Filter { queue: Some("other".into()), ..all.clone() }, &[]),
        (Filter { kind: Some("thumb".into()), ..all.clone() }, &jobs[1..2]),
        (Filter { key: Some("k".into()), states: vec![], ..all.clone() }, &jobs[..1]),
        (Filter { error: Some("it broke".into()), states: vec![], ..all.clone() }, &jobs[..1]),
        (Filter { payload: Some(("user".into(), "7".into())), ..all.clone() }, &jobs[..2]),
        (Filter { older_than: Some(Duration::from_millis(1)), ..all.clone() }, &jobs[..]),
        (Filter { older_than: Some(HOUR), ..all.clone() }, &[]),
        (Filter { ids: vec![jobs[2], running.id], ..all.clone() }, &jobs[2..]),
        (Filter { after: Some(jobs[0]), ..all.clone() }, &jobs[1..]),
        (
            Filter { states: vec![State::WaitAsync, State::Running], after: Some(jobs[1]), ..all.clone() },
            &[jobs[2], others[0]],
        ),
    ] {
        let found: Vec<JobId> = trial.jobs(&filter).await.into_iter().map(|job| job.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(trial.store.count(&filter).await.unwrap(), expected.len() as u64, "{filter:?}");
    }

    let acted = trial.store.act(Action::Retry, &all, 10).await.unwrap();
    assert_eq!(acted.done, [], "a retry passes over them");
    let kind = Filter { kind: Some("mail".into()), ..Filter::default() };
    assert_eq!(trial.store.act(Action::Cancel, &kind, 10).await.unwrap().done, jobs[..1]);
    let queue = Filter { queue: Some("q".into()), after: Some(jobs[0]), ..Filter::default() };
    let acted = trial.store.act(Action::Delete, &queue, 10).await.unwrap();
    assert_eq!(acted.done, [jobs[1], jobs[2], others[1]], "all but the one that runs");
    trial.assert_state(jobs[0], State::Cancelled).await;
    for id in &jobs[1..] {
        assert_eq!(trial.find(*id).await, None);
    }
    trial.assert_counted().await;
}

/// Under every scope and rule: it holds its key as if it ran, and lets it go with its end.
pub async fn a_parked_job_holds_its_key_as_a_running_one_does(trial: &Trial<'_>) {
    for (queue, rule) in coalescings() {
        let job = |n: u32| NewJob::new("kind", n.to_string()).queue(&queue).key("k").coalesce(rule);
        let holder = trial.enqueue(job(0)).await;
        let mut worker = trial.worker(&queue).await;
        let (_, secret) = worker.park_one(park()).await;
        let parked = trial.job(holder).await;
        let next = trial.admit(job(1)).await;
        let last = trial.admit(job(2)).await;
        let expected = match (rule.scope, rule.conflict) {
            (Scope::Pending, _) => Admission::New,
            (_, Conflict::Keep) => Admission::Kept,
            (_, Conflict::Replace | Conflict::RunAgain) => Admission::Again { holder },
        };
        assert_eq!(next.admission, expected, "{queue}");
        assert_eq!((next.id == holder, last.id), (expected == Admission::Kept, next.id), "{queue}: {last:?}");
        assert_eq!(trial.job(holder).await, parked, "{queue}: what is parked is replaced by nothing");
        let waits = matches!(expected, Admission::Again { .. });
        assert_eq!(trial.job(next.id).await.reason.as_deref(), waits.then_some("again"), "{queue}");
        trial.release_all().await;
        if waits {
            assert_eq!(worker.take(10).await, [], "{queue}: not before what is parked is over");
        }
        let depth = trial.queue(&queue).await.depth;
        assert_eq!((depth.parked, depth.held), (1, i64::from(waits)), "{queue}");

        trial.store.resolve(holder, &secret, &Resolution::StillWaiting(2 * HOUR)).await.unwrap();
        assert_eq!(trial.job(next.id).await.reason.as_deref(), waits.then_some("again"), "{queue}: it waits still");
        trial.store.resolve(holder, &secret, &done("over")).await.unwrap();
        if expected == Admission::Kept {
            assert!(trial.admit(job(3)).await.is_new(), "{queue}: it let its key go");
            continue;
        }
        let claimed = worker.take(10).await;
        assert_eq!(ids(&claimed), [next.id], "{queue}: the one that waited may run");
        let payload = if rule.conflict == Conflict::Replace { "2" } else { "1" };
        assert_eq!(claimed[0].payload, payload, "{queue}");
        worker.settle(&claimed[0], completed()).await;
    }
    trial.assert_counted().await;
}

/// Its run counts when it parks, its end when it ends, and neither twice.
pub async fn the_counters_follow_a_job_through_its_wait(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let jobs = trial.fill("q", 7).await;
    let mut secrets = Vec::new();
    for n in 0..7 {
        let wait = if n < 5 { HOUR } else { Duration::from_millis(1) };
        let expiry = if n == 5 { Expiry::Fail } else { Expiry::Retry };
        secrets.push(worker.park_one(park_for(wait, expiry)).await.1);
    }
    let flow = |queue: crate::QueueState| {
        let Flow { started, completed, failed, returned, run_ms, .. } = queue.flow;
        (started, completed, failed, returned, run_ms)
    };
    let queue = trial.queue("q").await;
    assert_eq!(queue.depth, Depth { parked: 7, ..Depth::default() });
    assert_eq!(flow(queue), (7, 0, 0, 0, 49));
    trial.assert_counted().await;

    for (n, (resolution, _)) in resolutions().into_iter().enumerate() {
        trial.store.resolve(jobs[n], &secrets[n], &resolution).await.unwrap();
    }
    let queue = trial.queue("q").await;
    assert_eq!(queue.depth, Depth { parked: 3, completed: 1, failed: 1, scheduled: 2, ..Depth::default() });
    assert_eq!(flow(queue), (7, 1, 3, 0, 49));
    trial.assert_counted().await;

    for id in &jobs[5..] {
        let expired = async || trial.store.expire(1).await.expect("an expiry passes").pop();
        let ended = super::trial::eventually("a deadline passes", expired).await;
        assert!(jobs[5..].contains(&ended.id), "{id}: {ended:?}");
    }
    let queue = trial.queue("q").await;
    assert_eq!(queue.depth, Depth { parked: 1, completed: 1, failed: 2, scheduled: 2, ready: 1, ..Depth::default() });
    assert_eq!(flow(queue), (7, 1, 5, 1, 49), "one that may be claimed again has come back");
    trial.assert_counted().await;

    // By hand: no flow.
    trial.store.cancel(jobs[1]).await.unwrap();
    let queue = trial.queue("q").await;
    assert_eq!((queue.depth.parked, queue.depth.cancelled), (0, 1));
    assert_eq!(flow(queue), (7, 1, 5, 1, 49));

    // An answer that came early: the same sums.
    for (n, resolution) in [done("early"), broken(), again(None)].into_iter().enumerate() {
        let queue = format!("early{n}");
        let id = trial.enqueue(plain(&queue)).await;
        let mut worker = trial.worker(&queue).await;
        let job = worker.take_one().await;
        let secret = worker.callback(&job).await;
        trial.store.resolve(id, &secret, &resolution).await.unwrap();
        let before = trial.queue(&queue).await;
        assert_eq!((before.depth.running, flow(before)), (1, (1, 0, 0, 0, 0)), "an early answer waits");
        worker.settle(&job, park()).await;
        let (completed, failed) = if n == 0 { (1, 0) } else { (0, 1) };
        let after = trial.queue(&queue).await;
        assert_eq!((after.depth.parked, after.depth.running), (0, 0));
        assert_eq!(flow(after), (1, completed, failed, 0, 7));
    }
    trial.assert_counted().await;
}
