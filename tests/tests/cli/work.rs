//! `headcount work`: any program as a handler, signals, and how the worker ends.

use std::time::{Duration, Instant};

use headcount_tests::{Process, Signal};
use serde_json::json;

use crate::{Place, SOON, on_each_store};

on_each_store!(
    a_handlers_exit_status_decides_what_becomes_of_its_job,
    a_stopped_worker_gives_back_what_does_not_finish_and_spends_no_attempt,
    a_worker_serves_the_queues_that_begin_as_it_says,
    an_old_job_goes_before_an_urgent_one_where_priorities_age,
);

/// A worker that is up and claims.
async fn worker(place: &Place, line: &str) -> Process {
    let process = place.headcount(&format!("work --poll 50ms {line}")).start();
    headcount_tests::eventually("the worker is registered", SOON, async || {
        let workers = place.rows("workers").await;
        if workers.is_empty() { Err(workers) } else { Ok(()) }
    })
    .await;
    process
}

async fn a_handlers_exit_status_decides_what_becomes_of_its_job(place: Place) {
    // The payload is the status.
    let handler = place.handler("read status; echo \"status $status\" >&2; exit $status");
    let lines = place.headcount("enqueue exit --lines --max-attempts 2").stdin("0\n65\n75\n1\n");
    let ids = lines.start().ends_well(SOON).await.json::<i64>();
    place.says(&format!("work --exec {handler} --exit-after 4")).await;

    let gone = place.headcount(&format!("jobs show {}", ids[0])).start().ends(SOON).await;
    assert_eq!(gone.code(), Some(1), "a completed job is removed: {gone}");
    let jobs = place.rows("jobs list").await;
    let of = |id: i64| jobs.iter().find(|job| job["id"] == id).unwrap_or_else(|| panic!("{jobs:?}"));
    for (id, state, attempt, error) in
        [(ids[1], "failed", 1, "status 65"), (ids[2], "scheduled", 0, ""), (ids[3], "scheduled", 1, "status 1")]
    {
        let job = of(id);
        assert_eq!((&job["state"], &job["attempt"]), (&state.into(), &attempt.into()), "{job}");
        assert!(job["error"].as_str().unwrap_or_default().contains(error), "{job}");
    }
}

async fn a_stopped_worker_gives_back_what_does_not_finish_and_spends_no_attempt(place: Place) {
    let handler = place.handler("echo started >started; exec tail -f /dev/null");
    let id = place.enqueue("endless").await;
    let mut worker = worker(&place, &format!("--exec {handler} --grace 2s")).await;
    place.written("started", SOON).await;
    let told = Instant::now();
    assert!(worker.signal(Signal::TERM));
    let ended = worker.ends(SOON).await;
    assert_eq!(ended.code(), Some(93), "{ended}");
    assert!(told.elapsed() < Duration::from_secs(6), "out within three times the grace: {:?}", told.elapsed());
    let job = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&job["state"], &job["attempt"], &job["interruptions"]), (&json!("queued"), &json!(0), &json!(1)));
    assert!(worker.tree().is_empty(), "the handler ended with its worker: {:?}", worker.tree());
}

async fn a_worker_serves_the_queues_that_begin_as_it_says(place: Place) {
    for queue in ["mail", "mail.urgent", "mail.bulk", "media"] {
        place.enqueue(&format!("k --queue {queue}")).await;
    }
    let handler = place.handler("echo $HEADCOUNT_JOB_QUEUE >>ran");
    place.says(&format!("work --exec {handler} --queue mail.*,media --slots 1 --exit-if-empty")).await;
    let ran = place.written("ran", SOON).await;
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    assert_eq!(ran, ["mail.bulk", "mail.urgent", "media"]);
}

async fn an_old_job_goes_before_an_urgent_one_where_priorities_age(place: Place) {
    let handler = place.handler("echo $HEADCOUNT_JOB_KIND >>ran");
    for (options, first) in [("--age-priorities 1ms", "old"), ("", "urgent")] {
        place.enqueue("old").await;
        // The next command takes longer than that by itself.
        place.enqueue("urgent --priority 3").await;
        place.says(&format!("work --exec {handler} --slots 1 {options} --exit-if-empty")).await;
        let ran = place.written("ran", SOON).await;
        assert_eq!(ran.lines().next(), Some(first), "{options}: {ran}");
        std::fs::remove_file(place.folder.file("ran")).unwrap();
    }
}

#[tokio::test]
async fn a_nice_workers_programs_are_nice_and_one_that_may_not_be_only_warns() {
    let place = Place::sqlite();
    let handler = place.handler("nice >>nice");
    place.enqueue("k").await;
    place.says(&format!("work --exec {handler} --nice 7 --exit-if-empty")).await;
    assert_eq!(place.written("nice", SOON).await, "7\n");
    place.enqueue("k").await;
    let ended = place.says(&format!("work --exec {handler} --nice -3 --exit-if-empty")).await;
    // Who runs the tests may be allowed to, or not.
    let warned = ended.stdout().contains("niceness could not be set");
    let expected = if warned { "7\n0\n" } else { "7\n-3\n" };
    assert_eq!(place.written("nice", SOON).await, expected, "{ended}");
}

#[tokio::test]
async fn a_worker_says_as_much_as_it_is_told_to() {
    let place = Place::sqlite();
    for (options, own, jobs) in [("--quiet", false, false), ("", true, false), ("--verbose", true, true)] {
        place.enqueue("k").await;
        let said = place.says(&format!("work --exec true --exit-if-empty --no-listen {options}")).await.stdout();
        assert_eq!(said.contains("worker ready"), own, "{options}: {said}");
        assert_eq!(said.contains("job completed"), jobs, "{options}: {said}");
    }
}

#[tokio::test]
async fn a_handler_gets_its_job_and_none_of_the_workers_secrets() {
    let place = Place::sqlite();
    let handler = place.handler("cat >payload; env >environment.new; mv environment.new environment");
    let id = place.enqueue(r#"thumbnail {"image":7} --queue media"#).await;
    let exec = format!("work --exec {handler} --exit-if-empty --pass-env AWS_REGION,KEPT_DATABASE_URL");
    let program = place
        .headcount(&exec)
        .env("AWS_SECRET_ACCESS_KEY", "s3cret-1")
        .env("HEROKU_API_KEY", "s3cret-2")
        .env("DATABASE_URL", "postgres://u:s3cret-3@h/d")
        .env("REPLICA", "postgres://u:s3cret-4@h/d")
        .env("PGPASSWORD", "s3cret-5")
        .env("AWS_REGION", "eu-1")
        .env("KEPT_DATABASE_URL", "postgres://u:kept@h/d");
    let ended = program.start().ends_well(SOON).await;
    assert!(!ended.stdout().contains("s3cret"), "{ended}");
    assert!(ended.stdout().contains("HEROKU_API_KEY"), "what is withheld is named: {ended}");

    assert_eq!(place.written("payload", SOON).await, r#"{"image":7}"#);
    let environment = place.written("environment", SOON).await;
    let has = |line: &str| environment.lines().any(|found| found == line);
    assert!(!environment.contains("s3cret") && !environment.contains("HEADCOUNT_URL"), "{environment}");
    assert!(has("AWS_REGION=eu-1") && has("KEPT_DATABASE_URL=postgres://u:kept@h/d"), "{environment}");
    for (name, value) in [("ID", id.as_str()), ("KIND", "thumbnail"), ("QUEUE", "media"), ("ATTEMPT", "1")] {
        assert!(has(&format!("HEADCOUNT_JOB_{name}={value}")), "{name}: {environment}");
    }
}

#[tokio::test]
async fn a_worker_without_a_program_says_what_is_missing() {
    let place = Place::sqlite();
    let ended = place.headcount("work").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{ended}");
    assert!(ended.stderr().contains("--exec"), "{ended}");
    for exec in ["no-such-program --flag", "./no-such-file", "/etc/passwd"] {
        let ended = place.folder.headcount(["work", "--exec", exec]).url(&place.url).start().ends(SOON).await;
        assert_eq!(ended.code(), Some(78), "{ended}");
        assert!(!place.folder.file("jobs.db").exists(), "the store is not touched");
    }
}

#[tokio::test]
async fn a_broken_environment_costs_no_job_an_attempt() {
    let place = Place::sqlite();
    let handler = place.handler("exec /no/such/interpreter");
    let id = place.enqueue("k").await;
    let ended = place.headcount(&format!("work --exec {handler}")).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(78), "{ended}");
    assert!(ended.stdout().contains("no job can be run here"), "{ended}");
    let job = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("queued"), &json!(0)), "{job}");
}

#[tokio::test]
async fn an_idle_worker_is_gone_in_under_a_second() {
    let place = Place::sqlite();
    for (signal, code) in [(Signal::TERM, 0), (Signal::QUIT, 0), (Signal::HUP, 0), (Signal::INT, 130)] {
        let mut worker = worker(&place, "--exec true").await;
        let told = Instant::now();
        assert!(worker.signal(signal));
        let ended = worker.ends(SOON).await;
        assert!(told.elapsed() < Duration::from_secs(3), "{signal:?} took {:?}", told.elapsed());
        assert_eq!(ended.code(), Some(code), "{signal:?}: {ended}");
        assert_eq!(place.rows("workers").await, [json!(null); 0], "it took itself off the books");
    }
}

#[tokio::test]
async fn a_first_int_lets_jobs_finish_and_a_second_ends_them() {
    let place = Place::sqlite();
    let handler = place.handler("echo started >started; read gone <gate; echo done >done");
    let made = place.folder.program("mkfifo", ["gate"]).start().ends_well(SOON).await;
    drop(made);

    place.enqueue("slow").await;
    let mut first = worker(&place, &format!("--exec {handler}")).await;
    place.written("started", SOON).await;
    assert!(first.signal(Signal::INT));
    std::fs::write(place.folder.file("gate"), "go\n").unwrap();
    assert_eq!(first.ends(SOON).await.code(), Some(130));
    assert_eq!(place.written("done", SOON).await, "done\n");
    assert_eq!(place.states().await, [""; 0], "it completed");

    std::fs::remove_file(place.folder.file("started")).unwrap();
    let id = place.enqueue("slow").await;
    let mut second = worker(&place, &format!("--exec {handler}")).await;
    place.written("started", SOON).await;
    assert!(second.signal(Signal::INT));
    // Two signals of one number that come together are one: wait until the first was heard.
    second.line("it says that it stops", SOON, |line| line.contains("stop") || line.contains("finish")).await;
    assert!(second.signal(Signal::INT));
    assert_eq!(second.ends(SOON).await.code(), Some(130));
    let job = place.row(&format!("jobs show {id}")).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("queued"), &json!(0)), "{job}");
}

#[tokio::test]
async fn a_hired_worker_stops_when_its_parent_is_gone() {
    let place = Place::sqlite();
    std::fs::create_dir(place.folder.file("spool")).unwrap();
    let order = json!({"program": ["cat", "{}"], "spool": place.folder.file("spool")}).to_string();
    std::fs::write(place.folder.file("order"), format!("{order}\n")).unwrap();
    std::fs::write(place.folder.file("a line"), "what it holds\n").unwrap();
    place.headcount("enqueue line - --queue run:x").stdin("\"a line\"").start().ends_well(SOON).await;

    let script = "mkfifo gate; (cat order gate) | $headcount work --from-parent --queue run:x; echo $? >status";
    let binary = headcount_tests::process::headcount();
    let mut process = place.folder.program("sh", ["-c", script]).url(&place.url).env("headcount", binary).start();
    let id = "1";
    let output = place.written(&format!("spool/done-{id}.1.out"), SOON).await;
    assert_eq!(output, "what it holds\n");
    // Opening the gate and closing it ends `cat`, and with it the pipe.
    std::fs::write(place.folder.file("gate"), "").unwrap();
    process.ends_well(SOON).await;
    assert_eq!(place.written("status", SOON).await.trim(), "0");
}

#[tokio::test]
async fn an_order_that_never_comes_hires_nobody() {
    let place = Place::sqlite();
    let ended = place.headcount("work --from-parent").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(78), "{ended}");
}
