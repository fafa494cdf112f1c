//! Making the tables.

use headcount_queue::{
    Error,
    store::{Admin, Enqueue},
};
use headcount_tests::Database;
use sqlx::Executor;
use tokio::task::JoinSet;

use super::ground::{jobs, number, open};

/// Several processes come up at once, on a database that has nothing yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_migrate_at_once_all_find_the_tables() {
    let database = Database::empty().await;
    let mut processes = JoinSet::new();
    for _ in 0..5 {
        let store = open(&database, 2);
        processes.spawn(async move {
            let version = store.migrate().await.unwrap();
            store.check_version().await.unwrap();
            version
        });
    }
    let versions = processes.join_all().await;
    assert!(versions.iter().all(|&version| version == versions[0] && version > 0), "{versions:?}");
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.migration").await, versions[0]);
    let ours = "SELECT count(*) FROM pg_class WHERE relname = '_sqlx_migrations'";
    assert_eq!(number(&mut connection, ours).await, 0, "an application's own table of migrations is not touched");
}

#[tokio::test]
async fn a_store_without_tables_is_named_as_such_and_not_migrated() {
    let database = Database::empty().await;
    let store = open(&database, 1);
    for error in [store.check_version().await.unwrap_err(), store.enqueue(&jobs("q", 1)).await.unwrap_err()] {
        assert!(matches!(error, Error::Unmigrated { found: 0, .. }), "{error:?}");
        assert!(error.to_string().contains("headcount migrate"), "{error}");
    }
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM pg_namespace WHERE nspname = 'headcount'").await, 0);
}

/// The tables of the next release serve this one too.
#[tokio::test]
async fn a_newer_version_is_fine_and_migrating_leaves_it_alone() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut connection = database.connect().await;
    connection
        .execute(
            "INSERT INTO headcount.migration (version, description, success, checksum, execution_time) \
             VALUES (900, 'newer', true, '', 0)",
        )
        .await
        .unwrap();
    store.check_version().await.unwrap();
    assert_eq!(store.migrate().await.unwrap(), 900);
    store.enqueue(&jobs("q", 1)).await.unwrap();
}

/// A table that somebody holds is waited for in turns, so that no queue of others builds up behind the migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_another_to_end() {
    let database = Database::empty().await;
    let store = open(&database, 1);
    let mut other = database.connect().await;
    other.execute("BEGIN; SELECT pg_advisory_xact_lock(7522525836385154414)").await.unwrap();
    let migrating = tokio::spawn(async move { store.migrate().await.unwrap() });
    let mut looking = database.connect().await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'";
    headcount_tests::eventually("it waits", std::time::Duration::from_secs(20), async || {
        if number(&mut looking, waits).await > 0 { Ok(()) } else { Err("nobody waits") }
    })
    .await;
    assert!(!migrating.is_finished());
    other.execute("COMMIT").await.unwrap();
    assert!(migrating.await.unwrap() > 0);
}
