//! The suite, against this store.

use std::sync::Arc;

use headcount_queue::{
    Result,
    store::{Store, conformance::Fixture},
};

use super::MemoryStore;

#[derive(Debug)]
struct Memory(Arc<MemoryStore>);

#[async_trait::async_trait]
impl Fixture for Memory {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    async fn another_handle(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(MemoryStore::clone(&self.0)))
    }
}

async fn fresh() -> Result<Memory> {
    Ok(Memory(Arc::new(MemoryStore::new())))
}

headcount_queue::conformance_tests!(fresh);
