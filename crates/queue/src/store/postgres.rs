//! The Postgres store.
//!
//! A job is one row in exactly one of `ready`, `running`, `later`, `held` and `finished`, and the table is its state;
//! `migrations/` has the tables and says why. Each statement is a file beside the module that runs it and says what it
//! locks. Nearly every call is one statement, so that it is one round trip and needs no transaction of its own; each is
//! correct inside one, too.
//!
//! Postgres 13 to 18 serve. The tests run against every major version that is installed where they run.

mod schema;
mod connection;
mod statements;
mod migrate;
mod drift;
mod grant;
mod enqueue;
mod lanes;
mod claim;
mod claimer;
mod settle;
mod observe;
mod maintain;
mod admin;

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Decode, Postgres, Row, Type,
    postgres::{PgConnectOptions, PgRow},
};

use self::{connection::Connections, maintain::Paces, schema::Schema, statements::Statements};
use super::Options;
use crate::{Error, Result, limits::MAX_DELAY};

/// The version of the tables that this program needs. A newer one is fine: every release works with the tables of the
/// next.
const NEEDED: i64 = 3;

/// A Postgres database as a store.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    connections: Arc<Connections>,
    schema: Arc<Schema>,
    statements: Arc<Statements>,
    paces: Arc<Paces>,
}

impl PostgresStore {
    /// The store in the database at this URL. Connects at the first call that needs it.
    ///
    /// `schema=NAME` in the URL says in which schema the tables are: one for each store, where one database holds
    /// several. Default `headcount`.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the URL cannot be read.
    pub fn open(url: &str, options: &Options) -> Result<Self> {
        let (schema, url) = Schema::taken_from(url)?;
        let connect = PgConnectOptions::from_str(&url)
            // Without the URL, for it may hold a password.
            .map_err(|error| Error::Rejected(format!("the URL of the Postgres store cannot be read: {error}")))?;
        Ok(Self {
            connections: Arc::new(Connections::new(connect, options)),
            statements: Arc::new(Statements::new(&schema)),
            schema: Arc::new(schema),
            paces: Arc::default(),
        })
    }

    /// How many statements were repeated because they collided with others (deadlock, serialization failure): 0 unless
    /// there is a defect or somebody else locks the store's rows.
    pub fn conflicts(&self) -> u64 {
        self.connections.conflicts()
    }

    /// The same store through one connection that nothing else uses.
    fn apart(&self) -> Self {
        Self { connections: Arc::new(self.connections.apart()), ..self.clone() }
    }
}

/// A column of a row.
fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, name: &str) -> Result<T> {
    row.try_get(name)
        .map_err(|error| Error::Rejected(format!("the store holds what this program cannot read: {error}")))
}

/// A length of time in whole milliseconds, rounded up: never early, and never nothing unless it is. At most ten years.
fn millis(length: Duration) -> i64 {
    length.min(MAX_DELAY).as_micros().div_ceil(1000) as i64
}

/// Text that Postgres can keep: it has no U+0000.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_cut_short() {
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_micros(1_500)), 2);
        assert_eq!(millis(Duration::from_nanos(1)), 0, "below what the database keeps");
        assert_eq!(millis(Duration::MAX), MAX_DELAY.as_millis() as i64);
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        let error = PostgresStore::open("postgres://u:s3cret@h:port/db", &Options::default()).unwrap_err();
        assert!(matches!(error, Error::Rejected(_)), "{error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
