//! Who acts.

use std::time::Duration;

use sqlx::postgres::PgRow;

use super::super::{PostgresStore, column, millis};
use crate::{
    Error, Result,
    store::{Fence, Lease, LeaseRecord},
};

/// How often to look again for a lease that is given back and taken each time.
const TRIES: u32 = 20;

impl PostgresStore {
    /// Who has it is asked in a later statement: the view of the one that did not get it may be older than its taker.
    pub(super) async fn take_lease(&self, lease: &str, holder: &str, length: Duration) -> Result<Lease> {
        for _ in 0..TRIES {
            let take = &self.statements.take_lease;
            let bind = |query: super::super::observe::Asked<'static>| {
                query.bind(lease.to_owned()).bind(holder.to_owned()).bind(millis(length))
            };
            let rows = self.ask(take, bind).await?;
            if let Some(row) = rows.first() {
                return Ok(Lease::Held(Fence { lease: lease.into(), epoch: column(row, "epoch")? }));
            }
            let rows = self.ask(&self.statements.leases, |query| query.bind(lease.to_owned())).await?;
            // One that has run out by now is to be had.
            if let Some(row) = rows.first().filter(|row| column::<i64>(row, "left_ms").is_ok_and(|left| left > 0)) {
                let left = Duration::from_millis(column::<i64>(row, "left_ms")?.unsigned_abs());
                return Ok(Lease::Taken { by: column(row, "holder")?, left });
            }
        }
        Err(Error::Unavailable(format!("the lease {lease} changes hands too fast to be taken").into()))
    }
}

pub(super) fn record(row: &PgRow) -> Result<LeaseRecord> {
    Ok(LeaseRecord {
        lease: column(row, "name")?,
        holder: column(row, "holder")?,
        epoch: column(row, "epoch")?,
        since: column(row, "since")?,
        until: column(row, "until")?,
        read_at: column(row, "read_at")?,
    })
}
