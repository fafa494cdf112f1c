//! The Postgres store.
//!
//! A job is one row in exactly one of `ready`, `running`, `later`, `held`, `parked` and `finished`, and the table is its
//! state; `migrations/` has the tables and says why. Each statement is a file beside the module that runs it and says
//! what it locks. Nearly every call is one statement, so that it is one round trip and needs no transaction of its own;
//! each is correct inside one, too.
//!
//! Postgres 13 to 18 serve. The tests run against every major version that is installed where they run.

mod schema;
mod address;
mod pooler;
mod connection;
mod statements;
mod migrate;
mod drift;
mod grant;
mod enqueue;
mod notice;
mod listen;
mod lanes;
mod claim;
mod claimer;
mod settle;
mod settings;
mod parking;
mod found;
mod counters;
mod observe;
mod maintain;
mod scale;
mod act;
mod admin;

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ColumnIndex, Decode, Postgres, Row, Type,
    postgres::{PgConnectOptions, PgRow},
};

use self::{
    address::Address, connection::Connections, maintain::Paces, notice::Notices, schema::Schema, settings::Cached,
    statements::Statements,
};
use super::Options;
use crate::{
    Binding, Error, Result,
    limits::{MAX_DELAY, MAX_NAME},
};

/// The version of the tables that this program needs. A newer one is fine: every release works with the tables of the
/// next.
const NEEDED: i64 = 7;

/// A Postgres database as a store.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    connections: Arc<Connections>,
    schema: Arc<Schema>,
    statements: Arc<Statements>,
    paces: Arc<Paces>,
    notices: Arc<Notices>,
    retentions: Arc<Cached>,
}

impl PostgresStore {
    /// The store in the database at this URL. Connects at the first call that needs it.
    ///
    /// Behind a pooler that lends a connection for one transaction at a time (PgBouncer with `pool_mode = transaction`),
    /// say so in the URL with `pooler=transaction`. Where the URL does not say, the first connection shows it in most
    /// cases; `pooler=none` spares the question.
    ///
    /// `schema=NAME` in the URL says in which schema the tables are: one for each store, where one database holds
    /// several. Default `headcount`.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the URL cannot be read.
    pub fn open(url: &str, options: &Options) -> Result<Self> {
        let address = Address::parse(url)?;
        let connect = PgConnectOptions::from_str(&address.url)
            // Without the URL, for it may hold a password.
            .map_err(|error| Error::Rejected(format!("the URL of the Postgres store cannot be read: {error}")))?;
        let connections = Arc::new(Connections::new(connect, options, address.pooler));
        let statements = Arc::new(Statements::new(&address.schema));
        let notices = Arc::new(Notices::new(Arc::clone(&connections), statements.notify.clone()));
        let schema = Arc::new(address.schema);
        Ok(Self { connections, statements, schema, paces: Arc::default(), retentions: Arc::default(), notices })
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
fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, which: impl ColumnIndex<PgRow>) -> Result<T> {
    row.try_get(which)
        .map_err(|error| Error::Rejected(format!("the store holds what this program cannot read: {error}")))
}

/// A length of time in whole milliseconds, rounded up: never early, and never nothing unless it is. At most ten years.
fn millis(length: Duration) -> i64 {
    length.min(MAX_DELAY).as_micros().div_ceil(1000) as i64
}

/// The edges of a binding's ranges of names: in, out, in, out, ascending. A name is inside when an odd number of them
/// lie at or before it, which `width_bucket` finds by binary search.
fn edges(queues: &Binding) -> Vec<String> {
    let ranges = queues.ranges().into_iter();
    ranges.flat_map(|range| [range.start, range.end.unwrap_or_else(above_all)]).collect()
}

/// Longer and higher than any name. An end that is there is a bound for the index; one that may be missing is a test of
/// every row.
fn above_all() -> String {
    char::MAX.to_string().repeat(MAX_NAME / char::MAX.len_utf8() + 1)
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
    fn the_edges_of_a_binding_say_what_it_includes() {
        for queues in ["", "a", "a, b", "mail.*, mail.urgent", "r*, run:x", "\u{10ffff}*"] {
            let binding: Binding = queues.parse().unwrap();
            let edges = edges(&binding);
            assert!(edges.is_sorted() && edges.len().is_multiple_of(2), "{edges:?}");
            let highest = char::MAX.to_string().repeat(32);
            for name in ["a", "ab", "b", "mail.", "mail.urgent", "run:x", "run;", &highest] {
                let inside = edges.iter().filter(|edge| &***edge <= name).count() % 2 == 1;
                assert_eq!(inside, binding.includes(name), "{queues:?} {name:?}");
            }
        }
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        let error = PostgresStore::open("postgres://u:s3cret@h:port/db", &Options::default()).unwrap_err();
        assert!(matches!(error, Error::Rejected(_)), "{error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
