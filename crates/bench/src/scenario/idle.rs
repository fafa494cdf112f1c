//! A job now and then into an idle queue: how long it takes from the commit to the start of its handler.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use headcount_queue::{Context, Job, JobError, Outcome, Queue};
use headcount_worker::{Verbosity, Worker};
use serde::{Deserialize, Serialize};
use sqlx::Connection as _;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::{interval, timeout},
};

use crate::{
    figure::{Bar, Sample, Unit},
    stage::{Stage, millis},
};

const JOBS: usize = 500;
const EACH: Duration = Duration::from_millis(20);
/// As it is by default.
const POLL: Duration = Duration::from_millis(250);

/// How the jobs come in, and how the worker hears of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Listening,
    Foreign,
    Polling,
}

/// Says when it began.
#[derive(Debug, Serialize, Deserialize)]
struct Ping;

impl Job for Ping {
    const KIND: &'static str = "ping";
    const QUEUE: &'static str = "q";
    type State = Arc<UnboundedSender<Instant>>;

    async fn run(self, cx: &Context<Self::State>) -> Result<Outcome, JobError> {
        let _ = cx.state().send(Instant::now());
        Ok(Outcome::DONE)
    }
}

pub(super) async fn run(stage: &Stage) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (way, name) in
        [(Way::Listening, "LISTEN"), (Way::Foreign, "in the application's transaction"), (Way::Polling, "polling only")]
    {
        let mut delays = measure(stage, way).await?;
        delays.sort_by(f64::total_cmp);
        let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
        for (share, percentile, most) in [(0.5, "p50", Some(0.6)), (0.95, "p95", None), (0.99, "p99", Some(3.0))] {
            let mut sample = Sample::new(format!("{name}, {percentile}"), Unit::Milliseconds, at(share));
            sample.bar = most.filter(|_| way != Way::Polling).map(|most| Bar::AtMostWhereCommitsTake(most, 0.15));
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// The delays of jobs, in milliseconds.
async fn measure(stage: &Stage, way: Way) -> Result<Vec<f64>> {
    let mut field = stage.field().await?;
    let (started, mut starts) = unbounded_channel();
    // A store of its own, as in another process.
    let worker = Worker::builder(Queue::connect(&field.url).await?)
        .state(Arc::new(started))
        .handle::<Ping>()
        .queues("q")
        .listen(way != Way::Polling)
        .poll(POLL)
        .verbosity(Verbosity::Quiet)
        .build()?;
    let stopper = worker.stopper();
    let running = tokio::spawn(worker.run());

    let mut delays = Vec::new();
    let mut pace = interval(EACH);
    // Who only polls takes as long as a poll for each.
    let jobs = if way == Way::Polling { JOBS / 10 } else { JOBS };
    // The first finds a worker that is not asleep yet.
    for n in 0..=stage.many(jobs) {
        pace.tick().await;
        let committed = if way == Way::Foreign {
            let mut tx = field.sql.begin().await?;
            field.queue.enqueue_in(&mut *tx, Ping).await?;
            tx.commit().await?;
            Instant::now()
        } else {
            field.queue.enqueue(Ping).await?;
            Instant::now()
        };
        let start = timeout(Duration::from_secs(30), starts.recv()).await.context("a job has not started for 30 s")?;
        let start = start.context("the worker has ended")?;
        if n > 0 {
            delays.push(millis(start.saturating_duration_since(committed)));
        }
    }
    stopper.stop();
    running.await??;
    field.clear().await?;
    Ok(delays)
}
