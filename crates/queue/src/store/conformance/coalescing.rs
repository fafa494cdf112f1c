//! Coalescing: what becomes of a job whose key another one holds.
//!
//! How long a key is held, and to whom it goes, is [`keys`](super::keys)' affair.

use std::slice;

use super::trial::{HOUR, Trial, coalescings, completed, ids, keyed, plain, retry, snooze};
use crate::{
    Coalesce, Conflict, JobId, Json, NewJob, Scope, State,
    limits::{INLINE_BYTES, MAX_KEY},
    store::{Admission, Enqueued},
};

/// What an enqueue under this rule is answered while a job that waits holds its key.
const fn while_it_waits(conflict: Conflict) -> Admission {
    match conflict {
        Conflict::Replace => Admission::Replaced,
        Conflict::Keep | Conflict::RunAgain => Admission::Kept,
    }
}

/// Scopes under which a running job holds its key.
const WHILE_RUNNING: [Scope; 2] = [Scope::Unfinished, Scope::UnfinishedOrFailed];

/// The same job with this payload.
fn with_payload(job: &NewJob, payload: &str) -> NewJob {
    NewJob { payload: Ok(payload.into()), ..job.clone() }
}

/// Under every scope and rule, claimable or scheduled: there is one job, its id is every answer, and it runs once.
pub async fn a_job_that_waits_takes_in_its_equals(trial: &Trial<'_>) {
    for (queue, rule) in coalescings() {
        let job = plain(&queue).key("k").coalesce(rule);
        let first = trial.admit(job.clone()).await;
        assert_eq!(first.admission, Admission::New, "{queue}");
        let expected = Enqueued::coalesced(first.id, while_it_waits(rule.conflict));
        for _ in 0..3 {
            assert_eq!(trial.admit(job.clone()).await, expected, "{queue}");
        }
        let shown = trial.jobs_of(&queue).await;
        assert_eq!(shown.len(), 1, "{queue}");
        assert_eq!((shown[0].id, shown[0].key.as_deref(), shown[0].reason.as_deref()), (first.id, Some("k"), None));
        let mut worker = trial.worker(&queue).await;
        let claimed = worker.take(10).await;
        assert_eq!(ids(&claimed), [first.id], "{queue}");
        worker.settle(&claimed[0], completed()).await;

        let scheduled = trial.admit(job.clone().delay(HOUR)).await;
        assert_eq!(scheduled.admission, Admission::New, "{queue}: its key is free again");
        let expected = Enqueued::coalesced(scheduled.id, while_it_waits(rule.conflict));
        assert_eq!(trial.admit(job.clone().delay(2 * HOUR)).await, expected, "{queue}");
        let shown = trial.job(scheduled.id).await;
        let waits = (shown.run_at - shown.enqueued_at).to_std().expect("it is due later");
        assert_eq!(shown.state, State::Scheduled);
        assert_eq!(waits > HOUR + HOUR / 2, rule.conflict == Conflict::Replace, "{queue}: due after {waits:?}");
        assert_eq!(trial.jobs_of(&queue).await.len(), 1, "{queue}");
    }
    trial.assert_counted().await;
}

/// Each meets what the one before it made, and the answers stand in the bulk's order.
pub async fn jobs_of_one_key_in_one_bulk_are_one_job(trial: &Trial<'_>) {
    for (queue, rule) in coalescings() {
        let job = |key: &str, n: u32| NewJob::new("kind", n.to_string()).queue(&queue).key(key).coalesce(rule);
        let bulk = [
            job("b", 0),
            job("a", 1),
            job("b", 2),
            NewJob::new("kind", "3").queue(&queue),
            job("a", 4),
            job("b", 5),
            job("c", 6),
        ];
        let answers = trial.store.enqueue(&bulk).await.unwrap();
        let (b, a, bare, c) = (answers[0].id, answers[1].id, answers[3].id, answers[6].id);
        let new = Enqueued::new;
        let again = |id| Enqueued::coalesced(id, while_it_waits(rule.conflict));
        assert_eq!(answers, [new(b), new(a), again(b), new(bare), again(a), again(b), new(c)], "{queue}");
        assert!([b, a, bare, c].is_sorted(), "{queue}: the ids of new jobs ascend");
        let payloads: Vec<String> = trial.jobs_of(&queue).await.into_iter().map(|job| job.payload.0).collect();
        let expected = if rule.conflict == Conflict::Replace { ["5", "4", "3", "6"] } else { ["0", "1", "3", "6"] };
        assert_eq!(payloads, expected, "{queue}");
        // Another bulk meets what this one left.
        let answers = trial.store.enqueue(&bulk[..2]).await.unwrap();
        assert_eq!(answers, [again(b), again(a)], "{queue}");
    }
    trial.assert_counted().await;
}

/// Fifty enqueues at once, through several handles: one is new, and all are answered with its id.
pub async fn concurrent_enqueues_of_one_key_make_one_job(trial: &Trial<'_>) {
    let handles = [trial.store.clone(), trial.another_handle().await, trial.another_handle().await];
    for (queue, rule) in coalescings() {
        let job = plain(&queue).key("k").coalesce(rule);
        let tasks = (0..50).map(|n| {
            let (store, job) = (handles[n % handles.len()].clone(), job.clone());
            tokio::spawn(async move { store.enqueue(&[job]).await.expect("the job is taken in")[0] })
        });
        let answers = futures::future::join_all(tasks).await;
        let answers: Vec<Enqueued> = answers.into_iter().map(|answer| answer.expect("no enqueue fails")).collect();
        assert!(answers.iter().all(|answer| answer.id == answers[0].id), "{queue}: {answers:?}");
        assert_eq!(answers.iter().filter(|answer| answer.is_new()).count(), 1, "{queue}");
        assert_eq!(trial.jobs_of(&queue).await.len(), 1, "{queue}");
    }
    trial.assert_counted().await;
}

/// Nobody waits for whoever waits for him.
pub async fn bulks_of_the_same_keys_in_opposite_orders_pass_each_other(trial: &Trial<'_>) {
    const KEYS: usize = 30;
    let handles = [trial.store.clone(), trial.another_handle().await];
    for round in 0..5 {
        let queue = format!("q{round}");
        let keys = |n: usize| -> Vec<NewJob> {
            let job = |k| keyed(&queue, &format!("k{k}"), Scope::Unfinished, Conflict::Replace);
            if n.is_multiple_of(2) { (0..KEYS).map(job).collect() } else { (0..KEYS).rev().map(job).collect() }
        };
        let tasks = (0..6).map(|n| {
            let (store, bulk) = (handles[n % handles.len()].clone(), keys(n));
            tokio::spawn(async move { store.enqueue(&bulk).await.expect("a bulk is taken in") })
        });
        let mut new = 0;
        for (n, answers) in futures::future::join_all(tasks).await.into_iter().enumerate() {
            let answers = answers.expect("no enqueue fails");
            new += answers.iter().filter(|answer| answer.is_new()).count();
            for (job, answer) in keys(n).into_iter().zip(answers) {
                assert_eq!(trial.job(answer.id).await.key, job.key, "each answer belongs to its job");
            }
        }
        assert_eq!(new, KEYS);
        assert_eq!(trial.jobs_of(&queue).await.len(), KEYS);
    }
    trial.assert_counted().await;
}

/// What comes while the holder runs is dropped; the holder's id is the answer.
pub async fn keep_drops_what_comes_while_the_holder_runs(trial: &Trial<'_>) {
    for scope in WHILE_RUNNING {
        let queue = scope.as_str();
        let job = keyed(queue, "k", scope, Conflict::Keep);
        let holder = trial.enqueue(job.clone()).await;
        let mut worker = trial.worker(queue).await;
        let running = worker.take_one().await;
        assert_eq!(trial.admit(job.clone()).await, Enqueued::coalesced(holder, Admission::Kept));
        worker.settle(&running, completed()).await;
        assert_eq!(trial.jobs_of(queue).await, []);
        assert!(trial.admit(job).await.is_new(), "with its end it let go of the key");
    }
    trial.assert_counted().await;
}

/// However many come while the holder runs: it runs once more, and not before the holder is over. A replacement that
/// comes too late for the holder changes the one that waits.
pub async fn what_comes_while_the_holder_runs_runs_once_more_for_all(trial: &Trial<'_>) {
    for (queue, rule) in coalescings() {
        if rule.scope == Scope::Pending || rule.conflict == Conflict::Keep {
            continue;
        }
        let job = |n: u32| NewJob::new("kind", n.to_string()).queue(&queue).key("k").coalesce(rule);
        let mut holder = trial.enqueue(job(0)).await;
        let mut worker = trial.worker(&queue).await;
        for round in 1..=3 {
            let running = worker.take_one().await;
            assert_eq!(running.id, holder, "{queue}");
            let first = trial.admit(job(10 * round)).await;
            assert_eq!(first.admission, Admission::Again { holder }, "{queue}");
            assert!(first.id > holder, "{queue}: it is a job of its own");
            let bulk: Vec<NewJob> = (1..=4).map(|n| job(10 * round + n)).collect();
            let more = trial.store.enqueue(&bulk).await.unwrap();
            assert_eq!(more, [first; 4], "{queue}: one waits, and it is every answer");

            let waiting = trial.job(first.id).await;
            assert_eq!((waiting.state, waiting.reason.as_deref()), (State::Queued, Some("again")), "{queue}");
            assert_eq!(waiting.key.as_deref(), Some("k"), "{queue}");
            if rule.conflict == Conflict::Replace {
                assert_eq!(waiting.payload.0, (10 * round + 4).to_string());
            }
            let depth = trial.queue(&queue).await.depth;
            assert_eq!((depth.ready, depth.held, depth.suspects, depth.running), (0, 1, 0, 1), "{queue}");
            assert_eq!(worker.take(10).await, [], "{queue}: not before the holder is over");
            let released_early = trial.store.release(100).await.unwrap();
            assert_eq!(released_early, 0, "{queue}: the key is held");

            worker.settle(&running, completed()).await;
            let waiting = trial.job(first.id).await;
            assert_eq!(
                (waiting.state, waiting.reason),
                (State::Queued, None),
                "{queue}: the end of one frees the next"
            );
            assert!(waiting.ready_at.is_some_and(|at| at >= running.started_at), "{queue}");
            holder = first.id;
        }
        let last = worker.take(10).await;
        assert_eq!(ids(&last), [holder], "{queue}");
        worker.settle(&last[0], completed()).await;
        assert_eq!(trial.jobs_of(&queue).await, [], "{queue}: nothing is left");
    }
    trial.assert_counted().await;
}

/// Twenty at once, while the holder runs: one waits.
pub async fn concurrent_enqueues_beside_a_running_holder_leave_one_that_waits(trial: &Trial<'_>) {
    let handles = [trial.store.clone(), trial.another_handle().await];
    for conflict in [Conflict::Replace, Conflict::RunAgain] {
        let queue = conflict.as_str();
        let job = keyed(queue, "k", Scope::Unfinished, conflict);
        let holder = trial.enqueue(job.clone()).await;
        let mut worker = trial.worker(queue).await;
        let running = worker.take_one().await;
        let tasks = (0..20).map(|n| {
            let (store, job) = (handles[n % handles.len()].clone(), job.clone());
            tokio::spawn(async move { store.enqueue(&[job]).await.expect("the job is taken in")[0] })
        });
        let answers = futures::future::join_all(tasks).await;
        let answers: Vec<Enqueued> = answers.into_iter().map(|answer| answer.expect("no enqueue fails")).collect();
        let expected = Enqueued::coalesced(answers[0].id, Admission::Again { holder });
        assert!(answers.iter().all(|&answer| answer == expected), "{queue}: {answers:?}");
        assert_eq!(trial.jobs_of(queue).await.len(), 2);
        worker.settle(&running, completed()).await;
        assert_eq!(ids(&worker.take(10).await), [answers[0].id]);
    }
    trial.assert_counted().await;
}

/// Under that scope a job that was claimed holds nothing any more.
pub async fn under_pending_a_claimed_job_is_in_nobodys_way(trial: &Trial<'_>) {
    for conflict in [Conflict::Keep, Conflict::Replace, Conflict::RunAgain] {
        let queue = conflict.as_str();
        let job = keyed(queue, "k", Scope::Pending, conflict);
        let first = trial.enqueue(job.clone()).await;
        let mut worker = trial.worker(queue).await;
        let running = worker.take_one().await;
        let second = trial.admit(job.clone()).await;
        assert!(second.is_new() && second.id != first, "{queue}: {second:?}");
        let third = trial.admit(job.clone()).await;
        assert_eq!(third, Enqueued::coalesced(second.id, while_it_waits(conflict)), "{queue}");
        // The first one's end is no affair of the second's key.
        worker.settle(&running, completed()).await;
        assert_eq!(trial.admit(job).await, third, "{queue}");
        assert_eq!(ids(&worker.take(10).await), [second.id], "{queue}");
    }
    trial.assert_counted().await;
}

/// The holder gets the payload and the run time, sooner or later; it stays one job, with its id and its key.
pub async fn a_replacement_changes_the_payload_and_the_run_time_both_ways(trial: &Trial<'_>) {
    let job = keyed("q", "k", Scope::Unfinished, Conflict::Replace);
    let id = trial.enqueue(with_payload(&job, "0")).await;
    let before = trial.job(id).await;
    let replaced = async |payload: &str, job: NewJob, state: State| {
        let answer = trial.admit(with_payload(&job, payload)).await;
        assert_eq!(answer, Enqueued::coalesced(id, Admission::Replaced));
        let shown = trial.job(id).await;
        assert_eq!((&*shown.payload.0, shown.state, shown.reason.as_deref()), (payload, state, None));
        assert_eq!((shown.key.as_deref(), shown.enqueued_at), (Some("k"), before.enqueued_at));
        assert!(shown.ready_at.is_some() || state == State::Scheduled, "it is claimable since some time");
        assert_eq!(trial.jobs_of("q").await.len(), 1);
        let depth = trial.queue("q").await.depth;
        assert_eq!((depth.ready, depth.scheduled), if state == State::Queued { (1, 0) } else { (0, 1) });
        shown.run_at
    };
    replaced("1", job.clone(), State::Queued).await;
    let later = replaced("2", job.clone().delay(2 * HOUR), State::Scheduled).await;
    let mut worker = trial.worker("q").await;
    assert_eq!(worker.take(10).await, [], "it is not due any more");
    let sooner = replaced("3", job.clone().delay(HOUR), State::Scheduled).await;
    let latest = replaced("4", job.clone().delay(3 * HOUR), State::Scheduled).await;
    assert!(sooner < later && later < latest, "{sooner}, {later}, {latest}");
    replaced("5", job.clone(), State::Queued).await;
    let claimed = worker.take(10).await;
    assert_eq!(claimed.iter().map(|job| (job.id, &*job.payload)).collect::<Vec<_>>(), [(id, "5")]);
    worker.settle(&claimed[0], completed()).await;
    trial.assert_counted().await;
}

/// A job that waits for its retry has started, but does not run: it is replaced, and keeps what it has spent.
pub async fn a_job_that_waits_for_its_retry_is_replaced(trial: &Trial<'_>) {
    let job = keyed("q", "k", Scope::Unfinished, Conflict::Replace);
    let id = trial.enqueue(with_payload(&job, "0")).await;
    let mut worker = trial.worker("q").await;
    let claimed = worker.take_one().await;
    worker.settle(&claimed, retry(HOUR)).await;
    let answer = trial.admit(with_payload(&job, "1")).await;
    assert_eq!(answer, Enqueued::coalesced(id, Admission::Replaced));
    let claimed = worker.take_one().await;
    assert_eq!((claimed.id, &*claimed.payload, claimed.attempt), (id, "1", 2));
    worker.settle(&claimed, completed()).await;
    trial.assert_counted().await;
}

/// A job that waits, for whatever reason, is enough: the change that it is to see came before it runs.
pub async fn run_again_is_content_with_a_job_that_waits(trial: &Trial<'_>) {
    let job = keyed("q", "k", Scope::Unfinished, Conflict::RunAgain);
    let id = trial.enqueue(job.clone()).await;
    let kept = Enqueued::coalesced(id, Admission::Kept);
    let mut worker = trial.worker("q").await;
    for verdict in [retry(HOUR), snooze(HOUR)] {
        let claimed = worker.take_one().await;
        worker.settle(&claimed, verdict).await;
        assert_eq!(trial.admit(job.clone()).await, kept);
        // Sooner than in an hour, so that the case goes on.
        trial.admit(keyed("q", "k", Scope::Unfinished, Conflict::Replace)).await;
        assert_eq!(trial.admit(job.clone()).await, kept);
    }
    // A suspect waits too, for a process of its own.
    trial.make_suspect("q", id).await;
    assert_eq!(trial.admit(job.clone()).await, kept);
    let replacing = keyed("q", "k", Scope::Unfinished, Conflict::Replace);
    let answer = trial.admit(with_payload(&replacing, "7")).await;
    assert_eq!(answer, Enqueued::coalesced(id, Admission::Replaced));
    let shown = trial.job(id).await;
    assert_eq!((shown.reason.as_deref(), shown.payload), (Some("suspect"), Json("7".into())), "it is one still");
    assert_eq!(trial.jobs_of("q").await.len(), 1);
    trial.assert_counted().await;
}

/// Short by long, long by long, long by short, claimable and scheduled: the last one counts, and nothing else is found.
pub async fn of_a_payload_that_was_replaced_nothing_is_left(trial: &Trial<'_>) {
    let job = keyed("q", "k", Scope::Unfinished, Conflict::Replace);
    let long = |c: &str| format!("\"{}\"", c.repeat(3 * INLINE_BYTES));
    let id = trial.enqueue(with_payload(&job, &long("a"))).await;
    for (payload, delayed) in [
        ("1".to_owned(), false),
        (long("b"), false),
        (long("c"), true),
        ("2".to_owned(), true),
        (long("d"), true),
        ("3".to_owned(), false),
        (long("e"), false),
        (long("f"), false),
    ] {
        let job = if delayed { job.clone().delay(HOUR) } else { job.clone() };
        trial.admit(with_payload(&job, &payload)).await;
        assert!(trial.job(id).await.payload.0 == payload, "the payload {payload:.5} as shown");
    }
    let mut worker = trial.worker("q").await;
    let claimed = worker.take_one().await;
    assert!(claimed.payload == long("f"), "the payload as claimed: {:.5}", claimed.payload);
    // While it runs, the one that waits is replaced in the same way.
    let waiting = trial.admit(with_payload(&job, &long("g"))).await.id;
    for payload in [long("h"), "4".to_owned()] {
        assert_eq!(trial.admit(with_payload(&job, &payload)).await.id, waiting);
        assert!(trial.job(waiting).await.payload.0 == payload, "the payload {payload:.5} as shown");
    }
    assert!(trial.job(id).await.payload.0 == long("f"), "the running job's payload is its own");
    worker.settle(&claimed, completed()).await;
    assert_eq!(worker.take_one().await.payload, "4");
}

/// In another queue, or spelt otherwise, a key is another key.
pub async fn keys_are_their_queues_and_are_compared_by_their_bytes(trial: &Trial<'_>) {
    let longest = "k".repeat(MAX_KEY);
    let nearly = format!("{}l", "k".repeat(MAX_KEY - 1));
    let mut seen: Vec<JobId> = Vec::new();
    for queue in ["a", "b", "run:a"] {
        for key in ["k", "K", "k ", " k", "'k'", "k%", "ß", "ss", "é", "e\u{301}", "日本", &longest, &nearly] {
            let job = keyed(queue, key, Scope::Unfinished, Conflict::Keep);
            let answer = trial.admit(job.clone()).await;
            assert!(answer.is_new() && !seen.contains(&answer.id), "{key:?} of {queue}: {answer:?}");
            seen.push(answer.id);
            assert_eq!(trial.admit(job).await, Enqueued::coalesced(answer.id, Admission::Kept), "{key:?} of {queue}");
            assert_eq!(trial.job(answer.id).await.key.as_deref(), Some(key));
        }
    }
    trial.assert_counted().await;
}

/// Neither a rollback nor a bulk that is refused leaves a key behind; after a commit it is held.
pub async fn a_key_is_taken_only_with_its_job(trial: &Trial<'_>) {
    let job = keyed("q", "k", Scope::Unfinished, Conflict::RunAgain);
    let refused = trial.store.enqueue(&[job.clone(), plain("q").max_attempts(0)]).await;
    assert!(refused.is_err());
    let Some(rolled_back) = trial.enqueue_in_transaction(&[job.clone(), job.clone()], false).await else {
        // Its callers have no transactions.
        assert!(trial.admit(job).await.is_new(), "the key is free");
        return;
    };
    let rolled_back = rolled_back.unwrap();
    assert_eq!(rolled_back[1], Enqueued::coalesced(rolled_back[0].id, Admission::Kept));
    let committed = trial.enqueue_in_transaction(slice::from_ref(&job), true).await.expect("it did so before").unwrap();
    assert!(committed[0].is_new(), "the key is free after a rollback: {committed:?}");
    assert_eq!(trial.admit(job.clone()).await, Enqueued::coalesced(committed[0].id, Admission::Kept));

    // The same of a job that is to run again.
    let mut worker = trial.worker("q").await;
    let running = worker.take_one().await;
    let again = trial.enqueue_in_transaction(slice::from_ref(&job), false).await.expect("it did so before").unwrap();
    assert_eq!(again[0].admission, Admission::Again { holder: running.id });
    assert_eq!(trial.find(again[0].id).await, None, "it never was");
    let again = trial.enqueue_in_transaction(slice::from_ref(&job), true).await.expect("it did so before").unwrap();
    worker.settle(&running, completed()).await;
    assert_eq!(ids(&worker.take(10).await), [again[0].id]);

    // And of a payload: a rollback leaves the old one.
    let replacing = NewJob { coalesce: Coalesce { conflict: Conflict::Replace, ..job.coalesce }, ..job.key("r") };
    let id = trial.enqueue(with_payload(&replacing, "0")).await;
    let jobs = [with_payload(&replacing, "1").delay(HOUR)];
    trial.enqueue_in_transaction(&jobs, false).await.expect("it did so before").unwrap();
    let shown = trial.job(id).await;
    assert_eq!((shown.state, &*shown.payload.0), (State::Queued, "0"));
    trial.enqueue_in_transaction(&jobs, true).await.expect("it did so before").unwrap();
    let shown = trial.job(id).await;
    assert_eq!((shown.state, &*shown.payload.0), (State::Scheduled, "1"));
    assert!(shown.run_at - shown.enqueued_at > chrono::TimeDelta::minutes(59));
    trial.assert_counted().await;
}
