//! Runs that are killed without a warning.

use std::{collections::BTreeSet, time::Duration};

use headcount_tests::{Database, Signal, eventually};
use rustix::process::{Pid, kill_process};

use crate::interrupted::Scene;

const SOON: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_run_whose_every_process_was_killed_is_finished_by_a_resume() {
    let scene = Scene::new(12);
    let mut run = scene.folder.headcount(scene.args()).stdin(scene.input()).start();
    scene.two_run().await;
    run.kill_tree();
    let ended = run.ends(SOON).await;
    scene.resume_finishes_what_was_left(&ended.stdout(), 2).await;
}

#[tokio::test]
async fn a_run_that_keeps_its_lines_in_postgres_is_finished_by_a_resume_too() {
    let database = Database::fresh().await;
    let scene = Scene::elsewhere(12, database.url());
    let mut run = scene.folder.headcount(scene.args()).stdin(scene.input()).start();
    scene.two_run().await;
    run.kill_tree();
    let ended = run.ends(SOON).await;
    let file = std::fs::read_to_string(scene.folder.path().join("data/headcount/runs/x/run.json")).unwrap();
    assert!(!file.contains(database.url()), "the password stays out of the folder: {file}");
    scene.resume_finishes_what_was_left(&ended.stdout(), 2).await;
}

#[tokio::test]
async fn workers_whose_supervisor_was_killed_end_by_themselves() {
    let scene = Scene::new(6);
    let mut run = scene.folder.headcount(scene.args()).stdin(scene.input()).start();
    scene.two_run().await;
    assert!(run.signal(Signal::KILL));
    let ended = run.ends(SOON).await;
    eventually("the workers are gone", SOON, async || {
        let tree = run.tree();
        if tree.is_empty() { Ok(()) } else { Err(tree) }
    })
    .await;
    scene.resume_finishes_what_was_left(&ended.stdout(), 2).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_is_replaced_and_its_line_runs_again() {
    let scene = Scene::new(6);
    let mut run = scene.folder.headcount(scene.args()).stdin(scene.input()).start();
    scene.two_run().await;
    let worker = run.tree().into_iter().find(|member| member.command.contains("--from-parent")).expect("a worker");
    let pid = Pid::from_raw(worker.pid as i32).expect("a process number");
    kill_process(pid, Signal::KILL).unwrap();
    scene.open_the_gate();
    let ended = run.ends(SOON).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
    assert_eq!(ended.stdout().lines().count(), 6, "{}", ended.stdout());
}

#[tokio::test]
async fn a_line_that_kills_its_worker_again_and_again_is_quarantined_and_none_of_its_neighbours_is() {
    let folder = headcount_tests::Folder::new();
    // Its parent is the worker. A second of the kind makes innocents of the first one's victims meet the other.
    let script = "case $1 in bomb*) kill -9 $PPID; sleep 100;; *) sleep 0.1; echo $1;; esac";
    let input: String = (0..100).map(|i| if i % 50 == 25 { format!("bomb{i}\n") } else { format!("{i}\n") }).collect();
    let args = ["run", "--name", "x", "--max", "2", "--slots", "8", "--", "sh", "-c", script, "sh", "{}"];
    let mut run = folder.headcount(args).stdin(input).start();
    let ended = run.ends(Duration::from_mins(3)).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr());
    let stderr = ended.stderr();
    assert!(stderr.contains("2 of 100 lines failed"), "{stderr}");
    for bomb in ["failed: bomb25: quarantined", "failed: bomb75: quarantined"] {
        assert!(stderr.contains(bomb), "{stderr}");
    }
    let stdout = ended.stdout();
    let printed: BTreeSet<&str> = stdout.lines().collect();
    assert_eq!(printed.len(), 98);
}
