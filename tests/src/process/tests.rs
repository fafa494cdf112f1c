use std::os::unix::process::ExitStatusExt;

use super::*;
use crate::{Folder, eventually};

const SOON: Duration = Duration::from_secs(20);

/// A program with a child, a grandchild whose parent is gone, and a child in a session of its own.
const FAMILY: &str = "tail -f /dev/null & (tail -f /dev/null &) ; setsid tail -f /dev/null & echo up; wait";

async fn family(folder: &Folder) -> Process {
    let process = folder.program("sh", ["-c", FAMILY]).start();
    process.line("it is up", SOON, |line| line == "up").await;
    eventually("the whole family runs", SOON, async || {
        let tails = process.tree().iter().filter(|member| member.command == "tail -f /dev/null").count();
        if tails == 3 { Ok(()) } else { Err(process.tree()) }
    })
    .await;
    process
}

fn still_run(members: &[Member]) -> Vec<Member> {
    let runs = |member: &&Member| {
        std::fs::read(format!("/proc/{}/cmdline", member.pid))
            .is_ok_and(|command| String::from_utf8_lossy(&command).replace('\0', " ").trim_end() == member.command)
    };
    members.iter().filter(runs).cloned().collect()
}

#[tokio::test]
async fn killing_a_tree_leaves_none_of_it() {
    let folder = Folder::new();
    let mut process = family(&folder).await;
    let members = process.tree();
    assert_eq!(still_run(&members), members);
    process.kill_tree();
    assert_eq!(still_run(&members), []);
    assert_eq!(process.ends(SOON).await.status().signal(), Some(9));
}

#[tokio::test]
async fn a_test_that_panics_leaves_no_process() {
    let folder = Folder::new();
    let process = family(&folder).await;
    let members = process.tree();
    std::thread::spawn(move || {
        let _process = process;
        std::panic::resume_unwind(Box::new("as a failing test would"));
    })
    .join()
    .unwrap_err();
    assert_eq!(still_run(&members), []);
}

#[tokio::test]
async fn killing_a_tree_spares_another() {
    let folder = Folder::new();
    let (one, other) = (family(&folder).await, family(&folder).await);
    one.kill_tree();
    assert_eq!(one.tree(), []);
    assert_eq!(other.tree().len(), 4);
}

#[tokio::test]
async fn input_output_and_status_are_the_programs_own() {
    let folder = Folder::new();
    let ended = folder
        .program("sh", ["-c", "cat; echo $GREETING >&2; exit 3"])
        .stdin("{\"id\":1}\n{\"id\":2}\n")
        .env("GREETING", "hello")
        .start()
        .ends(SOON)
        .await;
    assert_eq!(ended.code(), Some(3));
    assert_eq!(ended.stderr(), "hello\n");
    let ids: Vec<i64> = ended.json::<serde_json::Value>().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 2]);
}

#[tokio::test]
async fn a_long_output_is_whole() {
    let folder = Folder::new();
    let ended = folder.program("seq", ["200000"]).start().ends_well(SOON).await;
    assert_eq!(ended.stdout().lines().count(), 200_000);
}

#[tokio::test]
async fn a_signal_reaches_the_program_alone() {
    let folder = Folder::new();
    let mut process = folder
        .program("sh", ["-c", "trap 'echo asked; exit 7' TERM; tail -f /dev/null >/dev/null 2>&1 & echo up; wait"])
        .start();
    process.line("it is up", SOON, |line| line == "up").await;
    assert!(process.signal(Signal::TERM));
    let ended = process.ends(SOON).await;
    assert_eq!((ended.code(), ended.stdout().as_str()), (Some(7), "up\nasked\n"));
    assert!(!process.signal(Signal::TERM));
}

#[tokio::test]
#[should_panic(expected = "not ended within 50ms\n--- its output:\nstarted\n")]
async fn a_program_that_does_not_end_fails_the_test_with_what_it_printed() {
    let folder = Folder::new();
    let mut process = folder.program("sh", ["-c", "echo started; exec tail -f /dev/null"]).start();
    process.line("it starts", SOON, |line| line == "started").await;
    process.ends(Duration::from_millis(50)).await;
}

#[tokio::test]
#[should_panic(expected = "it says more: its output ended before")]
async fn a_line_that_cannot_come_any_more_is_not_waited_for() {
    let folder = Folder::new();
    let process = folder.program("echo", ["done"]).start();
    process.line("it says more", Duration::from_mins(1), |line| line == "more").await;
}

#[test]
fn what_could_name_a_store_is_kept_from_programs_and_nothing_else() {
    for name in ["DATABASE_URL", "HEADCOUNT_URL", "HEADCOUNT_TEST_POSTGRES", "PGHOST", "PGPASSWORD", "RUST_LOG"] {
        assert!(is_kept_from_programs(name.as_ref()), "{name}");
    }
    for name in ["PATH", "LANG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE", "TEST_PROCESS_TREE"] {
        assert!(!is_kept_from_programs(name.as_ref()), "{name}");
    }
}
