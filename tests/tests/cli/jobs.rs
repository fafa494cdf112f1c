//! `headcount jobs`.

use crate::{Place, SOON, on_each_store};

on_each_store!(
    jobs_are_moved_by_their_ids,
    jobs_are_moved_by_a_filter_that_says_how_many,
    every_filter_narrows_what_is_listed_and_moved,
    a_job_that_holds_no_key_any_more_is_not_retried_over_the_one_that_does,
    a_list_goes_on_where_it_ended
);

/// Fails every job of the queue `default`.
async fn fail_all(place: &Place) {
    let handler = place.handler("echo 'no route to host' >&2; exit 65");
    place.says(&format!("work --exec {handler} --queue default --exit-if-empty")).await;
}

async fn jobs_are_moved_by_their_ids(place: Place) {
    let failed = place.enqueue("send 7").await;
    fail_all(&place).await;
    let waiting = place.enqueue("send --in 1h").await;

    let shown = place.says(&format!("jobs show {failed}")).await.stdout();
    for part in ["state         failed", "payload       7", "no route to host", "ATTEMPT  OUTCOME"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(place.row(&format!("jobs show {failed}")).await["attempts"][0]["outcome"], "failed");

    assert_eq!(place.says(&format!("jobs retry {failed}")).await.stdout(), format!("retried job {failed}\n"));
    assert_eq!(place.row(&format!("jobs cancel {waiting}")).await["result"], "cancelled");
    assert_eq!(place.states().await, ["queued", "cancelled"]);

    // What cannot be moved is told, and the rest is moved all the same.
    let ended = place.headcount(&format!("jobs retry {failed} 4711 {waiting} --json")).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{ended}");
    let rows = ended.json::<serde_json::Value>();
    assert!(rows[0]["error"].as_str().unwrap().contains("is queued: it cannot be retried"), "{ended}");
    assert!(rows[1]["error"].as_str().unwrap().contains("no job has the id 4711"), "{ended}");
    assert_eq!(rows[2]["result"], "retried", "{ended}");
    assert_eq!(place.states().await, ["queued", "queued"]);

    place.says(&format!("jobs delete {failed} {waiting}")).await;
    assert_eq!(place.states().await, [""; 0]);
    let ended = place.headcount(&format!("jobs show {failed}")).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{ended}");
}

async fn jobs_are_moved_by_a_filter_that_says_how_many(place: Place) {
    let fails = place.headcount("enqueue send --lines").stdin("1\n2\n3\n");
    fails.start().ends_well(SOON).await;
    fail_all(&place).await;
    place.says("enqueue send --queue mail").await;
    place.says("enqueue ping --in 1h").await;
    let before = ["failed", "failed", "failed", "queued", "scheduled"];
    assert_eq!(place.states().await, before);

    // Nobody is there to be asked.
    let ended = place.headcount("jobs retry --kind send").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{ended}");
    assert!(ended.stderr().contains("this would retry 3 jobs: say so with --yes"), "{ended}");
    // A slip of the fingers must not mean everything.
    let ended = place.headcount("jobs delete --yes").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{ended}");
    let ended = place.headcount("jobs retry --state running --yes").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{ended}");
    assert_eq!(place.states().await, before);

    let retried = place.row("jobs retry --kind send --yes").await;
    assert_eq!((&retried["action"], &retried["jobs"]), (&"retry".into(), &3.into()), "{retried}");
    let cancelled = place.says("jobs cancel --queue default --kind send --yes").await.stdout();
    assert_eq!(cancelled, "cancelled 3 jobs; workers are told to stop those that run\n");
    assert_eq!(place.states().await, ["cancelled", "cancelled", "cancelled", "queued", "scheduled"]);
    // What has not run yet is deleted only when its state is named.
    assert_eq!(place.row("jobs delete --kind send --yes").await["jobs"], 3);
    assert_eq!(place.states().await, ["queued", "scheduled"]);
    assert_eq!(place.row("jobs delete --state queued,scheduled -y").await["jobs"], 2);
    let none = place.says("jobs delete --state failed -y").await;
    assert!(none.stdout().is_empty() && none.stderr().contains("nothing was changed"), "{none}");
}

async fn every_filter_narrows_what_is_listed_and_moved(place: Place) {
    let lines = r#"{"user":{"id":7},"to":["a","b"]}
{"user":{"id":8},"to":["c"]}
{"user":{"id":"7"}}
"#;
    place.headcount("enqueue send --lines").stdin(lines).start().ends_well(SOON).await;
    fail_all(&place).await;
    let keyed = place.enqueue("send --key k1 --queue mail").await;
    let other = place.enqueue("ping --queue mail").await;
    let ids = async |filter: &str| -> Vec<String> {
        place.rows(&format!("jobs list {filter}")).await.iter().map(|job| job["id"].to_string()).collect()
    };
    let all = ids("").await;
    assert_eq!(all.len(), 5);
    for (filter, expected) in [
        (format!("--id {},{keyed}", all[0]), vec![&all[0], &keyed]),
        ("--key k1".into(), vec![&keyed]),
        ("--key none".into(), vec![]),
        ("--error route".into(), vec![&all[0], &all[1], &all[2]]),
        ("--error train".into(), vec![]),
        ("--older-than 1h".into(), vec![]),
        ("--older-than 0s".into(), all.iter().collect()),
        ("--payload user.id=7".into(), vec![&all[0], &all[2]]),
        ("--payload to.1=b".into(), vec![&all[0]]),
        ("--queue mail --kind ping".into(), vec![&other]),
        ("--state failed --payload user.id=8".into(), vec![&all[1]]),
    ] {
        assert_eq!(ids(&filter).await.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    let ended = place.headcount("jobs list --payload user.id").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{ended}");

    assert_eq!(place.row("jobs retry --payload user.id=7 --yes").await["jobs"], 2);
    assert_eq!(place.states().await, ["queued", "failed", "queued", "queued", "queued"]);
    assert_eq!(place.row(&format!("jobs cancel --id {other} --yes")).await["jobs"], 1);
    assert_eq!(place.row("jobs delete --error route --yes").await["jobs"], 1, "only the one that is over");
    assert_eq!(place.states().await, ["queued", "queued", "queued", "cancelled"]);
}

async fn a_job_that_holds_no_key_any_more_is_not_retried_over_the_one_that_does(place: Place) {
    let failed = place.enqueue("send --key k1").await;
    fail_all(&place).await;
    let holder = place.enqueue("send --key k1").await;
    assert_ne!(failed, holder);
    let ended = place.headcount(&format!("jobs retry {failed}")).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert!(ended.stderr().contains(&format!("job {holder} of its queue holds its coalesce key")), "{ended}");
    let all = place.says("jobs retry --key k1 --yes").await;
    assert!(all.stdout().is_empty() && all.stderr().contains("1 of 1 had moved on"), "{all}");
    assert_eq!(place.states().await, ["failed", "queued"]);
    place.says(&format!("jobs cancel {holder}")).await;
    place.says(&format!("jobs retry {failed}")).await;
    assert_eq!(place.states().await, ["queued", "cancelled"]);
}

async fn a_list_goes_on_where_it_ended(place: Place) {
    let lines = (1..=450).map(|n| format!("{n}\n")).collect::<Vec<_>>().concat();
    place.headcount("enqueue k --lines").stdin(lines).start().ends_well(SOON).await;
    let first = place.says("jobs list --limit 250").await;
    assert_eq!(first.stdout().lines().count(), 251, "one heading for all pages: {first}");
    let hint = first.stderr();
    let after = hint.split("--after ").nth(1).unwrap().split(',').next().unwrap();
    let second = place.says(&format!("jobs list --limit 250 --after {after} --json")).await;
    assert!(!second.stderr().contains("--after"), "{second}");
    let payloads: Vec<i64> =
        second.json::<serde_json::Value>().iter().map(|job| job["payload"].as_i64().unwrap()).collect();
    assert!(payloads.iter().copied().eq(251..=450), "{payloads:?}");
}
