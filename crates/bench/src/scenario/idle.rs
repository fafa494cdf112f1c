//! A job now and then into an idle queue: how long it takes from the commit to the start of its handler.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use headcount_queue::{Context, Job, JobError, Outcome, Queue};
use headcount_worker::{Verbosity, Worker};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    figure::{Bar, Sample, Unit},
    stage::{Site, Stage, millis},
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
        let mut field = stage.field().await?;
        let beside = (way == Way::Foreign).then_some(&mut field.sql);
        let delays = delays(stage, &field.site, way != Way::Polling, beside).await?;
        field.clear().await?;
        let mut three = percentiles(name, delays);
        if way != Way::Polling {
            three[0].bar = Some(Bar::AtMostWhereCommitsTake(0.6, 0.15));
            three[2].bar = Some(Bar::AtMostWhereCommitsTake(3.0, 0.15));
        }
        samples.extend(three);
    }
    Ok(samples)
}

/// The middle, the 95th and the 99th of a hundred.
pub(super) fn percentiles(name: &str, mut delays: Vec<f64>) -> [Sample; 3] {
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
    [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")]
        .map(|(share, percentile)| Sample::new(format!("{name}, {percentile}"), Unit::Milliseconds, at(share)))
}

/// The delays of jobs, in milliseconds. `beside`: they come in by a transaction on this connection.
pub(super) async fn delays(
    stage: &Stage,
    site: &Site,
    listens: bool,
    mut beside: Option<&mut PgConnection>,
) -> Result<Vec<f64>> {
    let (started, mut starts) = unbounded_channel();
    // A store of its own, as in another process.
    let worker = Worker::builder(Queue::connect(&site.url).await?)
        .state(Arc::new(started))
        .handle::<Ping>()
        .queues("q")
        .listen(listens)
        .poll(POLL)
        .verbosity(Verbosity::Quiet)
        .build()?;
    let stopper = worker.stopper();
    let running = tokio::spawn(worker.run());

    let mut delays = Vec::new();
    let mut pace = interval(EACH);
    // Whom one job made wait does not make up for it with the next.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Who only polls takes as long as a poll for each.
    let jobs = if listens { JOBS } else { JOBS / 10 };
    // The first finds a worker that is not asleep yet.
    for n in 0..=stage.many(jobs) {
        pace.tick().await;
        let committed = if let Some(connection) = &mut beside {
            let mut tx = connection.begin().await?;
            site.queue.enqueue_in(&mut *tx, Ping).await?;
            tx.commit().await?;
            Instant::now()
        } else {
            site.queue.enqueue(Ping).await?;
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
    Ok(delays)
}
