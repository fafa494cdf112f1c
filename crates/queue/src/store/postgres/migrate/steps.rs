//! The migrations, in their order.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration as Driver, MigrationType},
};

use crate::{Error, Result};

/// Every migration there has been. Those that were released are never edited.
#[rustfmt::skip] // A line each, however long: they are added beside each other.
pub(in crate::store::postgres) const MIGRATIONS: &[Migration] = &[
    Migration::whole(1, "queue", include_str!("../migrations/0001_queue.sql")),
    Migration::whole(2, "whole queue", include_str!("../migrations/0002_whole_queue.sql")),
    Migration::beside(3, "held again", "held_again", include_str!("../migrations/0003_held_again.sql")),
    Migration::whole(4, "functions", include_str!("../migrations/0004_functions.sql")),
    Migration::whole(5, "parked", include_str!("../migrations/0005_parked.sql")),
    Migration::whole(6, "bulks", include_str!("../migrations/0006_bulks.sql")),
    Migration::whole(7, "scaling", include_str!("../migrations/0007_scaling.sql")),
];

/// The table of versions. The first release reads and writes it by the migrator of its driver: the columns are that
/// one's.
pub(in crate::store::postgres) const VERSIONS: &str = "
CREATE TABLE IF NOT EXISTS headcount.migration (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
)";

/// How a migration is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::postgres) enum Way {
    /// In a transaction.
    Whole,
    /// One statement, which builds this index beside the work and cannot stand in a transaction. What broke off leaves
    /// an index that serves nobody; it is removed and built anew.
    Beside { index: &'static str },
}

/// A step from one version of the tables to the next.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::postgres) struct Migration {
    pub(in crate::store::postgres) version: i64,
    pub(in crate::store::postgres) name: &'static str,
    /// As written, for the schema `headcount`.
    pub(in crate::store::postgres) sql: &'static str,
    pub(in crate::store::postgres) way: Way,
}

/// A migration that was made.
#[derive(Debug, Clone)]
pub(in crate::store::postgres) struct Done {
    pub(in crate::store::postgres) version: i64,
    pub(in crate::store::postgres) success: bool,
    pub(in crate::store::postgres) checksum: Vec<u8>,
}

impl Migration {
    const fn whole(version: i64, name: &'static str, sql: &'static str) -> Self {
        Self { version, name, sql, way: Way::Whole }
    }

    const fn beside(version: i64, name: &'static str, index: &'static str, sql: &'static str) -> Self {
        Self { version, name, sql, way: Way::Beside { index } }
    }

    /// Of the text as written, whatever the schema: the release before compares it with that of its own.
    pub(in crate::store::postgres) fn checksum(&self) -> Vec<u8> {
        let sql = self.sql.into_sql_str();
        Driver::new(self.version, self.name.into(), MigrationType::Simple, sql, false).checksum.into_owned()
    }
}

/// What is left to do after these.
///
/// # Errors
/// [`Error::Rejected`] when one of them was not made by this text.
pub(in crate::store::postgres) fn pending(done: &[Done]) -> Result<impl Iterator<Item = &'static Migration>> {
    for done in done {
        let known = MIGRATIONS.iter().find(|migration| migration.version == done.version);
        let why = match known {
            _ if !done.success => "broke off half-way, which no release of this program leaves behind",
            Some(known) if known.checksum() != done.checksum => "was made by another text than this program's",
            // A newer release's, or ours.
            _ => continue,
        };
        return Err(Error::Rejected(format!("the store cannot be migrated: its version {} {why}", done.version)));
    }
    let made: Vec<_> = done.iter().map(|done| done.version).collect();
    Ok(MIGRATIONS.iter().filter(move |migration| !made.contains(&migration.version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(version: i64) -> Done {
        let checksum = MIGRATIONS.iter().find(|m| m.version == version).map_or_else(Vec::new, Migration::checksum);
        Done { version, success: true, checksum }
    }

    fn left(done: &[Done]) -> Vec<i64> {
        pending(done).unwrap().map(|migration| migration.version).collect()
    }

    #[test]
    fn versions_ascend_by_one() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=MIGRATIONS.len() as i64).collect::<Vec<_>>());
    }

    /// The release before compares it with its own text's.
    #[test]
    fn the_first_migration_is_the_one_that_was_released() {
        assert_eq!(MIGRATIONS[0].checksum()[..8], [0x6e, 0x52, 0x77, 0xe8, 0x09, 0x95, 0x4e, 0xd3]);
    }

    #[test]
    fn what_is_missing_is_made_and_what_a_newer_release_made_is_left_alone() {
        let all: Vec<_> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(left(&[]), all);
        assert_eq!(left(&[done(1)]), all[1..]);
        let mut made: Vec<_> = all.iter().copied().map(done).collect();
        made.push(done(900));
        assert_eq!(left(&made), [] as [i64; 0]);
    }

    #[test]
    fn a_text_that_was_changed_after_its_release_is_found() {
        let changed = Done { checksum: vec![1], ..done(1) };
        assert!(pending(&[changed]).err().is_some_and(|error| error.to_string().contains("version 1 was made by")));
        assert!(pending(&[Done { success: false, ..done(2) }]).is_err());
    }

    #[test]
    fn what_is_built_beside_the_work_is_one_statement_that_can_be_repeated() {
        for migration in MIGRATIONS {
            if let Way::Beside { index } = migration.way {
                assert!(!migration.sql.contains(';'), "{}", migration.sql);
                assert!(migration.sql.contains(&format!("INDEX CONCURRENTLY IF NOT EXISTS {index} ON headcount.")));
            } else {
                assert!(
                    !migration.sql.contains("CONCURRENTLY"),
                    "version {} stands in a transaction",
                    migration.version
                );
            }
        }
    }
}
