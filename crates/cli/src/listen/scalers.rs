//! Who scales, by the store's leases: any process that reads the store can tell that nobody does.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount_queue::store::{LeaseRecord, Store};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::MetricType,
    registry::{Registry, Unit},
};
use tokio::{sync::Mutex, time::timeout};

use crate::lease;

/// The store is asked at most so often, however many look.
const FRESH: Duration = Duration::from_secs(5);
/// No answer waits longer for the store: a probe has a second, as a rule, and its own question is another.
const LIMIT: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct Scalers {
    store: Arc<dyn Store>,
    latest: Mutex<Option<(Instant, Option<Leases>)>>,
}

impl Scalers {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, latest: Mutex::default() }
    }

    /// The leases of scalers; none if the store does not tell.
    async fn leases(&self) -> Option<Leases> {
        let mut latest = self.latest.lock().await;
        if let Some((at, leases)) = &*latest
            && at.elapsed() < FRESH
        {
            return leases.clone();
        }
        let leases = match timeout(LIMIT, self.store.leases()).await {
            Ok(Ok(leases)) => Some(Leases(leases.into_iter().filter(lease::is_of_a_scaler).collect())),
            Ok(Err(_)) | Err(_) => None,
        };
        *latest = Some((Instant::now(), leases.clone()));
        leases
    }

    /// Since when no scaler acts, if one did and none does.
    pub(crate) async fn missing(&self) -> Option<String> {
        let missing: Vec<String> = self.leases().await?.0.iter().filter_map(lease::missing).collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    /// Adds what is known of them to these metrics.
    pub(crate) async fn register(&self, registry: &mut Registry) {
        if let Some(leases) = self.leases().await {
            registry.register_collector(Box::new(leases));
        }
    }
}

/// The leases of scalers, of which a store has one, or one for each application that scales by itself.
#[derive(Debug, Clone)]
struct Leases(Vec<LeaseRecord>);

impl Collector for Leases {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Whether a scaler acts under this lease (0 or 1), by the store.";
        let mut metric = encoder.encode_descriptor("headcount_scaler_present", help, None, MetricType::Gauge)?;
        for lease in &self.0 {
            let acts = u64::from(lease.until >= lease.read_at);
            metric.encode_family(&[("lease", lease.lease.as_str())])?.encode_gauge(&acts)?;
        }
        let help = "For how long no scaler has acted under this lease; 0 while one does.";
        let unit = Some(&Unit::Seconds);
        let mut metric = encoder.encode_descriptor("headcount_scaler_absent", help, unit, MetricType::Gauge)?;
        self.0.iter().try_for_each(|lease| {
            let absent = (lease.read_at - lease.until).to_std().unwrap_or_default();
            metric.encode_family(&[("lease", lease.lease.as_str())])?.encode_gauge(&absent.as_secs_f64())
        })
    }
}
