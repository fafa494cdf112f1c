//! The server stops without warning.

use std::time::Duration;

use headcount_queue::store::{Admin, Enqueue, Maintain, Observe};
use headcount_tests::{Server, eventually};

use super::ground::{COMPLETED, Worker, end, jobs, open};

/// A claim alone commits asynchronously, so a crash may forget it although its worker has been answered. The job is
/// claimed again, under another token, and whichever attempt the store remembers is the one that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_a_crash_forgets_complete_once_by_token() {
    const JOBS: usize = 400;
    let server = Server::private().await;
    let database = server.database().await;
    let store = open(&database, 3);
    store.enqueue(&jobs("q", JOBS)).await.unwrap();
    let mut first = Worker::new(&store, "q").await;
    let mut second = Worker::new(&store, "q").await;
    // In the same moment, before the server writes what it was told to write later.
    let (a, b) = tokio::join!(first.next(&[], 150), second.next(&[], 150));
    server.stop_immediately().await;
    assert_eq!((a.jobs.len(), b.jobs.len()), (150, 150));
    server.start().await;

    eventually("the store answers again", Duration::from_secs(30), async || store.now().await).await;
    // A third takes what is claimable now, some of it perhaps forgotten by the crash; then everybody settles.
    let mut third = Worker::new(&store, "q").await;
    let c = third.next(&[], JOBS as u32).await.jobs;
    assert!(c.len() >= JOBS - 300, "at least what nobody had claimed");
    third.next(&end(&c, &COMPLETED), 0).await;
    first.next(&end(&a.jobs, &COMPLETED), 0).await;
    second.next(&end(&b.jobs, &COMPLETED), 0).await;

    while store.fold().await.unwrap() > 0 {}
    let queue = store.queues().await.unwrap().remove(0);
    assert_eq!(queue.flow.completed, JOBS as i64, "each job completed exactly once");
    assert_eq!((queue.depth.ready, queue.depth.running), (0, 0));
    assert_eq!(store.audit().await.unwrap(), []);
}

/// What was enqueued or settled is there after a crash, since those wait for the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_enqueued_or_settled_survives_a_crash() {
    let server = Server::private().await;
    let database = server.database().await;
    let store = open(&database, 3);
    store.enqueue(&jobs("q", 300)).await.unwrap();
    let mut worker = Worker::new(&store, "q").await;
    let claimed = worker.next(&[], 100).await.jobs;
    let enqueued = store.enqueue(&jobs("q", 1)).await.unwrap()[0];
    store.cancel(enqueued.id).await.unwrap();
    // The last thing before the crash: a later durable commit would carry this one to the disk.
    let next = worker.next(&end(&claimed, &COMPLETED), 50).await.jobs;
    server.stop_immediately().await;
    assert_eq!((claimed.len(), next.len()), (100, 50));
    server.start().await;

    eventually("the store answers again", Duration::from_secs(30), async || store.now().await).await;
    while store.fold().await.unwrap() > 0 {}
    let queue = store.queues().await.unwrap().remove(0);
    assert_eq!(queue.flow.completed, 100);
    assert_eq!((queue.depth.ready, queue.depth.running, queue.depth.cancelled), (150, 50, 1));
    // The fused statement is durable as a whole: its claim was not forgotten either.
    worker.next(&end(&next, &COMPLETED), 0).await;
    while store.fold().await.unwrap() > 0 {}
    assert_eq!(store.queues().await.unwrap()[0].flow.completed, 150);
}
