//! The same suite through a PgBouncer that lends each connection for a transaction only.

use std::sync::Arc;

use headcount_queue::{
    NewJob, Result,
    store::{self, Enqueued, Options, Store, StoreUrl, conformance::Fixture},
};
use headcount_tests::{Database, PgBouncer};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

#[derive(Debug)]
struct Pooled {
    database: Database,
    pooler: PgBouncer,
    store: Arc<dyn Store>,
}

#[async_trait::async_trait]
impl Fixture for Pooled {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn another_handle(&self) -> Result<Arc<dyn Store>> {
        store::open(&url(&self.pooler, &self.database), &Options::default()).await
    }

    async fn enqueue_in_transaction(&self, jobs: &[NewJob], commit: bool) -> Option<Result<Vec<Enqueued>>> {
        // The application's own connection goes through it as well.
        let url = self.pooler.url(&self.database);
        let options = url.parse::<PgConnectOptions>().expect("a URL").extra_float_digits(None);
        let mut connection = PgConnection::connect_with(&options).await.expect("the pooler answers");
        let mut tx = connection.begin().await.expect("a transaction begins");
        let enqueued = self.store.enqueue_in((&mut tx).into(), jobs).await;
        if commit { tx.commit().await } else { tx.rollback().await }.expect("a transaction ends");
        Some(enqueued)
    }
}

fn url(pooler: &PgBouncer, database: &Database) -> StoreUrl {
    format!("{}?pooler=transaction", pooler.url(database)).parse().expect("the address of a Postgres store")
}

async fn fresh() -> Result<Pooled> {
    let (database, pooler) = (Database::fresh().await, PgBouncer::fresh().await);
    let store = store::open(&url(&pooler, &database), &Options::default()).await?;
    Ok(Pooled { database, pooler, store })
}

headcount_queue::conformance_tests!(fresh);
