//! Calls that break off half way, or never get the lock.

use std::time::Duration;

use headcount_queue::{
    Error,
    store::{Enqueue, Filter, Maintain, Observe, Options, sqlite::SqliteStore},
};
use sqlx::Connection;

use crate::ground::{bulk, connect, memory, open};

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_the_store_usable_and_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    for store in [memory().await, open(&dir.path().join("jobs.db")).await] {
        let jobs = bulk(1000);
        for polls in 0..40 {
            let mut call = std::pin::pin!(store.enqueue(&jobs));
            for _ in 0..polls {
                if futures::poll!(&mut call).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let n = store.jobs(&Filter::default(), 100_000).await.unwrap().len();
        assert_eq!(n % 1000, 0);
        assert_eq!(store.audit().await.unwrap(), []);
        store.enqueue(&jobs).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_that_is_never_let_go_is_a_time_out_and_then_all_is_well_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let options = Options { call_timeout: Duration::from_secs(2), ..Options::default() };
    let store = SqliteStore::open(Some(&path), &options).await.unwrap();
    let mut app = connect(&path).await;
    let tx = app.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert!(matches!(store.enqueue(&bulk(1)).await, Err(Error::TimedOut(_))));
    assert!(store.queues().await.unwrap().is_empty(), "reading waits for nobody");
    tx.rollback().await.unwrap();
    store.enqueue(&bulk(1)).await.unwrap();
}
