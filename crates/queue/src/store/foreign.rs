//! A queue that is not ours: its backlog, read by a query of its owner's from its owner's Postgres database.

use std::{fmt, str::FromStr as _, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqlSafeStr as _, SqlStr,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{Error, Result};

/// How much another queue has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ForeignBacklog {
    /// Jobs that could start now.
    pub pending: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Jobs that run; `None`: the query does not tell.
    pub running: Option<u64>,
}

/// A query that asks for the backlog of another queue.
///
/// It is a `SELECT` that gives one row with the columns `pending` (jobs that could start now), `oldest_s` (the age of the
/// oldest, in seconds; NULL where there is none) and `running` (jobs that run; NULL where that is not known). It runs in a
/// transaction that can only read and that the server ends when the time is up.
pub struct ForeignQueue {
    connect: PgConnectOptions,
    begin: SqlStr,
    query: SqlStr,
    limit: Duration,
    /// Kept from reading to reading; absent after a failure.
    connection: Mutex<Option<PgConnection>>,
}

impl ForeignQueue {
    /// Asks the database at this URL with this query; each reading may take so long. Connects at the first.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the URL cannot be read. The message is without it, for it may hold a password.
    pub fn new(url: &str, query: &str, limit: Duration) -> Result<Self> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(Error::Rejected("the URL of another queue's database begins with postgres://".into()));
        }
        let connect = PgConnectOptions::from_str(url)
            .map_err(|error| Error::Rejected(format!("the URL of another queue's database cannot be read: {error}")))?
            .application_name("headcount")
            // A pooler that lends connections refuses what it does not know.
            .extra_float_digits(None);
        let millis = limit.as_millis().max(1);
        // With the transaction, and not with the connection: through a pooler that would be everybody's.
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = {}",
            millis * 2
        );
        let query = query.trim().trim_end_matches(';');
        let lines = include_str!("foreign/backlog.sql").lines().filter(|line| !line.starts_with("--"));
        let whole: Vec<&str> = lines.map(|line| if line == "{}" { query } else { line }).collect();
        Ok(Self {
            connect,
            begin: AssertSqlSafe(begin).into_sql_str(),
            query: AssertSqlSafe(whole.join("\n")).into_sql_str(),
            limit,
            connection: Mutex::default(),
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Error::Rejected`] for a query that fails, writes, or gives anything but such a row; [`Error::Unavailable`] and
    /// [`Error::TimedOut`] where the database cannot be asked.
    pub async fn read(&self) -> Result<ForeignBacklog> {
        let asked = async {
            let mut kept = self.connection.lock().await;
            // Taken out: whoever drops this call closes the connection, and no answer is left for the next.
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => PgConnection::connect_with(&self.connect).await?,
            };
            let rows = self.ask(&mut connection).await?;
            *kept = Some(connection);
            Ok(rows)
        };
        match timeout(self.limit, asked).await {
            Ok(Ok(rows)) => backlog(&rows),
            Ok(Err(error)) => Err(self.fault(error)),
            Err(_) => Err(Error::TimedOut(self.limit)),
        }
    }

    async fn ask(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<PgRow>> {
        connection.execute(self.begin.clone()).await?;
        // No name that would stay behind on a connection that is another's next.
        let rows = connection.fetch_all(sqlx::query(self.query.clone()).persistent(false)).await?;
        connection.execute("ROLLBACK").await?;
        Ok(rows)
    }

    fn fault(&self, error: sqlx::Error) -> Error {
        let Some(database) = error.as_database_error() else { return Error::Unavailable(error.into()) };
        let message = database.message();
        match database.code().as_deref().unwrap_or_default() {
            "57014" => Error::TimedOut(self.limit),
            "25006" => Error::Rejected(format!("the query may only read: {message}")),
            "42703" => Error::Rejected(format!(
                "the query of another queue fails: {message}; it gives the columns pending, oldest_s and running"
            )),
            code if ["22", "28", "3D", "3F", "42"].iter().any(|class| code.starts_with(class)) => {
                Error::Rejected(format!("the query of another queue fails: {message}"))
            }
            _ => Error::Unavailable(error.into()),
        }
    }
}

fn backlog(rows: &[PgRow]) -> Result<ForeignBacklog> {
    let [row] = rows else {
        let found = if rows.is_empty() { "none" } else { "several" };
        return Err(Error::Rejected(format!("the query of another queue gives one row, and gave {found}")));
    };
    let number = |name: &'static str| -> Result<Option<f64>> {
        let value: Option<f64> = row.try_get(name).map_err(|error| Error::Rejected(error.to_string()))?;
        match value {
            Some(value) if !(0.0..=1e15).contains(&value) => {
                Err(Error::Rejected(format!("{name} is a number from 0 on, and was {value}")))
            }
            value => Ok(value),
        }
    };
    // Unknown is never zero.
    let pending = number("pending")?.ok_or_else(|| {
        Error::Rejected("pending is NULL; where the query counts nothing it gives 0, as count(*) does".into())
    })?;
    let oldest = number("oldest_s")?.map(Duration::from_secs_f64);
    Ok(ForeignBacklog { pending: pending.ceil() as u64, oldest, running: number("running")?.map(|n| n.ceil() as u64) })
}

impl fmt::Debug for ForeignQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold the password, and the query whatever its owner wrote.
        f.debug_struct("ForeignQueue").field("limit", &self.limit).finish_non_exhaustive()
    }
}
