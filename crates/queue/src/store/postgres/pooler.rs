//! The way to the server: straight, or through a pooler that lends a connection for one transaction at a time.
//!
//! The driver prepares a statement and runs it in two exchanges, even an unnamed one. Outside a transaction such a pooler
//! may give the second to another connection, which then runs somebody else's statement: of 1,800 questions 1,419 were
//! answered so in an experiment. So behind one every statement of ours stands in a transaction and leaves no name behind,
//! and nothing is set for longer than that transaction, for it would be set for every other client too.
//!
//! Which way it is, the address says, or the first connection shows: a pooler refuses our settings as part of the start,
//! or swallows them.

use std::{sync::OnceLock, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr, SqlStr, postgres::PgConnectOptions};

use super::address::Pooler;
use crate::store::Options;

/// Asks for two settings that no server has by itself.
const ARRIVED: &str = "SELECT current_setting('enable_seqscan') = 'off' \
                       AND current_setting('plan_cache_mode') = 'force_generic_plan'";

/// Whatever the database's default is: a stricter one would keep one view for the whole transaction, and a statement that
/// follows a lock, in a function, too, would not see what the lock was waited for. Straight connections have it as their
/// own default besides, for statements that stand alone.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How connections are made, and what a transaction begins with.
pub(super) struct Way {
    /// With our settings as part of the start.
    straight: PgConnectOptions,
    /// Without anything that a pooler would have to know.
    pooled: PgConnectOptions,
    /// What begins a transaction through a pooler: the settings come along in the same message.
    begin: SqlStr,
    /// Known from the address, or since the first connection.
    pooler: OnceLock<Pooler>,
}

impl Way {
    pub(super) fn new(connect: PgConnectOptions, options: &Options, pooler: Option<Pooler>) -> Self {
        let connect = connect.application_name(&options.application);
        let settings = settings(options.call_timeout);
        let begin = settings.iter().fold(BEGIN.to_owned(), |sql, (name, value)| {
            // Ours, all of them: words and numbers.
            sql + &format!("; SET LOCAL {name} = '{value}'")
        });
        Self {
            pooled: connect.clone().extra_float_digits(None),
            straight: connect.options(settings).options([("default_transaction_isolation", "read committed")]),
            begin: AssertSqlSafe(begin).into_sql_str(),
            pooler: pooler.map_or_else(OnceLock::new, OnceLock::from),
        }
    }

    /// Whether connections are lent for a transaction. No connection has been made yet: not known, `None`.
    pub(super) fn pooler(&self) -> Option<Pooler> {
        self.pooler.get().copied()
    }

    /// The same once there is a connection.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooler() == Some(Pooler::Transaction)
    }

    /// The statement that begins a transaction.
    pub(super) fn begin(&self) -> SqlStr {
        if self.is_pooled() { self.begin.clone() } else { BEGIN.into_sql_str() }
    }

    /// How a connection is to be made, once that is known.
    pub(super) fn options(&self) -> &PgConnectOptions {
        if self.is_pooled() { &self.pooled } else { &self.straight }
    }

    /// Makes a connection. The first one finds out what stands between.
    pub(super) async fn connect(&self) -> sqlx::Result<PgConnection> {
        if self.pooler().is_some() {
            return PgConnection::connect_with(self.options()).await;
        }
        let why = match PgConnection::connect_with(&self.straight).await {
            Ok(mut connection) => {
                // By the simple protocol, which is one exchange, and safe through whatever there is.
                if connection.fetch_one(ARRIVED).await?.try_get(0)? {
                    let _ = self.pooler.set(Pooler::None);
                    return Ok(connection);
                }
                let _ = connection.close().await;
                "the settings of a connection's start do not arrive"
            }
            Err(error) if refuses_settings(&error) => "the settings of a connection's start are refused",
            Err(error) => return Err(error),
        };
        if self.pooler.set(Pooler::Transaction).is_ok() {
            tracing::info!(
                "{why}: a pooler stands before the store, and every statement goes in a transaction of its own; \
                 pooler=transaction in the store's URL says so from the start"
            );
        }
        PgConnection::connect_with(self.options()).await
    }
}

/// What a connection of ours runs under.
fn settings(limit: Duration) -> [(&'static str, String); 6] {
    let millis = |length: Duration| length.as_millis().max(1).to_string();
    [
        // A plan made while a table was empty scans it when it is full: every hot statement has one path.
        ("enable_seqscan", "off".to_owned()),
        ("enable_bitmapscan", "off".to_owned()),
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        // A plan of a few dozen rows is compiled for longer than it runs.
        ("jit", "off".to_owned()),
        // What nobody waits for any more must not lie in wait for a lock.
        ("statement_timeout", millis(limit)),
        ("idle_in_transaction_session_timeout", millis(limit * 2)),
    ]
}

/// Whether this is a pooler's answer to parameters that it does not know.
fn refuses_settings(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.message().contains("unsupported startup parameter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(pooler: Option<Pooler>) -> Way {
        let options = Options { call_timeout: Duration::from_millis(1500), ..Options::default() };
        Way::new(PgConnectOptions::new(), &options, pooler)
    }

    #[test]
    fn through_a_pooler_the_settings_come_with_each_transaction_and_not_with_the_connection() {
        let pooled = way(Some(Pooler::Transaction));
        let begin = pooled.begin();
        let begin = begin.as_str();
        assert!(
            begin.starts_with("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = 'off'; "),
            "{begin}"
        );
        assert!(begin.contains("SET LOCAL statement_timeout = '1500'"), "{begin}");
        assert_eq!(
            begin.matches("SET").count(),
            begin.matches("SET LOCAL").count(),
            "nothing outlives the transaction"
        );
        assert_eq!(pooled.options().get_options(), None);

        let straight = way(Some(Pooler::None));
        assert_eq!(straight.begin().as_str(), BEGIN);
        assert!(straight.options().get_options().unwrap().contains("-c statement_timeout=1500"));
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        assert_eq!(way(None).pooler(), None);
    }
}
