//! How a run ends when lines fail.

use std::{fs, time::Duration};

use headcount_tests::Folder;
use serde_json::Value;

const SOON: Duration = Duration::from_mins(1);

#[tokio::test]
async fn failed_lines_are_listed_and_stay_and_can_be_tried_again() {
    let folder = Folder::new();
    let script = "test -e $1 || { echo no $1 >&2; exit 4; }; echo ok";
    let good = folder.file("good");
    let input = format!("{}\n/missing/one\n", good.display());
    fs::write(&good, "").unwrap();
    let args = ["run", "--name", "x", "--", "sh", "-c", script, "sh", "{}"];
    let ended = folder.headcount(args).stdin(input).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr());
    assert_eq!(ended.stdout(), "ok\n");
    let stderr = ended.stderr();
    assert!(stderr.contains("failed: /missing/one:") && stderr.contains("1 of 2 lines failed"), "{stderr}");

    // The advice that it gave works as written.
    let retry = stderr.lines().find_map(|line| line.strip_prefix("to try them again: headcount ")).expect("advice");
    let (retry, resume) = retry.split_once(" && headcount ").expect("two commands");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let again = folder.headcount([words(retry), vec!["--yes".into()]].concat()).start().ends(SOON).await;
    assert_eq!(again.code(), Some(0), "{}", again.stderr());
    let ended = folder.headcount(words(resume)).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr());
    assert!(ended.stderr().contains("no /missing/one"), "{}", ended.stderr());
}

#[tokio::test]
async fn a_line_that_fails_is_tried_again_as_often_as_asked() {
    let folder = Folder::new();
    let tries = folder.file("tries");
    let script = "echo x >> $1; test $(wc -l < $1) -ge 2";
    let args = ["run", "--retries", "2", "--", "sh", "-c", script, "sh", "{}"];
    let ended = folder.headcount(args).stdin(format!("{}\n", tries.display())).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
    assert_eq!(fs::read_to_string(tries).unwrap(), "x\nx\n");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_refused_before_anything_begins() {
    let folder = Folder::new();
    let ended =
        folder.headcount(["run", "--name", "x", "--", "no-such-program-here"]).stdin("a\n").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.stderr());
    assert!(ended.stderr().contains("no-such-program-here"), "{}", ended.stderr());
    // Its name is free again.
    let ended = folder.headcount(["run", "--name", "x", "--", "true"]).stdin("a\n").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
}

#[tokio::test]
async fn rows_of_json_tell_what_each_line_wrote_and_which_failed() {
    let folder = Folder::new();
    let script = "echo out $0; echo err $0 >&2; test $0 = a";
    let args = ["--json", "run", "--", "sh", "-c", script, "{}"];
    let ended = folder.headcount(args).stdin("a\nb\n").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr());
    let rows: Vec<Value> = ended.json();
    let find = |stdout: &str| rows.iter().find(|row| row["stdout"] == stdout);
    assert_eq!(find("out a\n").expect("a's row")["stderr"], "err a\n");
    assert!(find("out b\n").is_some());
    let failed = rows.iter().find(|row| row["state"] == "failed").expect("the failed job's row");
    assert_eq!((&failed["payload"], &failed["kind"]), (&Value::from("b"), &Value::from("line")));
}

#[tokio::test]
async fn a_worker_bound_to_any_queue_never_takes_a_runs_lines() {
    let folder = Folder::new();
    let url = folder.sqlite("shared.db");
    let run = folder.headcount(["run", "--url", &url, "--", "false"]).stdin("private\n").start().ends(SOON).await;
    assert_eq!(run.code(), Some(1), "{}", run.stderr());
    let retry = run.stderr();
    let queue = retry.split("--queue ").nth(1).and_then(|rest| rest.split(' ').next()).expect("its queue").to_owned();
    let again = ["jobs", "retry", "--yes", "--queue", &queue, "--state", "failed"];
    folder.headcount(again).url(&url).start().ends_well(SOON).await;
    // The worker that serves any queue finds it empty, and the line waits still.
    let work = ["work", "--exec", "cat", "--exit-if-empty"];
    let worker = folder.headcount(work).url(&url).start().ends_well(SOON).await;
    let list = ["jobs", "list", "--json", "--queue", &queue];
    let jobs: Vec<Value> = folder.headcount(list).url(&url).start().ends_well(SOON).await.json();
    assert_eq!(jobs[0]["state"], "queued", "{}", worker.stdout());
}

#[tokio::test]
async fn runs_of_one_name_that_share_a_store_never_meet() {
    let (mine, yours) = (Folder::new(), Folder::new());
    let url = mine.sqlite("shared.db");
    let args = ["run", "--url", &url, "--name", "x", "--"];
    let ended = mine.headcount([&args[..], &["false"]].concat()).stdin("mine\n").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr());
    let ended = yours.headcount([&args[..], &["echo"]].concat()).stdin("yours\n").start().ends(SOON).await;
    assert_eq!((ended.code(), ended.stdout().as_str()), (Some(0), "yours\n"), "{}", ended.stderr());
    assert!(ended.stderr().contains("all 1 lines done"), "{}", ended.stderr());
}
