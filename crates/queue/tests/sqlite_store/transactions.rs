//! Jobs that go in with a transaction of the application's own.

use std::path::Path;

use headcount_queue::{
    State,
    store::{Enqueue, Maintain, Observe, Transaction},
};
use sqlx::Connection;

use crate::ground::{bulk, connect, open};

#[tokio::test]
async fn a_transaction_of_the_applications_own_takes_its_jobs_along() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let store = open(&path).await;
    let mut app = connect(&path).await;

    let mut tx = app.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let gone = store.enqueue_in(Transaction::from(&mut tx), &bulk(2)).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(store.job(gone[0].id).await.unwrap(), None);
    assert!(store.queues().await.unwrap().is_empty());

    let mut tx = app.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let kept = store.enqueue_in(Transaction::from(&mut tx), &bulk(2)).await.unwrap();
    assert_eq!(store.job(kept[0].id).await.unwrap(), None, "not before the commit");
    tx.commit().await.unwrap();
    assert_eq!(store.job(kept[1].id).await.unwrap().unwrap().state, State::Queued);
    assert_eq!(store.queues().await.unwrap()[0].depth.ready, 2);
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_transaction_that_cannot_carry_the_jobs_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;

    let mut other = connect(Path::new(":memory:")).await;
    let mut tx = other.begin().await.unwrap();
    let error = store.enqueue_in(Transaction::from(&mut tx), &bulk(1)).await.unwrap_err().to_string();
    assert!(error.contains("jobs.db"), "{error}");
    drop(tx);

    // Deferred, and someone else writes meanwhile: SQLite can never give it the lock.
    let mut app = connect(&path).await;
    let mut tx = app.begin().await.unwrap();
    sqlx::query("SELECT last FROM allocator").fetch_one(&mut *tx).await.unwrap();
    store.enqueue(&bulk(1)).await.unwrap();
    let error = store.enqueue_in(Transaction::from(&mut tx), &bulk(1)).await.unwrap_err().to_string();
    assert!(error.contains("BEGIN IMMEDIATE"), "{error}");
}
