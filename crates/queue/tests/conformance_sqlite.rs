//! The suite that every store must pass, against the embedded store: in a file, and in memory.

use std::sync::Arc;

use headcount_queue::{
    NewJob, Result,
    store::{self, Enqueued, Options, Store, StoreUrl, conformance::Fixture},
};

/// In a file of its own; another handle opens it anew, as another process would.
mod file {
    use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

    use super::{Arc, Enqueued, Fixture, NewJob, Options, Result, Store, StoreUrl, store};

    #[derive(Debug)]
    struct File {
        folder: tempfile::TempDir,
        store: Arc<dyn Store>,
    }

    #[async_trait::async_trait]
    impl Fixture for File {
        fn store(&self) -> Arc<dyn Store> {
            self.store.clone()
        }

        async fn another_handle(&self) -> Result<Arc<dyn Store>> {
            store::open(&url(&self.folder), &Options::default()).await
        }

        async fn enqueue_in_transaction(&self, jobs: &[NewJob], commit: bool) -> Option<Result<Vec<Enqueued>>> {
            let file = SqliteConnectOptions::new().filename(self.folder.path().join("jobs.db"));
            let mut connection = SqliteConnection::connect_with(&file).await.expect("the application connects");
            let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.expect("a transaction begins");
            let enqueued = self.store.enqueue_in((&mut tx).into(), jobs).await;
            if commit { tx.commit().await } else { tx.rollback().await }.expect("a transaction ends");
            Some(enqueued)
        }
    }

    fn url(folder: &tempfile::TempDir) -> StoreUrl {
        StoreUrl::Sqlite(Some(folder.path().join("jobs.db")))
    }

    async fn fresh() -> Result<File> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = store::open(&url(&folder), &Options::default()).await?;
        Ok(File { folder, store })
    }

    headcount_queue::conformance_tests!(fresh);
}

/// In memory, where nobody else can reach it.
mod memory {
    use super::{Arc, Fixture, Options, Result, Store, StoreUrl, store};

    #[derive(Debug)]
    struct Memory(Arc<dyn Store>);

    #[async_trait::async_trait]
    impl Fixture for Memory {
        fn store(&self) -> Arc<dyn Store> {
            self.0.clone()
        }

        async fn another_handle(&self) -> Result<Arc<dyn Store>> {
            Ok(self.0.clone())
        }
    }

    async fn fresh() -> Result<Memory> {
        Ok(Memory(store::open(&StoreUrl::Sqlite(None), &Options::default()).await?))
    }

    headcount_queue::conformance_tests!(fresh);
}
