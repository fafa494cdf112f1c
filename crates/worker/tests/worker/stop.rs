//! How a worker ends: told to, or by itself.

use std::time::Duration;

use headcount_queue::{Job, JobId, Queue, State, Stop};
use headcount_worker::Exit;

use crate::stage::{
    Act, Event, Hired, Sample, Stage, add, beats, hire, memory, no_workers, until_gone, until_state, worker,
};

const GRACE: Duration = Duration::from_millis(1200);

#[tokio::test]
async fn an_idle_worker_is_gone_at_once_and_off_the_books() {
    for poll in [Duration::from_millis(20), Duration::from_hours(1)] {
        let (queue, stage) = (memory().await, Stage::new());
        let hired = hire(worker(&queue, &stage).poll(poll).grace(Duration::from_secs(25)));
        let id = add(&queue, Act::Done).await;
        until_gone(&queue, id).await;
        hired.stopper.stop();
        let (exit, took) = hired.end().await;
        assert_eq!(exit, Exit::Stopped);
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert!(no_workers(&queue).await);
    }
}

#[tokio::test]
async fn a_stopped_worker_is_out_within_its_grace_and_gives_unfinished_jobs_back_with_no_attempt_spent() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).grace(GRACE).slots(3));
    let (hangs, obeys) = (add(&queue, Act::Hang).await, add(&queue, Act::Obey).await);
    let ends = add(&queue, Act::Gate).await;
    for id in [hangs, obeys, ends] {
        stage.started(id).await;
    }
    let waits = add(&queue, Act::Done).await;
    hired.stopper.stop();
    stage.until("the handler is told", |stage| stage.count_of(obeys, Event::Told(Stop::Stopping)) == 1).await;
    stage.gate.add_permits(1);
    let (exit, took) = hired.end().await;
    assert_eq!(exit, Exit::Forced { given_back: 1 });
    assert!(took < GRACE, "{took:?}");

    let record = queue.job(hangs).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt, record.interruptions), (State::Queued, 0, 1));
    assert_eq!(stage.count_of(hangs, Event::Dropped), 1);
    let record = queue.job(obeys).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt, record.interruptions), (State::Queued, 0, 1), "it ended as it was told");
    assert_eq!(queue.job(ends).await.unwrap(), None, "it finished within the grace");
    let record = queue.job(waits).await.unwrap().unwrap();
    assert_eq!(
        (record.state, record.interruptions),
        (State::Queued, 0),
        "it was never claimed, or went back uncounted"
    );
    assert_eq!(stage.count_of(waits, Event::Started), 0, "nothing starts after a stop");
    assert!(no_workers(&queue).await);
}

/// A worker with one slot that has found jobs to be short, and has therefore claimed one that is not with 20 others.
async fn surprised(queue: &Queue, stage: &Stage) -> (Hired, JobId, Vec<JobId>) {
    let hired = hire(worker(queue, stage).slots(1));
    let short = || std::iter::repeat_with(|| Sample { act: Act::Done }).take(20);
    queue.enqueue_all(short()).await.unwrap();
    stage.until("short jobs are run", |stage| stage.count(Event::Ended) == 20).await;
    let jobs = queue.enqueue_all(std::iter::once(Sample { act: Act::Gate }).chain(short())).await.unwrap();
    stage.started(jobs[0].id).await;
    (hired, jobs[0].id, jobs[1..].iter().map(|job| job.id).collect())
}

#[tokio::test]
async fn what_a_stopped_worker_had_claimed_and_not_started_goes_back_uncounted() {
    let (queue, stage) = (memory().await, Stage::new());
    let (hired, long, waiting) = surprised(&queue, &stage).await;
    assert!(queue.job(waiting[0]).await.unwrap().is_some_and(|job| job.state == State::Running), "it was claimed");
    hired.stopper.stop();
    stage.gate.add_permits(1);
    assert_eq!(hired.end().await.0, Exit::Stopped);
    assert_eq!(queue.job(long).await.unwrap(), None);
    for id in waiting {
        let record = queue.job(id).await.unwrap().unwrap();
        assert_eq!((record.state, record.attempt, record.interruptions), (State::Queued, 0, 0));
        assert_eq!(stage.count_of(id, Event::Started), 0);
    }
}

#[tokio::test]
async fn a_job_that_takes_unexpectedly_long_does_not_hold_back_what_was_claimed_with_it() {
    let (queue, stage) = (memory().await, Stage::new());
    let (hired, long, waiting) = surprised(&queue, &stage).await;
    let other = hire(worker(&queue, &stage).slots(1));
    for id in waiting {
        until_gone(&queue, id).await;
    }
    assert_eq!(stage.count_of(long, Event::Ended), 0);
    stage.gate.add_permits(1);
    assert_eq!(hired.stop().await, Exit::Stopped);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_does_not_keep_its_worker_beyond_the_grace() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).grace(GRACE));
    let id = add(&queue, Act::Block(Duration::from_millis(2500))).await;
    stage.started(id).await;
    hired.stopper.stop();
    let (exit, took) = hired.end().await;
    assert_eq!(exit, Exit::Forced { given_back: 1 });
    assert!(took < GRACE, "{took:?}");
    assert_eq!(queue.job(id).await.unwrap().unwrap().state, State::Queued);
}

#[tokio::test]
async fn a_finishing_worker_waits_for_what_runs_and_can_still_be_stopped_harder() {
    let (queue, stage) = (memory().await, Stage::new());
    let hired = hire(worker(&queue, &stage).grace(Duration::from_millis(1)));
    let id = add(&queue, Act::Gate).await;
    stage.started(id).await;
    hired.stopper.finish();
    let waits = add(&queue, Act::Done).await;
    assert!(hired.is_running());
    stage.gate.add_permits(1);
    assert_eq!(hired.end().await.0, Exit::Stopped);
    assert_eq!(queue.job(id).await.unwrap(), None);
    assert_eq!(queue.job(waits).await.unwrap().unwrap().state, State::Queued);

    let hired = hire(worker(&queue, &stage));
    let id = add(&queue, Act::Hang).await;
    stage.started(id).await;
    hired.stopper.finish();
    hired.stopper.stop_now();
    let (exit, took) = hired.end().await;
    assert_eq!(exit, Exit::Forced { given_back: 1 });
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_worker_told_to_exit_when_empty_waits_for_jobs_that_run_elsewhere() {
    let (queue, stage) = (memory().await, Stage::new());
    let elsewhere = hire(worker(&queue, &stage));
    let id = add(&queue, Act::Gate).await;
    stage.started(id).await;
    let waiting = hire(worker(&queue, &stage).exit_if_empty(true));
    beats(&queue, 3).await;
    assert!(waiting.is_running(), "a job runs elsewhere");
    stage.gate.add_permits(1);
    assert_eq!(waiting.end().await.0, Exit::Done);
    assert_eq!(queue.job(id).await.unwrap(), None);
    assert!(elsewhere.is_running());
    elsewhere.stop().await;
}

#[tokio::test]
async fn a_worker_told_to_exit_when_empty_does_not_wait_for_jobs_that_are_due_later() {
    let (queue, stage) = (memory().await, Stage::new());
    let later = queue.enqueue(Sample { act: Act::Done }.job().delay(Duration::from_mins(10))).await.unwrap().id;
    let now: Vec<JobId> = crate::stage::all((0..100).map(|_| add(&queue, Act::Done))).await;
    assert_eq!(hire(worker(&queue, &stage).exit_if_empty(true)).end().await.0, Exit::Done);
    for id in now {
        assert_eq!((stage.count_of(id, Event::Ended), queue.job(id).await.unwrap()), (1, None));
    }
    assert_eq!(queue.job(later).await.unwrap().unwrap().state, State::Scheduled);
}

#[tokio::test]
async fn a_worker_told_to_exit_after_some_attempts_starts_no_more() {
    let (queue, stage) = (memory().await, Stage::new());
    for _ in 0..5 {
        add(&queue, Act::Done).await;
    }
    assert_eq!(hire(worker(&queue, &stage).exit_after(3)).end().await.0, Exit::Done);
    assert_eq!(stage.count(Event::Started), 3);
    let jobs = queue.store().jobs(&headcount_queue::store::Filter::default(), 10).await.unwrap();
    assert!(jobs.len() == 2 && jobs.iter().all(|job| job.state == State::Queued && job.interruptions == 0), "{jobs:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_workers_options_is_said_when_it_is_built() {
    let (queue, stage) = (memory().await, Stage::new());
    let base = || worker(&queue, &stage);
    for (builder, why) in [
        (base().slots(0), "slots"),
        (base().queues("a b"), "not allowed"),
        (base().poll(Duration::ZERO), "poll interval is zero"),
        (base().beat(Duration::from_secs(2)), "at least three times"),
        (base().exit_after(0), "never start one"),
        (base().nice(20), "-20 to 19"),
        (base().age_priorities(Duration::ZERO), "priorities age is zero"),
        (base().pool("a,b"), "pool"),
        (base().handle::<Sample>(), "\"sample\""),
        (base().grace(Duration::MAX), "ten years"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(headcount_worker::Worker::builder(queue.clone()).build().is_err());
}

#[tokio::test]
async fn a_worker_serves_its_queues_and_no_other() {
    let (queue, stage) = (memory().await, Stage::new());
    let put = |name: &'static str| queue.enqueue(Sample { act: Act::Done }.job().queue(name));
    let (mail, media) = (put("mail").await.unwrap().id, put("media").await.unwrap().id);
    let (other, private) = (put("other").await.unwrap().id, put("run:x").await.unwrap().id);
    let exit = worker(&queue, &stage).queues(" media, mail,,media ").exit_if_empty(true).run().await.unwrap();
    assert_eq!(exit, Exit::Done);
    let mut ran: Vec<JobId> = stage.events().into_iter().filter(|e| e.1 == Event::Started).map(|e| e.0).collect();
    ran.sort();
    assert_eq!(ran, [mail, media]);
    worker(&queue, &stage).exit_if_empty(true).run().await.unwrap();
    assert_eq!(stage.count_of(other, Event::Ended), 1);
    until_state(&queue, private, State::Queued).await;
    assert_eq!(stage.count_of(private, Event::Started), 0, "a private queue is not among any");
}
