//! The suite once more, on a store whose tables are in another schema than the one they are written for, beside tables
//! that are in that.

use std::sync::Arc;

use headcount_queue::{
    NewJob, Result,
    store::{self, Enqueued, Options, Store, StoreUrl, conformance::Fixture},
};
use headcount_tests::Database;
use sqlx::Connection;

#[derive(Debug)]
struct Postgres {
    database: Database,
    store: Arc<dyn Store>,
}

#[async_trait::async_trait]
impl Fixture for Postgres {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn another_handle(&self) -> Result<Arc<dyn Store>> {
        store::open(&url(&self.database), &Options::default()).await
    }

    async fn enqueue_in_transaction(&self, jobs: &[NewJob], commit: bool) -> Option<Result<Vec<Enqueued>>> {
        let mut connection = self.database.connect().await;
        let mut tx = connection.begin().await.expect("a transaction begins");
        let enqueued = self.store.enqueue_in((&mut tx).into(), jobs).await;
        if commit { tx.commit().await } else { tx.rollback().await }.expect("a transaction ends");
        Some(enqueued)
    }
}

fn url(database: &Database) -> StoreUrl {
    format!("{}?schema=jobs_test", database.url()).parse().expect("the address of a Postgres store")
}

async fn fresh() -> Result<Postgres> {
    let database = Database::fresh().await;
    let store = store::open(&url(&database), &Options::default()).await?;
    store.migrate().await?;
    Ok(Postgres { database, store })
}

headcount_queue::conformance_tests!(fresh);
