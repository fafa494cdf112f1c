//! `headcount workers`: who works, drain and recall.

use headcount_tests::{Signal, eventually};

use crate::{Place, SOON, on_each_store};

on_each_store!(a_drained_worker_claims_nothing_until_it_is_recalled);

async fn a_drained_worker_claims_nothing_until_it_is_recalled(place: Place) {
    let work = |by: &str| format!("work --exec 'sh -c \"echo {by} >>ran\"' --poll 50ms");
    let start = |by: &str, more: &[&str]| {
        let words = shell_words(&work(by));
        place.folder.headcount(words.iter().map(String::as_str).chain(more.iter().copied())).url(&place.url)
    };
    let mut first =
        start("first", &["--pool", "mail", "--queue", "default"]).env("HEADCOUNT_INSTANCE", "worker.7").start();
    let worker =
        eventually("the worker is up", SOON, async || place.rows("workers").await.pop().ok_or("nobody is up")).await;
    for (name, value) in [("instance", "worker.7"), ("pool", "mail"), ("state", "active")] {
        assert_eq!(worker[name], value, "{worker}");
    }

    let drained = place.row("workers drain worker.7").await;
    assert_eq!((&drained["result"], &drained["boot"]), (&"draining".into(), &worker["boot"]), "{drained}");
    let table = place.says("workers").await.stdout();
    assert!(table.contains("draining, by "), "a drain says who ordered it: {table}");

    place.enqueue("k").await;
    start("second", &["--exit-if-empty"]).start().ends_well(SOON).await;
    assert_eq!(place.written("ran", SOON).await, "second\n");

    let recalled = place.says(&format!("workers recall {}", worker["boot"])).await;
    assert!(recalled.stdout().contains("claims again"), "{recalled}");
    place.enqueue("k").await;
    eventually("the recalled worker runs a job", SOON, async || {
        let ran = place.written("ran", SOON).await;
        if ran == "second\nfirst\n" { Ok(()) } else { Err(ran) }
    })
    .await;
    let again = place.headcount("workers recall worker.7").start().ends(SOON).await;
    assert_eq!(again.code(), Some(1), "it does not drain: {again}");
    let unknown = place.headcount("workers drain worker.8").start().ends(SOON).await;
    assert_eq!(unknown.code(), Some(2), "{unknown}");

    assert!(first.signal(Signal::TERM));
    first.ends_well(SOON).await;
}

/// The words of a line in which single quotes hold one together.
fn shell_words(line: &str) -> Vec<String> {
    line.split('\'')
        .enumerate()
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}
