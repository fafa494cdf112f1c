//! A Postgres store for each case of the suite.

use std::sync::Arc;

use headcount_queue::{
    NewJob, Result,
    store::{self, Enqueued, Options, Store, StoreUrl, conformance::Fixture},
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::{Database, PgBouncer};

/// A store in a database of its own, reached directly or through a pooler.
#[derive(Debug)]
pub struct PostgresFixture {
    /// The database as any client reaches it.
    url: String,
    /// The same as a store is told of it.
    store_url: StoreUrl,
    store: Arc<dyn Store>,
    /// What goes when this is dropped.
    _servers: (Database, Option<PgBouncer>),
}

impl PostgresFixture {
    /// A store in a fresh database, whose address ends so (`?schema=jobs`).
    pub async fn fresh(parameters: &str) -> Result<Self> {
        let database = Database::fresh().await;
        Self::open(database.url().to_owned(), parameters, (database, None)).await
    }

    /// The same through a fresh PgBouncer.
    pub async fn pooled(parameters: &str) -> Result<Self> {
        let (database, pooler) = (Database::fresh().await, PgBouncer::fresh().await);
        Self::open(pooler.url(&database), parameters, (database, Some(pooler))).await
    }

    async fn open(url: String, parameters: &str, servers: (Database, Option<PgBouncer>)) -> Result<Self> {
        let store_url: StoreUrl = format!("{url}{parameters}").parse()?;
        let store = store::open(&store_url, &Options::default()).await?;
        Ok(Self { url, store_url, store, _servers: servers })
    }

    /// The application's own connection: it goes the way that the store's do.
    async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().expect("the address of a database");
        // PgBouncer takes no startup parameter that it does not know.
        PgConnection::connect_with(&options.extra_float_digits(None)).await.expect("the server answers")
    }
}

#[async_trait::async_trait]
impl Fixture for PostgresFixture {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn another_handle(&self) -> Result<Arc<dyn Store>> {
        store::open(&self.store_url, &Options::default()).await
    }

    async fn enqueue_in_transaction(&self, jobs: &[NewJob], commit: bool) -> Option<Result<Vec<Enqueued>>> {
        let mut connection = self.connect().await;
        let mut tx = connection.begin().await.expect("a transaction begins");
        let enqueued = self.store.enqueue_in((&mut tx).into(), jobs).await;
        if commit { tx.commit().await } else { tx.rollback().await }.expect("a transaction ends");
        Some(enqueued)
    }
}
