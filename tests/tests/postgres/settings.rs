//! What is set for queues and kinds, and what becomes of jobs whose kind is paused.

use std::time::Duration;

use headcount_queue::{
    NewJob, Retention,
    store::{Admin, Enqueue, Maintain, Observe, Setting, Target},
};
use headcount_tests::{Database, eventually};
use sqlx::Executor;

use super::ground::{COMPLETED, Worker, end, number, open};

fn job(kind: &str) -> NewJob {
    NewJob::new(kind, "{}").queue("q")
}

#[tokio::test]
async fn a_resumed_kinds_jobs_come_back_into_their_places() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let mut worker = Worker::new(&store, "q").await;
    let all = [job("slow"), job("quick"), job("slow"), job("quick"), job("quick")];
    let ids: Vec<_> = store.enqueue(&all).await.unwrap().into_iter().map(|enqueued| enqueued.id).collect();
    let slow = Target::Kind("slow".into());
    store.set(&slow, Setting::Paused(true)).await.unwrap();

    // At once, and before maintenance has looked.
    let claimed = worker.next(&[], 2).await.jobs;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[1], ids[3]]);
    assert_eq!(store.release(100).await.unwrap(), 0);
    for id in [ids[0], ids[2]] {
        assert_eq!(store.job(id).await.unwrap().unwrap().reason.as_deref(), Some("paused"));
    }
    store.fold().await.unwrap();
    let depth = store.queues().await.unwrap()[0].depth;
    assert_eq!((depth.ready, depth.held, depth.suspects, depth.running), (1, 2, 0, 2));

    store.set(&slow, Setting::Paused(false)).await.unwrap();
    let claimed = worker.next(&end(&claimed, &COMPLETED), 5).await.jobs;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[0], ids[2], ids[4]]);
    assert!(store.audit().await.unwrap().is_empty());
}

/// The hold of one process commits after another has resumed the kind.
#[tokio::test]
async fn a_job_held_beside_a_resume_is_brought_back_by_maintenance() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let id = store.enqueue(&[job("slow")]).await.unwrap()[0].id;
    let slow = Target::Kind("slow".into());
    store.set(&slow, Setting::Paused(true)).await.unwrap();
    store.release(100).await.unwrap();
    let mut connection = database.connect().await;
    connection.execute("UPDATE headcount.kind SET paused = false").await.unwrap();
    assert_eq!(store.job(id).await.unwrap().unwrap().reason.as_deref(), Some("paused"));
    assert_eq!(store.release(100).await.unwrap(), 1);
    assert_eq!(store.job(id).await.unwrap().unwrap().reason, None);
}

#[tokio::test]
async fn a_hold_waits_for_nobody_and_takes_no_more_than_it_may() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    store.enqueue(&vec![job("slow"); 5]).await.unwrap();
    store.set(&Target::Kind("slow".into()), Setting::Paused(true)).await.unwrap();
    let mut other = database.connect().await;
    let lock = "BEGIN; SELECT FROM headcount.ready WHERE id = (SELECT min(id) FROM headcount.ready) FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    store.release(3).await.unwrap();
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.held").await, 3);
    store.fold().await.unwrap();
    store.release(3).await.unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM headcount.held").await, 4, "by the folded counters, too");
}

#[tokio::test]
async fn a_kinds_retention_stands_above_its_queues_and_a_jobs_own_above_both() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let keep = |secs| Retention { completed: Duration::from_secs(secs), failed: None };
    let mut worker = Worker::new(&store, "q").await;
    store.set(&Target::Queue("q".into()), Setting::Retention(Some(keep(1)))).await.unwrap();
    store.set(&Target::Kind("kept".into()), Setting::Retention(Some(keep(2)))).await.unwrap();
    store.enqueue(&[job("other"), job("kept"), job("kept").retention(keep(3))]).await.unwrap();
    let kept: Vec<_> = worker.next(&[], 5).await.jobs.iter().map(|job| job.retention).collect();
    assert_eq!(kept, [Some(keep(1)), Some(keep(2)), Some(keep(3))]);

    // Another process hears of it in time.
    let far = open(&database, 2);
    far.set(&Target::Kind("kept".into()), Setting::Retention(None)).await.unwrap();
    eventually("the setting is known", Duration::from_secs(15), async || {
        store.enqueue(&[job("kept")]).await.unwrap();
        let kept = worker.next(&[], 1).await.jobs[0].retention;
        if kept == Some(keep(1)) { Ok(()) } else { Err(kept) }
    })
    .await;
}

#[tokio::test]
async fn one_setting_leaves_the_others_as_they_are() {
    let database = Database::fresh().await;
    let store = open(&database, 2);
    let (queue, kind) = (Target::Queue("q".into()), Target::Kind("k".into()));
    let keep = Retention { completed: Duration::from_secs(7), failed: Some(Duration::ZERO) };
    let within = Duration::from_millis(2500);
    store.set(&queue, Setting::Retention(Some(keep))).await.unwrap();
    store.set(&queue, Setting::StartWithin(Some(within))).await.unwrap();
    store.set(&queue, Setting::Paused(true)).await.unwrap();
    store.set(&kind, Setting::Retention(Some(Retention::DEFAULT))).await.unwrap();
    let all = store.settings().await.unwrap();
    assert_eq!((&all[0].target, all[0].paused, all[0].retention), (&queue, true, Some(keep)));
    assert_eq!(all[0].start_within, Some(within));
    assert_eq!((&all[1].target, all[1].paused, all[1].retention), (&kind, false, Some(Retention::DEFAULT)));
    store.set(&queue, Setting::Paused(false)).await.unwrap();
    store.set(&queue, Setting::StartWithin(None)).await.unwrap();
    store.set(&queue, Setting::Retention(None)).await.unwrap();
    store.set(&kind, Setting::Retention(None)).await.unwrap();
    assert_eq!(store.settings().await.unwrap(), []);
    store.set(&kind, Setting::StartWithin(None)).await.unwrap_err();
}
