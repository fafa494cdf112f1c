//! The bench, small: whether it works and its books balance. How fast anything is, is not for a test to say.

use std::time::Duration;

use headcount_tests::Folder;
use serde_json::Value;

/// Only a failing test waits so long.
const LONG: Duration = Duration::from_mins(4);

#[tokio::test]
async fn every_scenario_of_the_bench_is_run_and_its_books_balance() {
    let folder = Folder::new();
    let bench = folder.headcount(["bench", "--scale", "0.01", "--rounds", "1", "--json"]).start().ends_well(LONG).await;
    let figures: Vec<Value> = bench.json();
    let told = |scenario: &str| figures.iter().filter(|figure| figure["scenario"] == scenario).count();
    for (scenario, count) in [
        ("bulk", 2),
        ("single", 2),
        ("work-off", 8),
        ("deep", 1),
        ("lanes", 1),
        ("keys", 1),
        ("payloads", 1),
        ("cold", 1),
        ("churn", 2),
        ("idle", 9),
        ("probe", 3),
        ("pooled", 6),
        ("embedded", 6),
    ] {
        assert_eq!(told(scenario), count, "{scenario}: {figures:#?}");
    }
    for figure in &figures {
        assert!(figure["median"].as_f64().unwrap() > 0.0, "{figure}");
        assert!(figure["commit_ms"].as_f64().unwrap() > 0.0, "{figure}");
        assert!(figure["against"].is_null() || figure["ratio"].as_f64().unwrap() > 0.0, "{figure}");
    }
}

#[tokio::test]
async fn a_bench_leaves_nothing_on_the_server_that_it_was_given() {
    let database = headcount_tests::Database::fresh().await;
    let mut connection = database.connect().await;
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'headcount%'";
    let mut count = async || sqlx::query_scalar::<_, i64>(schemas).fetch_one(&mut connection).await.unwrap();
    let before = count().await;
    let bench = ["bench", "--only", "bulk,work-off", "--scale", "0.002", "--rounds", "2", "--json"];
    let folder = Folder::new();
    let figures: Vec<Value> = folder.headcount(bench).url(database.url()).start().ends_well(LONG).await.json();
    assert!(figures.iter().all(|figure| figure["values"].as_array().unwrap().len() == 2), "{figures:#?}");
    assert_eq!(count().await, before);
}
