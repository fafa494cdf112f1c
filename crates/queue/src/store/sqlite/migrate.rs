//! The store's tables and their version.
//!
//! The version stands in a table and not in `PRAGMA user_version`, which belongs to the application where both share a
//! file.

use sqlx::Row;

use super::{
    SqliteStore,
    connection::{Durability, Tx},
    fault::fault,
};
use crate::{Error, Result};

/// Each version's script; the first makes version 1.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_jobs.sql"),
    include_str!("migrations/0002_whole_queue.sql"),
    include_str!("migrations/0003_parked.sql"),
    include_str!("migrations/0004_scaling.sql"),
];

/// The version that began to keep the history of the counters.
pub(super) const REMEMBERS: i64 = 2;

/// The version that this program needs.
const NEEDED: i64 = MIGRATIONS.len() as i64;

/// Brings the tables to the version of this program, and returns it. Processes that do so at once wait for each other.
pub(super) async fn migrate(store: &SqliteStore) -> Result<i64> {
    // Looked at without the lock first, for it is nearly always done.
    if store.writer.lock().await.connection().await.is_ok() && check(version(store).await?)? == NEEDED {
        return Ok(NEEDED);
    }
    store
        .write(Durability::Full, async |tx| {
            sqlx::raw_sql(
                "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT",
            )
            .execute(&mut **tx)
            .await
            .map_err(fault)?;
            let found = check(read(tx).await?)?;
            for (version, script) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or_default()) {
                sqlx::raw_sql(*script).execute(&mut **tx).await.map_err(refused)?;
                sqlx::query("INSERT INTO migration (version, at) VALUES (?1, ?2)")
                    .bind::<i64>(version)
                    .bind(tx.now)
                    .execute(&mut **tx)
                    .await
                    .map_err(fault)?;
            }
            Ok(NEEDED)
        })
        .await
}

/// Whether the tables are this program's.
pub(super) async fn check_version(store: &SqliteStore) -> Result<()> {
    match check(version(store).await?)? {
        NEEDED => Ok(()),
        found => Err(Error::Unmigrated { found, needed: NEEDED }),
    }
}

/// What an application's file says when it lacks our tables.
pub(super) fn unmigrated(error: sqlx::Error) -> Error {
    if error.to_string().contains("no such table") {
        return Error::Unmigrated { found: 0, needed: NEEDED };
    }
    fault(error)
}

fn check(found: i64) -> Result<i64> {
    if found > NEEDED {
        return Err(Error::Rejected(format!(
            "the store is at version {found}, which is newer than this program's {NEEDED}: use a newer headcount"
        )));
    }
    Ok(found)
}

async fn version(store: &SqliteStore) -> Result<i64> {
    store
        .read(async |tx| {
            let there = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'")
                .fetch_optional(&mut **tx)
                .await
                .map_err(fault)?;
            if there.is_some() { read(tx).await } else { Ok(0) }
        })
        .await
}

async fn read(tx: &mut Tx<'_>) -> Result<i64> {
    let row = sqlx::query("SELECT coalesce(max(version), 0) FROM migration")
        .fetch_one(&mut **tx)
        .await
        .map_err(|error| Error::Rejected(format!("the file has a table `migration` that is not ours: {error}")))?;
    Ok(row.get(0))
}

/// A script that fails is nearly always a table of the application's own with the name of one of ours.
fn refused(error: sqlx::Error) -> Error {
    match error.as_database_error() {
        Some(database) if database.message().contains("already exists") => Error::Rejected(format!(
            "the tables cannot be made, since {}: keep the jobs in a file of their own",
            database.message()
        )),
        _ => fault(error),
    }
}
