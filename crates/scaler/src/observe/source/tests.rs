//! Real databases: queues of other makers, slow ones, and queries that are not what they should be.

use std::time::Instant;

use headcount_queue::{
    Error, NewJob,
    store::{Options, Setting, Target, open},
};
use headcount_tests::{Database, PgBouncer};
use sqlx::Executor as _;

use super::*;

const S: Duration = Duration::from_secs(1);

/// A database with the table of another queue, and so many jobs in it: waiting, and running.
async fn other(pending: u32, running: u32) -> Database {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    let table = "CREATE TABLE their_jobs (id serial, state text, at timestamptz DEFAULT now() - interval '90 seconds')";
    connection.execute(table).await.unwrap();
    for (state, jobs) in [("ready", pending), ("busy", running)] {
        let sql = "INSERT INTO their_jobs (state) SELECT $1 FROM generate_series(1, $2)";
        sqlx::query(sql).bind(state).bind(jobs as i32).execute(&mut connection).await.unwrap();
    }
    database
}

const QUERY: &str = "\
SELECT count(*) FILTER (WHERE state = 'ready') AS pending,
       extract(epoch FROM now() - min(at) FILTER (WHERE state = 'ready')) AS oldest_s,
       count(*) FILTER (WHERE state = 'busy')::numeric AS running
FROM their_jobs -- of another maker
";

fn source(url: &str, query: &str) -> SqlSource {
    SqlSource::new(url, query, 5 * S).unwrap()
}

async fn rejected(source: &SqlSource) -> String {
    match source.read(&Binding::Any).await {
        Err(Error::Rejected(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_backlog_of_another_queue_is_read_by_its_owners_query() {
    let database = other(3, 2).await;
    for query in [QUERY.to_owned(), format!("{QUERY};\n"), format!("WITH part AS (SELECT 1) {QUERY}")] {
        let source = source(database.url(), &query);
        for _ in 0..3 {
            let Backlog { pending, oldest, running, .. } = source.read(&Binding::Any).await.unwrap();
            assert_eq!((pending, running), (3, Some(2)));
            assert!((90 * S..3600 * S).contains(&oldest.unwrap()), "{oldest:?}");
        }
    }
}

#[tokio::test]
async fn a_queue_is_still_only_when_nothing_runs_and_nothing_waits() {
    for (pending, running, still) in [(0, 0, true), (1, 0, false), (0, 1, false)] {
        let database = other(pending, running).await;
        let source = source(database.url(), QUERY);
        assert_eq!(source.read(&Binding::Any).await.unwrap().is_still(), still, "{pending} {running}");
    }
    let database = other(0, 0).await;
    let unknown = source(database.url(), "SELECT 0 AS pending, NULL AS oldest_s, NULL AS running");
    let backlog = unknown.read(&Binding::Any).await.unwrap();
    assert_eq!((backlog.running, backlog.is_still()), (None, false), "unknown is never zero");
}

#[tokio::test]
async fn through_a_pooler_too() {
    let (database, pooler) = (other(1, 0).await, PgBouncer::fresh().await);
    let source = source(&pooler.url(&database), QUERY);
    for _ in 0..5 {
        assert_eq!(source.read(&Binding::Any).await.unwrap().pending, 1);
    }
}

#[tokio::test]
async fn a_query_that_is_not_what_it_should_be_is_refused_with_what_it_should_be() {
    let database = other(1, 0).await;
    for (query, words) in [
        ("SELECT 1 AS pending, 1 AS running", "the columns pending, oldest_s and running"),
        ("SELECT 1 AS pending, 1 AS oldest_s, 1 AS running FROM their_jobs WHERE false", "one row, and gave none"),
        ("SELECT 1 AS pending, 1 AS oldest_s, 1 AS running FROM generate_series(1, 2)", "one row, and gave several"),
        ("SELECT NULL AS pending, NULL AS oldest_s, 0 AS running", "pending is NULL"),
        ("SELECT -1 AS pending, NULL AS oldest_s, 0 AS running", "was -1"),
        ("SELECT 'NaN'::float8 AS pending, NULL AS oldest_s, 0 AS running", "was NaN"),
        ("SELECT 'many' AS pending, NULL AS oldest_s, 0 AS running", "many"),
        ("SELEC", "syntax error"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("DELETE FROM their_jobs", "syntax error"),
        ("SELECT 1) AS given; DELETE FROM their_jobs; SELECT * FROM (SELECT 1", "multiple commands"),
        ("SELECT nextval('their_jobs_id_seq') AS pending, 0 AS oldest_s, 0 AS running", "may only read"),
    ] {
        let message = rejected(&source(database.url(), query)).await;
        assert!(message.contains(words), "{query}: {message}");
    }
    let sql = "SELECT count(*) FROM their_jobs";
    let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut database.connect().await).await.unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended_on_the_server_too() {
    let database = other(0, 0).await;
    let slow = "SELECT 0 AS pending, 0 AS oldest_s, 0 AS running FROM pg_sleep(60)";
    let source = SqlSource::new(database.url(), slow, S).unwrap();
    let began = Instant::now();
    let answer = source.read(&Binding::Any).await;
    assert!(matches!(answer, Err(Error::TimedOut(limit)) if limit == S), "{answer:?}");
    assert!(began.elapsed() < 3 * S);
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' \
               AND pid <> pg_backend_pid() AND state = 'active'";
    headcount_tests::eventually("the server has ended it", 10 * S, async || {
        let running: i64 = sqlx::query_scalar(sql).fetch_one(&mut database.connect().await).await.unwrap();
        if running == 0 { Ok(()) } else { Err(running) }
    })
    .await;
}

#[tokio::test]
async fn after_a_failure_it_asks_anew_and_no_secret_is_told() {
    let database = other(2, 0).await;
    let source = source(database.url(), QUERY);
    source.read(&Binding::Any).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
               AND pid <> pg_backend_pid()";
    database.connect().await.execute(sql).await.unwrap();
    let lost = source.read(&Binding::Any).await;
    assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
    assert_eq!(source.read(&Binding::Any).await.unwrap().pending, 2);
    assert!(!format!("{source:?} {source}").contains("postgres://"));
    for url in ["mysql://u:s3cret@h/d", "postgres://u:s3cret@h:port/d"] {
        let error = SqlSource::new(url, QUERY, S).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn the_store_is_a_source_and_its_paused_queues_boot_nobody() {
    let store = open(&"sqlite::memory:".parse().unwrap(), &Options::default()).await.unwrap();
    let job = |queue: &str| NewJob::new("kind", "{}").queue(queue);
    store.enqueue(&[job("mail"), job("mail"), job("media"), job("other")]).await.unwrap();
    store.fold().await.unwrap();
    let source = StoreSource::new(store.clone());
    let pending = async || source.read(&"mail,media".parse().unwrap()).await.unwrap().pending;
    assert_eq!(pending().await, 3);
    store.set(&Target::Queue("mail".into()), Setting::Paused(true)).await.unwrap();
    assert_eq!(pending().await, 1);
    assert!(source.beats());
}
