//! Making and updating the tables.
//!
//! Migrations go forward only, and are written so that the release before still works beside the new one. What was made
//! stands in a table of ours, in the shape in which the first release reads it: an application's own migrations, by
//! whatever tool, are not touched.
//!
//! A [migration](steps) is made in a transaction that also notes it, so that it is there whole or not at all; or, if it
//! builds an index beside the work, outside one, and is noted when the index is found whole.

pub(super) mod steps;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres, Transaction, postgres::PgRow};
use tokio::time::{Instant, timeout_at};

use self::steps::{Migration, Way};
use super::NEEDED;
use super::{PostgresStore, column, connection::Fault};
use crate::{Error, Result, store::Step};

/// How long a migration may take, waiting included. A call's limit is too short for a large table.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);

/// A lock on a table is waited for this long at a time: everybody else queues behind who waits.
const LOCK_PATIENCE: &str = "3s";

/// Where a store stands after a part of the way.
enum Progress {
    /// At this version, and nothing is left to do.
    Reached(i64),
    /// Nearer.
    Nearer,
    /// Another process migrates.
    Busy,
}

impl PostgresStore {
    /// Brings the tables to this program's version, or finds them there. Returns the version reached.
    pub(super) async fn migrated(&self) -> Result<i64> {
        let end = Instant::now() + PATIENCE;
        loop {
            let done = timeout_at(end, self.go_on()).await;
            match done.unwrap_or(Err(Fault::Other(Error::TimedOut(PATIENCE)))) {
                Ok(Progress::Reached(version)) => return Ok(version),
                Ok(Progress::Nearer) => continue,
                Ok(Progress::Busy) if Instant::now() < end => tracing::debug!("another process migrates"),
                Ok(Progress::Busy) => return Err(Error::TimedOut(PATIENCE)),
                // Somebody holds a table for longer than a queue behind us should wait: let them pass, and try again.
                Err(Fault::Conflict(error)) if Instant::now() < end => {
                    tracing::info!(%error, "the migration waits for others to let go of the tables");
                }
                Err(fault) => return Err(fault.into()),
            }
            tokio::time::sleep(Duration::from_millis(rand::random_range(100..500))).await;
        }
    }

    /// Makes the next migration, or a part of it.
    async fn go_on(&self) -> Result<Progress, Fault> {
        // Each time another connection: what a failed one has prepared is unknown to the next server behind a pooler.
        let mut connection = self.connections.connect(self.connections.deadline()).await?;
        let mut tx = self.begin(&mut connection).await?;
        let lock = self.ask_in(&mut tx, sqlx::query(self.statements.migration_lock.clone())).await?;
        if !column::<bool>(&lock[0], "taken")? {
            return Ok(Progress::Busy);
        }
        let done = self.done(&mut tx, true).await?;
        let Some(next) = steps::pending(&done)?.next() else {
            tx.commit().await.map_err(|error| self.patient(error))?;
            return Ok(Progress::Reached(done.iter().map(|done| done.version).max().unwrap_or_default()));
        };
        let began = Instant::now();
        match next.way {
            Way::Whole => {
                tx.execute(AssertSqlSafe(self.schema.told(next.sql))).await.map_err(|error| self.patient(error))?;
            }
            Way::Beside { index } => match self.index(&mut tx, index).await? {
                Some((true, _)) => {}
                Some((false, table)) => {
                    self.drop_leftover(&mut tx, index, &table).await?;
                    tx.commit().await.map_err(|error| self.patient(error))?;
                    return Ok(Progress::Nearer);
                }
                None => {
                    // The transaction stays open only for its lock: between statements it holds no view.
                    self.build(next).await?;
                    return Ok(Progress::Nearer);
                }
            },
        }
        self.note(&mut tx, next, began.elapsed()).await?;
        tx.commit().await.map_err(|error| self.patient(error))?;
        Ok(Progress::Nearer)
    }

    /// A transaction that is patient with its own work, but not with locks.
    pub(super) async fn begin<'c>(&self, connection: &'c mut PgConnection) -> Result<Transaction<'c, Postgres>, Fault> {
        // Whatever the database's default is: a stricter one would keep one view for the whole transaction.
        let begin = connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await;
        let mut tx = begin.map_err(|error| self.connections.fault(error))?;
        let limits = format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
             SET LOCAL lock_timeout = '{LOCK_PATIENCE}'"
        );
        tx.execute(AssertSqlSafe(limits)).await.map_err(|error| self.connections.fault(error))?;
        Ok(tx)
    }

    /// Runs one statement in such a transaction.
    pub(super) async fn ask_in(
        &self,
        tx: &mut PgConnection,
        query: sqlx::query::Query<'_, Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<Vec<PgRow>, Fault> {
        // No names: behind a pooler they stay on the server for whoever comes next.
        tx.fetch_all(query.persistent(false)).await.map_err(|error| self.patient(error))
    }

    /// What has been made. `make`: the schema and the table of versions, where they are not there.
    pub(super) async fn done(&self, tx: &mut PgConnection, make: bool) -> Result<Vec<steps::Done>, Fault> {
        let name = self.schema.name();
        let place = self.ask_in(tx, sqlx::query(self.statements.migration_place.clone()).bind(name.to_owned())).await?;
        if !column::<bool>(&place[0], "plain")? {
            let why = format!("the store's URL says schema={name}, which is a reserved word of SQL: take another");
            return Err(Error::Rejected(why).into());
        }
        // Asked first, and not left to IF NOT EXISTS: that wants the right to make what is already there.
        let missing = [
            (!column::<bool>(&place[0], "schema")?, format!("CREATE SCHEMA IF NOT EXISTS {name}")),
            (!column::<bool>(&place[0], "versions")?, self.schema.told(steps::VERSIONS)),
        ];
        if !make && missing.iter().any(|(missing, _)| *missing) {
            return Ok(Vec::new());
        }
        for (missing, sql) in missing {
            if missing {
                tx.execute(AssertSqlSafe(sql)).await.map_err(|error| self.patient(error))?;
            }
        }
        let rows = self.ask_in(tx, sqlx::query(self.statements.migrations_done.clone())).await?;
        let done = |row| {
            Ok(steps::Done {
                version: column(row, "version")?,
                success: column(row, "success")?,
                checksum: column(row, "checksum")?,
            })
        };
        rows.iter().map(done).collect()
    }

    async fn note(&self, tx: &mut PgConnection, migration: &Migration, took: Duration) -> Result<(), Fault> {
        let query = sqlx::query(self.statements.migration_note.clone())
            .bind(migration.version)
            .bind(migration.name)
            .bind(migration.checksum())
            .bind(took.as_nanos() as i64);
        self.ask_in(tx, query).await.map(drop)
    }

    /// Whether the index is there and whole, and its table.
    async fn index(&self, tx: &mut PgConnection, index: &'static str) -> Result<Option<(bool, String)>, Fault> {
        let query =
            sqlx::query(self.statements.migration_index.clone()).bind(self.schema.name().to_owned()).bind(index);
        let rows = self.ask_in(tx, query).await?;
        rows.first().map(|row| Ok((column(row, "valid")?, column(row, "of")?))).transpose()
    }

    /// Removes what a build has left that failed or broke off.
    async fn drop_leftover(&self, tx: &mut PgConnection, index: &'static str, table: &str) -> Result<(), Fault> {
        let name = self.schema.name();
        // The lock that a build holds to its end: one whose process has gone may still be under way in the server.
        let lock = format!("LOCK TABLE {name}.{table} IN SHARE UPDATE EXCLUSIVE MODE");
        tx.execute(AssertSqlSafe(lock)).await.map_err(|error| self.patient(error))?;
        if let Some((false, _)) = self.index(tx, index).await? {
            tracing::info!(index, "an earlier build of the index broke off: it is built anew");
            let drop = format!("DROP INDEX {name}.{index}");
            tx.execute(AssertSqlSafe(drop)).await.map_err(|error| self.patient(error))?;
        }
        Ok(())
    }

    /// Builds an index beside the work: in no transaction, on a connection of its own.
    async fn build(&self, migration: &Migration) -> Result<(), Fault> {
        let mut connection = self.connections.connect(self.connections.deadline()).await?;
        let fault = |error| self.patient(error);
        // As plain text, both: one exchange each, which a pooler gives to one server.
        connection.execute(self.statements.untimed.clone()).await.map_err(fault)?;
        connection.execute(AssertSqlSafe(self.schema.told(migration.sql))).await.map_err(fault)?;
        let _ = connection.close().await;
        Ok(())
    }

    /// What is left to do.
    pub(super) async fn pending(&self) -> Result<Vec<Step>> {
        let deadline = self.connections.deadline();
        let look = async {
            let mut connection = self.connections.connect(deadline).await?;
            let mut tx = self.begin(&mut connection).await?;
            self.done(&mut tx, false).await
        };
        let done =
            timeout_at(deadline, look).await.unwrap_or(Err(Error::TimedOut(self.connections.timeout()).into()))?;
        let step = |migration: &Migration| Step {
            version: migration.version,
            name: migration.name.into(),
            sql: self.schema.told(migration.sql),
        };
        Ok(steps::pending(&done)?.map(step).collect())
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

#[cfg(test)]
mod tests {
    use super::{NEEDED, steps::MIGRATIONS};

    #[test]
    fn this_program_needs_no_table_that_it_cannot_make() {
        assert!(MIGRATIONS.last().is_some_and(|last| NEEDED <= last.version));
    }
}
