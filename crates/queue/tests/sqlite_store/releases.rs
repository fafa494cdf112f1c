//! Tables as the migrations make them, and what another release leaves in them.

use std::time::Duration;

use headcount_queue::{
    Binding, Coalesce, Conflict, JobId, NewJob,
    store::{Admin, Admission, Enqueue, Grants, Maintain, Observe, Outstanding},
};

use crate::ground::{connect, open, want, work_off, worker};

const FIRST: &str = include_str!("../../src/store/sqlite/migrations/0001_jobs.sql");

#[tokio::test]
async fn a_file_of_the_first_release_is_migrated_with_its_jobs_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    std::fs::write(&path, "").unwrap();
    let mut raw = connect(&path).await;
    for script in [
        "CREATE TABLE migration (version INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT",
        FIRST,
        "INSERT INTO migration VALUES (1, 0)",
        "UPDATE allocator SET last = 2",
        "INSERT INTO ready (id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths,
            enqueued_at, run_at, ready_at) VALUES (1, 'q', 0, 1, 'k', '{}', 0, 5, 0, 0, 1, 1, 1)",
        "INSERT INTO held (id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths,
            enqueued_at, run_at, ready_at, reason) VALUES (2, 'q', 0, 2, 'k', '{}', 0, 5, 2, 2, 1, 1, 1, 'suspect')",
        "INSERT INTO queue_state VALUES ('q', 0, 'k', 1, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0)",
    ] {
        sqlx::raw_sql(script).execute(&mut raw).await.unwrap();
    }
    let store = open(&path).await;
    let depth = store.queues().await.unwrap()[0].depth;
    assert_eq!((depth.ready, depth.held, depth.suspects), (1, 1, 1));
    assert_eq!(store.audit().await.unwrap(), []);
    assert_eq!(store.drift().await.unwrap(), [], "it is like one that was made anew");
    assert_eq!(store.plan().await.unwrap(), []);
    let suspect = store.job(JobId(2)).await.unwrap().unwrap();
    assert_eq!((suspect.key, suspect.reason.as_deref()), (None, Some("suspect")));
    // What happened before is not recent: nobody knows when it was.
    let recent = store.queues().await.unwrap().remove(0).recent;
    assert_eq!((recent.flow.arrived, recent.over < Duration::from_mins(1)), (0, true));
    let id = store.enqueue(&[NewJob::new("k", "{}").queue("q").key("k")]).await.unwrap()[0].id;
    assert_eq!(id, JobId(3));
    let mut claimer = worker(&store).await;
    assert_eq!(work_off(&mut claimer, 1).await, [JobId(1), JobId(3)]);
}

#[tokio::test]
async fn a_key_whose_job_was_ended_by_the_release_before_is_found_and_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    let rule = Coalesce { conflict: Conflict::RunAgain, ..Coalesce::DEFAULT };
    let job = |key: &str| NewJob::new("k", "{}").key(key).coalesce(rule);
    let first = store.enqueue(&[job("a"), job("b"), job("c")]).await.unwrap();
    let mut claimer = worker(&store).await;
    assert_eq!(claimer.next(&[], want(1, 9)).await.unwrap().jobs.len(), 3);
    let again = store.enqueue(&[job("b"), job("c")]).await.unwrap();
    assert_eq!(again[0].admission, Admission::Again { holder: first[1].id });
    // It deletes what it has settled, and knows nothing of keys; of the third even the key is gone.
    let mut raw = connect(&path).await;
    for statement in
        ["DELETE FROM running", "UPDATE queue_state SET running = 0", "DELETE FROM coalesce WHERE key = 'c'"]
    {
        sqlx::query(statement).execute(&mut raw).await.unwrap();
    }
    // An enqueue finds out by itself.
    assert!(store.enqueue(&[job("a")]).await.unwrap()[0].is_new());
    assert_eq!(store.release(100).await.unwrap(), 2);
    assert_eq!(store.release(100).await.unwrap(), 0);
    for (key, id) in [("b", again[0].id), ("c", again[1].id)] {
        assert_eq!(store.enqueue(&[job(key)]).await.unwrap()[0].id, id, "it holds {key} now");
    }
    assert_eq!(store.outstanding(&Binding::Any).await.unwrap(), Outstanding { ready: true, ..Outstanding::default() });
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_drift_is_what_is_missing_changed_or_added_in_our_tables_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let store = open(&path).await;
    let mut raw = connect(&path).await;
    let mut run = async |statement: &'static str| sqlx::raw_sql(statement).execute(&mut raw).await.map(drop).unwrap();
    run("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)").await;
    run("CREATE INDEX by_name ON customers (name)").await;
    run("ANALYZE").await;
    assert_eq!(store.drift().await.unwrap(), [], "the application's own is its own");
    run("DROP INDEX later_due").await;
    run("ALTER TABLE kind ADD COLUMN mine TEXT").await;
    run("CREATE INDEX mine ON ready (kind)").await;
    let drift = store.drift().await.unwrap();
    let seen: Vec<_> = drift.iter().map(|d| (&*d.object, d.expected.is_some(), d.found.is_some())).collect();
    assert_eq!(seen, [("index later_due", true, false), ("index mine", false, true), ("table kind", true, true)]);
    let error = store.grant(&Grants::default()).await.unwrap_err().to_string();
    assert!(error.contains("no roles"), "{error}");
}
