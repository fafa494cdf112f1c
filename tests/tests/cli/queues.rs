//! `headcount queues`: looking, pausing, setting.

use headcount_tests::eventually;
use serde_json::{Value, json};

use crate::{Place, SOON, on_each_store};

on_each_store!(
    queues_show_how_many_jobs_stand_where_and_how_fast_they_go,
    a_paused_queue_and_a_paused_kind_stand_until_they_are_resumed,
    what_is_set_for_a_queue_or_a_kind_keeps_its_jobs,
);

/// The row of this queue.
fn of<'a>(rows: &'a [Value], queue: &str) -> &'a Value {
    rows.iter().find(|row| row["queue"] == queue).unwrap_or_else(|| panic!("{queue}: {rows:?}"))
}

async fn queues_show_how_many_jobs_stand_where_and_how_fast_they_go(place: Place) {
    place.headcount("enqueue send --lines").stdin("1\n2\n3\n").start().ends_well(SOON).await;
    place.headcount("enqueue fetch --lines -p 5").stdin("1\n2\n").start().ends_well(SOON).await;
    let handler = place.handler("test $HEADCOUNT_JOB_KIND = fetch || { echo 'no route' >&2; exit 65; }");
    place.says(&format!("work --exec {handler} --exit-if-empty")).await;
    place.enqueue("send --queue mail").await;
    place.enqueue("send --queue mail -p 7").await;
    place.enqueue("send --queue mail --in 1h").await;

    let rows = place.rows("queues").await;
    let (default, mail) = (of(&rows, "default"), of(&rows, "mail"));
    assert_eq!((&default["failed"], &default["ready"]), (&3.into(), &0.into()), "{rows:?}");
    assert_eq!((&mail["ready"], &mail["scheduled"]), (&2.into(), &1.into()), "{rows:?}");
    let priorities: Vec<_> = mail["priorities"].as_array().unwrap().iter().map(|p| &p["priority"]).collect();
    assert_eq!(priorities, [7, 0], "{mail}");
    assert!(mail["priorities"][0]["oldest_s"].is_number(), "{mail}");
    assert_eq!(default["lanes"].as_array().unwrap().len(), 2, "{default}");
    assert!(default["lately"]["over_s"].is_number() && default["lately"]["start_delay_s"].is_object(), "{default}");

    let table = place.says("queues --queue mail").await.stdout();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with("QUEUE  READY  LATER"), "{table}");
    for heading in ["PARKED", "OLDEST", "IN", "DONE", "ERRORS", "LATE", "P50", "P95", "P99"] {
        assert!(lines[0].split_whitespace().any(|word| word == heading), "{heading}: {table}");
    }

    let kinds = place.rows("queues --queue default --kinds").await;
    let shown: Vec<_> = kinds.iter().map(|part| (&part["kind"], &part["flow"]["completed"], &part["failed"])).collect();
    assert_eq!(shown, [(&json!("fetch"), &json!(2), &json!(0)), (&json!("send"), &json!(0), &json!(3))]);
    assert!(kinds[0]["start_delay_s"]["p50"].is_number(), "{kinds:?}");
    let priorities = place.rows("queues --queue mail --priorities").await;
    let shown: Vec<_> = priorities.iter().map(|part| (&part["priority"], &part["ready"])).collect();
    assert_eq!(shown, [(&json!(7), &json!(1)), (&json!(0), &json!(1))]);
}

async fn a_paused_queue_and_a_paused_kind_stand_until_they_are_resumed(place: Place) {
    for line in ["send --queue mail", "send", "fetch"] {
        place.enqueue(line).await;
    }
    let paused = place.rows("queues pause mail --kind send").await;
    assert_eq!(paused, [json!({"queue": "mail", "paused": true}), json!({"kind": "send", "paused": true})]);
    assert!(of(&place.rows("queues").await, "mail")["paused"].as_bool().unwrap());
    let table = place.says("queues").await;
    assert!(table.stderr().contains("paused kinds: send"), "{table}");

    let handler = place.handler("echo $HEADCOUNT_JOB_QUEUE $HEADCOUNT_JOB_KIND >>ran");
    let mut worker = place.headcount(&format!("work --poll 50ms --exec {handler}")).start();
    assert_eq!(place.written("ran", SOON).await, "default fetch\n");
    place.enqueue("fetch").await;
    let ran = async |expected: &str| {
        eventually(&format!("{expected} ran"), SOON, async || {
            let ran = place.written("ran", SOON).await;
            if ran == expected { Ok(()) } else { Err(ran) }
        })
        .await;
    };
    ran("default fetch\ndefault fetch\n").await;
    place.says("queues resume --kind send").await;
    ran("default fetch\ndefault fetch\ndefault send\n").await;
    assert_eq!(place.says("queues resume mail").await.stdout(), "queue mail is open\n");
    ran("default fetch\ndefault fetch\ndefault send\nmail send\n").await;
    assert!(worker.signal(headcount_tests::Signal::TERM));
    worker.ends_well(SOON).await;

    for line in ["queues pause", "queues resume --kind a,,b", "queues pause a*", "queues pause mail --json --kinds"] {
        let ended = place.headcount(line).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(2), "{ended}");
    }
}

async fn what_is_set_for_a_queue_or_a_kind_keeps_its_jobs(place: Place) {
    assert!(place.says("queues settings").await.stderr().contains("nothing is set"));
    let set = place.row("queues set mail --keep-completed 7d --start-within 30s").await;
    assert_eq!(set["queue"], "mail", "{set}");
    assert_eq!(set["retention"], json!({"completed": {"secs": 604_800, "nanos": 0}, "failed": null}), "{set}");
    let set = place.says("queues set mail --keep-failed 30d").await.stdout();
    let cells: Vec<&str> = set.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells, ["queue", "mail", "open", "7d", "30d", "30s"], "{set}");
    place.says("queues set --kind ping --keep-completed 0s").await;
    assert_eq!(place.rows("queues settings").await.len(), 2);

    place.enqueue("send --queue mail").await;
    place.enqueue("ping --queue mail").await;
    place.enqueue("send").await;
    place.says("work --exec true --exit-if-empty").await;
    let kept = place.rows("jobs list").await;
    let kept: Vec<_> = kept.iter().map(|job| (&job["kind"], &job["queue"], &job["state"])).collect();
    assert_eq!(kept, [(&json!("send"), &json!("mail"), &json!("completed"))], "the kind's stands above the queue's");

    let unset = place.row("queues set mail --keep-failed default --start-within default").await;
    assert_eq!((&unset["retention"], &unset["start_within"]), (&Value::Null, &Value::Null), "{unset}");
    for (line, why) in [
        ("queues set", "required"),
        ("queues set mail", "what is to be set?"),
        ("queues set --kind ping --start-within 5s", "cannot be used"),
        ("queues set mail --keep-completed 7d --keep-failed default", "for both"),
        ("queues set mail --keep-completed forever", "250ms"),
        ("queues set a,b --keep-completed 7d", "not allowed"),
    ] {
        let ended = place.headcount(line).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr().contains(why), "{why}: {ended}");
    }
}
