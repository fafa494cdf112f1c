//! Who acts.

use std::time::Duration;

use sqlx::Row;

use crate::{
    Error, Result,
    store::{
        Fence, Lease, LeaseRecord,
        sqlite::{connection::Tx, fault::fault, micros, observe::until, time},
    },
};

/// The write lock makes the look and the take one step.
pub(super) async fn take(tx: &mut Tx<'_>, name: &str, holder: &str, length: Duration) -> Result<Lease> {
    let row = sqlx::query("SELECT holder, epoch, since, until FROM lease WHERE name = ?1")
        .bind(name)
        .fetch_optional(&mut **tx)
        .await
        .map_err(fault)?;
    let (epoch, since) = match row {
        Some(row) if row.get::<i64, _>(3) > tx.now => {
            let by: String = row.get(0);
            if by != holder {
                return Ok(Lease::Taken { by, left: until(tx.now, row.get(3)) });
            }
            (row.get(1), row.get(2))
        }
        Some(row) => (row.get::<i64, _>(1) + 1, tx.now),
        None => (1, tx.now),
    };
    sqlx::query(include_str!("take_lease.sql"))
        .bind(name)
        .bind(holder)
        .bind(epoch)
        .bind(since)
        .bind(tx.now + micros(length))
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(Lease::Held(Fence { lease: name.into(), epoch }))
}

/// Whose time this is the number of; refused if it is not the latest, or has ended.
pub(super) async fn check(tx: &mut Tx<'_>, fence: &Fence) -> Result<String> {
    let row = sqlx::query("SELECT holder FROM lease WHERE name = ?1 AND epoch = ?2 AND until > ?3")
        .bind(&fence.lease)
        .bind(fence.epoch)
        .bind(tx.now)
        .fetch_optional(&mut **tx)
        .await
        .map_err(fault)?;
    row.map(|row| row.get(0)).ok_or(Error::Superseded)
}

pub(super) async fn release(tx: &mut Tx<'_>, fence: &Fence) -> Result<()> {
    sqlx::query("UPDATE lease SET until = ?2 WHERE name = ?1")
        .bind(&fence.lease)
        .bind(tx.now)
        .execute(&mut **tx)
        .await
        .map_err(fault)?;
    Ok(())
}

pub(super) async fn leases(tx: &mut Tx<'_>) -> Result<Vec<LeaseRecord>> {
    let rows = sqlx::query("SELECT name, holder, epoch, since, until FROM lease ORDER BY name")
        .fetch_all(&mut **tx)
        .await
        .map_err(fault)?;
    let record = |row: &sqlx::sqlite::SqliteRow| LeaseRecord {
        lease: row.get(0),
        holder: row.get(1),
        epoch: row.get(2),
        since: time(row.get(3)),
        until: time(row.get(4)),
        read_at: time(tx.now),
    };
    Ok(rows.iter().map(record).collect())
}
