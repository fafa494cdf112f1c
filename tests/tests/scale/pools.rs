//! What `headcount pools` tells of a pool's target, cost and cold starts.

use std::fs;

use headcount_tests::{Place, eventually, on_each_store, process::Signal};
use serde_json::Value;

use crate::{JOB, SOON, enqueue, local, pool};

on_each_store!(jobs_that_met_an_empty_pool_are_told_with_what_a_kept_worker_would_cost);

async fn jobs_that_met_an_empty_pool_are_told_with_what_a_kept_worker_would_cost(place: Place) {
    place.says("migrate").await;
    let config = local(&place, JOB).replace("policy = \"linear\"\n", "price = 0.36\nstart_within = \"90s\"\n");
    fs::write(place.folder.file("headcount.toml"), config).unwrap();
    let mut scaler = place.headcount("scale").start();
    eventually("its scaler has looked", SOON, async || {
        let known = place.rows("pools").await;
        if known.iter().any(|pool| pool["latest"].is_object()) { Ok(()) } else { Err(known) }
    })
    .await;
    let cold = pool(&place).await["account"]["cold_starts_today"].clone();
    assert_eq!(cold, Value::from(0), "nobody has waited yet");
    enqueue(&place, 3).await;
    eventually("the jobs are done", SOON, async || {
        let left = place.states().await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    eventually("it has cost something", SOON, async || {
        let account = pool(&place).await["account"].clone();
        if account["spent_today"].as_f64().is_some_and(|spent| spent > 0.0) { Ok(()) } else { Err(account) }
    })
    .await;
    let account = pool(&place).await["account"].clone();
    assert_eq!(account["cold_starts_today"], 3, "{account}");
    assert_eq!((account["price"].as_f64(), account["target"].as_str()), (Some(0.36), Some("95% in 1m 30s")));
    let shown = place.says("pools").await;
    let told = shown.stderr();
    assert!(told.contains("3 jobs have met no worker today; min = 1 would cost at most 8.64 a day"), "{told}");
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
}
