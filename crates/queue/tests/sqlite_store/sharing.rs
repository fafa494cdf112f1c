//! One file for many handles, in one process and in several.

use std::{
    collections::HashSet,
    path::Path,
    process::{Command, Stdio},
};

use headcount_queue::{
    JobId,
    store::{Beat, BootId, Claim, Enqueue, Maintain, Observe},
};

use crate::ground::{bulk, open, work_off, worker, worker_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_handles_on_one_file_claim_each_job_once_and_none_sees_it_busy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    // All open at once, on a file that is not there yet.
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..4 {
        let path = path.clone();
        tasks.spawn(async move {
            let store = open(&path).await;
            for _ in 0..10 {
                store.enqueue(&bulk(25)).await.unwrap();
            }
            let heart = store.heart().await.unwrap();
            let mut claimer = worker(&*heart).await;
            work_off(&mut claimer, 3 + i).await
        });
    }
    let mut seen: Vec<JobId> = tasks.join_all().await.concat();
    // Whoever came last may have found nothing left for a moment before another's bulk; this one takes the rest.
    let store = open(&path).await;
    let mut claimer = worker(&store).await;
    seen.extend(work_off(&mut claimer, 100).await);
    let ids: HashSet<JobId> = seen.iter().copied().collect();
    assert_eq!((seen.len(), ids.len()), (1000, 1000));
    assert_eq!(store.audit().await.unwrap(), []);
}

const FILE: &str = "HEADCOUNT_TEST_FILE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_a_file_claim_each_job_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    store.enqueue(&bulk(600)).await.unwrap();
    let this = std::env::current_exe().unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(&this)
                .args(["--ignored", "--exact", "sharing::a_process_that_works_off_a_file", "--nocapture"])
                .env(FILE, &path)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seen = Vec::new();
    for child in children {
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let claimed: Vec<i64> = text.lines().filter_map(|line| line.strip_prefix("claimed ")?.parse().ok()).collect();
        seen.extend(claimed);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=600).collect::<Vec<_>>());
    assert_eq!(store.audit().await.unwrap(), []);
}

/// The other processes of the test above.
#[tokio::test]
#[ignore = "is started by another test"]
async fn a_process_that_works_off_a_file() {
    #[expect(clippy::disallowed_methods, reason = "how a test speaks to its own child")]
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = open(Path::new(&path)).await;
    let mut claimer = worker(&store).await;
    println!();
    for id in work_off(&mut claimer, 3).await {
        println!("claimed {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_does_not_stand_in_the_queue_of_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("jobs.db")).await;
    let boot = BootId::random();
    worker_of(&store, boot).await;
    let heart = store.heart().await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let store = store.clone();
        calls.spawn(async move { store.enqueue(&bulk(1000)).await.map(drop) });
    }
    // All of them wait for the process's writer once the first one has it.
    calls.join_next().await.unwrap().unwrap().unwrap();
    heart.beat(&Beat { boot, holds: Vec::new(), started: Vec::new(), through: 0, grace: None }).await.unwrap();
    let ready = store.queues().await.unwrap()[0].depth.ready;
    assert!(ready < 50_000, "the beat came after {ready} jobs");
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap();
    }
}
