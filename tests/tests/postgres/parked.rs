//! Parked jobs beside slow transactions, under a backlog, and beside the folds of the release before.

use std::time::{Duration, Instant};

use headcount_queue::{
    Coalesce, Conflict, Expiry, JobId, NewJob, Resolution, Retention, Scope, Secret, State,
    store::{
        Admin, Claim, ClaimedJob, Enqueue, Maintain, Observe, Resolve, Settlement, Verdict, postgres::PostgresStore,
    },
};
use headcount_tests::{Database, eventually};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::ground::{COMPLETED, Worker, end, jobs, number, open};

/// A call of a worker that waits for nobody takes milliseconds; the slow transactions here never end by themselves.
const NORMAL: Duration = Duration::from_secs(5);

const HOUR: Duration = Duration::from_hours(1);

/// Kept once it is over, so that it can be looked at.
pub(crate) const PARK: Verdict =
    Verdict::Park { wait: HOUR, expiry: Expiry::Retry, keep: Retention { completed: HOUR, failed: None }, retry: HOUR };

/// Gives out the attempt's callback.
pub(crate) async fn callback(store: &PostgresStore, job: &ClaimedJob) -> Secret {
    let secret = Secret::random();
    store.callback(job.id, job.token, &secret.digest()).await.expect("the attempt holds its job");
    secret
}

/// An answer by SQL.
pub(crate) async fn answer(
    connection: &mut PgConnection,
    id: JobId,
    secret: &Secret,
    how: &str,
) -> sqlx::Result<String> {
    let sql = format!("SELECT headcount.resolve({id}, '{}', {how})", secret.reveal());
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
}

async fn state(store: &PostgresStore, id: JobId) -> State {
    store.job(id).await.unwrap().expect("the job is there").state
}

fn ended(job: &ClaimedJob, verdict: &Verdict) -> Vec<Settlement> {
    end(std::slice::from_ref(job), verdict)
}

fn keyed(payload: &str, key: &str) -> NewJob {
    let rule = Coalesce { scope: Scope::Unfinished, conflict: Conflict::RunAgain };
    NewJob::new("kind", payload).queue("q").key(key).coalesce(rule)
}

/// One transaction answers for a job that is parked and for two that run; and does not commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_application_that_answers_stops_no_worker() {
    let database = Database::fresh().await;
    let store = open(&database, 4);
    for n in 0..4 {
        store.enqueue(&[keyed("{}", &n.to_string())]).await.unwrap();
    }
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 4).await.jobs;
    let [parked, parks, ends, other] = &*claimed else { panic!("four jobs: {claimed:?}") };
    let secrets = [callback(&store, parked).await, callback(&store, parks).await, callback(&store, ends).await];
    worker.next(&ended(parked, &PARK), 0).await;
    // What waits for the key of one that is answered.
    let again = store.enqueue(&[keyed("{}", "0")]).await.unwrap()[0].id;

    let mut connection = database.connect().await;
    let mut slow = connection.begin().await.unwrap();
    let done = "'completed', output => 'by SQL'";
    assert_eq!(answer(&mut slow, parked.id, &secrets[0], done).await.unwrap(), "done");
    assert_eq!(answer(&mut slow, parks.id, &secrets[1], done).await.unwrap(), "early");
    assert_eq!(answer(&mut slow, ends.id, &secrets[2], "'failed', error => 'no'").await.unwrap(), "early");

    let began = Instant::now();
    let mut settled = ended(parks, &PARK);
    settled.extend(ended(other, &COMPLETED));
    assert_eq!(worker.next(&settled, 10).await.jobs, [], "its key is not let go before the commit");
    let more = store.enqueue(&[keyed("{}", "other")]).await.unwrap()[0].id;
    let next = worker.next(&[], 10).await.jobs;
    assert_eq!(next.iter().map(|job| job.id).collect::<Vec<_>>(), [more]);
    worker.next(&ended(&next[0], &COMPLETED), 0).await;
    assert_eq!(store.expire(100).await.unwrap(), []);
    store.release(100).await.unwrap();
    store.promote(100).await.unwrap();
    store.purge(100).await.unwrap();
    store.fold().await.unwrap();
    assert_eq!(store.audit().await.unwrap(), []);
    assert!(began.elapsed() < NORMAL, "{:?}", began.elapsed());
    assert_eq!(state(&store, parked.id).await, State::WaitAsync);
    assert_eq!(state(&store, parks.id).await, State::WaitAsync);
    assert_eq!(number(&mut database.connect().await, "SELECT count(*) FROM headcount.answer").await, 0);

    slow.commit().await.unwrap();
    for job in [parked, parks] {
        let job = store.job(job.id).await.unwrap().unwrap();
        assert_eq!((job.state, job.output.as_deref()), (State::Completed, Some("by SQL")));
    }
    assert_eq!(state(&store, ends.id).await, State::Running);
    worker.next(&ended(ends, &PARK), 0).await;
    assert_eq!(store.job(ends.id).await.unwrap().unwrap().error.as_deref(), Some("no"), "it came before the park");
    assert_eq!(worker.next(&[], 10).await.jobs[0].id, again);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.answer").await, 0);
    assert_eq!(store.conflicts(), 0);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_rollback_takes_every_answer_back() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    store.enqueue(&jobs("q", 2)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 2).await.jobs;
    let [parked, runs] = &*claimed else { panic!("two jobs: {claimed:?}") };
    let secrets = [callback(&store, parked).await, callback(&store, runs).await];
    worker.next(&ended(parked, &PARK), 0).await;
    let mut connection = database.connect().await;
    let mut tx = connection.begin().await.unwrap();
    answer(&mut tx, parked.id, &secrets[0], "'completed'").await.unwrap();
    answer(&mut tx, runs.id, &secrets[1], "'completed'").await.unwrap();
    tx.rollback().await.unwrap();
    worker.next(&ended(runs, &PARK), 0).await;
    for (job, secret) in claimed.iter().zip(&secrets) {
        assert_eq!(state(&store, job.id).await, State::WaitAsync);
        assert_eq!(answer(&mut connection, job.id, secret, "'completed'").await.unwrap(), "done");
    }
    assert_eq!(store.audit().await.unwrap(), []);
}

/// What was answered for in two transactions at once has one answer, and whoever commits second hears of it.
#[tokio::test]
async fn an_answer_that_another_came_before_fails_its_commit() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    store.enqueue(&jobs("q", 1)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let job = worker.next(&[], 1).await.jobs.remove(0);
    let secret = callback(&store, &job).await;
    let mut connection = database.connect().await;
    connection.execute("CREATE TABLE own (n int)").await.unwrap();

    let mut tx = connection.begin().await.unwrap();
    tx.execute("INSERT INTO own VALUES (1)").await.unwrap();
    assert_eq!(answer(&mut tx, job.id, &secret, "'still_waiting', wait => '2 h'").await.unwrap(), "early");
    assert_eq!(answer(&mut tx, job.id, &secret, "'failed', error => 'mine'").await.unwrap(), "early");
    tx.execute("SAVEPOINT one").await.unwrap();
    let again = answer(&mut tx, job.id, &secret, "'completed'").await.unwrap_err();
    assert!(again.to_string().contains("has been answered for already"), "{again}");
    tx.execute("ROLLBACK TO one").await.unwrap();

    let first = Resolution::Completed { output: Some("theirs".into()) };
    assert_eq!(store.resolve(job.id, &secret, &first).await.unwrap(), Resolve::Early, "nobody waits for the other");
    let late = tx.commit().await.unwrap_err();
    assert!(late.to_string().contains("has been answered for already"), "{late}");
    assert_eq!(number(&mut connection, "SELECT count(*) FROM own").await, 0, "nothing of it was committed");
    worker.next(&ended(&job, &PARK), 0).await;
    assert_eq!(store.job(job.id).await.unwrap().unwrap().output.as_deref(), Some("theirs"));
    assert_eq!(store.audit().await.unwrap(), []);
}

/// As many as an incident at a third party leaves: an answer, a look, a cancel and a deadline touch their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_parked_jobs_is_not_walked_over() {
    const BACKLOG: i64 = 20_000;
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    // Every statement is planned while the tables are empty.
    connection.execute("VACUUM (ANALYZE) headcount.parked, headcount.running, headcount.finished").await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let mut waiting = Vec::new();
    for _ in 0..30 {
        store.enqueue(&jobs("q", 1)).await.unwrap();
        let job = worker.next(&[], 1).await.jobs.remove(0);
        waiting.push((job.id, callback(&store, &job).await));
        worker.next(&ended(&job, &PARK), 0).await;
    }
    let more = "INSERT INTO headcount.parked SELECT 1000000 + n, queue, priority, 1000000 + n, kind, payload, \
        payload_codec, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms, options, enqueued_at, \
        run_at, ready_at, meta, extra, started_at, worker, digest, parked_at, deadline + n * interval '1 s', expiry, keep_completed_ms, \
        keep_failed_ms, retry_ms FROM (SELECT * FROM headcount.parked LIMIT 1) p, generate_series(1, 20000) n";
    assert_eq!(connection.execute(more).await.unwrap().rows_affected(), BACKLOG as u64);
    connection.execute("UPDATE headcount.parked SET deadline = now() WHERE id > 1019990").await.unwrap();
    connection.execute("SELECT pg_stat_reset()").await.unwrap();

    for (n, (id, secret)) in waiting.iter().enumerate() {
        let resolution = match n % 4 {
            0 => Resolution::Completed { output: None },
            1 => Resolution::Retry { error: "later".into(), after: None },
            2 => Resolution::StillWaiting(HOUR),
            _ => Resolution::Failed { error: "no".into() },
        };
        assert!(store.resolve(*id, &Secret::random(), &resolution).await.is_err());
        assert_eq!(store.resolve(*id, secret, &resolution).await.unwrap(), Resolve::Done);
        assert!(store.job(*id).await.unwrap().is_some());
        if n % 4 == 2 {
            store.cancel(*id).await.unwrap();
        }
    }
    for n in 1..=5 {
        assert_eq!(store.expire(2).await.unwrap().len(), 2, "pass {n}");
    }
    assert!(store.outstanding(&"q".parse().unwrap()).await.unwrap().parked);
    assert!(!store.outstanding(&"other".parse().unwrap()).await.unwrap().parked);
    store.fold().await.unwrap();
    store.queues().await.unwrap();
    drop((worker, store));

    // A session hands in what it counted when it ends.
    let reads = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables \
                 WHERE relid = 'headcount.parked'::regclass";
    let read = eventually("the sessions hand in their counts", Duration::from_secs(20), async || {
        connection.execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        let read = number(&mut connection, reads).await;
        if read >= 40 { Ok(read) } else { Err(read) }
    })
    .await;
    assert!(read < BACKLOG / 20, "{read} rows of parked were read to end 40 waits");
}
