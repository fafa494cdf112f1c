//! Coalescing under crowds, beside slow transactions, and after accidents.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount_queue::{
    Coalesce, Conflict, Error, JobId, NewJob, Scope, State,
    store::{
        Admin, Admission, Enqueue, Enqueued, Maintain, Observe, Setting, Target, Verdict, postgres::PostgresStore,
    },
};
use headcount_tests::{Database, eventually};
use sqlx::{Connection, Executor};
use tokio::task::JoinSet;

use super::ground::{COMPLETED, Worker, end, number, open};

/// A call of a worker that waits for nobody takes milliseconds; the slow transactions here never end by themselves.
const NORMAL: Duration = Duration::from_secs(5);

fn keyed(payload: &str, key: &str, conflict: Conflict) -> NewJob {
    NewJob::new("kind", payload).queue("q").key(key).coalesce(Coalesce { scope: Scope::Unfinished, conflict })
}

async fn one(store: &PostgresStore, job: NewJob) -> Enqueued {
    store.enqueue(&[job]).await.expect("an enqueue passes")[0]
}

async fn payload(store: &PostgresStore, id: JobId) -> String {
    store.job(id).await.unwrap().expect("the job is there").payload.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_with_one_key_make_one_job_and_all_hear_of_it() {
    let database = Database::fresh().await;
    let store = open(&database, 25);
    let mut crowd = JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        crowd.spawn(async move { one(&store, keyed("{}", "key", Conflict::Keep)).await });
    }
    let answers = crowd.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_new()).count(), 1);
    assert_eq!(answers.iter().map(|answer| answer.id).collect::<BTreeSet<_>>().len(), 1);
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.jobs").await, 1);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.coalesce").await, 1);
    assert_eq!(store.conflicts(), 0);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// One transaction takes a new key, counts on a job that runs again, and replaces a payload; and does not commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_application_stops_no_worker() {
    let database = Database::fresh().await;
    let store = open(&database, 4);
    let running = one(&store, keyed("{}", "running", Conflict::RunAgain)).await.id;
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 1).await.jobs;
    assert_eq!(claimed[0].id, running);
    let again = one(&store, keyed("{}", "running", Conflict::RunAgain)).await;
    let waiting = one(&store, keyed("1", "waiting", Conflict::Replace)).await.id;
    let other = one(&store, keyed("{}", "other", Conflict::Keep)).await.id;

    let mut connection = database.connect().await;
    let mut slow = connection.begin().await.unwrap();
    let jobs = [
        keyed("{}", "new", Conflict::Keep),
        keyed("{}", "running", Conflict::RunAgain),
        keyed("2", "waiting", Conflict::Replace),
    ];
    let answers = store.enqueue_in((&mut slow).into(), &jobs).await.unwrap();
    assert!(answers[0].is_new());
    assert_eq!(answers[1].admission, Admission::Again { holder: running });
    assert_eq!(answers[1], again, "one that waits is enough, and it does not start before this commits");
    assert_eq!(answers[2], Enqueued::coalesced(waiting, Admission::Replaced));

    let began = Instant::now();
    let next = worker.next(&end(&claimed, &COMPLETED), 10).await.jobs;
    assert_eq!(next.iter().map(|job| job.id).collect::<Vec<_>>(), [other], "what the application holds is passed over");
    worker.next(&end(&next, &Verdict::Failed { error: "no".into(), keep: None }), 0).await;
    store.release(100).await.unwrap();
    store.promote(100).await.unwrap();
    store.purge(100).await.unwrap();
    assert!(began.elapsed() < NORMAL, "{:?}", began.elapsed());

    slow.commit().await.unwrap();
    assert_eq!(
        store.job(answers[1].id).await.unwrap().unwrap().reason.as_deref(),
        Some("again"),
        "nobody could take it"
    );
    assert_eq!(store.release(100).await.unwrap(), 1, "what was committed late is found");
    let ids: BTreeSet<_> = worker.next(&[], 10).await.jobs.iter().map(|job| job.id).collect();
    assert_eq!(ids, answers.iter().map(|answer| answer.id).collect());
    assert_eq!(store.conflicts(), 0);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// Maintenance meets a job that waits for a key which an application is just taking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_does_not_wait_for_an_application_that_takes_a_key() {
    let database = Database::fresh().await;
    let store = open(&database, 3);
    one(&store, keyed("{}", "key", Conflict::RunAgain)).await;
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 1).await.jobs;
    let (mut first, mut second) = (database.connect().await, database.connect().await);
    let mut late = first.begin().await.unwrap();
    let again = store.enqueue_in((&mut late).into(), &[keyed("{}", "key", Conflict::RunAgain)]).await.unwrap()[0];
    worker.next(&end(&claimed, &COMPLETED), 0).await;
    let mut taking = second.begin().await.unwrap();
    let taken = store.enqueue_in((&mut taking).into(), &[keyed("{}", "key", Conflict::Keep)]).await.unwrap()[0];
    assert!(taken.is_new());
    late.commit().await.unwrap();
    let began = Instant::now();
    assert_eq!(store.release(100).await.unwrap(), 0);
    assert!(began.elapsed() < NORMAL);
    taking.rollback().await.unwrap();
    assert_eq!(store.release(100).await.unwrap(), 1);
    assert_eq!(worker.next(&[], 1).await.jobs[0].id, again.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulks_in_opposite_order_never_deadlock() {
    let database = Database::fresh().await;
    let store = open(&database, 8);
    let bulk: Vec<_> = (0..200).map(|n| keyed("{}", &format!("key-{n:03}"), Conflict::Replace)).collect();
    // Both come as far as the key in the middle, and then go on at once.
    let mut connection = database.connect().await;
    let mut middle = connection.begin().await.unwrap();
    store.enqueue_in((&mut middle).into(), &bulk[100..101]).await.unwrap();
    let mut bulks = JoinSet::new();
    for n in 0..6 {
        let (store, mut bulk) = (Arc::clone(&store), bulk.clone());
        if n % 2 == 1 {
            bulk.reverse();
        }
        bulks.spawn(async move { store.enqueue(&bulk).await.unwrap().len() });
    }
    let mut looking = database.connect().await;
    let waits = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("all of them wait", Duration::from_secs(20), async || {
        if number(&mut looking, waits).await == 6 { Ok(()) } else { Err("some do not wait yet") }
    })
    .await;
    middle.rollback().await.unwrap();
    assert!(bulks.join_all().await.iter().all(|&n| n == 200));
    assert_eq!(store.conflicts(), 0);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.ready").await, 200);
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&mut connection, sql).await, 0);
}

/// What one bulk has to try again, since its holder has just ended, another bulk takes meanwhile; and waits for a later key
/// that the first has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_that_tries_again_lets_go_of_what_comes_after() {
    let database = Database::fresh().await;
    let store = open(&database, 8);
    let bulk = |keys: &[&str]| keys.iter().map(|key| keyed("{}", key, Conflict::Keep)).collect::<Vec<_>>();
    store.enqueue(&bulk(&["a"])).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let holder = worker.next(&[], 1).await.jobs;

    let (mut connection, mut looking) = (database.connect().await, database.connect().await);
    let mut slow = connection.begin().await.unwrap();
    store.enqueue_in((&mut slow).into(), &bulk(&["c"])).await.unwrap();
    let spawn = |jobs: Vec<NewJob>| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.enqueue(&jobs).await.unwrap() })
    };
    let mut wait = async |n: i64| {
        let waits = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("they wait", Duration::from_secs(20), async || {
            let found = number(&mut looking, waits).await;
            if found == n { Ok(()) } else { Err(found) }
        })
        .await;
    };
    // Has seen the holder of the first key, has the second, and waits for the third.
    let first = spawn(bulk(&["a", "b", "c"]));
    wait(1).await;
    worker.next(&end(&holder, &COMPLETED), 0).await;
    // Has the first key, and waits for the second.
    let second = spawn(bulk(&["a", "b"]));
    wait(2).await;
    slow.rollback().await.unwrap();

    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.iter().map(|job| job.is_new()).collect::<Vec<_>>(), [false, false, true]);
    assert!(second.iter().all(|job| job.is_new()), "{second:?}");
    assert_eq!([first[0].id, first[1].id], [second[0].id, second[1].id]);
    assert_eq!(store.conflicts(), 0);
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(number(&mut connection, sql).await, 0);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// What a bulk replaces is replaced at once, wherever each of them stands.
#[tokio::test]
async fn a_bulk_replaces_jobs_in_every_place() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let hour = Duration::from_hours(1);
    let long = format!("\"{}\"", "x".repeat(5_000));
    let of_kind = |kind: &str, payload: &str, key: &str| {
        let rule = Coalesce { scope: Scope::Unfinished, conflict: Conflict::Replace };
        NewJob::new(kind, payload).queue("q").key(key).coalesce(rule)
    };
    let job = |payload: &str, key: &str| of_kind("kind", payload, key);
    let mut worker = Worker::new(&store, "q").await;
    // One that runs, and one that runs and has another waiting.
    let runs = [one(&store, job("0", "runs")).await.id, one(&store, job("0", "again")).await.id];
    assert_eq!(worker.next(&[], 2).await.jobs.len(), 2);
    let again = one(&store, job(&long, "again")).await.id;
    let stays = one(&store, job(&long, "stays")).await.id;
    let goes = one(&store, job("0", "goes")).await.id;
    let waits = one(&store, job("0", "waits").delay(hour)).await.id;
    let comes = one(&store, job("0", "comes").delay(hour)).await.id;
    let held = one(&store, of_kind("paused", "0", "held")).await.id;
    store.set(&Target::Kind("paused".into()), Setting::Paused(true)).await.unwrap();
    store.release(10).await.unwrap();
    assert_eq!(store.job(held).await.unwrap().unwrap().reason.as_deref(), Some("paused"));

    let bulk = [
        job("1", "runs"),
        job("1", "again"),
        job("1", "stays"),
        job("1", "goes").delay(hour),
        job(&long, "waits").delay(2 * hour),
        job("1", "comes"),
        of_kind("paused", &long, "held"),
        job("1", "new"),
        // Of one key the last counts.
        job("2", "stays"),
    ];
    let answers = store.enqueue(&bulk).await.unwrap();
    let (waiter, new) = (answers[0].id, answers[7].id);
    let replaced = |id| Enqueued::coalesced(id, Admission::Replaced);
    let expected = [
        Enqueued::coalesced(waiter, Admission::Again { holder: runs[0] }),
        Enqueued::coalesced(again, Admission::Again { holder: runs[1] }),
        replaced(stays),
        replaced(goes),
        replaced(waits),
        replaced(comes),
        replaced(held),
        Enqueued::new(new),
        replaced(stays),
    ];
    assert_eq!(answers, expected);
    for (id, text, state, reason) in [
        (waiter, "1", State::Queued, Some("again")),
        (again, "1", State::Queued, Some("again")),
        (stays, "2", State::Queued, None),
        (goes, "1", State::Scheduled, None),
        (waits, &*long, State::Scheduled, None),
        (comes, "1", State::Queued, None),
        (held, &*long, State::Queued, Some("paused")),
        (new, "1", State::Queued, None),
    ] {
        let job = store.job(id).await.unwrap().unwrap();
        assert_eq!((&*job.payload.0, job.state, job.reason.as_deref()), (text, state, reason), "{job:?}");
    }
    let bodies = "SELECT count(*) FROM headcount.body";
    assert_eq!(number(&mut database.connect().await, bodies).await, 2, "those of before have gone");
    let claimed = worker.next(&[], 10).await.jobs;
    let order: Vec<_> = claimed.iter().map(|job| job.id).collect();
    assert_eq!(order[0], stays, "it kept its place");
    assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([stays, comes, new]));
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn jobs_of_one_key_in_one_bulk_meet_what_the_first_made() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let plain = NewJob::new("kind", "0").queue("q");
    let long = format!("\"{}\"", "x".repeat(5000));
    let jobs = [
        keyed("1", "b", Conflict::Keep),
        plain,
        keyed("2", "a", Conflict::Keep),
        keyed(&long, "b", Conflict::Replace),
        keyed("4", "a", Conflict::RunAgain),
    ];
    let answers = store.enqueue(&jobs).await.unwrap();
    let kept = |n: usize, admission| Enqueued::coalesced(answers[n].id, admission);
    assert!(answers[0].id < answers[1].id && answers[1].id < answers[2].id);
    assert!(answers[..3].iter().all(|answer| answer.is_new()));
    assert_eq!(answers[3..], [kept(0, Admission::Replaced), kept(2, Admission::Kept)]);
    assert_eq!(payload(&store, answers[0].id).await, long);
    assert_eq!(payload(&store, answers[2].id).await, "2");
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn what_waits_runs_once_after_the_holder_with_the_last_payload() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut worker = Worker::new(&store, "q").await;
    for fused in [true, false] {
        let holder = one(&store, keyed("1", "key", Conflict::RunAgain)).await;
        assert_eq!(one(&store, keyed("2", "key", Conflict::RunAgain)).await.admission, Admission::Kept);
        let claimed = worker.next(&[], 1).await.jobs;
        let first = one(&store, keyed("3", "key", Conflict::RunAgain)).await;
        assert_eq!(first.admission, Admission::Again { holder: holder.id });
        let second = one(&store, keyed("4", "key", Conflict::Replace)).await;
        assert_eq!(second, first);
        assert_eq!(one(&store, keyed("5", "key", Conflict::Keep)).await.id, holder.id);
        assert!(worker.next(&[], 1).await.jobs.is_empty(), "it waits");
        let verdict = if fused { COMPLETED } else { Verdict::Failed { error: "no".into(), keep: None } };
        worker.next(&end(&claimed, &verdict), 0).await;
        let next = worker.next(&[], 2).await.jobs;
        assert_eq!(next.iter().map(|job| (job.id, &*job.payload)).collect::<Vec<_>>(), [(first.id, "4")]);
        assert_eq!(one(&store, keyed("6", "key", Conflict::Keep)).await.id, first.id, "it holds the key");
        worker.next(&end(&next, &COMPLETED), 0).await;
    }
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.coalesce").await, 0);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// Holders end all the time while others ask to run again: whoever was told "again" or "kept" is followed by a run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_that_end_beside_enqueues_lose_nobody() {
    const ROUNDS: usize = 60;
    let database = Database::fresh().await;
    let store = open(&database, 8);
    let mut crowd = JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&store);
        crowd.spawn(async move {
            let mut ids = BTreeSet::new();
            for _ in 0..ROUNDS {
                ids.insert(one(&store, keyed("{}", "key", Conflict::RunAgain)).await.id);
            }
            ids
        });
    }
    let mut worker = Worker::new(&store, "q").await;
    let (mut settled, mut ran, mut wanted) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    loop {
        let over = crowd.is_empty();
        let claimed = worker.next(&settled, 10).await.jobs;
        assert!(claimed.len() <= 1, "one of a key at once");
        ran.extend(claimed.iter().map(|job| job.id));
        settled = end(&claimed, &COMPLETED);
        let freed = store.release(100).await.unwrap();
        while let Some(ids) = crowd.try_join_next() {
            wanted.append(&mut ids.unwrap());
        }
        if over && claimed.is_empty() && freed == 0 {
            break;
        }
    }
    assert_eq!(ran, wanted);
    assert_eq!(store.conflicts(), 0);
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.jobs").await, 0);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.coalesce").await, 0);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_key_whose_job_has_gone_is_let_go_by_maintenance_and_loses_no_job_before() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let gone = one(&store, keyed("{}", "key", Conflict::Keep)).await.id;
    let sound = one(&store, keyed("{}", "sound", Conflict::Keep)).await.id;
    let mut connection = database.connect().await;
    connection.execute("DELETE FROM headcount.ready WHERE queue = 'q' AND extra ->> 'key' = 'key'").await.unwrap();
    let waits = one(&store, keyed("{}", "key", Conflict::Keep)).await;
    assert_eq!(waits.admission, Admission::Again { holder: gone });
    assert_eq!(store.release(100).await.unwrap(), 1);
    assert_eq!(store.job(waits.id).await.unwrap().unwrap().reason, None);
    assert_eq!(one(&store, keyed("{}", "key", Conflict::Keep)).await.id, waits.id);
    assert_eq!(one(&store, keyed("{}", "sound", Conflict::Keep)).await.id, sound, "it stays where it belongs");
}

#[tokio::test]
async fn a_key_goes_when_its_scope_ends_and_a_retry_takes_it_again() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut worker = Worker::new(&store, "q").await;
    let failed = Verdict::Failed { error: "no".into(), keep: None };
    let scoped = |scope| keyed("{}", "key", Conflict::Keep).coalesce(Coalesce { scope, conflict: Conflict::Keep });

    let pending = one(&store, scoped(Scope::Pending)).await.id;
    let first = worker.next(&[], 1).await.jobs;
    let second = one(&store, scoped(Scope::Unfinished)).await.id;
    assert_ne!(second, pending, "the first runs, and its key has gone");
    worker.next(&end(&first, &failed), 0).await;
    let refused = store.retry(pending).await.unwrap_err();
    assert!(matches!(refused, Error::KeyTaken { id, holder } if id == pending && holder == second), "{refused:?}");
    assert_eq!(store.job(pending).await.unwrap().unwrap().state, State::Failed);
    store.cancel(second).await.unwrap();
    store.retry(pending).await.unwrap();
    assert_eq!(one(&store, scoped(Scope::Unfinished)).await.id, pending);
    store.delete(pending).await.unwrap();

    let kept = one(&store, scoped(Scope::UnfinishedOrFailed)).await.id;
    let claimed = worker.next(&[], 1).await.jobs;
    worker.next(&end(&claimed, &failed), 0).await;
    assert_eq!(one(&store, scoped(Scope::Unfinished)).await.id, kept, "failed, it holds its key");
    store.retry(kept).await.unwrap();
    let claimed = worker.next(&[], 1).await.jobs;
    worker.next(&end(&claimed, &Verdict::Failed { error: "no".into(), keep: Some(Duration::ZERO) }), 0).await;
    assert_eq!(store.purge(10).await.unwrap(), 1);
    assert!(one(&store, scoped(Scope::Unfinished)).await.is_new());
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_replaced_job_moves_to_the_other_side_of_now() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let id = one(&store, keyed("1", "key", Conflict::Replace)).await.id;
    for (text, delay, state) in [("2", 600, State::Scheduled), ("3", 900, State::Scheduled), ("4", 0, State::Queued)] {
        let job = keyed(text, "key", Conflict::Replace).delay(Duration::from_secs(delay));
        assert_eq!(one(&store, job).await, Enqueued::coalesced(id, Admission::Replaced));
        let record = store.job(id).await.unwrap().unwrap();
        assert_eq!((record.payload.0.as_str(), record.state, record.key.as_deref()), (text, state, Some("key")));
    }
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_with_keys_are_taken_in_one_bulk() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let bulk: Vec<_> = (0..50_000).map(|n| keyed("{}", &format!("key-{n}"), Conflict::Keep)).collect();
    let answers = store.enqueue(&bulk).await.unwrap();
    assert!(answers.windows(2).all(|pair| pair[0].id < pair[1].id && pair[0].is_new()));
    let again = store.enqueue(&bulk).await.unwrap();
    assert!(again.iter().zip(&answers).all(|(again, first)| again.id == first.id && !again.is_new()));
    let bulk: Vec<_> = (0..50_000)
        .map(|n| keyed("1", &format!("key-{n}"), Conflict::Replace).delay(Duration::from_secs(n % 2 * 3600)))
        .collect();
    let replaced = store.enqueue(&bulk).await.unwrap();
    assert!(replaced.iter().zip(&answers).all(|(replaced, first)| replaced.id == first.id));
    let mut connection = database.connect().await;
    let later = "SELECT count(*) FROM headcount.later WHERE payload::text = '1'";
    assert_eq!(number(&mut connection, later).await, 25_000);
    assert_eq!(store.audit().await.unwrap(), []);
}
