//! The same suite through a PgBouncer that lends each connection for a transaction only.

use headcount_queue::Result;
use headcount_tests::PostgresFixture;

async fn fresh() -> Result<PostgresFixture> {
    PostgresFixture::pooled("?pooler=transaction").await
}

headcount_queue::conformance_tests!(fresh);
