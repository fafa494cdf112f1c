//! The right to act: a lease in the store. Of many scalers one holds it, and the others stand by.
//!
//! What is left of it is measured by this process's own clock, from before the call that took it: a process that was
//! stopped for an hour finds it gone without asking anyone. Every write of the store names the lease's number, so that
//! one who has not noticed yet writes nothing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use headcount_queue::{
    Result,
    store::{Fence, Lease, Store},
};
use tokio_util::task::AbortOnDropHandle;

/// How long a lease lasts unless it is renewed.
pub(super) const LENGTH: Duration = Duration::from_secs(10);
/// Renewed so often by its holder; asked for so often by the others.
const RENEW: Duration = Duration::from_secs(3);
const STAND_BY: Duration = Duration::from_secs(1);

/// See the module. Cheap to clone; clones are the same tenure.
#[derive(Debug, Clone)]
pub(super) struct Tenure {
    store: Arc<dyn Store>,
    lease: String,
    holder: String,
    standing: Arc<Mutex<Standing>>,
}

#[derive(Debug, Default)]
struct Standing {
    held: Option<Held>,
    /// Who holds it, if another does.
    other: Option<String>,
}

#[derive(Debug, Clone)]
struct Held {
    fence: Fence,
    until: Instant,
}

impl Tenure {
    /// A tenure under the lease of this name, not taken yet.
    pub(super) fn new(store: Arc<dyn Store>, lease: String, holder: String) -> Self {
        Self { store, lease, holder, standing: Arc::default() }
    }

    /// The lease's name, under which places are drained.
    pub(super) fn name(&self) -> &str {
        &self.lease
    }

    /// The fence, if it is held for longer than `left`.
    pub(super) fn fence(&self, left: Duration) -> Option<Fence> {
        let standing = self.lock();
        let held = standing.held.as_ref()?;
        (held.until.saturating_duration_since(Instant::now()) > left).then(|| held.fence.clone())
    }

    /// Who holds it, if another does.
    pub(super) fn other(&self) -> Option<String> {
        self.lock().other.clone()
    }

    /// The store has said that another holds it.
    pub(super) fn lose(&self) {
        self.lock().held = None;
    }

    /// The fence; the lease is taken or renewed unless more than half of it is left. `None`: another holds it.
    pub(super) async fn hold(&self) -> Result<Option<Fence>> {
        match self.fence(LENGTH / 2) {
            Some(fence) => Ok(Some(fence)),
            None => self.renew().await,
        }
    }

    /// Takes the lease or renews it.
    async fn renew(&self) -> Result<Option<Fence>> {
        let asked = Instant::now();
        let lease = self.store.lease(&self.lease, &self.holder, LENGTH).await?;
        let mut standing = self.lock();
        match lease {
            Lease::Held(fence) => {
                *standing = Standing { held: Some(Held { fence: fence.clone(), until: asked + LENGTH }), other: None };
                Ok(Some(fence))
            }
            Lease::Taken { by, .. } => {
                *standing = Standing { held: None, other: Some(by) };
                Ok(None)
            }
        }
    }

    /// Keeps it in the background, whatever a tick may be waiting for, until the handle is dropped.
    pub(super) fn keep(&self) -> AbortOnDropHandle<()> {
        let tenure = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                // An error is met by the tick as well, which tells it.
                let pause = match tenure.renew().await {
                    Ok(Some(_)) => RENEW,
                    Ok(None) | Err(_) => STAND_BY,
                };
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.9..1.0))).await;
            }
        }))
    }

    /// Gives it back, so that another need not wait for its end.
    pub(super) async fn give_back(&self) {
        if let Some(fence) = self.fence(Duration::ZERO) {
            self.lose();
            if let Err(error) = self.store.release_lease(&fence).await {
                tracing::warn!(%error, "the lease was not given back; another scaler can take over in {LENGTH:?}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // Every change is one assignment, so a panic while it was locked left nothing half done.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
