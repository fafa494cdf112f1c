//! A job from its enqueue to its end, where numbers, parts and times are this store's own.

use std::time::Duration;

use headcount_queue::{
    Binding, Coalesce, Conflict, Error, JobId, NewJob, State,
    store::{
        Admin, Admission, Cancel, Enqueue, Enqueued, Filter, Maintain, Observe, Setting, Settlement, Target, Verdict,
        Want,
    },
};

use crate::ground::{bulk, completed, connect, memory, open, want, work_off, worker};

#[tokio::test]
async fn a_job_goes_through_its_life_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("jobs.db")).await;
    let long = format!("\"{}\"", "ü\\n".repeat(2000));
    let jobs = [NewJob::new("k", "{ \"a\" : 1 }").meta("[1]"), NewJob::new("k", &*long)];
    let ids: Vec<JobId> = store.enqueue(&jobs).await.unwrap().iter().map(|e| e.id).collect();
    assert_eq!(ids, [JobId(1), JobId(2)]);
    let record = store.job(JobId(2)).await.unwrap().unwrap();
    assert_eq!((record.state, &*record.payload.0), (State::Queued, &*long));

    let mut claimer = worker(&store).await;
    let jobs = claimer.next(&[], want(1, 10)).await.unwrap().jobs;
    assert_eq!(jobs.iter().map(|job| &*job.payload).collect::<Vec<_>>(), ["{ \"a\" : 1 }", &long]);
    assert_eq!(store.job(JobId(1)).await.unwrap().unwrap().state, State::Running);
    let settled: Vec<_> = jobs.iter().map(|job| completed(job.id, job.token)).collect();
    assert!(claimer.next(&settled, want(2, 10)).await.unwrap().jobs.is_empty());
    assert!(store.jobs(&Filter::default(), 10).await.unwrap().is_empty());
    assert!(store.outstanding(&Binding::Any).await.unwrap().is_empty());
    let queue = store.queues().await.unwrap().remove(0);
    assert_eq!((queue.flow.arrived, queue.flow.started, queue.flow.completed), (2, 2, 2));
    assert_eq!(store.audit().await.unwrap(), []);

    let mut raw = connect(&dir.path().join("jobs.db")).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM body").fetch_one(&mut raw).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_id_is_never_used_again_even_when_the_highest_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    let last = store.enqueue(&bulk(3)).await.unwrap()[2].id;
    store.delete(last).await.unwrap();
    drop(store);
    let store = open(&path).await;
    assert_eq!(store.enqueue(&bulk(1)).await.unwrap()[0].id, JobId(last.0 + 1));
}

#[tokio::test]
async fn a_bulk_keeps_its_order_and_spans_parts() {
    let store = memory().await;
    let ids: Vec<i64> = store.enqueue(&bulk(2500)).await.unwrap().iter().map(|e| e.id.0).collect();
    assert_eq!(ids, (1..=2500).collect::<Vec<_>>());
    let mut claimer = worker(&store).await;
    let order: Vec<i64> = work_off(&mut claimer, 70).await.iter().map(|id| id.0).collect();
    assert_eq!(order, ids);
}

#[tokio::test]
async fn a_cancel_reaches_a_waiting_job_at_once_and_a_running_one_by_its_worker() {
    let store = memory().await;
    store.enqueue(&bulk(2)).await.unwrap();
    let mut claimer = worker(&store).await;
    let job = claimer.next(&[], want(1, 1)).await.unwrap().jobs.remove(0);
    assert_eq!(store.cancel(JobId(2)).await.unwrap(), Cancel::Done);
    assert_eq!(store.cancel(job.id).await.unwrap(), Cancel::Asked);
    let verdict = Verdict::Return;
    let settled = [Settlement { id: job.id, token: job.token, verdict, ran: Duration::ZERO }];
    claimer.next(&settled, want(2, 1)).await.unwrap();
    for id in [JobId(1), JobId(2)] {
        assert_eq!(store.job(id).await.unwrap().unwrap().state, State::Cancelled);
        store.retry(id).await.unwrap();
    }
    assert_eq!(work_off(&mut claimer, 5).await, [JobId(1), JobId(2)]);
    assert!(matches!(store.cancel(JobId(1)).await, Err(Error::NotFound(JobId(1)))));
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_put_off_suspect_or_paused_job_does_not_run_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = open(&path).await;
    let rule = Coalesce { conflict: Conflict::Replace, ..Coalesce::DEFAULT };
    let job = |key: &str| NewJob::new("k", "1").key(key).coalesce(rule);
    let ids = store.enqueue(&[job("suspect"), job("paused")]).await.unwrap();
    let mut raw = connect(&path).await;
    // As a death would have it.
    for statement in [
        "INSERT INTO held SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts,
            interruptions, 2, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, 'suspect',
            NULL FROM ready WHERE id = 1",
        "DELETE FROM ready WHERE id = 1",
        "UPDATE queue_state SET ready = 1, held = 1, suspects = 1",
    ] {
        sqlx::query(statement).execute(&mut raw).await.unwrap();
    }
    let kind = Target::Kind("k".into());
    store.set(&kind, Setting::Paused(true)).await.unwrap();
    let later = [job("suspect").delay(Duration::from_hours(1)), job("paused").delay(Duration::from_hours(1))];
    assert_eq!(
        store.enqueue(&later).await.unwrap(),
        ids.iter().map(|e| Enqueued::coalesced(e.id, Admission::Replaced)).collect::<Vec<_>>()
    );
    store.set(&kind, Setting::Paused(false)).await.unwrap();
    let reasons = async || {
        let jobs = store.jobs(&Filter::default(), 9).await.unwrap();
        jobs.into_iter().map(|job| (job.state, job.reason)).collect::<Vec<_>>()
    };
    assert_eq!(reasons().await, [(State::Queued, Some("suspect".into())), (State::Scheduled, None)]);
    let mut claimer = worker(&store).await;
    let alone = Want { claim: 1, jobs: 9, alone: true, sweep: true, ..Want::default() };
    assert_eq!(claimer.next(&[], alone).await.unwrap().jobs, []);
    assert_eq!(store.audit().await.unwrap(), []);
}
