//! Jobs from SQL: whoever speaks it can enqueue and cancel.

use headcount_queue::{
    State,
    store::{Enqueue, Maintain, Observe},
};
use headcount_tests::Database;
use sqlx::{Connection, Executor, PgConnection, postgres::PgListener};

use super::ground::{Worker, jobs, number, open};

async fn refused(connection: &mut PgConnection, sql: &'static str) -> String {
    let error = connection.execute(sql).await.expect_err(sql);
    error.as_database_error().expect("an error of the database").message().to_owned()
}

#[tokio::test]
async fn plain_sql_enqueues_with_named_arguments() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut connection = database.connect().await;
    let sql = "SELECT headcount.enqueue('mail', '{\"to\": 7}', queue => 'media', priority => 3, delay => '5 minutes', \
               max_attempts => 2, timeout => '1.5 s', key => 'k', meta => '{\"by\": \"sql\"}')";
    let id = number(&mut connection, sql).await;
    let job = store.job(headcount_queue::JobId(id)).await.unwrap().unwrap();
    assert_eq!((job.kind.as_str(), job.queue.as_str(), job.priority, job.max_attempts), ("mail", "media", 3, 2));
    assert_eq!((job.state, job.payload.0.as_str(), job.key.as_deref()), (State::Scheduled, "{\"to\": 7}", Some("k")));
    assert_eq!(job.meta.unwrap().0, "{\"by\": \"sql\"}");
    let timeout = "SELECT timeout_ms FROM headcount.later";
    assert_eq!(number(&mut connection, timeout).await, 1500);
    let again = "SELECT headcount.enqueue('mail', queue => 'media', key => 'k', conflict => 'replace', \
                 payload => to_json(repeat('x', 5000)))";
    assert_eq!(number(&mut connection, again).await, id);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.body").await, 1, "a long payload lies apart");
    let mut worker = Worker::new(&store, "media").await;
    assert_eq!(worker.next(&[], 1).await.jobs[0].payload.len(), 5002);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_trigger_enqueues_and_a_rollback_leaves_nothing() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut connection = database.connect().await;
    connection
        .execute(
            "CREATE TABLE orders (id bigint PRIMARY KEY);
             CREATE FUNCTION ordered() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM headcount.enqueue('order', json_build_object('id', NEW.id), key => NEW.id::text);
                 RETURN NEW;
             END $$;
             CREATE TRIGGER ordered AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION ordered()",
        )
        .await
        .unwrap();
    let mut tx = connection.begin().await.unwrap();
    tx.execute("INSERT INTO orders SELECT generate_series(1, 5)").await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.jobs").await, 0);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.coalesce").await, 0);
    connection.execute("INSERT INTO orders SELECT generate_series(1, 5)").await.unwrap();
    let mut worker = Worker::new(&store, "default").await;
    let claimed = worker.next(&[], 10).await.jobs;
    assert_eq!(claimed.iter().map(|job| &*job.kind).collect::<Vec<_>>(), ["order"; 5]);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn the_limits_of_the_library_hold_for_sql() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    for (sql, reason) in [
        ("SELECT headcount.enqueue('')", "a kind has no name"),
        ("SELECT headcount.enqueue('a b')", "holds a character"),
        ("SELECT headcount.enqueue('k', queue => 'mail.*')", "holds a character"),
        ("SELECT headcount.enqueue('k', queue => repeat('x', 129))", "129 bytes"),
        ("SELECT headcount.enqueue('k', NULL)", "the payload is NULL"),
        ("SELECT headcount.enqueue('k', '{')", "invalid input syntax"),
        ("SELECT headcount.enqueue('k', to_json(repeat('x', 1048576)))", "at most 1048576"),
        ("SELECT headcount.enqueue('k', '\"\\u0000\"')", "U+0000"),
        ("SELECT headcount.enqueue('k', max_attempts => 0)", "0 attempts"),
        ("SELECT headcount.enqueue('k', priority => 40000)", "a priority of 40000"),
        ("SELECT headcount.enqueue('k', delay => '11 years')", "a delay of"),
        ("SELECT headcount.enqueue('k', delay => '1 s', run_at => now())", "both a delay and"),
        ("SELECT headcount.enqueue('k', timeout => '0 s')", "never let the job run"),
        ("SELECT headcount.enqueue('k', run_at => 'infinity')", "2200"),
        ("SELECT headcount.enqueue('k', key => '')", "coalesce key"),
        ("SELECT headcount.enqueue('k', key => E'a\\nb')", "coalesce key"),
        ("SELECT headcount.enqueue('k', key => 'k', scope => 'always')", "unknown scope 'always'"),
        ("SELECT headcount.enqueue('k', key => 'k', conflict => 'drop')", "unknown conflict rule 'drop'"),
    ] {
        let message = refused(&mut connection, sql).await;
        assert!(message.contains(reason), "{sql}: {message}");
    }
    connection
        .execute("SELECT headcount.enqueue('größe', queue => 'App\\Jobs\\Mail', key => repeat('ß', 256))")
        .await
        .unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.jobs").await, 1);
}

#[tokio::test]
async fn sql_cancels_what_waits_and_asks_what_runs() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    store.enqueue(&jobs("q", 1)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    assert_eq!(worker.next(&[], 1).await.jobs.len(), 1);
    store.enqueue(&jobs("q", 1)).await.unwrap();
    let mut connection = database.connect().await;
    for (table, said) in [("running", "asked"), ("ready", "cancelled")] {
        let sql = format!("SELECT headcount.cancel(id) FROM headcount.{table}");
        let answer: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        assert_eq!(answer, said);
    }
    let over = refused(&mut connection, "SELECT headcount.cancel(id) FROM headcount.finished").await;
    assert!(over.contains("is cancelled: it cannot be cancelled"), "{over}");
    assert!(refused(&mut connection, "SELECT headcount.cancel(4711)").await.contains("no job has the id 4711"));
}

#[tokio::test]
async fn only_who_was_told_so_may_use_the_functions() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    let sql = "SELECT count(*) FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a \
               WHERE p.pronamespace = 'headcount'::regnamespace AND a.grantee = 0";
    assert_eq!(number(&mut connection, sql).await, 0);
}

/// Who enqueues in a transaction that we do not see commit tells the workers, but only those that sleep.
#[tokio::test]
async fn workers_that_sleep_are_told_when_the_transaction_commits() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut connection = database.connect().await;
    connection
        .execute(
            "INSERT INTO headcount.queue (queue, asleep) VALUES ('mail.*', true), ('r*', true), ('own', true), \
             ('awake', false), ('run:mine', true)",
        )
        .await
        .unwrap();
    let mut listener = PgListener::connect(database.url()).await.unwrap();
    listener.listen("headcount.wake").await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    for queue in ["mail.a", "mail.b", "mail.a", "mail", "awake", "other", "run:mine", "run:other"] {
        store.enqueue_in((&mut tx).into(), &jobs(queue, 3)).await.unwrap();
    }
    tx.execute("SELECT headcount.enqueue('k', queue => 'own', key => 'x')").await.unwrap();
    tx.execute("SELECT headcount.enqueue('k', queue => 'mail.late', delay => '1 h')").await.unwrap();
    tx.execute("SELECT pg_notify('headcount.wake', 'end')").await.unwrap();
    tx.commit().await.unwrap();
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "end") {
        told.push(listener.recv().await.unwrap().payload().to_owned());
    }
    assert_eq!(told, ["mail.a", "mail.b", "run:mine", "own", "end"]);
}
