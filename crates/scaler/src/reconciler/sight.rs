//! What a tick sees of each pool: the platform's answer and the store's, put together, and then, in one question for all
//! pools, what the counters cannot tell.

use std::time::Duration;

use headcount_queue::{Binding, Result, store::Store};
use tracing::Span;

use super::Pool;
use crate::{
    act::Action,
    driver::{DriverError, PoolStatus, Trouble},
    observe::{Backlog, Gone, Observation, StoreReading, Unseen},
};

/// What a tick has seen of one pool.
#[derive(Debug)]
pub(super) struct Sight {
    /// Which pool.
    pub(super) pool: usize,
    /// What is logged of it bears its name.
    pub(super) span: Span,
    pub(super) seen: Result<Observation, Unseen>,
    pub(super) gone: Gone,
    pub(super) trouble: Option<Trouble>,
    /// What had to be done for it: jobs of processes that are gone were freed.
    pub(super) actions: Vec<Action>,
}

impl Sight {
    /// Puts the answers for this pool together. Counts the queues of the reading again if jobs were freed.
    pub(super) async fn of(
        (index, pool): (usize, &mut Pool),
        span: Span,
        store: &dyn Store,
        reading: &mut Result<StoreReading>,
        status: Result<PoolStatus, DriverError>,
        backlog: Option<Result<Backlog, String>>,
    ) -> Self {
        let trouble = status.as_ref().ok().and_then(|status| status.trouble.clone());
        let mut actions = Vec::new();
        let (seen, gone) = match (reading, status, backlog.transpose()) {
            (Ok(reading), Ok(status), Ok(None)) => pool.observe(store, reading, status, &mut actions).await,
            (Ok(reading), Ok(status), Ok(Some(backlog))) => pool.assume(reading, status, backlog),
            (Err(error), ..) => (Err(Unseen::Store(error.to_string())), Gone::default()),
            (_, Err(error), _) => (Err(Unseen::Platform(error)), Gone::default()),
            (.., Err(error)) => (Err(Unseen::Source(error)), Gone::default()),
        };
        Self { pool: index, span, seen, gone, trouble, actions }
    }
}

/// Asks the store what its counters cannot tell: which jobs are going to fall due, of the queues that have any, and of
/// pools for which the counters show nothing, whether that is so. Two statements at most, however many pools there are.
pub(super) async fn complete(store: &dyn Store, pools: &[Pool], sights: &mut [Sight], reading: &StoreReading) {
    let (mut ahead, mut doubted) = (Vec::new(), Vec::new());
    let (mut horizons, mut bindings): (Vec<(Binding, Duration)>, Vec<Binding>) = (Vec::new(), Vec::new());
    for (i, sight) in sights.iter().enumerate() {
        let Ok(seen @ Observation { foreign: None, .. }) = &sight.seen else { continue };
        for (queue, horizon) in pools[sight.pool].horizons(seen, reading) {
            ahead.push((i, queue));
            horizons.push(horizon);
        }
        if let Some(queues) = pools[sight.pool].doubted(seen, reading) {
            doubted.push(i);
            bindings.push(queues);
        }
    }
    if !horizons.is_empty() {
        match store.known(&horizons).await {
            Ok(known) => ahead.into_iter().zip(known).for_each(|((i, queue), known)| {
                if let Ok(seen) = &mut sights[i].seen {
                    seen.workload.queues[queue].known = Some(known);
                }
            }),
            Err(error) => ahead.into_iter().for_each(|(i, _)| sights[i].seen = Err(Unseen::Store(error.to_string()))),
        }
    }
    if !bindings.is_empty() {
        match store.waiting(&bindings).await {
            Ok(waiting) => doubted.into_iter().zip(waiting).for_each(|(i, waiting)| {
                if let Ok(seen) = &mut sights[i].seen {
                    seen.demand.exactly(waiting);
                }
            }),
            Err(error) => doubted.into_iter().for_each(|i| sights[i].seen = Err(Unseen::Store(error.to_string()))),
        }
    }
}
