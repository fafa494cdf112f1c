//! What a scaler shows of itself over HTTP.

use headcount_scaler::{Watch, watch::Verdict};
use prometheus_client::registry::Registry;

use crate::listen::{Scalers, Watched};

/// See the module.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) scaler: Watch,
    pub(super) scalers: Scalers,
}

impl Watched for Shown {
    async fn health(&self) -> Verdict {
        self.scaler.look().health()
    }

    async fn ready(&self) -> Verdict {
        self.scaler.look().ready()
    }

    async fn metrics(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.scaler.clone()));
        self.scalers.register(&mut registry).await;
        registry
    }

    async fn scalers(&self) -> Option<String> {
        self.scalers.missing().await
    }
}
