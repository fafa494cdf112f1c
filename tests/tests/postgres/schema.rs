//! What the tables are, where they are, and what was changed about them by hand.

use std::{fmt::Write, path::Path, time::Duration};

use headcount_queue::{
    Error, NewJob,
    store::{Admin, Difference, Enqueue, Maintain, Observe, Options, Verdict, postgres::PostgresStore},
};
use headcount_tests::Database;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::ground::{Worker, end, jobs, number, open, statement};

fn in_schema(database: &Database, schema: &str) -> headcount_queue::Result<PostgresStore> {
    PostgresStore::open(&format!("{}?schema={schema}", database.url()), &Options::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_in_two_schemas_of_one_database_do_not_see_each_other() {
    let database = Database::fresh().await;
    let (one, other) = (open(&database, 2), in_schema(&database, "jobs_test").unwrap());
    assert!(matches!(other.check_version().await.unwrap_err(), Error::Unmigrated { found: 0, .. }));
    assert!(matches!(other.enqueue(&jobs("q", 1)).await.unwrap_err(), Error::Unmigrated { .. }));
    other.migrate().await.unwrap();
    other.check_version().await.unwrap();
    assert_eq!((other.drift().await.unwrap(), other.plan().await.unwrap()), (vec![], vec![]));

    let later = NewJob::new("k", "{}").queue("q").delay(Duration::from_millis(1));
    other.enqueue(&[later]).await.unwrap();
    other.enqueue(&jobs("q", 2)).await.unwrap();
    one.enqueue(&jobs("q", 5)).await.unwrap();
    headcount_tests::eventually("it falls due", Duration::from_secs(20), async || {
        let promoted = other.promote(10).await.unwrap().jobs;
        if promoted == 1 { Ok(()) } else { Err(promoted) }
    })
    .await;
    let mut worker = Worker::new(&other, "q").await;
    let claimed = worker.next(&[], 10).await.jobs;
    assert_eq!(claimed.len(), 3);
    let keep = Verdict::Completed { output: Some("\"done\"".into()), keep: Duration::from_mins(1) };
    worker.next(&end(&claimed, &keep), 0).await;
    for store in [&*one, &other] {
        store.fold().await.unwrap();
        assert_eq!(store.audit().await.unwrap(), []);
    }
    let depth = |queues: Vec<headcount_queue::QueueState>| {
        let depth = queues[0].depth;
        (depth.ready, depth.completed)
    };
    assert_eq!(depth(other.queues().await.unwrap()), (0, 3));
    assert_eq!(depth(one.queues().await.unwrap()), (5, 0));
    assert!(other.job(claimed[0].id).await.unwrap().is_some());
    assert_eq!(one.workers().await.unwrap(), []);
}

#[tokio::test]
async fn a_name_that_the_database_keeps_for_itself_is_refused() {
    let database = Database::empty().await;
    let error = in_schema(&database, "user").unwrap().migrate().await.unwrap_err();
    assert!(error.to_string().contains("reserved word"), "{error}");
    let error = in_schema(&database, "pg_jobs").unwrap_err();
    assert!(error.to_string().contains("pg_"), "{error}");
}

fn objects(differences: &[Difference]) -> Vec<&str> {
    differences.iter().map(|difference| &*difference.object).collect()
}

#[tokio::test]
async fn what_was_changed_by_hand_is_found_and_what_stands_beside_is_not() {
    let database = Database::fresh().await;
    let store = open(&database, 1);
    assert_eq!(store.drift().await.unwrap(), []);
    let mut connection = database.connect().await;
    connection
        .execute(
            "CREATE TABLE headcount.own (id bigint PRIMARY KEY); CREATE VIEW headcount.report AS SELECT 1 AS one; \
             CREATE FUNCTION headcount.own() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        )
        .await
        .unwrap();
    assert_eq!(store.drift().await.unwrap(), [], "the owner's own");
    connection
        .execute(
            "DROP INDEX headcount.later_queue; \
             ALTER TABLE headcount.queue ALTER COLUMN start_within_ms SET DEFAULT 1; \
             ALTER TABLE headcount.tally ALTER COLUMN late TYPE bigint; \
             ALTER TABLE headcount.body ADD COLUMN own text; \
             ALTER TABLE headcount.ready RESET (vacuum_truncate); \
             CREATE INDEX ready_own ON headcount.ready (kind); \
             ALTER TABLE headcount.attempt DROP CONSTRAINT attempt_outcome_check",
        )
        .await
        .unwrap();
    let differences = store.drift().await.unwrap();
    assert_eq!(
        objects(&differences),
        [
            "column body.own",
            "column queue.start_within_ms",
            "column tally.late",
            "constraint attempt.attempt_outcome_check",
            "index later_queue",
            "index ready_own",
            "table ready",
        ]
    );
    assert_eq!((&differences[0].expected, &differences[0].found), (&None, &Some("text".into())));
    assert_eq!(differences[4].found, None);
    let scratch = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'headcount\\_%'";
    assert_eq!(number(&mut connection, scratch).await, 0, "what was made to compare with is gone");
}

#[tokio::test]
async fn a_function_that_was_changed_by_hand_is_found() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    let sql = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'headcount'::regnamespace";
    if number(&mut connection, sql).await == 0 {
        // Until the tables have functions the view stands for them: both are compared by what they say.
        let view = "SELECT replace(pg_get_viewdef('headcount.jobs'::regclass), '''queued''', '''waiting''')";
        let changed: String = sqlx::query_scalar(view).fetch_one(&mut connection).await.unwrap();
        let sql = format!("CREATE OR REPLACE VIEW headcount.jobs AS {changed}");
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
        assert_eq!(objects(&open(&database, 1).drift().await.unwrap()), ["view jobs"]);
        return;
    }
    let wake = "SELECT replace(pg_get_functiondef(p.oid), 'BEGIN', 'BEGIN /* by hand */') FROM pg_proc p \
                WHERE p.oid = 'headcount.wake(text[])'::regprocedure";
    let changed: String = sqlx::query_scalar(wake).fetch_one(&mut connection).await.unwrap();
    connection.execute(AssertSqlSafe(changed)).await.unwrap();
    assert_eq!(objects(&open(&database, 1).drift().await.unwrap()), ["function wake(queues text[])"]);
}

#[tokio::test]
async fn a_role_that_may_make_no_schema_is_told_why_it_cannot_compare() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    let role = format!("{}_plain", database.name());
    let sql = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA headcount TO {role}; \
                       GRANT SELECT ON headcount.migration TO {role}"
    );
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    let store = PostgresStore::open(&super::roles::url_of(&database, &role), &Options::default()).unwrap();
    let error = store.drift().await.unwrap_err();
    connection.execute(AssertSqlSafe(format!("DROP OWNED BY {role}; DROP ROLE {role}"))).await.unwrap();
    assert!(error.to_string().contains("may create schemas"), "{error}");
}

/// What the migrations add up to, as Postgres 15 prints it. After a change of the tables: `HEADCOUNT_BLESS=1 tests/run --
/// the_golden` writes it anew.
#[tokio::test]
async fn the_golden_schema_is_what_the_migrations_make() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    let version = number(&mut connection, "SELECT current_setting('server_version_num')::bigint / 10000").await;
    if version != 15 {
        eprintln!("not compared: Postgres {version} prints some things in another way than 15");
        return;
    }
    let schema = printed(&mut connection).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/queue/src/store/postgres/schema.sql");
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting; no part of the product reads it")]
    if std::env::var_os("HEADCOUNT_BLESS").is_some() {
        std::fs::write(&file, &schema).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    for (golden, made) in golden.lines().zip(schema.lines()) {
        assert_eq!(golden, made, "HEADCOUNT_BLESS=1 writes schema.sql anew");
    }
    assert_eq!(golden.lines().count(), schema.lines().count(), "HEADCOUNT_BLESS=1 writes schema.sql anew");
}

/// The tables as text that a person can read.
async fn printed(connection: &mut PgConnection) -> String {
    connection.execute("SET search_path = ''").await.unwrap();
    let rows =
        sqlx::query(AssertSqlSafe(statement("introspect"))).bind("headcount").fetch_all(connection).await.unwrap();
    let mut parts: Vec<(String, String, Option<String>, i32, String)> = rows
        .iter()
        .map(|row| (row.get("sort"), row.get("name"), row.get("of"), row.get("place"), row.get("definition")))
        .collect();
    let rank = |sort: &str| {
        ["sequence", "table", "column", "constraint", "index", "trigger", "view", "function"]
            .iter()
            .position(|known| *known == sort)
    };
    parts.sort_by(|a, b| (rank(&a.0), a.3, &a.1).cmp(&(rank(&b.0), b.3, &b.1)));
    let mut text = String::from(
        "-- What the migrations add up to: read this to know the tables, and them to know why. Nothing reads it but a test,\n\
         -- which makes it anew and compares; HEADCOUNT_BLESS=1 writes it.\n",
    );
    let named = |name: &str| name.split_once('.').map_or(name, |(_, name)| name).to_owned();
    for (sort, name, of, _, definition) in &parts {
        match &**sort {
            "table" => {
                let inside: Vec<_> = parts
                    .iter()
                    .filter(|part| part.2 == *of && ["column", "constraint"].contains(&&*part.0))
                    .map(|part| {
                        let sort = if part.0 == "column" { "" } else { "CONSTRAINT " };
                        format!("    {sort}{} {}", named(&part.1), part.4)
                    })
                    .collect();
                let with = if definition.is_empty() { String::new() } else { format!(" WITH ({definition})") };
                write!(text, "\nCREATE TABLE headcount.{name} (\n{}\n){with};\n", inside.join(",\n")).unwrap();
                for index in parts.iter().filter(|part| part.2 == *of && ["index", "trigger"].contains(&&*part.0)) {
                    writeln!(text, "{};", index.4).unwrap();
                }
            }
            "sequence" => write!(text, "\nCREATE SEQUENCE headcount.{name} {definition};\n").unwrap(),
            "view" => write!(text, "\nCREATE VIEW headcount.{name} AS\n{definition}\n").unwrap(),
            "function" => write!(text, "\n{};\n", definition.trim_end()).unwrap(),
            _ => {}
        }
    }
    text
}
