//! A worker whose handler is a program.

use std::{sync::Arc, time::Duration};

use headcount_queue::{Job, NewJob, Queue, State};
use headcount_worker::{
    Builder, Exit, Worker,
    exec::{Exec, ExecConfig},
};

use crate::{
    common::eventually,
    stage::{Act, Sample, hire, memory, until_state},
};

fn worker(queue: &Queue, script: &str) -> Builder<()> {
    let config = ExecConfig { grace: Duration::from_millis(200), ..ExecConfig::new("/bin/sh", ["-c", script]) };
    Worker::builder(queue.clone()).handle_any(Arc::new(Exec::new(config))).poll(Duration::from_millis(20))
}

#[tokio::test]
async fn a_broken_environment_gives_the_job_back_at_no_cost_and_ends_the_worker() {
    let queue = memory().await;
    let id = queue.enqueue(NewJob::new("any", "{}")).await.unwrap().id;
    let exit = hire(worker(&queue, "exec no-such-program")).end().await.0;
    assert!(matches!(&exit, Exit::BrokenEnvironment(why) if why.contains("no-such-program")), "{exit:?}");
    let record = queue.job(id).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt, record.interruptions), (State::Queued, 0, 0));
}

#[tokio::test]
async fn a_program_that_times_out_is_ended_and_its_attempt_fails() {
    let queue = memory().await;
    let folder = tempfile::tempdir().unwrap();
    let ended = folder.path().join("ended");
    let script = format!("trap 'echo > {}; exit 0' TERM; while :; do sleep 0.01; done", ended.display());
    let hired = hire(worker(&queue, &script));
    let job = NewJob::new("any", "{}").timeout(Duration::from_millis(100)).max_attempts(1);
    let id = queue.enqueue(job).await.unwrap().id;
    let record = until_state(&queue, id, State::Failed).await;
    assert_eq!(record.error.as_deref(), Some("timed out after 100ms"));
    eventually("it had its TERM", || async { ended.exists().then_some(()) }).await;
    assert_eq!(hired.stop().await, Exit::Stopped);
}

#[tokio::test]
async fn programs_are_gone_before_a_stopping_worker_gives_their_jobs_back() {
    let queue = memory().await;
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; trap '' TERM; while :; do sleep 1; done", pid.display());
    let hired = hire(worker(&queue, &script).grace(Duration::from_secs(2)));
    let id = queue.enqueue(Sample { act: Act::Done }.job()).await.unwrap().id;
    eventually("the program starts", || async { pid.exists().then_some(()) }).await;
    hired.stopper.stop();
    assert_eq!(hired.end().await.0, Exit::Forced { given_back: 1 });
    let process = std::fs::read_to_string(&pid).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    assert_eq!(queue.job(id).await.unwrap().unwrap().state, State::Queued);
}
