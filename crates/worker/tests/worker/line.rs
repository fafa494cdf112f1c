//! A command for each line.

use std::{fs, path::Path, time::Duration};

use headcount_queue::{JobError, JsonBytes, Outcome, Stop};
use headcount_worker::{
    Handler,
    exec::{LineCommand, LineConfig},
};
use tokio::sync::watch;

use crate::common::{attempt, eventually, soon};

fn payload(line: &[u8]) -> String {
    serde_json::to_string(&JsonBytes(line.to_vec())).unwrap()
}

fn names(spool: &Path) -> Vec<String> {
    let entries = fs::read_dir(spool).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn run(spool: &Path, command: &[&str], line: &[u8]) -> Result<Outcome, JobError> {
    let handler = LineCommand::new(LineConfig::new(command[0], &command[1..], spool));
    let (_stop, told) = watch::channel(None);
    soon("the command ends", handler.run(attempt(&payload(line), told).await)).await
}

#[tokio::test]
async fn what_a_command_writes_lies_in_the_spool_whole_before_it_is_settled() {
    let spool = tempfile::tempdir().unwrap();
    let script = "head -c 3000000 /dev/zero; printf %s \"$0\" >&2";
    let done = run(spool.path(), &["/bin/sh", "-c", script, "{}"], b"a b\xff").await;
    assert_eq!(done.unwrap(), Outcome::DONE);
    assert_eq!(names(spool.path()), ["done-41.3.err", "done-41.3.out"]);
    assert_eq!(fs::metadata(spool.path().join("done-41.3.out")).unwrap().len(), 3_000_000);
    assert_eq!(fs::read(spool.path().join("done-41.3.err")).unwrap(), b"a b\xff");
}

#[tokio::test]
async fn a_failed_command_says_why_and_shows_what_it_wrote() {
    let spool = tempfile::tempdir().unwrap();
    let failed = run(spool.path(), &["/bin/sh", "-c", "echo out; echo no luck >&2; exit 65"], b"x").await.unwrap_err();
    assert_eq!((failed.message(), failed.is_fatal()), ("exited with status 65: no luck", false));
    assert_eq!(fs::read(spool.path().join("done-41.3.out")).unwrap(), b"out\n");
}

#[tokio::test]
async fn stdin_is_empty_and_a_line_with_a_nul_byte_fails_its_job_alone() {
    let spool = tempfile::tempdir().unwrap();
    run(spool.path(), &["/bin/cat", "-"], b"-").await.unwrap();
    assert_eq!(fs::read(spool.path().join("done-41.3.out")).unwrap(), b"");
    let handler = LineCommand::new(LineConfig::new("/bin/true", ["x"], spool.path()));
    let (_stop, told) = watch::channel(None);
    let failed = handler.run(attempt(&payload(b"a\0b"), told.clone()).await).await.unwrap_err();
    assert!(failed.is_fatal() && failed.message().contains("NUL"), "{failed}");
    let failed = handler.run(attempt("7", told).await).await.unwrap_err();
    assert!(failed.is_fatal() && failed.message().contains("no line of input"), "{failed}");
    assert_eq!(handler.broken(), None);
}

#[tokio::test]
async fn a_missing_program_or_spool_breaks_the_environment_and_leaves_nothing() {
    let spool = tempfile::tempdir().unwrap();
    let missing = spool.path().join("missing");
    for (program, spool) in [("/nonexistent/x", spool.path()), ("/bin/true", missing.as_path())] {
        let handler = LineCommand::new(LineConfig::new(program, ["x"], spool));
        let (_stop, told) = watch::channel(None);
        handler.run(attempt("\"l\"", told).await).await.unwrap_err();
        assert!(handler.broken().is_some());
    }
    assert_eq!(names(spool.path()), [""; 0]);
}

#[tokio::test]
async fn an_attempt_that_does_not_count_leaves_nothing_and_one_that_timed_out_shows_what_it_wrote() {
    for (stop, shown) in [(Some(Stop::Cancelled), false), (Some(Stop::TimedOut), true), (None, false)] {
        let spool = tempfile::tempdir().unwrap();
        let config = LineConfig::new("/bin/sh", ["-c", "echo begun; exec sleep 1000"], spool.path());
        let handler = LineCommand::new(LineConfig { grace: Duration::from_millis(300), ..config });
        let (tell, told) = watch::channel(None);
        let running = tokio::spawn(handler.run(attempt("\"l\"", told).await));
        let out = spool.path().join("41.3.out");
        let begun = || async { fs::read(&out).ok().filter(|text| !text.is_empty()) };
        eventually("the command begins", begun).await;
        match stop {
            Some(stop) => drop(tell.send_replace(Some(stop))),
            None => running.abort(),
        }
        let _ = soon("the attempt ends", running).await;
        let expected: &[&str] = if shown { &["done-41.3.err", "done-41.3.out"] } else { &[] };
        assert_eq!(names(spool.path()), expected, "{stop:?}");
    }
}
