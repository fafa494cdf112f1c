//! Making the tables.

use std::time::Duration;

use headcount_queue::{
    Error, JobId, Resolution, Secret,
    store::{Admin, BootId, Claim, Enqueue, Maintain, Observe, Scale, Settlement, Step, Token, WorkerState},
};
use headcount_tests::{Database, eventually};
use sqlx::{AssertSqlSafe, Executor};
use tokio::task::JoinSet;

use super::{
    ground::{Worker, jobs, number, open},
    parked::PARK,
    scale::{register_as_before, scaler},
};

/// As if only the first release had been here.
async fn make_first_version(database: &Database) {
    make_version(database, 1).await;
}

/// As if only the releases up to this version had been here.
async fn make_version(database: &Database, version: usize) {
    let store = open(database, 1);
    let steps = store.plan().await.unwrap();
    let mut connection = database.connect().await;
    connection.execute("CREATE SCHEMA headcount").await.unwrap();
    let versions = "CREATE TABLE headcount.migration (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
                    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, \
                    checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)";
    connection.execute(versions).await.unwrap();
    for Step { version, name, sql } in &steps[..version] {
        connection.execute(AssertSqlSafe(sql.clone())).await.unwrap();
        sqlx::query("INSERT INTO headcount.migration VALUES ($1, $2, now(), true, sha384($3::bytea), 1)")
            .bind(version)
            .bind(name)
            .bind(sql.as_bytes())
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

fn versions(steps: &[Step]) -> Vec<i64> {
    steps.iter().map(|step| step.version).collect()
}

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

/// Whoever waits does so between statements: an open view would hold up an index that the other builds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_another_to_end() {
    let database = Database::empty().await;
    let store = open(&database, 1);
    let mut other = database.connect().await;
    other.execute("BEGIN; SELECT pg_advisory_xact_lock(7522525836385154414)").await.unwrap();
    let migrating = tokio::spawn(async move { store.migrate().await.unwrap() });
    let mut looking = database.connect().await;
    let came = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name = 'headcount'";
    eventually("it comes", Duration::from_secs(20), async || {
        if number(&mut looking, came).await > 0 { Ok(()) } else { Err("nobody comes") }
    })
    .await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'";
    assert_eq!(number(&mut looking, waits).await, 0);
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'headcount'";
    assert_eq!(number(&mut looking, made).await, 0);
    assert!(!migrating.is_finished());
    other.execute("COMMIT").await.unwrap();
    assert!(migrating.await.unwrap() > 0);
}

/// A table that somebody holds is waited for in turns, so that no queue of others builds up behind the migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_held_is_waited_for_in_turns_and_nobody_queues_behind_for_long() {
    let database = Database::empty().await;
    make_first_version(&database).await;
    let store = open(&database, 1);
    let mut holder = database.connect().await;
    holder.execute("BEGIN; LOCK TABLE headcount.queue IN ACCESS SHARE MODE").await.unwrap();
    let migrating = tokio::spawn(async move { store.migrate().await.unwrap() });
    let mut looking = database.connect().await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'headcount.queue'::regclass";
    // Twice: it has let go and come again.
    for sought in [true, false, true] {
        eventually("it waits, lets go and waits again", Duration::from_secs(20), async || {
            let found = number(&mut looking, waits).await > 0;
            if found == sought { Ok(()) } else { Err(found) }
        })
        .await;
    }
    let mut other = database.connect().await;
    other.execute("SET statement_timeout = '15s'").await.unwrap();
    // Stands behind the migration, which stands behind the holder: for as long as one try, and not until that ends.
    other.execute("SELECT count(*) FROM headcount.queue").await.unwrap();
    assert!(!migrating.is_finished());
    holder.execute("COMMIT").await.unwrap();
    assert!(migrating.await.unwrap() > 1);
}

/// The step to parked jobs, with a row in every table and roles that were granted before.
#[tokio::test]
async fn jobs_and_roles_of_the_version_before_parked_jobs_go_on() {
    let database = Database::empty().await;
    make_version(&database, 4).await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    let role = format!("{}_before", database.name());
    let granted = format!(
        "CREATE ROLE {role}; GRANT SELECT, DELETE ON headcount.held TO {role}; \
         GRANT EXECUTE ON FUNCTION headcount.let_go TO {role}"
    );
    connection.execute(AssertSqlSafe(granted)).await.unwrap();
    let mut worker = Worker::known(&store, BootId(4711), &"q".parse().unwrap());
    let row = "1, 'k', '{}', NULL, 0, 5, 0, 0, NULL, NULL, NULL, now(), now(), now(), NULL, NULL";
    let rows = format!(
        "SELECT setval('headcount.place', 100);
         INSERT INTO headcount.worker (boot, host, pid, queues, kinds, slots, state, started_at, beat_at)
         VALUES ({boot}, 'host', 1, '{{q}}', '{{}}', 100, 'active', now(), now());
         INSERT INTO headcount.ready VALUES (1, 'q', 0, {row});
         INSERT INTO headcount.running VALUES (2, 'q', 0, {row}, {boot}, 7, now()),
             (3, 'q', 0, {row}, {boot}, 7, now());
         INSERT INTO headcount.later VALUES (4, 'q', 0, {row}, now() + interval '1 h');
         INSERT INTO headcount.held VALUES (5, 'q', 0, {row}, 'suspect');
         INSERT INTO headcount.finished VALUES (6, 'q', 0, {row}, 'failed', now(), now(), 'w', 'no');
         INSERT INTO headcount.lane VALUES ('q', 0, 'k');
         INSERT INTO headcount.queue_state (queue, priority, kind, at, ready, scheduled, held, suspects, running,
             completed, failed, cancelled, arrived, deferred, promoted, returned, started, late, done, errored, run_ms, delays)
         VALUES ('q', 0, 'k', now(), 1, 1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, array_fill(0, ARRAY[23]));
         INSERT INTO headcount.tally (queue, priority, kind, held, suspects) VALUES ('q', 0, 'k', 1, 1)",
        boot = worker.boot.0
    );
    connection.execute(AssertSqlSafe(rows)).await.unwrap();

    assert!(matches!(store.check_version().await.unwrap_err(), Error::Unmigrated { found: 4, .. }));
    assert!(store.migrate().await.unwrap() >= 5);
    assert_eq!(store.drift().await.unwrap(), []);
    for (what, may) in [
        ("has_table_privilege(r, 'headcount.parked', 'SELECT')", true),
        ("has_table_privilege(r, 'headcount.parked', 'DELETE')", true),
        ("has_table_privilege(r, 'headcount.parked', 'UPDATE')", false),
        ("has_table_privilege(r, 'headcount.answer', 'SELECT')", false),
        ("has_function_privilege(r, 'headcount.end_parked(bigint[],text,text,text,bigint,integer)', 'EXECUTE')", true),
        ("has_function_privilege(r, 'headcount.resolve(bigint,text,text,text,text,interval)', 'EXECUTE')", false),
    ] {
        let sql = format!("SELECT {what} FROM (SELECT '{role}'::text AS r) r");
        let found: bool = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, may, "{what}");
    }
    connection.execute(AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"))).await.unwrap();

    assert_eq!(store.audit().await.unwrap(), [], "nothing is parked yet, and the counters say so");
    let states = "SELECT count(*) FROM headcount.jobs WHERE deadline IS NULL";
    assert_eq!(number(&mut connection, states).await, 6);
    // An attempt that was claimed before the step parks after it.
    let token = Token { boot: worker.boot, claim: 7 };
    let secret = Secret::random();
    store.callback(JobId(2), token, &secret.digest()).await.unwrap();
    let settled = [2, 3].map(|id| Settlement { id: JobId(id), token, verdict: PARK, ran: Duration::ZERO });
    assert_eq!(worker.next(&settled, 1).await.jobs[0].id, JobId(1));
    store.fold().await.unwrap();
    assert_eq!(store.queues().await.unwrap()[0].depth.parked, 2);
    store.resolve(JobId(2), &secret, &Resolution::Completed { output: None }).await.unwrap();
    assert_eq!(store.audit().await.unwrap(), []);
}

/// The step to what a scaler keeps, with a worker of each release and roles that were granted before.
#[tokio::test]
async fn workers_and_roles_of_the_version_before_the_scaler_go_on() {
    let database = Database::empty().await;
    make_version(&database, 5).await;
    let store = open(&database, 2);
    let mut connection = database.connect().await;
    let role = format!("{}_before", database.name());
    let granted = format!("CREATE ROLE {role}; GRANT SELECT, UPDATE, DELETE ON headcount.worker TO {role}");
    connection.execute(AssertSqlSafe(granted)).await.unwrap();
    register_as_before(&mut connection, 1, "worker.1").await;
    assert!(matches!(store.check_version().await.unwrap_err(), Error::Unmigrated { found: 5, .. }));
    assert!(store.migrate().await.unwrap() >= 6);
    assert_eq!(store.drift().await.unwrap(), []);
    for (what, may) in [
        ("has_table_privilege(r, 'headcount.pool', 'SELECT')", true),
        ("has_table_privilege(r, 'headcount.drain', 'SELECT')", true),
        ("has_table_privilege(r, 'headcount.drain', 'INSERT')", true),
        ("has_table_privilege(r, 'headcount.decision', 'SELECT')", true),
        ("has_table_privilege(r, 'headcount.decision', 'DELETE')", false),
        ("has_table_privilege(r, 'headcount.lease', 'UPDATE')", false),
        ("has_function_privilege(r, 'headcount.forget_scaling()', 'EXECUTE')", true),
        ("has_function_privilege(r, 'headcount.comes_up()', 'EXECUTE')", false),
    ] {
        let sql = format!("SELECT {what} FROM (SELECT '{role}'::text AS r) r");
        let found: bool = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        assert_eq!(found, may, "{what}");
    }
    connection.execute(AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"))).await.unwrap();

    // Who came up before the step is drained with its place, and who comes up after it by the program before, too.
    let fence = scaler(&store, false).await;
    store.withhold(&fence, "web", &["worker.1".into()], Duration::from_mins(1)).await.unwrap();
    assert_eq!(store.workers().await.unwrap()[0].state, WorkerState::Draining);
    assert_eq!(register_as_before(&mut connection, 2, "worker.1").await, "draining");
    assert_eq!(register_as_before(&mut connection, 3, "worker.2").await, "active");
}

#[tokio::test]
async fn an_index_whose_build_broke_off_is_built_anew() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut connection = database.connect().await;
    // As a build leaves it that failed: there, and of no use to anybody.
    connection
        .execute(
            "DELETE FROM headcount.migration WHERE version = 3; \
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'headcount.held_again'::regclass",
        )
        .await
        .unwrap();
    let before = number(&mut connection, "SELECT 'headcount.held_again'::regclass::oid::bigint").await;
    assert_eq!(versions(&store.plan().await.unwrap()), [3]);
    assert!(store.migrate().await.unwrap() >= 3);
    let whole = "SELECT count(*) FROM pg_index WHERE indexrelid = 'headcount.held_again'::regclass AND indisvalid";
    assert_eq!(number(&mut connection, whole).await, 1);
    let after = number(&mut connection, "SELECT 'headcount.held_again'::regclass::oid::bigint").await;
    assert_ne!(before, after, "built anew");
    assert_eq!(store.plan().await.unwrap(), []);
    assert_eq!(store.drift().await.unwrap(), []);
}

/// Two rows that may not be: the build fails for real, says so, and passes once they have gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_fails_says_so_and_the_next_one_mends_it() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    let mut connection = database.connect().await;
    connection
        .execute(
            "DELETE FROM headcount.migration WHERE version = 3; DROP INDEX headcount.held_again; \
             INSERT INTO headcount.held (id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, \
                 enqueued_at, run_at, ready_at, reason, key) \
             SELECT n, 'q', 0, n, 'k', 0, 1, 0, 0, now(), now(), now(), 'again', 'a' FROM generate_series(1, 2) n",
        )
        .await
        .unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error:?}");
    let broken = "SELECT count(*) FROM pg_index WHERE indexrelid = 'headcount.held_again'::regclass AND NOT indisvalid";
    assert_eq!(number(&mut connection, broken).await, 1);
    connection.execute("DELETE FROM headcount.held WHERE id = 2").await.unwrap();
    assert!(store.migrate().await.unwrap() >= 3);
    assert_eq!(number(&mut connection, broken).await, 0);
    assert_eq!(store.drift().await.unwrap(), []);
}

/// The build waits for every view that is older, and so does the second process; neither waits for the other for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_built_while_jobs_come_in_and_an_old_view_is_open() {
    let database = Database::empty().await;
    make_first_version(&database).await;
    let mut old = database.connect().await;
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM headcount.ready").await.unwrap();
    let mut processes = JoinSet::new();
    for _ in 0..3 {
        let store = open(&database, 2);
        processes.spawn(async move { store.migrate().await.unwrap() });
    }
    let mut looking = database.connect().await;
    let builds = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%held_again%' AND wait_event_type = 'Lock' \
                  AND datname = current_database() AND pid <> pg_backend_pid()";
    eventually("a build waits for the old view", Duration::from_secs(30), async || {
        if number(&mut looking, builds).await > 0 { Ok(()) } else { Err("no build") }
    })
    .await;
    open(&database, 1).enqueue(&jobs("q", 3)).await.unwrap();
    old.execute("COMMIT").await.unwrap();
    let reached = processes.join_all().await;
    assert!(reached.iter().all(|&version| version == reached[0] && version >= 3), "{reached:?}");
    assert_eq!(number(&mut looking, "SELECT count(*) FROM headcount.migration").await, reached[0]);
    assert_eq!(open(&database, 1).drift().await.unwrap(), []);
}

#[tokio::test]
async fn the_plan_shows_what_is_left_to_do_and_does_nothing() {
    let database = Database::empty().await;
    let store = open(&database, 1);
    let plan = store.plan().await.unwrap();
    assert_eq!(versions(&plan), (1..=plan.len() as i64).collect::<Vec<_>>());
    assert!(plan[0].sql.contains("CREATE TABLE headcount.ready"));
    assert!(matches!(store.drift().await.unwrap_err(), Error::Unmigrated { found: 0, .. }));
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM pg_namespace WHERE nspname = 'headcount'").await, 0);

    make_first_version(&database).await;
    assert_eq!(versions(&store.plan().await.unwrap()), versions(&plan[1..]));
    assert_eq!(store.drift().await.unwrap(), [], "as far as it has been made");
    assert_eq!(store.migrate().await.unwrap(), plan.len() as i64);
    assert_eq!(store.plan().await.unwrap(), []);
}

#[tokio::test]
async fn a_text_that_was_changed_after_its_release_stops_the_migration() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    connection.execute("UPDATE headcount.migration SET checksum = 'x' WHERE version = 2").await.unwrap();
    let error = open(&database, 1).migrate().await.unwrap_err();
    assert!(error.to_string().contains("version 2 was made by another text"), "{error}");
}
