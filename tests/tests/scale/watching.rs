//! What a scaler shows of itself over HTTP.

use headcount_tests::{Process, web};

use super::*;

/// Where it listens, once it does.
async fn address(process: &Process) -> String {
    let line = process.line("it listens", SOON, |line| line.contains("listening on http://")).await;
    let rest = line.split_once("http://").unwrap().1;
    rest.split_once(": ").unwrap().0.to_owned()
}

/// Waits until it answers so there.
async fn until(address: &str, path: &str, status: u16, word: &str) -> String {
    eventually(&format!("{path} says {word:?}"), SOON, async || {
        let answer = web::get(address, path).await;
        if answer.0 == status && answer.1.contains(word) { Ok(answer.1) } else { Err(answer) }
    })
    .await
}

on_each_store!(a_scaler_shows_what_it_does_whether_it_does_it_and_who_does);

async fn a_scaler_shows_what_it_does_whether_it_does_it_and_who_does(place: Place) {
    place.says("migrate").await;
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB)).unwrap();
    let mut first = place.headcount("scale --listen :0").start();
    let at = address(&first).await;
    assert!(at.starts_with("127.0.0.1:"), "nobody else reaches it: {at}");
    enqueue(&place, 3).await;
    until_done(&place).await;
    for line in [
        "headcount_scaler_is_acting 1",
        "headcount_pool_workers_up{pool=\"here\"} 0",
        "headcount_pool_jobs_ready{pool=\"here\"} 0",
        "headcount_pool_starts_total{pool=\"here\"} 3",
        "headcount_pool_platform_answers_total{pool=\"here\",change=\"grow\",outcome=\"ok\"}",
        "headcount_pool_platform_answers_total{pool=\"here\",change=\"remove\",outcome=\"ok\"}",
        "headcount_scaler_present{lease=\"scaler\"} 1",
        "headcount_scaler_absent_seconds{lease=\"scaler\"} 0.0",
        "# EOF",
    ] {
        until(&at, "/metrics", 200, line).await;
    }
    let metrics = web::get(&at, "/metrics").await.1;
    // A sample needs a HELP and a TYPE of its family before it, and counters end in _total.
    for sample in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = sample.split(['{', ' ']).next().unwrap();
        let counter = name.strip_suffix("_total");
        let kind = if counter.is_some() { "counter" } else { "gauge" };
        let family = counter.unwrap_or(name);
        assert!(metrics.contains(&format!("# HELP {family} ")), "{sample}");
        assert!(metrics.contains(&format!("# TYPE {family} {kind}\n")), "{sample}");
    }
    until(&at, "/health", 200, "went round").await;
    until(&at, "/ready", 200, "acts").await;
    assert_eq!(web::get(&at, "/").await.0, 404);
    assert_eq!(web::post(&at, "/health", "{}").await.0, 405);

    let ended = place.headcount(&format!("scale --listen {at}")).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert!(ended.stderr().contains("another process listens"), "{ended}");

    let mut second = place.headcount("scale").env("HEADCOUNT_LISTEN", "0").start();
    let other = address(&second).await;
    until(&other, "/ready", 200, "stands by").await;
    until(&other, "/metrics", 200, "headcount_scaler_is_acting 0").await;
    assert!(second.signal(Signal::TERM));
    second.ends_well(SOON).await;
    assert!(first.signal(Signal::TERM));
    first.ends_well(SOON).await;

    // One that may not act tells that nobody does.
    let mut dry = place.headcount("scale --dry-run --listen 127.0.0.1:0").start();
    let at = address(&dry).await;
    until(&at, "/health", 200, "\"scaler\":\"no scaler since 20").await;
    until(&at, "/metrics", 200, "headcount_scaler_present{lease=\"scaler\"} 0").await;
    assert!(dry.signal(Signal::TERM));
    dry.ends_well(SOON).await;
}

#[tokio::test]
async fn a_worker_shows_that_it_lives_and_that_nobody_scales() {
    let place = Place::sqlite();
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB)).unwrap();
    let mut worker = place.headcount("work --exec true --pool here --listen :0").start();
    let at = address(&worker).await;
    until(&at, "/health", 200, "waits for its pool's scaler").await;
    until(&at, "/ready", 503, "waits for its pool's scaler").await;

    let mut scaler = place.headcount("scale").start();
    until(&at, "/ready", 200, "reached the store").await;
    until(&at, "/metrics", 200, "headcount_worker_heartbeat_age_seconds ").await;
    until(&at, "/metrics", 200, "headcount_scaler_present{lease=\"scaler\"} 1").await;
    assert!(scaler.signal(Signal::TERM));
    scaler.ends_well(SOON).await;
    until(&at, "/metrics", 200, "headcount_scaler_present{lease=\"scaler\"} 0").await;
    until(&at, "/health", 200, "no scaler since 20").await;
    assert!(worker.signal(Signal::TERM));
    worker.ends_well(SOON).await;
}

#[tokio::test]
async fn a_place_where_nobody_can_listen_is_refused_before_anything_is_opened() {
    let place = Place::sqlite();
    fs::write(place.folder.file("headcount.toml"), local(&place, JOB)).unwrap();
    for bad in ["nowhere", "example.org:80", "99999"] {
        let ended = place.headcount(&format!("scale --listen {bad}")).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(78), "{ended}");
        assert!(ended.stderr().contains("write a port (9464)"), "{ended}");
    }
    // An address of nobody: for documents only.
    let ended = place.headcount("scale").env("HEADCOUNT_LISTEN", "192.0.2.1:9464").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(78), "{ended}");
    assert!(ended.stderr().contains("HEADCOUNT_LISTEN: this process cannot listen on 192.0.2.1:9464"), "{ended}");
    assert!(!place.folder.file("jobs.db").exists());
}
