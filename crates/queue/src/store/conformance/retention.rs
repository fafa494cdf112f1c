//! Success removes, failure stays; a retention says otherwise, and a purge carries it out.

use std::time::Duration;

use super::trial::{HOUR, Trial, eventually, failed, kept, plain, retry};
use crate::{Depth, NewJob, State, limits::INLINE_BYTES, store::Verdict};

const BRIEFLY: Duration = Duration::from_millis(1);

/// Purges until so many jobs have gone.
async fn until_purged(trial: &Trial<'_>, jobs: u64) {
    let mut gone = 0;
    eventually("what has expired is purged", async || {
        gone += trial.store.purge(100).await.expect("a purge passes");
        (gone >= jobs).then_some(())
    })
    .await;
    assert_eq!(gone, jobs);
}

/// Its row, what it had failed before, and its data: nothing is left but the counts.
pub async fn a_completed_job_is_gone_at_once_by_default(trial: &Trial<'_>) {
    let large = format!("\"{}\"", "x".repeat(10 * INLINE_BYTES));
    let id = trial.enqueue(NewJob::new("kind", large).queue("q")).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.settle(&job, retry(Duration::ZERO)).await;
    assert_eq!(trial.store.attempts(id).await.unwrap().len(), 1);
    trial.until_promoted(id).await;
    let job = worker.take_one().await;
    // An output that nobody asked to keep goes with it.
    worker.settle(&job, Verdict::Completed { output: Some("x".repeat(5000)), keep: Duration::ZERO }).await;
    assert_eq!(trial.find(id).await, None);
    assert_eq!(trial.store.attempts(id).await.unwrap(), []);
    let queue = trial.queue("q").await;
    assert_eq!((queue.depth, queue.flow.completed), (Depth::default(), 1));
}

/// It is shown with its output and its past for as long as it is kept, and then goes whole.
pub async fn a_kept_job_shows_its_output_until_it_is_purged(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    for job in worker.take(2).await {
        worker.settle(&job, retry(Duration::ZERO)).await;
        trial.until_promoted(job.id).await;
    }
    let claimed = worker.take(2).await;
    worker.settle(&claimed[0], kept("{\"width\": 7}")).await;
    worker.settle(&claimed[1], Verdict::Completed { output: Some("brief".into()), keep: BRIEFLY }).await;

    until_purged(trial, 1).await;
    assert_eq!(trial.find(claimed[1].id).await, None);
    assert_eq!(trial.store.attempts(claimed[1].id).await.unwrap(), []);
    assert_eq!(trial.store.purge(100).await.unwrap(), 0);
    let job = trial.job(claimed[0].id).await;
    assert_eq!((job.state, job.output.as_deref()), (State::Completed, Some("{\"width\": 7}")));
    assert_eq!(job.attempt, 2, "the attempt that completed it");
    assert!(job.finished_at.is_some());
    assert_eq!(trial.store.attempts(job.id).await.unwrap().len(), 1);
    assert_eq!(jobs.len(), 2);
    let queue = trial.queue("q").await;
    assert_eq!((queue.depth, queue.flow.completed), (Depth { completed: 1, ..Depth::default() }, 2));
    assert_eq!(trial.store.audit().await.unwrap(), []);
}

/// Outputs of every size come back as they were.
pub async fn an_output_of_any_size_is_kept_whole(trial: &Trial<'_>) {
    let mut worker = trial.worker("q").await;
    let outputs = [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, crate::limits::MAX_OUTPUT];
    for (bytes, large_payload) in outputs.into_iter().flat_map(|bytes| [(bytes, false), (bytes, true)]) {
        let payload = if large_payload { format!("\"{}\"", "p".repeat(5000)) } else { "{}".into() };
        let id = trial.enqueue(NewJob::new("kind", payload.clone()).queue("q")).await;
        let job = worker.take_one().await;
        let text = "größe\n\t\"'".repeat(bytes / 11 + 1);
        let output = crate::limits::head(&text, bytes);
        worker.settle(&job, kept(output)).await;
        let job = trial.job(id).await;
        assert_eq!(job.output.as_deref(), Some(output), "an output of {bytes} bytes");
        assert_eq!(job.payload.0, payload, "the payload beside an output of {bytes} bytes");
    }
    let id = trial.enqueue(plain("q")).await;
    let job = worker.take_one().await;
    worker.settle(&job, Verdict::Completed { output: None, keep: HOUR }).await;
    assert_eq!(trial.job(id).await.output, None, "no output is none");
}

/// Nothing purges a failed or cancelled job unless it was said that it may go.
pub async fn a_failed_job_stays_until_someone_decides(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    let job = worker.take_one().await;
    worker.settle(&job, failed()).await;
    trial.store.cancel(jobs[1]).await.unwrap();
    // Something does expire, so that the purge is seen to work.
    let brief = trial.enqueue(plain("q")).await;
    let job = worker.take_one().await;
    assert_eq!(job.id, brief);
    worker.settle(&job, Verdict::Completed { output: None, keep: BRIEFLY }).await;
    until_purged(trial, 1).await;
    trial.assert_state(jobs[0], State::Failed).await;
    trial.assert_state(jobs[1], State::Cancelled).await;
    assert_eq!(trial.job(jobs[0]).await.error.as_deref(), Some("it broke for good"));
}

/// A failure's own retention.
pub async fn a_failed_job_with_a_retention_is_purged_after_it(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    for (job, keep) in worker.take(2).await.iter().zip([BRIEFLY, HOUR]) {
        worker.settle(job, Verdict::Failed { error: "it broke".into(), keep: Some(keep) }).await;
        trial.assert_state(job.id, State::Failed).await;
    }
    until_purged(trial, 1).await;
    assert_eq!(trial.find(jobs[0]).await, None);
    assert_eq!(trial.store.attempts(jobs[0]).await.unwrap(), []);
    trial.assert_state(jobs[1], State::Failed).await;
    assert_eq!(trial.queue("q").await.depth.failed, 1);
    assert_eq!(trial.store.audit().await.unwrap(), []);
}

/// An expiry is the failure's, not the job's.
pub async fn a_job_retried_in_time_is_not_purged(trial: &Trial<'_>) {
    let jobs = trial.fill("q", 2).await;
    let mut worker = trial.worker("q").await;
    for job in worker.take(2).await {
        worker.settle(&job, Verdict::Failed { error: "it broke".into(), keep: Some(BRIEFLY) }).await;
    }
    trial.store.retry(jobs[0]).await.unwrap();
    until_purged(trial, 1).await;
    assert_eq!(trial.find(jobs[1]).await, None);
    trial.assert_state(jobs[0], State::Queued).await;
    // It fails again, this time to stay.
    let job = worker.take_one().await;
    worker.settle(&job, failed()).await;
    assert_eq!(trial.store.purge(100).await.unwrap(), 0);
    trial.assert_state(jobs[0], State::Failed).await;
}

/// A large purge goes in small steps.
pub async fn a_purge_takes_no_more_than_its_limit(trial: &Trial<'_>) {
    trial.fill("q", 5).await;
    let mut worker = trial.worker("q").await;
    for job in worker.take(5).await {
        worker.settle(&job, Verdict::Completed { output: None, keep: BRIEFLY }).await;
    }
    let all_expired = trial.now().await + BRIEFLY;
    trial.until_past(all_expired).await;
    let mut passes = Vec::new();
    for _ in 0..4 {
        passes.push(trial.store.purge(2).await.unwrap());
    }
    assert_eq!(passes, [2, 2, 1, 0]);
    assert_eq!(trial.jobs_of("q").await, []);
}
