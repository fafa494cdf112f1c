//! `headcount jobs` and `headcount queues`.

use crate::{Place, SOON, on_each_store};

on_each_store!(
    jobs_are_moved_by_their_ids,
    jobs_are_moved_by_a_filter_that_says_how_many,
    a_list_goes_on_where_it_ended,
    queues_show_how_many_jobs_stand_where
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

    assert_eq!(place.rows("jobs retry --kind send --yes").await.len(), 3);
    assert_eq!(place.rows("jobs cancel --queue default --kind send --yes").await.len(), 3);
    assert_eq!(place.states().await, ["cancelled", "cancelled", "cancelled", "queued", "scheduled"]);
    // What has not run yet is deleted only when its state is named.
    assert_eq!(place.rows("jobs delete --kind send --yes").await.len(), 3);
    assert_eq!(place.states().await, ["queued", "scheduled"]);
    assert_eq!(place.rows("jobs delete --state queued,scheduled -y").await.len(), 2);
    let none = place.says("jobs delete --state failed -y").await;
    assert!(none.stdout().is_empty() && none.stderr().contains("nothing was changed"), "{none}");
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

async fn queues_show_how_many_jobs_stand_where(place: Place) {
    place.headcount("enqueue send --lines").stdin("1\n2\n3\n").start().ends_well(SOON).await;
    fail_all(&place).await;
    place.enqueue("send --queue mail").await;
    place.enqueue("send --queue mail --in 1h").await;
    let rows = place.rows("queues").await;
    let of = |queue: &str| rows.iter().find(|row| row["queue"] == queue).unwrap_or_else(|| panic!("{rows:?}"));
    assert_eq!((&of("default")["failed"], &of("default")["ready"]), (&3.into(), &0.into()), "{rows:?}");
    assert_eq!((&of("mail")["ready"], &of("mail")["scheduled"]), (&1.into(), &1.into()), "{rows:?}");
    let table = place.says("queues --queue mail").await.stdout();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with("QUEUE  READY  LATER"), "{table}");
}
