//! `headcount enqueue`.

use crate::{Place, SOON, on_each_store};

on_each_store!(
    a_job_is_kept_as_it_was_given,
    each_line_is_a_job,
    a_bad_line_is_named_and_nothing_of_its_bulk_is_enqueued
);

async fn a_job_is_kept_as_it_was_given(place: Place) {
    let payload = r#"{"image": 7,  "n": 12345678901234567890123}"#;
    let options = ["--queue", "media", "--priority", "-5", "--in", "1h", "--max-attempts", "2", "--timeout", "30s"];
    let enqueue = ["enqueue", "thumbnail", payload].into_iter().chain(options);
    let ended = place.folder.headcount(enqueue).url(&place.url).start().ends_well(SOON).await;
    let id = ended.stdout().trim().to_owned();

    let shown = place.says(&format!("jobs show {id} --json")).await;
    assert!(shown.stdout().contains(payload), "the payload stays byte for byte: {shown}");
    let job = place.row(&format!("jobs show {id}")).await;
    for (name, value) in [("kind", "thumbnail"), ("queue", "media"), ("state", "scheduled")] {
        assert_eq!(job[name], value, "{job}");
    }
    assert_eq!((&job["priority"], &job["max_attempts"], &job["attempt"]), (&(-5).into(), &2.into(), &0.into()));
    let listed = place.rows("jobs list --queue media --state scheduled,queued").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(place.rows("jobs list --queue mail").await.len(), 0);
}

async fn each_line_is_a_job(place: Place) {
    let lines = (0..2500).map(|n| format!("{{\"n\":{n}}}\r\n\n")).collect::<Vec<_>>().concat();
    let ended = place.headcount("enqueue count --lines --json").stdin(lines).start().ends_well(SOON).await;
    let ids: Vec<i64> = ended.json::<serde_json::Value>().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 2500);
    assert!(ids.is_sorted(), "{ids:?}");
    let jobs = place.rows("jobs list --limit 0").await;
    let payloads: Vec<_> = jobs.iter().map(|job| job["payload"]["n"].as_i64().unwrap()).collect();
    assert!(payloads.iter().copied().eq(0..2500), "{payloads:?}");
}

async fn a_bad_line_is_named_and_nothing_of_its_bulk_is_enqueued(place: Place) {
    for (input, why) in
        [(&b"1\n2\n{\"a\":\n4\n"[..], "line 3: the payload is no JSON"), (b"1\n\"\xff\"\n", "line 2 is not UTF-8")]
    {
        let ended = place.headcount("enqueue k --lines").stdin(input).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr().contains(why) && ended.stderr().contains("nothing was enqueued"), "{ended}");
        assert_eq!(place.states().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_payload_comes_from_standard_input_where_a_dash_stands_for_it() {
    let place = Place::sqlite();
    let ended = place.headcount("enqueue k -").stdin("{\"a\":\n 1}\n").start().ends_well(SOON).await;
    let job = place.row(&format!("jobs show {}", ended.stdout().trim())).await;
    assert_eq!(job["payload"], serde_json::json!({"a": 1}));
    // Nothing said is null.
    let id = place.enqueue("k").await;
    assert_eq!(place.row(&format!("jobs show {id}")).await["payload"], serde_json::Value::Null);
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_with_status_2() {
    let place = Place::sqlite();
    for (line, why) in [
        ("enqueue k {", "no JSON"),
        ("enqueue k --queue a,b", "not allowed"),
        ("enqueue k --max-attempts 0", "1 to 10000"),
        ("enqueue k --in 5", "5 of what?"),
        ("enqueue k --in 4000d", "ten years"),
        ("enqueue k --at tomorrow", "2026-01-31T08:00:00Z"),
        ("enqueue k 1 --lines", "leave out PAYLOAD"),
        ("enqueue", "<KIND>"),
    ] {
        let ended = place.headcount(line).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr().contains(why), "{why}: {ended}");
    }
    assert_eq!(place.states().await, [""; 0]);
}

/// Runs the command in a pipe of a shell's, as `$headcount`.
fn shell(place: &Place, script: &str) -> headcount_tests::Program {
    place.folder.program("sh", ["-c", script]).url(&place.url).env("headcount", headcount_tests::process::headcount())
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_ids_does_not_stop_the_jobs() {
    let place = Place::sqlite();
    let script = "(yes 1 | head -n 5000 | $headcount enqueue k --lines; echo $? >status) | head -n 1";
    let ended = shell(&place, script).start().ends_well(SOON).await;
    assert_eq!(ended.stdout().lines().count(), 1);
    assert!(!ended.stderr().contains("pipe"), "{ended}");
    assert_eq!(place.written("status", SOON).await.trim(), "0");
    assert_eq!(place.states().await.len(), 5000);
}

#[tokio::test]
async fn input_that_trickles_is_enqueued_as_it_comes() {
    let place = Place::sqlite();
    let script = "mkfifo gate; (echo 1; cat gate; echo 2) | $headcount enqueue k --lines";
    let mut process = shell(&place, script).start();
    process.line("the id of the first line, while the second is not there yet", SOON, |line| line == "1").await;
    assert_eq!(place.states().await, ["queued"]);
    std::fs::write(place.folder.file("gate"), "").unwrap();
    assert_eq!(process.ends_well(SOON).await.stdout(), "1\n2\n");
}
