//! Making and updating the tables.
//!
//! Migrations go forward only, and are written so that the release before still works beside the new one.

use std::time::Duration;

use sqlx::{
    Connection, Executor, PgConnection, Row, SqlSafeStr,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};
use tokio::time::{Instant, timeout_at};

use super::NEEDED;
use super::{PostgresStore, column, connection::Fault};
use crate::{Error, Result};

/// How long a migration may take, waiting included. A call's limit is too short for a large table.
const PATIENCE: Duration = Duration::from_mins(10);

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrations = vec![
        migration(1, "queue", include_str!("migrations/0001_queue.sql")),
        migration(2, "whole queue", include_str!("migrations/0002_whole_queue.sql")),
        migration(4, "functions", include_str!("migrations/0004_functions.sql")),
    ];
    let mut migrator = Migrator::with_migrations(migrations);
    // A table of ours: an application's own migrations by sqlx stand in `_sqlx_migrations`.
    migrator.dangerous_set_table_name("headcount.migration");
    migrator.create_schema("headcount");
    // sqlx's lock belongs to a session, which a pooler hands to others. Ours ends with the transaction.
    migrator.set_locking(false);
    // An older program beside a newer one.
    migrator.set_ignore_missing(true);
    migrator
}

impl PostgresStore {
    /// Brings the tables to this program's version, or finds them there. Returns the version reached.
    pub(super) async fn migrated(&self) -> Result<i64> {
        let end = Instant::now() + PATIENCE;
        loop {
            // Each try has its own: what a failed one has prepared is unknown to the next server behind a pooler.
            let mut connection = self.connections.connect(self.connections.deadline()).await?;
            let done = timeout_at(end, self.migrate_once(&mut connection)).await;
            match done.unwrap_or(Err(Fault::Other(Error::TimedOut(PATIENCE)))) {
                // Somebody holds a table for longer than a queue behind us should wait: let them pass, and try again.
                Err(Fault::Conflict(error)) if Instant::now() < end => {
                    tracing::info!(%error, "the migration waits for others to let go of the tables");
                    let pause = Duration::from_millis(rand::random_range(100..500));
                    tokio::time::sleep(pause).await;
                }
                done => return Ok(done?),
            }
        }
    }

    async fn migrate_once(&self, connection: &mut PgConnection) -> Result<i64, Fault> {
        let fault = |error| self.connections.fault(error);
        let mut tx = connection.begin().await.map_err(fault)?;
        let limits = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '3s'";
        tx.execute(limits).await.map_err(fault)?;
        tx.execute(sqlx::query(self.statements.migration_lock.clone())).await.map_err(|error| self.patient(error))?;
        migrator().run_direct(None, &mut *tx, false).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.patient(error),
            other => Fault::Other(Error::Rejected(format!("the store cannot be migrated: {other}"))),
        })?;
        let row = tx.fetch_one(sqlx::query(self.statements.version.clone())).await.map_err(fault)?;
        // The migrator names its statements, and behind a pooler names stay on the server for whoever comes next.
        tx.clear_cached_statements().await.map_err(fault)?;
        tx.commit().await.map_err(|error| self.patient(error))?;
        row.try_get("version").map_err(fault)
    }

    /// A lock that was not to be had in time is worth another try.
    fn patient(&self, error: sqlx::Error) -> Fault {
        match &error {
            sqlx::Error::Database(database) if database.code().as_deref() == Some("55P03") => Fault::Conflict(error),
            _ => self.connections.fault(error),
        }
    }

    /// Whether this program can work with the tables that are there.
    pub(super) async fn version_checked(&self) -> Result<()> {
        let deadline = self.connections.deadline();
        let rows = self.connections.rows(deadline, || sqlx::query(self.statements.version.clone())).await?;
        let found = column::<Option<i64>>(&rows[0], "version")?.unwrap_or_default();
        if found < NEEDED { Err(Error::Unmigrated { found, needed: NEEDED }) } else { Ok(()) }
    }
}
