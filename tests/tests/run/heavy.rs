//! Runs that are killed without a warning.

use std::time::Duration;

use headcount_tests::{Signal, eventually};
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
