//! `headcount migrate`: what it would do, whether the tables are as it made them, and who may do what.

use headcount_tests::{Database, Folder, Place};
use serde_json::Value;
use sqlx::Executor as _;

use crate::{SOON, on_each_store};

on_each_store!(a_store_as_it_was_made_has_no_differences_and_nothing_to_do);

async fn a_store_as_it_was_made_has_no_differences_and_nothing_to_do(place: Place) {
    // Makes an embedded store; the other is there.
    place.says("migrate").await;
    let check = place.says("migrate --check").await;
    assert!(check.stdout().is_empty() && check.stderr().contains("as the migrations make them"), "{check}");
    let plan = place.says("migrate --plan").await;
    assert!(plan.stdout().is_empty() && plan.stderr().contains("nothing is to be done"), "{plan}");
}

#[tokio::test]
async fn a_plan_shows_every_statement_and_changes_nothing() {
    let (database, folder) = (Database::empty().await, Folder::new());
    let migrate = |args: &str| folder.headcount(args.split(' ')).url(database.url());
    let plan = migrate("migrate --plan").start().ends_well(SOON).await;
    assert!(plan.stdout().contains("-- to version 1: ") && plan.stdout().contains("CREATE TABLE"), "{plan}");
    let steps = migrate("migrate --plan --json").start().ends_well(SOON).await.json::<Value>();
    assert!(steps.len() >= 2 && steps.iter().all(|step| step["sql"].is_string()), "{steps:?}");
    let check = migrate("migrate --check").start().ends(SOON).await;
    assert_eq!(check.code(), Some(1), "{check}");
    assert!(check.stderr().contains("run `headcount migrate` first"), "{check}");
    migrate("migrate").start().ends_well(SOON).await;
    let plan = migrate("migrate --plan").start().ends_well(SOON).await;
    assert_eq!(plan.stdout(), "", "{plan}");
}

#[tokio::test]
async fn a_difference_is_named_and_ends_with_1() {
    let place = Place::postgres().await;
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    connection.execute("DROP INDEX headcount.later_due").await.unwrap();
    let check = place.folder.headcount(["migrate", "--check"]).url(database.url()).start().ends(SOON).await;
    assert_eq!(check.code(), Some(1), "{check}");
    assert!(check.stdout().contains("later_due is missing"), "{check}");
    let check = place.folder.headcount(["migrate", "--check", "--json"]).url(database.url()).start().ends(SOON).await;
    let rows = check.json::<Value>();
    assert_eq!((rows.len(), &rows[0]["found"]), (1, &Value::Null), "{check}");
}

#[tokio::test]
async fn roles_are_given_what_their_tasks_need_and_an_embedded_store_has_none() {
    let place = Place::postgres().await;
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    // Roles belong to the whole server, which other tests share.
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    for role in ["web", "cron", "jobs"] {
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE ROLE {name}_{role}"))).await.unwrap();
    }
    let grant = format!("enqueue={name}_web,worker={name}_jobs");
    let more = format!("enqueue={name}_cron");
    let args = ["migrate", "--grant", &grant, "--grant", &more];
    place.folder.headcount(args).url(database.url()).start().ends_well(SOON).await;
    for (role, table, may, expected) in [
        ("web", "ready", "INSERT", true),
        ("cron", "ready", "INSERT", true),
        ("jobs", "running", "DELETE", true),
        ("web", "running", "DELETE", false),
    ] {
        let sql = format!("SELECT has_table_privilege('{name}_{role}', 'headcount.{table}', '{may}')");
        let row = connection.fetch_one(sqlx::AssertSqlSafe(sql)).await.unwrap();
        assert_eq!(sqlx::Row::get::<bool, _>(&row, 0), expected, "{role} {may} {table}");
    }
    for role in ["web", "cron", "jobs"] {
        let sql = format!("DROP OWNED BY {name}_{role}; DROP ROLE {name}_{role}");
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }

    let embedded = Place::sqlite();
    let ended = embedded.headcount("migrate --grant worker=jobs").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{ended}");
    let ended = embedded.headcount("migrate --grant admin=jobs").start().ends(SOON).await;
    assert!(ended.code() == Some(2) && ended.stderr().contains("one of enqueue, worker, scaler, read"), "{ended}");
}

#[tokio::test]
async fn a_schema_of_its_own_is_a_store_of_its_own() {
    let (database, folder) = (Database::empty().await, Folder::new());
    let headcount = |line: &str| folder.headcount(line.split(' ')).url(database.url());
    headcount("migrate --schema jobs_2").start().ends_well(SOON).await;
    headcount("enqueue k --schema jobs_2").start().ends_well(SOON).await;
    let other = format!("{}?schema=jobs_2", database.url());
    let listed = folder.headcount(["jobs", "list", "--json"]).url(&other).start().ends_well(SOON).await;
    assert_eq!(listed.json::<Value>().len(), 1);
    let none = headcount("jobs list").start().ends(SOON).await;
    assert_eq!(none.code(), Some(78), "the usual schema is not there: {none}");
    let embedded = Place::sqlite();
    let ended = embedded.headcount("queues --schema jobs_2").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{ended}");
}
