//! Claims that start where the last one ended, and what commits behind them.

use headcount_queue::store::Enqueue;
use headcount_tests::Database;
use sqlx::Executor;

use super::ground::{COMPLETED, Worker, end, jobs, open};

/// An application's long transaction: its jobs have places from before, and commit when the claimers are past them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_jobs_committed_behind_the_cursor_come_out_batch_after_batch() {
    const JOBS: usize = 100_000;
    const BATCH: usize = 1000;
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut late = database.connect().await;
    late.execute("BEGIN").await.unwrap();
    // By the store's own statement in as many bulks, but without a hundred thousand values to build here.
    late.execute(
        "INSERT INTO headcount.ready (id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, \
         deaths, enqueued_at, run_at, ready_at) \
         SELECT n, 'q', 0, n, 'kind', '{}', 0, 5, 0, 0, now(), now(), now() \
         FROM (SELECT nextval('headcount.place') AS n FROM generate_series(1, 100000)) s",
    )
    .await
    .unwrap();

    store.enqueue(&jobs("q", 3 * BATCH)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let mut claimed = worker.next(&[], BATCH as u32).await;
    assert_eq!(claimed.jobs.len(), BATCH);
    late.execute("COMMIT").await.unwrap();

    let (mut done, mut claims) = (0, 0);
    while !claimed.jobs.is_empty() {
        done += claimed.jobs.len();
        claims += 1;
        claimed = worker.next(&end(&claimed.jobs, &COMPLETED), BATCH as u32).await;
    }
    assert_eq!(done, JOBS + 3 * BATCH);
    // One for each full batch, and a few that met the end of one stretch or the other.
    assert!(claims <= done / BATCH + 5, "{claims} claims for {done} jobs");
}

/// A claim that came short has looked at the whole queue: what an earlier transaction committed in between is in it.
#[tokio::test]
async fn a_single_job_behind_the_cursor_is_found_by_the_next_claim_that_comes_short() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut worker = Worker::new(&store, "q").await;
    let mut application = database.connect().await;
    application.execute("BEGIN").await.unwrap();
    let early = store.enqueue_in((&mut application).into(), &jobs("q", 1)).await.unwrap()[0].id;
    store.enqueue(&jobs("q", 3)).await.unwrap();
    assert_eq!(worker.next(&[], 2).await.jobs.len(), 2);
    application.execute("COMMIT").await.unwrap();
    let claimed = worker.next(&[], 5).await.jobs;
    assert_eq!(claimed.len(), 2);
    assert!(claimed.iter().any(|job| job.id == early));
}
