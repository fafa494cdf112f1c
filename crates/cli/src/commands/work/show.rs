//! What a worker shows of itself over HTTP.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use headcount_scaler::watch::Verdict;
use headcount_worker::Pulse;
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::MetricType,
    registry::{Registry, Unit},
};

use crate::listen::{Scalers, Watched};

/// A heart that has not even tried for so long is stuck. It beats every 3 s, and gives a beat 5.
const STUCK: Duration = Duration::from_mins(1);
/// A worker whose beats do not land for so long is taken for dead by others.
const SILENT: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug)]
pub(super) struct Shown {
    /// None while it waits for its queues.
    pub(super) pulse: Arc<OnceLock<Pulse>>,
    pub(super) scalers: Scalers,
}

impl Watched for Shown {
    /// A store that does not answer is no reason to kill a worker, whose jobs may still end well.
    async fn health(&self) -> Verdict {
        match self.pulse.get().map(Pulse::tried) {
            None => verdict(true, "the worker waits for its pool's scaler to publish its queues"),
            Some(None) => verdict(true, "the worker begins"),
            Some(Some(age)) if age > STUCK => verdict(false, format!("its heart has been still for {age:.0?}")),
            Some(Some(age)) => verdict(true, format!("its heart beat {age:.1?} ago")),
        }
    }

    async fn ready(&self) -> Verdict {
        match self.pulse.get().map(Pulse::landed) {
            None => verdict(false, "the worker waits for its pool's scaler to publish its queues"),
            Some(None) => verdict(false, "no beat of its heart has reached the store yet"),
            Some(Some(age)) if age > SILENT => {
                verdict(false, format!("no beat of its heart has reached the store for {age:.0?}; the log says why"))
            }
            Some(Some(age)) => verdict(true, format!("its heart's beat reached the store {age:.1?} ago")),
        }
    }

    async fn metrics(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Heart(self.pulse.get().and_then(Pulse::landed))));
        self.scalers.register(&mut registry).await;
        registry
    }

    async fn scalers(&self) -> Option<String> {
        self.scalers.missing().await
    }
}

fn verdict(ok: bool, why: impl Into<String>) -> Verdict {
    Verdict { ok, why: why.into() }
}

/// How long ago a beat last landed.
#[derive(Debug)]
struct Heart(Option<Duration>);

impl Collector for Heart {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "How long ago this worker's heartbeat last reached the store.";
        let unit = Some(&Unit::Seconds);
        let mut metric = encoder.encode_descriptor("headcount_worker_heartbeat_age", help, unit, MetricType::Gauge)?;
        self.0.iter().try_for_each(|age| metric.encode_gauge(&age.as_secs_f64()))
    }
}
