//! `headcount enqueue`.

use crate::{Place, SOON, on_each_store};

on_each_store!(
    a_job_is_kept_as_it_was_given,
    each_line_is_a_job,
    jobs_with_one_key_coalesce_and_that_is_said,
    lines_coalesce_by_a_field_of_theirs,
    a_job_that_is_to_run_again_waits_for_the_one_that_runs,
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

async fn jobs_with_one_key_coalesce_and_that_is_said(place: Place) {
    let id = place.enqueue("sync 1 --key user-7 --in 1h").await;
    let kept = place.says("enqueue sync 2 --key user-7").await;
    assert_eq!(kept.stdout().trim(), id, "the id is of the job that does the work");
    assert!(kept.stderr().contains(&format!("coalesced: job {id} holds this key")), "{kept}");
    let row = place.row("enqueue sync 3 --key user-7 --on-conflict replace").await;
    assert_eq!((row["id"].to_string(), &row["admission"]), (id.clone(), &"replaced".into()), "{row}");
    let job = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&job["payload"], &job["key"], &job["state"]), (&3.into(), &"user-7".into(), &"queued".into()), "{job}");
    assert!(place.says(&format!("jobs show {id}")).await.stdout().contains("key           user-7"));
    // Keys belong to the queue.
    let other = place.row("enqueue sync 4 --key user-7 --queue mail").await;
    assert_eq!(other["admission"], "new", "{other}");
    assert_eq!(place.states().await.len(), 2);
}

async fn lines_coalesce_by_a_field_of_theirs(place: Place) {
    let lines = r#"{"key":"a","n":1}
{"key":"b","n":2}
{"key":"a","n":3}
"#;
    let enqueue = || place.headcount("enqueue sync --lines --key-field key").stdin(lines);
    let ended = enqueue().start().ends_well(SOON).await;
    let ids: Vec<String> = ended.stdout().lines().map(str::to_owned).collect();
    assert_eq!((ids.len(), &ids[0]), (3, &ids[2]), "{ended}");
    assert!(ended.stderr().contains("1 of the lines coalesced"), "{ended}");
    let again = enqueue().start().ends_well(SOON).await;
    assert_eq!(again.stdout().lines().collect::<Vec<_>>(), ids);
    assert_eq!(place.rows("jobs list").await.len(), 2);
    let bad = place.headcount("enqueue sync --lines --key-field user").stdin(lines).start().ends(SOON).await;
    assert_eq!(bad.code(), Some(2), "{bad}");
    assert!(bad.stderr().contains("line 1: the payload has no text or number at \"user\""), "{bad}");
}

async fn a_job_that_is_to_run_again_waits_for_the_one_that_runs(place: Place) {
    let handler = place.handler("echo $HEADCOUNT_JOB_ID >>started; while [ ! -e gate ]; do sleep 0.05; done");
    let first = place.enqueue("sync --key k").await;
    let mut worker = place.headcount(&format!("work --poll 50ms --exec {handler}")).start();
    place.written("started", SOON).await;
    let again = place.says("enqueue sync --key k --on-conflict run-again").await;
    let second = again.stdout().trim().to_owned();
    assert!(again.stderr().contains(&format!("runs when job {first}, which holds this key, is over")), "{again}");
    let shown = place.says(&format!("jobs show {second}")).await.stdout();
    assert!(shown.contains(&format!("held          again: it runs when job {first}, which holds its key")), "{shown}");
    assert_eq!(place.row(&format!("jobs show {second}")).await["holder"].to_string(), first);
    assert_eq!(place.enqueue("sync --key k --on-conflict run-again").await, second, "once for all that come meanwhile");
    std::fs::write(place.folder.file("gate"), "").unwrap();
    headcount_tests::eventually("the second runs after the first", SOON, async || {
        let started = place.written("started", SOON).await;
        if started == format!("{first}\n{second}\n") { Ok(()) } else { Err(started) }
    })
    .await;
    assert!(worker.signal(headcount_tests::Signal::TERM));
    worker.ends_well(SOON).await;
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
        ("enqueue k --key a --scope always", "unfinished-or-failed"),
        ("enqueue k --key a --on-conflict drop", "run-again"),
        ("enqueue k {} --key-field id", "\"id\""),
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
