//! Jobs from SQL: whoever speaks it can enqueue, cancel and answer.

use headcount_queue::{
    Secret, State,
    store::{Admin, Enqueue, Maintain, Observe},
};
use headcount_tests::Database;
use sqlx::{Connection, Executor, PgConnection, postgres::PgListener};

use super::{
    ground::{COMPLETED, Worker, end, jobs, number, open},
    parked::{PARK, answer, callback},
};

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
async fn sql_answers_for_what_is_parked_and_for_what_soon_will_be() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    store.enqueue(&jobs("q", 4)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 4).await.jobs;
    let mut secrets = Vec::new();
    for job in &claimed {
        secrets.push(callback(&store, job).await);
    }
    let mut connection = database.connect().await;
    let early = answer(&mut connection, claimed[0].id, &secrets[0], "'completed', output => 'größe'").await;
    assert_eq!(early.unwrap(), "early");
    worker.next(&end(&claimed, &PARK), 0).await;
    let waits = answer(&mut connection, claimed[1].id, &secrets[1], "'still_waiting', wait => '90.0005 s'").await;
    assert_eq!(waits.unwrap(), "done");
    let deadline =
        "SELECT (extract(epoch FROM deadline - now()) * 1000)::bigint FROM headcount.parked ORDER BY id LIMIT 1";
    let left = number(&mut connection, deadline).await;
    assert!((60_000..=90_001).contains(&left), "{left}");
    for (n, how, state, error) in [
        (0, "", State::Completed, None),
        (1, "'retry', error => 'closed', wait => '8 hours'", State::Scheduled, Some("closed")),
        (2, "'failed', error => repeat('ü', 10000)", State::Failed, Some("ü")),
        (3, "'retry', error => ''", State::Scheduled, Some("")),
    ] {
        let (id, secret) = (claimed[n].id, &secrets[n]);
        if !how.is_empty() {
            assert_eq!(answer(&mut connection, id, secret, how).await.unwrap(), "done", "{how}");
        }
        let job = store.job(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempt), (state, 1), "{how}");
        assert!(
            job.error.as_deref().map(|said| said.chars().next()) == error.map(|said| said.chars().next()),
            "{job:?}"
        );
        match n {
            0 => assert_eq!(job.output.as_deref(), Some("größe")),
            1 => assert!((job.run_at - job.enqueued_at).num_hours() >= 8),
            2 => assert_eq!(job.error.unwrap().len(), 16 << 10, "the end of a long one"),
            _ => assert!((job.run_at - job.enqueued_at).num_hours() >= 1, "the wait of its kind"),
        }
    }
    assert_eq!(store.audit().await.unwrap(), []);
}

/// Each with its code, and nothing is changed.
#[tokio::test]
async fn an_answer_that_is_refused_says_why() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    store.enqueue(&jobs("q", 5)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 4).await.jobs;
    let [parked, closed, runs, answered] = &*claimed else { panic!("four jobs: {claimed:?}") };
    let (secret, given) = (callback(&store, parked).await, callback(&store, answered).await);
    worker.next(&end(&claimed[..2], &PARK), 0).await;
    let first = headcount_queue::Resolution::Failed { error: "first".into() };
    store.resolve(answered.id, &given, &first).await.unwrap();
    let queued = headcount_queue::JobId(claimed[3].id.0 + 1);
    let (wrong, nowhere) = (Secret::random(), headcount_queue::JobId(4711));
    let mut connection = database.connect().await;
    let all = "SELECT json_agg(j ORDER BY j.id)::text \
               FROM (SELECT id, state, attempt, deadline, error FROM headcount.jobs) j";
    let before: String = sqlx::query_scalar(all).fetch_one(&mut connection).await.unwrap();
    let done = "'completed'";
    for (id, secret, how, code, reason) in [
        (nowhere, &secret, done, "P0002", "no job has the id 4711"),
        (parked.id, &wrong, done, "42501", "cannot be resolved by this secret"),
        (closed.id, &secret, done, "42501", "cannot be resolved by this secret"),
        (answered.id, &wrong, done, "42501", "cannot be resolved by this secret"),
        (answered.id, &given, done, "55000", "has been answered for already"),
        (answered.id, &given, "'still_waiting', wait => '1 s'", "55000", "has been answered for already"),
        (runs.id, &secret, done, "55000", "is running: it cannot be resolved"),
        (queued, &secret, done, "55000", "is queued: it cannot be resolved"),
        (parked.id, &secret, "'done'", "22023", "unknown resolution 'done'"),
        (parked.id, &secret, "NULL", "22023", "unknown resolution NULL"),
        (parked.id, &secret, "'failed'", "22004", "no error is given for failed"),
        (parked.id, &secret, "'retry', wait => '1 s'", "22004", "no error is given for retry"),
        (parked.id, &secret, "'completed', error => 'x'", "22023", "an error of a job that is completed"),
        (
            parked.id,
            &secret,
            "'failed', error => 'x', output => 'y'",
            "22023",
            "an output of a job that is not completed",
        ),
        (parked.id, &secret, "'completed', wait => '1 s'", "22023", "a wait of a job that is completed"),
        (parked.id, &secret, "'failed', error => 'x', wait => '1 s'", "22023", "a wait of a job that is failed"),
        (parked.id, &secret, "'still_waiting'", "22004", "no wait is given"),
        (parked.id, &secret, "'still_waiting', wait => '0 s'", "22023", "would end the wait"),
        (parked.id, &secret, "'still_waiting', wait => '-1 s'", "22023", "a wait of -1 s"),
        (parked.id, &secret, "'still_waiting', wait => '11 years'", "22023", "a wait of"),
        (parked.id, &secret, "'retry', error => 'x', wait => '11 years'", "22023", "a wait of"),
        (parked.id, &secret, "'completed', output => repeat('x', 65537)", "54000", "at most 65536"),
        // What SQL itself has no text for.
        (parked.id, &secret, "'completed', output => E'\\000'", "22021", "0x00"),
    ] {
        let error = answer(&mut connection, id, secret, how).await.expect_err(how);
        let error = error.as_database_error().expect("an error of the database");
        assert!(error.message().contains(reason), "{how}: {error}");
        assert_eq!(error.code().as_deref(), Some(code), "{how}: {error}");
        if code != "22021" {
            let hint = error.downcast_ref::<sqlx::postgres::PgDatabaseError>().hint();
            assert!(hint.is_some_and(|hint| hint.ends_with('.')), "{how}: {hint:?}");
        }
    }
    for missing in ["NULL, 'x'", "1, NULL"] {
        let sql = format!("SELECT headcount.resolve({missing}, 'completed')");
        let error = connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap_err();
        assert!(error.to_string().contains(" is NULL"), "{error}");
    }
    let after: String = sqlx::query_scalar(all).fetch_one(&mut connection).await.unwrap();
    assert_eq!(before, after);
    // The secret is good still, and used up by an answer.
    assert_eq!(answer(&mut connection, parked.id, &secret, done).await.unwrap(), "done");
    let used = answer(&mut connection, parked.id, &secret, done).await.unwrap_err();
    assert!(used.to_string().contains("is completed: it cannot be resolved"), "{used}");
    assert_eq!(worker.next(&end(&claimed[2..3], &COMPLETED), 1).await.jobs[0].id, queued);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn sql_cancels_what_is_parked() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    store.enqueue(&jobs("q", 1)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 1).await.jobs;
    worker.next(&end(&claimed, &PARK), 0).await;
    let mut connection = database.connect().await;
    let sql = "SELECT headcount.cancel(id) FROM headcount.parked";
    let answer: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    assert_eq!(answer, "cancelled");
    assert_eq!(store.job(claimed[0].id).await.unwrap().unwrap().state, State::Cancelled);
    assert_eq!(store.audit().await.unwrap(), []);
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
