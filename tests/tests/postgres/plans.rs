//! Plans: made while the tables are empty, they must serve when they are full.

use std::time::Duration;

use headcount_queue::store::{Enqueue, Maintain};
use headcount_tests::{Database, eventually};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::ground::{COMPLETED, Worker, end, jobs, number, open, statement};

/// Statements that run all the time, or that somebody waits for.
const HOT: &[&str] = &[
    "enqueue_now",
    "enqueue",
    "claim",
    "claim_fused",
    "claim_sparing",
    "claim_fused_sparing",
    "sweep",
    "bodies",
    "settle",
    "beat",
    "unanswered",
    "owns",
    "promote",
    "fold",
    "heads",
    "orphans",
    "purge",
    "cancel",
    "retry",
    "delete",
    "job",
    "state",
    "jobs",
    "jobs_named",
    "pick",
    "pick_named",
    "count",
    "attempts",
    "release_paused",
    "callback",
    "resolve",
    "expire",
    "queues",
    "next_due",
    "next_due_of_all",
    "free_below",
    "long_kinds",
    "let_place_go",
    "workers",
    "record",
    "ledger",
    "ledger_of",
    "pools",
    "known",
    "waiting",
    "long_runs",
];

const JOB_TABLES: &[&str] =
    &["ready", "running", "later", "held", "parked", "finished", "body", "attempt", "tally", "queue_state", "decision"];

/// A node of a plan with its depth.
struct Node<'a> {
    depth: usize,
    text: &'a str,
}

/// The lines of a plan that name a node.
fn nodes(plan: &str) -> Vec<Node<'_>> {
    plan.lines()
        .filter(|line| line.contains("->") || !line.starts_with(' '))
        .map(|line| Node {
            depth: line.len() - line.trim_start().len(),
            text: line.trim_start().trim_start_matches("->").trim_start(),
        })
        .collect()
}

/// Whether a node reads this job table itself.
fn reads(node: &Node<'_>) -> bool {
    let Some((_, table)) = node.text.split_once(" on ") else { return false };
    node.text.contains("Scan") && JOB_TABLES.contains(&table.split_whitespace().next().unwrap_or_default())
}

/// What is wrong with a plan, if anything: it reads a whole job table, or sorts one's rows.
fn fault(plan: &str) -> Option<String> {
    let nodes = nodes(plan);
    for (at, node) in nodes.iter().enumerate() {
        if (node.text.starts_with("Seq Scan") || node.text.starts_with("Bitmap")) && reads(node) {
            return Some(node.text.to_owned());
        }
        if node.text.starts_with("Sort") || node.text.starts_with("Incremental Sort") {
            let below = nodes[at + 1..].iter().take_while(|below| below.depth > node.depth);
            // What stands below a LIMIT or an aggregate comes up as a few rows.
            let mut few: Option<usize> = None;
            for below in below {
                few = few.filter(|&depth| below.depth > depth);
                if few.is_none() && reads(below) {
                    return Some(format!("{} over {}", node.text, below.text));
                }
                if few.is_none() && ["Limit", "Aggregate", "HashAggregate"].iter().any(|n| below.text.starts_with(n)) {
                    few = Some(below.depth);
                }
            }
        }
    }
    None
}

async fn prepare(connection: &mut PgConnection) {
    // As the store sets them on its connections.
    connection
        .execute(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan; \
             SET jit = off",
        )
        .await
        .unwrap();
}

async fn explain(connection: &mut PgConnection, name: &str) -> String {
    connection.execute(AssertSqlSafe(format!("PREPARE {name}_plan AS {}", statement(name)))).await.unwrap();
    let sql = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1";
    let parameters: i32 =
        sqlx::query_scalar(sql).bind(format!("{name}_plan")).fetch_one(&mut *connection).await.unwrap();
    let nulls = vec!["NULL"; parameters as usize].join(", ");
    let nulls = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE {name}_plan{nulls}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}

/// With statistics that say "empty", which a deployment has on its first day and every drained queue has at night.
#[tokio::test]
async fn no_hot_statement_reads_or_sorts_a_whole_table_when_planned_on_empty_tables() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    connection.execute("ANALYZE").await.unwrap();
    prepare(&mut connection).await;
    for name in HOT {
        let plan = explain(&mut connection, name).await;
        assert_eq!(fault(&plan), None, "{name}:\n{plan}");
    }
}

/// In the index of tokens lies all that a worker has claimed for as long as an old transaction is open. A sign of life
/// that walked over it would come too late in the end.
#[tokio::test]
async fn beats_and_settlements_do_not_read_the_index_of_tokens() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    prepare(&mut connection).await;
    for name in ["beat", "settle", "callback"] {
        let plan = explain(&mut connection, name).await;
        assert!(plan.contains("running_pkey") && !plan.contains("running_token"), "{name}:\n{plan}");
    }
    let plan = explain(&mut connection, "claim_fused").await;
    let ends = plan.split("CTE bodies").next().unwrap_or_default();
    assert!(ends.contains("running_pkey") && !ends.contains("running_token"), "{plan}");
}

/// A worker's own pool and those below it, and nobody's jobs but theirs.
#[tokio::test]
async fn free_slots_and_places_are_found_by_their_indexes() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    connection.execute("ANALYZE").await.unwrap();
    prepare(&mut connection).await;
    for (name, indexes) in [
        ("beat", &["pool_pkey"][..]),
        ("free_below", &["worker_place", "running_token"]),
        ("long_kinds", &["lane_pkey", "queue_state_pkey"]),
        ("lock_place", &["worker_place"]),
        ("let_place_go", &["drain_pkey", "worker_place", "running_token"]),
        ("fence", &["lease_pkey"]),
        ("known", &["later_queue"]),
        ("record", &["decision_pool", "decision_pkey"]),
    ] {
        let plan = explain(&mut connection, name).await;
        for index in indexes {
            assert!(plan.contains(index), "{name} does not go by {index}:\n{plan}");
        }
    }
}

/// It reads all deltas, which the next fold removes, but of the jobs only lanes with such ones; and neither while no kind
/// is paused.
#[tokio::test]
async fn jobs_of_paused_kinds_are_found_by_their_lanes_and_not_looked_for_without_a_paused_kind() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    connection.execute("ANALYZE").await.unwrap();
    prepare(&mut connection).await;
    let plan = explain(&mut connection, "hold_paused").await;
    assert!(!plan.contains("Seq Scan on ready") && plan.contains("Index Scan using ready_lane on ready"), "{plan}");
    assert_eq!(plan.matches("One-Time Filter").count(), 2, "{plan}");
}

/// The check of all of them can fail: without the store's settings it does.
#[tokio::test]
async fn plans_made_without_the_stores_settings_are_found_at_fault() {
    let database = Database::fresh().await;
    let mut connection = database.connect().await;
    connection.execute("ANALYZE").await.unwrap();
    connection.execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
    let mut faults = Vec::new();
    for name in HOT {
        faults.extend(fault(&explain(&mut connection, name).await));
    }
    assert!(!faults.is_empty());
    assert!(fault("Sort\n  ->  Index Scan using ready_pkey on ready r").is_some());
    assert_eq!(fault("Sort\n  ->  Limit\n        ->  Index Scan using ready_pkey on ready r"), None);
}

/// VACUUM ANALYZE meets the table just when it is empty; then a backlog comes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_after_a_vacuum_of_the_empty_table_is_claimed_by_the_index() {
    const BACKLOG: i64 = 30_000;
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut worker = Worker::new(&store, "q").await;
    let mut connection = database.connect().await;
    // Churn: every statement has been prepared, run many times, and its plan kept.
    let mut settled = Vec::new();
    for _ in 0..20 {
        store.enqueue(&jobs("q", 50)).await.unwrap();
        let claimed = worker.next(&settled, 50).await.jobs;
        settled = end(&claimed, &COMPLETED);
    }
    worker.next(&settled, 50).await;
    connection.execute("VACUUM (ANALYZE) headcount.ready, headcount.running, headcount.tally").await.unwrap();

    store.enqueue(&jobs("q", BACKLOG as usize)).await.unwrap();
    connection.execute("SELECT pg_stat_reset()").await.unwrap();
    let mut settled = Vec::new();
    for _ in 0..40 {
        let claimed = worker.next(&settled, 10).await.jobs;
        assert_eq!(claimed.len(), 10);
        settled = end(&claimed, &COMPLETED);
    }
    worker.next(&settled, 0).await;
    store.fold().await.unwrap();
    drop((worker, store));

    // A session hands in what it counted when it ends. 400 jobs were taken: what a walk over the backlog, once, would
    // add stands out.
    let reads = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables \
                 WHERE relid = 'headcount.ready'::regclass";
    let read = eventually("the sessions hand in their counts", Duration::from_secs(20), async || {
        connection.execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        let read = number(&mut connection, reads).await;
        if read >= 400 { Ok(read) } else { Err(read) }
    })
    .await;
    assert!(read < BACKLOG / 4, "{read} rows of ready were read to take 400");
}
