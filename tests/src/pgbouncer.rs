//! A real PgBouncer before the test server.

use std::sync::Arc;

use crate::{
    postgres::{Database, Server},
    script::{Script, blocking},
};

/// A PgBouncer that lends 3 connections to each database, for a transaction at a time. It goes when this is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    script: Arc<Script>,
}

impl PgBouncer {
    /// A new one before the [shared](Server::shared) server.
    ///
    /// # Panics
    /// When it does not start, saying why.
    pub async fn fresh() -> Self {
        Self::with(&[]).await
    }

    /// The same with some of PgBouncer's own settings (`pool_mode=session`).
    ///
    /// # Panics
    /// When it does not start, saying why.
    pub async fn with(settings: &[&str]) -> Self {
        let behind = Server::shared().await.url("postgres");
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let (script, admin) = blocking(move || {
            let args: Vec<&str> = [&*behind].into_iter().chain(settings.iter().map(String::as_str)).collect();
            Script::start("private-pgbouncer", &args)
        })
        .await;
        Self { server: Server::at(admin), script: Arc::new(script) }
    }

    /// The address of this database through it; it says nothing of a pooler.
    pub fn url(&self, database: &Database) -> String {
        self.server.url(database.name())
    }

    /// Breaks off every connection, and takes none until it is [started](Self::start) again.
    ///
    /// # Panics
    /// When it does not stop.
    pub async fn stop(&self) {
        self.order("stop").await;
    }

    /// Starts it again, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(&self) {
        self.order("start").await;
    }

    async fn order(&self, order: &'static str) {
        let script = Arc::clone(&self.script);
        blocking(move || script.order(order)).await;
    }
}
