//! What of a scaler's role is SQLite's alone and not to be seen from outside: plans, the age of what is purged, and what a
//! program of the release before this one leaves.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row};

use super::super::{SqliteStore, connection::Durability};
use crate::{
    Json, NewJob,
    limits::LATELY,
    store::{
        Beat, BootId, Claim, Enqueue, Fence, Lease, Maintain, NewDecision, NewPool, NewWorker, Observe, Options, Scale,
        Weight, WorkerState,
    },
};

const HOUR: Duration = Duration::from_hours(1);

/// A store with a lease and an ordered pool.
async fn stage() -> (SqliteStore, Fence) {
    let store = SqliteStore::open(None, &Options::default()).await.unwrap();
    let Lease::Held(fence) = store.lease("scaler", "me", HOUR).await.unwrap() else { panic!("nobody else is here") };
    let pool = NewPool { name: "web".into(), queues: "q".parse().unwrap(), ordered: true, spec: Json("{}".into()) };
    store.publish(&fence, &[pool]).await.unwrap();
    (store, fence)
}

async fn run(store: &SqliteStore, statement: &str) {
    let statement = statement.to_owned();
    let done = store.write(Durability::Process, async |tx| {
        sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(&mut **tx).await.unwrap();
        Ok(())
    });
    done.await.unwrap();
}

async fn register(store: &SqliteStore, pool: &str, instance: &str) -> BootId {
    let worker = NewWorker {
        boot: BootId::random(),
        instance: Some(instance.into()),
        host: "here".into(),
        pid: 1,
        pool: Some(pool.into()),
        queues: "q".parse().unwrap(),
        kinds: Vec::new(),
        slots: 3,
    };
    store.register(&worker).await.unwrap();
    worker.boot
}

/// Statements, and by what they find their rows.
const BY: &[(&str, &str, &[&str])] = &[
    ("end_drains", include_str!("end_drains.sql"), &[]),
    ("forget_decisions", include_str!("forget_decisions.sql"), &["decision_age (weight=? AND last_at<?)"]),
    ("free_below", include_str!("free_below.sql"), &["worker_place (pool=?)", "running_boot (boot=?)"]),
    ("gate", include_str!("../gate.sql"), &["running_boot (boot=?)"]),
    ("known", include_str!("known.sql"), &["later_queue (queue=? AND run_at<?)"]),
    ("long_kinds", include_str!("long_kinds.sql"), &["s USING PRIMARY KEY (queue>?)"]),
    ("latest", include_str!("latest.sql"), &["decision_pool (pool=?)"]),
    ("ledger_of", include_str!("ledger_of.sql"), &["decision_pool (pool=?)"]),
    (
        "let_place_go",
        include_str!("let_place_go.sql"),
        &["PRIMARY KEY (pool=? AND instance=?)", "worker_place (pool=? AND instance=?)", "running_boot (boot=?)"],
    ),
    ("order", include_str!("order.sql"), &["PRIMARY KEY (name=?)"]),
    ("pools", include_str!("pools.sql"), &["decision_pool (pool=?)"]),
    ("recall", include_str!("../recall.sql"), &["PRIMARY KEY (pool=? AND instance=?)"]),
    ("register", include_str!("../register.sql"), &["PRIMARY KEY (pool=? AND instance=?)"]),
    ("tell", include_str!("tell.sql"), &["PRIMARY KEY (pool=? AND instance=?)"]),
    ("ledger", include_str!("ledger.sql"), &[]),
    (
        "waiting",
        include_str!("waiting.sql"),
        &["ready_lane (queue=?)", "later_queue (queue=? AND run_at<?)", "held_reason (reason=? AND queue=?)"],
    ),
];

#[tokio::test]
async fn a_scalers_statements_go_by_their_indexes() {
    let (store, fence) = stage().await;
    for stage in ["new", "empty", "full"] {
        if stage == "full" {
            store.enqueue(&vec![NewJob::new("k", "{}").delay(HOUR); 2000]).await.unwrap();
            for n in 0..200 {
                register(&store, &format!("pool-{}", n % 20), &format!("worker.{n}")).await;
                let decision = decision(Weight::Hold, &format!("{n}"));
                store.record(&fence, &[decision]).await.unwrap();
            }
        }
        if stage != "new" {
            run(&store, "ANALYZE").await;
        }
        for (name, statement, by) in BY {
            let plan = plan(&store, statement).await;
            for index in *by {
                assert!(plan.contains(index), "{stage}: {name} does not go by {index}:\n{plan}");
            }
            for table in ["later", "l", "running", "r"] {
                assert!(!plan.contains(&format!("SCAN {table}\n")), "{stage}: {name} walks over jobs:\n{plan}");
            }
            // Jobs are counted by their steps, of which there are sixty, and pools and kinds are few.
            let sorts = plan.contains("TEMP B-TREE FOR ORDER BY") || plan.contains("TEMP B-TREE FOR LAST");
            assert!(!sorts || ["long_kinds", "pools"].contains(name), "{stage}: {name} sorts:\n{plan}");
        }
    }
}

async fn plan(store: &SqliteStore, statement: &str) -> String {
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    let rows = store.write(Durability::Process, async |tx| {
        let rows = sqlx::query(AssertSqlSafe(explain)).persistent(false).fetch_all(&mut **tx).await.unwrap();
        Ok(rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect::<String>())
    });
    rows.await.unwrap()
}

fn decision(weight: Weight, gist: &str) -> NewDecision {
    NewDecision { pool: "web".into(), weight, gist: gist.into(), detail: Json("{}".into()), state: None }
}

#[tokio::test]
async fn changes_are_kept_for_thirty_days_and_holds_for_three() {
    let (store, fence) = stage().await;
    let day = 24 * 3600 * 1_000_000_i64;
    for (gist, weight, days) in [
        ("old change", Weight::Change, 31),
        ("change", Weight::Change, 29),
        ("old hold", Weight::Hold, 4),
        ("hold", Weight::Hold, 2),
    ] {
        store.record(&fence, &[decision(weight, gist)]).await.unwrap();
        let past = days * day;
        run(
            &store,
            &format!(
                "UPDATE decision SET first_at = first_at - {past}, last_at = last_at - {past}
            WHERE gist = '{gist}'"
            ),
        )
        .await;
    }
    // One that began long ago and still goes on is not old.
    store.record(&fence, &[decision(Weight::Hold, "long hold")]).await.unwrap();
    run(&store, &format!("UPDATE decision SET first_at = first_at - {} WHERE gist = 'long hold'", 40 * day)).await;
    store.purge(1).await.unwrap();
    let left: Vec<String> = store.ledger(None, None, 9).await.unwrap().into_iter().map(|entry| entry.gist).collect();
    assert_eq!(left, ["long hold", "hold", "change"]);
}

#[tokio::test]
async fn a_worker_that_a_program_before_this_one_registered_keeps_its_place_from_going() {
    let (store, fence) = stage().await;
    let boot = register(&store, "web", "worker.1").await;
    let number = store.withhold(&fence, "web", &["worker.1".into()], HOUR).await.unwrap()[0];
    // That program knows of no places: its workers come up active.
    run(&store, "UPDATE worker SET state = 'active', drain_epoch = 0").await;
    assert!(!store.let_go(&fence, "web", "worker.1", number, HOUR).await.unwrap());
    // The next renewal drains them.
    assert_eq!(store.withhold(&fence, "web", &["worker.1".into()], HOUR).await.unwrap(), [number]);
    assert_eq!(store.workers().await.unwrap()[0].state, WorkerState::Draining);
    assert!(store.let_go(&fence, "web", "worker.1", number, HOUR).await.unwrap());
    assert_eq!(store.workers().await.unwrap()[0].boot, boot);
}

#[tokio::test]
async fn only_workers_that_beat_lately_are_counted_on() {
    let (store, _) = stage().await;
    let low = register(&store, "web", "worker.1").await;
    let high = register(&store, "web", "worker.2").await;
    let beat = Beat { boot: high, holds: Vec::new(), started: Vec::new(), through: 0, grace: None };
    for (silent, free) in [(LATELY * 9 / 10, 3), (LATELY, 0), (LATELY * 2, 0)] {
        let beat_at = format!("(SELECT beat_at FROM worker WHERE boot = {high}) - {}", silent.as_micros());
        run(&store, &format!("UPDATE worker SET beat_at = {beat_at} WHERE boot = {low}")).await;
        assert_eq!(store.beat(&beat).await.unwrap().free_below, Some(free), "silent for {silent:?}");
    }
}

#[tokio::test]
async fn of_very_many_jobs_to_come_a_hundred_thousand_are_counted() {
    let (store, _) = stage().await;
    for _ in 0..2 {
        store.enqueue(&vec![NewJob::new("k", "{}").queue("q").delay(HOUR / 2); 50_000]).await.unwrap();
    }
    let known = async || {
        let known = store.known(&[("q".parse().unwrap(), HOUR)]).await.unwrap();
        known.iter().flatten().map(|known| known.count).sum::<u64>()
    };
    assert_eq!(known().await, 100_000);
    store.enqueue(&[NewJob::new("k", "{}").queue("q").delay(HOUR / 2)]).await.unwrap();
    assert_eq!(known().await, 100_000);
}
