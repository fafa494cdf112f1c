//! How an attempt ends, and what that makes of its job.

use std::time::Duration;

use headcount_queue::{AttemptOutcome, Backoff, Job, NewJob, Retention, State, limits::MAX_OUTPUT};
use headcount_worker::Exit;

use crate::stage::{Act, Event, Sample, Stage, add, hire, memory, until, until_gone, until_state, worker};

fn job(act: Act) -> NewJob {
    Sample { act }.job().max_attempts(1)
}

#[tokio::test]
async fn a_completed_job_is_gone_and_one_with_retention_shows_its_output_cut_to_what_is_kept() {
    let (queue, stage) = (memory().await, Stage::new());
    let gone = add(&queue, Act::Done).await;
    let kept = Retention { completed: Duration::from_mins(10), failed: None };
    let shown = queue.enqueue(job(Act::Say(MAX_OUTPUT)).retention(kept)).await.unwrap().id;
    let exit = worker(&queue, &stage).exit_if_empty(true).run().await.unwrap();
    assert_eq!(exit, Exit::Done);
    assert_eq!(queue.job(gone).await.unwrap(), None);
    let record = queue.job(shown).await.unwrap().unwrap();
    assert_eq!(record.state, State::Completed);
    let output = record.output.unwrap();
    assert!(output.starts_with("a\u{fffd}x") && output.len() == MAX_OUTPUT);
}

#[tokio::test]
async fn failures_and_panics_fail_their_attempt_with_their_message_and_the_worker_lives() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    for (act, error) in
        [(Act::Fail, "out of luck"), (Act::Fatal, "no such image"), (Act::Panic, "panicked: divided by zero")]
    {
        let id = queue.enqueue(job(act)).await.unwrap().id;
        let record = until_state(&queue, id, State::Failed).await;
        assert_eq!((record.error.as_deref(), record.attempt), (Some(error), 1));
    }
    let id = add(&queue, Act::Done).await;
    until_gone(&queue, id).await;
    assert_eq!(hired.stop().await, Exit::Stopped);
}

#[tokio::test]
async fn a_fatal_failure_spends_no_further_attempts() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let id = add(&queue, Act::Fatal).await;
    until_state(&queue, id, State::Failed).await;
    assert_eq!(stage.count_of(id, Event::Started), 1);
    hired.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_after_its_wait_until_it_succeeds() {
    let (queue, stage) = (memory().await, Stage::new());
    let kept = Retention { completed: Duration::from_mins(10), failed: None };
    let job = Sample { act: Act::FailUntil(3) }.job().retention(kept);
    let id = queue.enqueue(job.backoff(Backoff::fixed(Duration::from_millis(10)))).await.unwrap().id;
    let hired = hire(worker(&queue, &stage));
    until_state(&queue, id, State::Completed).await;
    let attempts = queue.store().attempts(id).await.unwrap();
    let seen: Vec<_> = attempts.iter().map(|a| (a.attempt, a.outcome, a.error.as_str())).collect();
    assert_eq!(seen, [(1, AttemptOutcome::Failed, "out of luck"), (2, AttemptOutcome::Failed, "out of luck")]);
    hired.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_waits_with_its_error_shown_and_its_attempt_spent() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let id = add(&queue, Act::Fail).await;
    let record = until_state(&queue, id, State::Scheduled).await;
    assert_eq!((record.error.as_deref(), record.attempt), (Some("out of luck"), 1));
    hired.stop().await;
}

#[tokio::test]
async fn a_payload_that_does_not_decode_fails_its_job_for_good_and_stays_byte_for_byte() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let payload = "{ \"act\" : \"Juggle\",\t\"n\": 1.0 }";
    let id = queue.enqueue(NewJob::new("sample", payload)).await.unwrap().id;
    let record = until_state(&queue, id, State::Failed).await;
    assert_eq!((record.payload.0.as_str(), record.attempt), (payload, 1));
    let error = record.error.unwrap();
    assert!(error.contains("does not decode as sample") && error.contains("Juggle"), "{error}");
    hired.stop().await;
}

#[tokio::test]
async fn a_kind_that_this_worker_does_not_know_goes_back_with_a_wait_and_no_attempt_spent() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let id = queue.enqueue(NewJob::new("juggle", "{}")).await.unwrap().id;
    let record = until_state(&queue, id, State::Scheduled).await;
    assert_eq!(record.attempt, 0);
    assert!(record.run_at >= record.enqueued_at + Duration::from_secs(10), "it waits for another release");
    let error = record.error.unwrap();
    assert!(error.contains("\"juggle\"") && error.contains("start a worker that does"), "{error}");
    hired.stop().await;
}

#[tokio::test]
async fn an_attempt_that_outlasts_its_timeout_is_dropped_and_fails() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let id = queue.enqueue(job(Act::Hang).timeout(Duration::from_millis(50))).await.unwrap().id;
    let record = until_state(&queue, id, State::Failed).await;
    assert_eq!(record.error.as_deref(), Some("timed out after 50ms"));
    stage.until("the handler is dropped", |stage| stage.count_of(id, Event::Dropped) == 1).await;
    hired.stop().await;
}

#[tokio::test]
async fn an_attempt_past_its_maximum_run_time_is_queued_again_without_spending_it() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let id = queue.enqueue(job(Act::Hang).max_run_time(Duration::from_millis(50))).await.unwrap().id;
    let record = until(&queue, id, "it is interrupted", |record| record.interruptions >= 2).await;
    assert!(matches!(record.state, State::Queued | State::Running), "{record:?}");
    let attempts = queue.store().attempts(id).await.unwrap();
    assert!(attempts.iter().all(|a| a.outcome == AttemptOutcome::Interrupted && a.attempt == 1), "{attempts:?}");
    assert!(attempts[0].error.contains("50ms"), "{attempts:?}");
    hired.stopper.stop_now();
    hired.end().await;
}

#[tokio::test]
async fn a_snoozed_job_comes_later_with_no_attempt_spent() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage));
    let id = queue.enqueue(job(Act::Snooze(Duration::from_mins(10)))).await.unwrap().id;
    let record = until_state(&queue, id, State::Scheduled).await;
    assert_eq!(record.attempt, 0);
    assert!(record.run_at > record.enqueued_at + Duration::from_secs(500));
    hired.stop().await;
}

#[tokio::test]
async fn a_job_that_falls_due_is_run_by_the_worker_that_promotes_it() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).poll(Duration::from_millis(50)));
    let id = queue.enqueue(job(Act::Done).delay(Duration::from_millis(120))).await.unwrap().id;
    stage.started(id).await;
    until_gone(&queue, id).await;
    hired.stop().await;
}

#[tokio::test]
async fn an_enqueue_in_the_workers_own_process_does_not_wait_for_the_poll() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).poll(Duration::from_hours(1)));
    for _ in 0..50 {
        let id = add(&queue, Act::Done).await;
        until_gone(&queue, id).await;
    }
    assert_eq!(hired.stop().await, Exit::Stopped);
}
