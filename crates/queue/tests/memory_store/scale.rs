//! What a scaler keeps.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use headcount_queue::{
    Binding, Error, Result,
    store::{
        BootId, Connections, Decided, Fence, Known, Lease, LeaseRecord, NewDecision, NewPool, Override, PoolRecord,
        Scale,
    },
};

use crate::MemoryStore;

#[async_trait]
impl Scale for MemoryStore {
    async fn lease(&self, _: &str, _: &str, _: Duration) -> Result<Lease> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn release_lease(&self, _: &Fence) -> Result<()> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn publish(&self, _: &Fence, _: &[NewPool]) -> Result<()> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn pools(&self, _: Option<&str>) -> Result<Vec<PoolRecord>> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn order(&self, _: &str, _: &str, _: &Override) -> Result<()> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn withhold(&self, _: &Fence, _: &str, _: &[String], _: Duration) -> Result<Vec<i64>> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn restore(&self, _: &Fence, _: &str, _: &[String]) -> Result<Vec<BootId>> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn let_go(&self, _: &Fence, _: &str, _: &str, _: i64, _: Duration) -> Result<bool> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn keep(&self, _: &Fence, _: &str, _: &[String]) -> Result<()> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn forget(&self, _: &Fence, _: &str, _: &[String]) -> Result<()> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn record(&self, _: &Fence, _: &[NewDecision]) -> Result<()> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn ledger(&self, _: Option<&str>, _: Option<DateTime<Utc>>, _: u32) -> Result<Vec<Decided>> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn known(&self, _: &Binding, _: Duration) -> Result<Vec<Known>> {
        Err(Error::Rejected("not built yet".into()))
    }

    async fn connections(&self) -> Result<Option<Connections>> {
        Err(Error::Rejected("not built yet".into()))
    }
}
