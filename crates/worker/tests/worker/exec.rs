//! Any program as a handler.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use headcount_queue::{JobError, Outcome, Stop, limits::MAX_OUTPUT};
use headcount_worker::{
    Handler,
    exec::{Exec, ExecConfig},
};
use tokio::sync::watch;

use crate::common::{attempt, eventually, soon};

/// `sh -c SCRIPT`, with a short grace.
fn shell(script: &str) -> ExecConfig {
    ExecConfig { grace: Duration::from_millis(300), ..ExecConfig::new("/bin/sh", ["-c", script]) }
}

async fn run(config: ExecConfig, payload: &str) -> Result<Outcome, JobError> {
    let (_stop, told) = watch::channel(None);
    soon("the program ends", Exec::new(config).run(attempt(payload, told).await)).await
}

async fn script(script: &str) -> Result<Outcome, JobError> {
    run(shell(script), "{}").await
}

fn output(text: &str) -> Outcome {
    Outcome::Completed { output: Some(text.into()) }
}

#[tokio::test]
async fn the_payload_is_on_stdin_and_the_job_in_the_environment() {
    let said = run(
        shell(r#"cat; echo " $HEADCOUNT_JOB_ID $HEADCOUNT_JOB_KIND $HEADCOUNT_JOB_QUEUE $HEADCOUNT_JOB_ATTEMPT""#),
        r#"{"image":7}"#,
    );
    assert_eq!(said.await.unwrap(), output(r#"{"image":7} 41 sample media 2"#));
}

#[tokio::test]
async fn named_variables_are_not_inherited() {
    let config = ExecConfig { remove_env: vec!["PATH".into()], ..ExecConfig::new("/usr/bin/env", [""; 0]) };
    let Outcome::Completed { output: Some(environment) } = run(config, "{}").await.unwrap() else {
        panic!("env prints its environment")
    };
    assert!(environment.contains("HEADCOUNT_JOB_ID=41"));
    assert!(!environment.lines().any(|line| line.starts_with("PATH=")), "{environment}");
}

#[tokio::test]
async fn each_exit_status_has_its_meaning() {
    assert_eq!(script("true").await.unwrap(), Outcome::DONE);
    assert_eq!(script("printf 'a\\nb\\n\\n'").await.unwrap(), output("a\nb"));
    let fatal = script("echo no such image >&2; exit 65").await.unwrap_err();
    assert!(fatal.is_fatal());
    assert_eq!(fatal.message(), "exited with status 65: no such image");
    assert_eq!(script("exit 75").await.unwrap(), Outcome::Snooze(Duration::from_secs(30)));
    let failed = script("echo started; echo out of luck >&2; exit 3").await.unwrap_err();
    assert!(!failed.is_fatal());
    assert_eq!(failed.message(), "exited with status 3: out of luck");
    assert_eq!(script("kill -9 $$").await.unwrap_err().message(), "killed by signal 9");
}

#[tokio::test]
async fn a_status_that_a_shell_gives_for_a_missing_program_breaks_the_environment() {
    for (config, why) in [
        (shell("no-such-program-at-all"), "not found"),
        (shell("exit 126"), "cannot be run"),
        (ExecConfig::new("/nonexistent/program", [""; 0]), "cannot be started"),
        (ExecConfig::new("/etc/passwd", [""; 0]), "cannot be started"),
    ] {
        let exec = Exec::new(config);
        assert_eq!(exec.broken(), None);
        let (_stop, told) = watch::channel(None);
        exec.run(attempt("{}", told).await).await.unwrap_err();
        assert!(exec.broken().is_some_and(|broken| broken.contains(why)), "{:?}: {why}", exec.broken());
    }
}

#[tokio::test]
async fn endless_output_is_cut_and_never_waits_for_a_reader() {
    let many = script("head -c 5000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero | tr '\\0' y >&2").await;
    let Ok(Outcome::Completed { output: Some(output) }) = many else { panic!("{many:?}") };
    assert_eq!(output.len(), MAX_OUTPUT);
    let failed = script("head -c 5000000 /dev/zero | tr '\\0' y >&2; echo the end >&2; exit 1").await.unwrap_err();
    assert!(failed.message().starts_with("exited with status 1: …yyy"), "{:.40}", failed.message());
    assert!(failed.message().ends_with("ythe end"));
    assert!(failed.message().len() <= headcount_queue::limits::MAX_ERROR);
}

#[tokio::test]
async fn a_large_payload_that_nobody_reads_neither_hangs_nor_fails() {
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    assert_eq!(run(shell("exec true"), &payload).await.unwrap(), Outcome::DONE);
    assert_eq!(run(shell("exec <&-; echo done"), &payload).await.unwrap(), output("done"));
    assert_eq!(run(shell("wc -c | tr -d ' '"), &payload).await.unwrap(), output("1000002"));
}

/// A process that is there and no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

async fn process_id(file: &Path) -> String {
    let read = || async { std::fs::read_to_string(file).ok().filter(|pid| pid.ends_with('\n')) };
    eventually("the grandchild starts", read).await.trim().to_owned()
}

async fn gone(pid: &str) {
    eventually("the grandchild ends", || async { (!lives(pid)).then_some(()) }).await;
}

/// A script whose grandchild begins so, writes its number to `file`, and outlasts every test.
fn with_grandchild(file: &Path, begin: &str, rest: &str) -> String {
    format!("sh -c '{begin} echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done' & {rest}", file.display())
}

/// What has a shell ignore a TERM: before it says that it is there.
const STUBBORN: &str = "trap \"\" TERM;";

#[tokio::test]
async fn what_a_program_leaves_behind_in_its_group_is_killed_even_if_it_ignores_a_term() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let wait = format!("while ! test -e {}; do :; done; echo done", file.display());
    // It holds the pipes, which must not keep the attempt from ending.
    let done = script(&with_grandchild(&file, STUBBORN, &wait)).await;
    assert_eq!(done.unwrap(), output("done"));
    gone(&process_id(&file).await).await;
}

#[tokio::test]
async fn a_call_to_stop_ends_the_whole_group_first_gently_then_hard() {
    for (stop, grandchild) in [(Stop::Cancelled, ""), (Stop::TakenAway, ""), (Stop::TimedOut, STUBBORN)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let (tell, told) = watch::channel(None);
        let exec = Exec::new(shell(&with_grandchild(&file, grandchild, "wait")));
        let running = tokio::spawn(exec.run(attempt("{}", told).await));
        let pid = process_id(&file).await;
        tell.send_replace(Some(stop));
        soon("the attempt ends", running).await.unwrap().unwrap_err();
        gone(&pid).await;
    }
}

#[tokio::test]
async fn a_program_may_clean_up_after_a_term() {
    let folder = tempfile::tempdir().unwrap();
    let (ready, cleaned) = (folder.path().join("ready"), folder.path().join("cleaned"));
    let script = format!(
        "trap 'echo > {}; exit' TERM; echo > {}; while :; do sleep 0.01; done",
        cleaned.display(),
        ready.display()
    );
    let (tell, told) = watch::channel(None);
    let config = ExecConfig { grace: Duration::from_mins(1), ..shell(&script) };
    let running = tokio::spawn(Exec::new(config).run(attempt("{}", told).await));
    eventually("the program starts", || async { ready.exists().then_some(()) }).await;
    tell.send_replace(Some(Stop::Cancelled));
    soon("the attempt ends", running).await.unwrap().unwrap_err();
    assert!(cleaned.exists());
}

#[tokio::test]
async fn a_stopping_worker_lets_a_program_finish() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let (tell, told) = watch::channel(Some(Stop::Stopping));
    let exec = Exec::new(shell(&format!("while ! test -e {}; do :; done; echo done", go.display())));
    let running = tokio::spawn(exec.run(attempt("{}", told).await));
    tell.send_replace(Some(Stop::Stopping));
    std::fs::write(&go, "").unwrap();
    assert_eq!(soon("the program ends", running).await.unwrap().unwrap(), output("done"));
}

#[tokio::test]
async fn dropping_the_attempt_ends_the_group_too_and_closing_waits_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let config = ExecConfig { grace: Duration::from_secs(1000), ..shell(&with_grandchild(&file, STUBBORN, "wait")) };
    let exec = Exec::new(config);
    let (_tell, told) = watch::channel(None);
    let running = tokio::spawn(exec.run(attempt("{}", told).await));
    let pid = process_id(&file).await;
    running.abort();
    running.await.unwrap_err();
    assert!(lives(&pid), "its grace is long");
    let began = Instant::now();
    exec.close(Duration::from_millis(600)).await;
    assert!(began.elapsed() < Duration::from_secs(3));
    gone(&pid).await;
}

#[test]
fn a_runtime_that_ends_takes_the_group_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let config = ExecConfig { grace: Duration::from_secs(1000), ..shell(&with_grandchild(&file, STUBBORN, "wait")) };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let pid = first.block_on(async {
        let (tell, told) = watch::channel(None);
        tokio::spawn(async move {
            let _tell = tell;
            Exec::new(config).run(attempt("{}", told).await).await
        });
        process_id(&file).await
    });
    drop(first);
    runtime().block_on(gone(&pid));
}
