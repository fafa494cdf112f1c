//! What a path opens, or refuses to; and what no path does.

use std::path::Path;

use headcount_queue::store::{Claim, Enqueue, Filter, Observe, Options, sqlite::SqliteStore};

use crate::ground::{bulk, connect, memory, open, want, worker};

#[tokio::test]
async fn opening_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let refused =
        async |path: &Path| SqliteStore::open(Some(path), &Options::default()).await.map(drop).unwrap_err().to_string();
    let error = refused(&dir.path().join("missing/jobs.db")).await;
    assert!(error.contains("missing") && error.contains("make it first"), "{error}");

    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "these are my notes, and no database at all; they are long enough to be read".repeat(99))
        .unwrap();
    assert!(refused(&text).await.contains("not a database"), "{}", refused(&text).await);

    let newer = dir.path().join("newer.db");
    open(&newer).await;
    let mut raw = connect(&newer).await;
    sqlx::query("INSERT INTO migration (version, at) VALUES (99, 0)").execute(&mut raw).await.unwrap();
    assert!(refused(&newer).await.contains("newer"));

    let taken = dir.path().join("taken.db");
    std::fs::write(&taken, "").unwrap();
    let mut raw = connect(&taken).await;
    sqlx::query("CREATE TABLE queue (a)").execute(&mut raw).await.unwrap();
    assert!(refused(&taken).await.contains("file of their own"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    store.enqueue(&bulk(1)).await.unwrap();
    for file in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_store_in_memory_is_whole_for_every_handle_and_outlives_its_heart() {
    let store = memory().await;
    store.enqueue(&bulk(3)).await.unwrap();
    let heart = store.heart().await.unwrap();
    let mut claimer = worker(&*heart).await;
    assert_eq!(claimer.next(&[], want(1, 2)).await.unwrap().jobs.len(), 2);
    drop((heart, claimer));
    assert_eq!(store.jobs(&Filter::default(), 9).await.unwrap().len(), 3);
    assert_eq!(memory().await.jobs(&Filter::default(), 9).await.unwrap(), [], "another store is another");
}
