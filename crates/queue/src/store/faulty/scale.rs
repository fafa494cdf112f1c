//! What a scaler keeps, under the same rules.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Faulty, rules::Call};
use crate::{
    Binding, Json, Result,
    store::{
        BootId, Connections, Decided, Fence, Known, Lease, LeaseRecord, LongRun, NewDecision, NewPool, Override,
        PoolRecord, Scale, Waiting,
    },
};

#[async_trait]
impl Scale for Faulty {
    async fn lease(&self, lease: &str, holder: &str, length: Duration) -> Result<Lease> {
        self.rules.through(Call::Scale.into(), self.store.lease(lease, holder, length)).await
    }

    async fn release_lease(&self, fence: &Fence) -> Result<()> {
        self.rules.through(Call::Scale.into(), self.store.release_lease(fence)).await
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>> {
        self.rules.through(Call::Observe.into(), self.store.leases()).await
    }

    async fn publish(&self, fence: &Fence, pools: &[NewPool]) -> Result<()> {
        self.rules.through(Call::Scale.into(), self.store.publish(fence, pools)).await
    }

    async fn pools(&self, name: Option<&str>) -> Result<Vec<PoolRecord>> {
        self.rules.through(Call::Observe.into(), self.store.pools(name)).await
    }

    async fn order(&self, pool: &str, by: &str, order: &Override) -> Result<()> {
        self.rules.through(Call::Scale.into(), self.store.order(pool, by, order)).await
    }

    async fn withhold(&self, fence: &Fence, pool: &str, instances: &[String], lease: Duration) -> Result<Vec<i64>> {
        self.rules.through(Call::Scale.into(), self.store.withhold(fence, pool, instances, lease)).await
    }

    async fn restore(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<Vec<BootId>> {
        self.rules.through(Call::Scale.into(), self.store.restore(fence, pool, instances)).await
    }

    async fn let_go(&self, fence: &Fence, pool: &str, instance: &str, epoch: i64, lease: Duration) -> Result<bool> {
        self.rules.through(Call::Scale.into(), self.store.let_go(fence, pool, instance, epoch, lease)).await
    }

    async fn keep(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        self.rules.through(Call::Scale.into(), self.store.keep(fence, pool, instances)).await
    }

    async fn forget(&self, fence: &Fence, pool: &str, instances: &[String]) -> Result<()> {
        self.rules.through(Call::Scale.into(), self.store.forget(fence, pool, instances)).await
    }

    async fn record(&self, fence: &Fence, decisions: &[NewDecision]) -> Result<()> {
        self.rules.through(Call::Scale.into(), self.store.record(fence, decisions)).await
    }

    async fn remember(&self, fence: &Fence, states: &[(String, Json)]) -> Result<()> {
        self.rules.through(Call::Scale.into(), self.store.remember(fence, states)).await
    }

    async fn ledger(&self, pool: Option<&str>, at: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<Decided>> {
        self.rules.through(Call::Observe.into(), self.store.ledger(pool, at, limit)).await
    }

    async fn waiting(&self, queues: &[Binding]) -> Result<Vec<Waiting>> {
        self.rules.through(Call::Observe.into(), self.store.waiting(queues)).await
    }

    async fn long_runs(&self, age: Duration) -> Result<Vec<LongRun>> {
        self.rules.through(Call::Observe.into(), self.store.long_runs(age)).await
    }

    async fn known(&self, asked: &[(Binding, Duration)]) -> Result<Vec<Vec<Known>>> {
        self.rules.through(Call::Observe.into(), self.store.known(asked)).await
    }

    async fn connections(&self) -> Result<Option<Connections>> {
        self.rules.through(Call::Observe.into(), self.store.connections()).await
    }
}
