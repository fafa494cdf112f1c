//! The suite that every store must pass, against Postgres, in a database of its own for each case.

use headcount_queue::Result;
use headcount_tests::PostgresFixture;

async fn fresh() -> Result<PostgresFixture> {
    PostgresFixture::fresh("").await
}

headcount_queue::conformance_tests!(fresh);
