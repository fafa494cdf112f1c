//! Queues by the beginnings of their names, and lanes that age: a look at a few lanes costs the same beside any others.

use std::time::Duration;

use headcount_queue::{
    NewJob,
    store::{Claim, Claimer, Enqueue, Observe, Want},
};
use headcount_tests::Database;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::ground::{Worker, open, statement};

/// How many pages a sweep over these edges touches.
async fn pages(connection: &mut PgConnection, edges: &str) -> u64 {
    let prepare = format!("PREPARE swept AS {}", statement("sweep"));
    connection.execute(AssertSqlSafe(prepare)).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) EXECUTE swept (ARRAY[{edges}])");
    // The first run reads the catalogue too.
    let _ = sqlx::raw_sql(AssertSqlSafe(explain.clone())).fetch_all(&mut *connection).await.unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
    connection.execute("DEALLOCATE swept").await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let buffers = lines.iter().find_map(|line| line.trim().strip_prefix("Buffers: ")).expect("the pages are counted");
    let count = |what: &str| {
        buffers.split(' ').find_map(|word| word.strip_prefix(what)).map_or(0, |n| n.parse::<u64>().unwrap())
    };
    count("hit=") + count("read=")
}

#[tokio::test]
async fn a_sweep_over_a_prefix_does_not_walk_over_a_hundred_thousand_jobs_of_others() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    connection
        .execute(
            "INSERT INTO headcount.ready (id, queue, priority, seq, kind, payload, attempt, max_attempts, \
             interruptions, deaths, enqueued_at, run_at, ready_at) \
             SELECT n, CASE WHEN n % 2 = 0 THEN 'mail' ELSE 'mailbox' END, 0, n, 'kind', '{}', 0, 5, 0, 0, now(), \
             now(), now() FROM (SELECT nextval('headcount.place') AS n FROM generate_series(1, 100000)) s",
        )
        .await
        .unwrap();
    let mine: Vec<_> =
        ["mail.a", "mail.b", "mail.b"].into_iter().map(|queue| NewJob::new("kind", "{}").queue(queue)).collect();
    let ids: Vec<_> = store.enqueue(&mine).await.unwrap().into_iter().map(|enqueued| enqueued.id).collect();
    connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off").await.unwrap();

    let full = pages(&mut connection, "'mail.', 'mail/'").await;
    assert!(full < 60, "{full} pages for two lanes");
    let empty = pages(&mut connection, "'mail!', 'mail.'").await;
    assert!(empty < 20, "{empty} pages for none");

    let mut worker = Worker::new(&store, "mail.*").await;
    let claimed = worker.next(&[], 10).await.jobs;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    assert!(!store.outstanding(&"mail.*".parse().unwrap()).await.unwrap().ready);
    assert!(store.outstanding(&"mail*".parse().unwrap()).await.unwrap().ready);
}

#[tokio::test]
async fn what_is_scheduled_is_told_apart_by_prefix() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let later = |queue: &str, hours| NewJob::new("kind", "{}").queue(queue).delay(Duration::from_hours(hours));
    store.enqueue(&[later("a.x", 3), later("a.y", 2), later("b", 1), later("run:p", 1)]).await.unwrap();
    let due = async |queues: &str| {
        let due = store.next_due(&queues.parse().unwrap()).await.unwrap();
        due.map(|due| due.as_secs().div_ceil(3600))
    };
    assert_eq!(due("a.*").await, Some(2));
    assert_eq!(due("").await, Some(1));
    assert_eq!(due("c*, run:q*").await, None);
    let mut connection = database.connect().await;
    let overdue = "UPDATE headcount.later SET due_at = due_at - interval '4 hours' WHERE queue = 'a.x'";
    connection.execute(overdue).await.unwrap();
    let left = store.outstanding(&"a.*".parse().unwrap()).await.unwrap();
    assert!(left.due && left.scheduled && !left.ready && !left.held && !left.running, "{left:?}");
    let left = store.outstanding(&"a.x".parse().unwrap()).await.unwrap();
    assert!(left.due && !left.scheduled, "{left:?}");
    assert!(!store.outstanding(&"b*".parse().unwrap()).await.unwrap().due);
}

#[tokio::test]
async fn with_aging_the_jobs_of_a_lane_that_waits_come_first_in_one_claim_and_without_it_last() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let job = |queue: &str, priority| NewJob::new("kind", "{}").queue(queue).priority(priority);
    store.enqueue(&[job("top", 2), job("old", 0), job("old", 0), job("top", 2)]).await.unwrap();
    let mut connection = database.connect().await;
    let wait = "UPDATE headcount.ready SET ready_at = ready_at - interval '1 hour' WHERE queue = 'old'";
    connection.execute(wait).await.unwrap();

    let worker = Worker::new(&store, "").await;
    let first = Want { claim: 1, jobs: 2, ..Want::default() };
    let order = async |claimer: &mut dyn Claimer, want: Want| {
        let claimed = claimer.next(&[], want).await.unwrap().jobs;
        claimed.into_iter().map(|job| job.queue).collect::<Vec<_>>()
    };
    let any = "".parse().unwrap();
    let mut patient = store.claimer(worker.boot, &any, Some(Duration::from_mins(25)));
    assert_eq!(order(&mut *patient, Want { jobs: 1, ..first.clone() }).await, ["top"], "two ages lift it to an equal");
    let mut aging = store.claimer(worker.boot, &any, Some(Duration::from_mins(10)));
    assert_eq!(order(&mut *aging, Want { claim: 2, jobs: 3, ..first.clone() }).await, ["old", "old", "top"]);

    store.enqueue(&[job("old", 0), job("top", 2)]).await.unwrap();
    connection.execute(wait).await.unwrap();
    let mut strict = store.claimer(worker.boot, &any, None);
    assert_eq!(order(&mut *strict, Want { claim: 3, ..first }).await, ["top", "old"]);
}

#[tokio::test]
async fn a_claim_tells_that_its_queues_sleep_only_when_every_row_of_its_binding_says_so() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    let (mut listed, mut any) = (Worker::new(&store, "a, b.*").await, Worker::new(&store, "").await);
    for (flag, told) in [("a", [false, false]), ("b.x", [false, false]), ("b.*", [true, false]), ("*", [true, true])] {
        let set = "INSERT INTO headcount.queue (queue, asleep) VALUES ($1, true)";
        sqlx::query(set).bind(flag).execute(&mut connection).await.unwrap();
        assert_eq!([listed.next(&[], 1).await.asleep, any.next(&[], 1).await.asleep], told, "{flag}");
    }
    connection.execute("UPDATE headcount.queue SET asleep = false WHERE queue = 'a'").await.unwrap();
    assert!(!listed.next(&[], 1).await.asleep);
}
