//! Which store a command works on, and what it says of it.

use std::os::unix::fs::PermissionsExt as _;

use headcount_tests::{Database, Folder};
use sqlx::Executor as _;

use crate::SOON;

#[tokio::test]
async fn without_a_word_the_store_lies_in_the_users_data_folder_which_nobody_else_enters() {
    let folder = Folder::new();
    let ended = folder.headcount(["enqueue", "k"]).start().ends_well(SOON).await;
    let file = folder.file("data/headcount/headcount.db");
    assert!(file.is_file(), "{ended}");
    assert_eq!(file.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let said = format!("store: sqlite:{} (the embedded one; --url or HEADCOUNT_URL names another)\n", file.display());
    assert_eq!(ended.stderr(), said, "it is said once");
    let quiet = folder.headcount(["enqueue", "k", "--quiet"]).start().ends_well(SOON).await;
    assert_eq!(quiet.stderr(), "");
}

#[tokio::test]
async fn the_nearest_word_names_the_store() {
    let folder = Folder::new();
    let [flag, ours, platforms] = ["flag.db", "ours.db", "platforms.db"].map(|name| folder.sqlite(name));
    let enqueue = |args: &[&str]| folder.headcount([&["enqueue", "k"], args].concat());
    enqueue(&["--url", &flag]).url(&ours).env("DATABASE_URL", &platforms).start().ends_well(SOON).await;
    assert!(folder.file("flag.db").exists() && !folder.file("ours.db").exists());
    enqueue(&[]).url(&ours).env("DATABASE_URL", &platforms).start().ends_well(SOON).await;
    assert!(folder.file("ours.db").exists() && !folder.file("platforms.db").exists());
    enqueue(&[]).env("DATABASE_URL", &platforms).start().ends_well(SOON).await;
    assert!(folder.file("platforms.db").exists());
}

#[tokio::test]
async fn a_store_that_does_not_answer_ends_with_69_and_never_shows_its_password() {
    let folder = Folder::new();
    // Port 1 answers nobody.
    let url = "postgres://ada:s3cret@127.0.0.1:1/jobs";
    let ended = folder.headcount(["queues"]).env("DATABASE_URL", url).start().ends(2 * SOON).await;
    assert_eq!(ended.code(), Some(69), "{ended}");
    let said = ended.stderr();
    assert!(said.starts_with("store: postgres://ada@127.0.0.1:1/jobs (from DATABASE_URL)\n"), "{ended}");
    assert!(!said.contains("s3cret"), "{ended}");
    assert!(said.lines().last().unwrap().contains("try again"), "the last line says what to do: {ended}");
}

#[tokio::test]
async fn a_url_that_makes_no_sense_is_refused_by_who_wrote_it() {
    let folder = Folder::new();
    let flag = folder.headcount(["queues", "--url", "mysql://u:s3cret@h/d"]).start().ends(SOON).await;
    assert_eq!(flag.code(), Some(2), "{flag}");
    let variable = folder.headcount(["queues"]).url("mysql://u:s3cret@h/d").start().ends(SOON).await;
    assert_eq!(variable.code(), Some(78), "{variable}");
    for (ended, named) in [(flag, "--url"), (variable, "HEADCOUNT_URL")] {
        assert!(ended.stderr().contains(named) && !ended.stderr().contains("s3cret"), "{ended}");
    }
}

#[tokio::test]
async fn a_postgres_store_without_tables_is_named_and_never_migrated_silently() {
    let database = Database::empty().await;
    let folder = Folder::new();
    for line in ["enqueue k", "queues", "workers", "jobs list", "rescue --now", "work --exec true --exit-if-empty"] {
        let ended = folder.headcount(line.split(' ')).url(database.url()).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(78), "{ended}");
        assert!(ended.stderr().lines().last().unwrap().contains("headcount migrate"), "{ended}");
    }
    let tables = "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
    let found = database.connect().await.fetch_all(tables).await.unwrap();
    assert!(found.is_empty(), "{} tables were made", found.len());

    let migrate = |args: &'static [&'static str]| folder.headcount(args).url(database.url());
    let first = migrate(&["migrate", "--json"]).start().ends_well(SOON).await;
    let version = first.json::<serde_json::Value>()[0]["version"].as_i64().unwrap();
    assert!(version > 0);
    let again = migrate(&["migrate"]).start().ends_well(SOON).await;
    assert_eq!(again.stdout(), format!("the store is at version {version}\n"));
    assert!(!again.stdout().contains(database.url()));
    migrate(&["enqueue", "k"]).start().ends_well(SOON).await;
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_ends_it_quietly() {
    let folder = Folder::new();
    let url = folder.sqlite("jobs.db");
    let script = "yes '\"some payload\"' | head -n 3000 | $headcount enqueue k --lines --quiet >ids
        ($headcount jobs list --limit 0 --json --quiet; echo $? >status) | head -n 1";
    let binary = headcount_tests::process::headcount();
    let program = folder.program("sh", ["-c", script]).url(&url).env("headcount", binary);
    let ended = program.start().ends_well(2 * SOON).await;
    assert_eq!(ended.stdout().lines().count(), 1);
    assert_eq!(ended.stderr(), "");
    assert_eq!(std::fs::read_to_string(folder.file("status")).unwrap().trim(), "0");
}
