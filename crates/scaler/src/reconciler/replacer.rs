//! Other pools for a scaler that runs.

use std::sync::Arc;

use headcount_queue::{Error, Result};
use tokio::sync::mpsc;

use crate::{driver::ScalerDriver, pool::PoolSpec};

/// A pool with its platform.
pub(super) type Member = (PoolSpec, Arc<dyn ScalerDriver>);

/// Puts other pools into the place of a running scaler's.
#[derive(Debug, Clone)]
pub struct Replacer(pub(super) mpsc::UnboundedSender<Vec<Member>>);

impl Replacer {
    /// These pools take effect at the next round. A pool that stays under its name keeps what it remembers; one that is
    /// gone is left as it is, its workers too.
    ///
    /// # Errors
    /// As of [`Reconciler::pool`](super::Reconciler::pool); nothing has changed.
    pub fn replace(&self, pools: Vec<(PoolSpec, Arc<dyn ScalerDriver>)>) -> Result<()> {
        for (i, (spec, _)) in pools.iter().enumerate() {
            check(pools[..i].iter().map(|(spec, _)| spec), spec)?;
        }
        // A scaler that has ended needs no pools.
        let _ = self.0.send(pools);
        Ok(())
    }
}

/// Refuses a pool beside these others.
pub(super) fn check<'p>(others: impl IntoIterator<Item = &'p PoolSpec>, spec: &PoolSpec) -> Result<()> {
    for other in others {
        if other.name() == spec.name() {
            return Err(Error::Rejected(format!("there are two pools named {}", spec.name())));
        }
        if let Some(queue) = other.shares_with(spec) {
            return Err(Error::Rejected(format!(
                "pools {} and {} both serve {queue}: give each queue to one pool, or both hire for the same jobs",
                other.name(),
                spec.name(),
            )));
        }
    }
    Ok(())
}
