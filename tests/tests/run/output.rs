//! What a run prints, whole and once.

use std::{fs, time::Duration};

use headcount_tests::{Ended, Folder};

const SOON: Duration = Duration::from_mins(1);

async fn run(folder: &Folder, args: &[&str], input: impl Into<Vec<u8>>) -> Ended {
    folder.headcount([&["run"], args].concat()).stdin(input).start().ends(SOON).await
}

/// Its lines, sorted: lines end in any order.
fn sorted(ended: &Ended) -> Vec<String> {
    let mut lines: Vec<String> = ended.stdout().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn each_line_runs_once_in_the_place_of_the_braces_or_as_the_last_argument() {
    let folder = Folder::new();
    let ended = run(&folder, &["--max", "2", "--", "echo", "<{}>", "{}!"], "a b\nc\n").await;
    assert_eq!(sorted(&ended), ["<a b> a b!", "<c> c!"], "{}", ended.stderr());
    assert_eq!(ended.code(), Some(0));
    let ended = run(&folder, &["--", "echo", "-n", "last:"], "a\n$HOME; b").await;
    assert_eq!(ended.stdout().len(), "last: a".len() + "last: $HOME; b".len(), "no shell: {}", ended.stdout());
}

#[tokio::test]
async fn a_run_of_which_nothing_is_left_leaves_nothing_behind() {
    let folder = Folder::new();
    let ended = run(&folder, &["--name", "x", "--", "true"], "a\nb\n").await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
    let ended = folder.headcount(["run", "--resume", "x"]).start().ends(SOON).await;
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr());
    assert!(ended.stderr().contains("no run named x"), "{}", ended.stderr());
}

#[tokio::test]
async fn an_empty_input_is_done_at_once() {
    let folder = Folder::new();
    let ended = run(&folder, &["--", "false"], "").await;
    assert_eq!((ended.code(), ended.stdout().as_str()), (Some(0), ""), "{}", ended.stderr());
}

#[tokio::test]
async fn long_outputs_of_lines_that_run_at_once_are_never_interleaved() {
    let folder = Folder::new();
    let script = "i=0; while [ $i -lt 20000 ]; do echo $0 $i; i=$((i+1)); done";
    let ended = run(&folder, &["--max", "2", "--slots", "2", "--", "sh", "-c", script, "{}"], "a\nb\nc\nd\n").await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
    let lines: Vec<String> = ended.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 80_000);
    for whole in lines.chunks(20_000) {
        let name = whole[0].split(' ').next().unwrap();
        assert!(whole.iter().enumerate().all(|(i, line)| *line == format!("{name} {i}")), "{name} was interleaved");
    }
}

#[tokio::test]
async fn lines_and_output_that_are_no_text_come_through_byte_for_byte() {
    let folder = Folder::new();
    let ended = run(&folder, &["--", "printf", "%s"], b"\xff\xfe\x01".to_vec()).await;
    assert_eq!(ended.stdout_bytes(), b"\xff\xfe\x01", "{}", ended.stderr());
}

#[tokio::test]
async fn a_command_reads_nothing_and_inherits_the_users_environment_but_not_the_stores_url() {
    let folder = Folder::new();
    let program = folder.headcount(["run", "--", "sh", "-c", "cat; env", "{}"]);
    let program = program.env("AWS_REGION", "eu-west-1").url(&folder.sqlite("jobs.db"));
    let ended = program.stdin("a\n").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
    let stdout = ended.stdout();
    assert!(stdout.contains("HEADCOUNT_JOB_ID"), "{stdout}");
    assert!(stdout.contains("AWS_REGION=eu-west-1"), "a command is run as xargs would: {stdout}");
    assert!(!stdout.contains("jobs.db") && !stdout.contains("HEADCOUNT_URL"), "{stdout}");
}

#[tokio::test]
async fn the_command_never_lies_in_the_store() {
    let folder = Folder::new();
    let url = folder.sqlite("lines.db");
    let args = ["run", "--url", &url, "--", "sh", "-c", "exit 3 # tell-tale", "{}"];
    let ended = folder.headcount(args).stdin("line-in-store\n").start().ends(SOON).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr());
    let mut store = Vec::new();
    for name in ["lines.db", "lines.db-wal"] {
        store.extend(fs::read(folder.file(name)).unwrap_or_default());
    }
    let holds = |text: &str| store.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("line-in-store") && !holds("tell-tale"));
}
