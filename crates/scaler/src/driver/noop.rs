//! A driver that does nothing: for pools whose workers somebody else starts, to see what the scaler would do.

use std::fmt;

use async_trait::async_trait;

use super::{Applied, Change, DriverError, Limits, PoolRef, PoolStatus, ScalerDriver};

/// Lists no instance and takes every change without making it.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopDriver;

impl fmt::Display for NoopDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("noop")
    }
}

#[async_trait]
impl ScalerDriver for NoopDriver {
    fn limits(&self, _: &PoolRef) -> Limits {
        Limits::DEFAULT
    }

    async fn status(&self, pools: &[PoolRef]) -> Vec<Result<PoolStatus, DriverError>> {
        pools.iter().map(|_| Ok(PoolStatus::default())).collect()
    }

    async fn apply(&self, changes: &[Change]) -> Vec<Result<Applied, DriverError>> {
        changes.iter().map(|_| Ok(Applied { desired: 0, changed: false })).collect()
    }
}
